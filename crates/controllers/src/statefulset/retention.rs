//! What becomes of the claims of a StatefulSet (`persistentVolumeClaimRetentionPolicy`). Pure.
//!
//! A claim that is to go with something is owned by it, and the garbage collector does the rest: by the StatefulSet
//! where it goes with that, by its pod where it goes when the StatefulSet is scaled down.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use api::meta::OwnerReference;

use crate::objects::{PersistentVolumeClaim, Pod, StatefulSet};
use crate::ownership::{OwnerChange, controller_reference};

/// What is to be deleted.
const DELETE: &str = "Delete";

/// Which claims of a StatefulSet are to be owned by another, or by no one. `numbers` are those of the pods it wants.
pub fn owner_changes(
    set: &StatefulSet,
    numbers: &Range<i32>,
    pods: &BTreeMap<i32, Arc<Pod>>,
    claims: &[Arc<PersistentVolumeClaim>],
) -> Vec<OwnerChange> {
    let Some(policy) = &set.spec.persistent_volume_claim_retention_policy else { return Vec::new() };
    let mut changes = Vec::new();
    for claim in claims.iter().filter(|claim| !claim.metadata.is_being_deleted()) {
        let meta = &claim.metadata;
        let Some(number) = number(set, &meta.name) else { continue };
        if !set.spec.selector.matches(&meta.labels) {
            continue;
        }
        let pod_name = format!("{}-{number}", set.metadata.name);
        let is_ours = |owner: &&OwnerReference| {
            owner.uid == set.metadata.uid || owner.kind == "Pod" && owner.name == pod_name
        };
        let owners = &meta.owner_references;
        if owners.iter().any(|owner| owner.controller == Some(true) && !is_ours(&owner)) {
            continue;
        }
        let mut wanted: Vec<_> = owners.iter().filter(|owner| !is_ours(owner)).cloned().collect();
        let goes_when_scaled = policy.when_scaled == DELETE && !numbers.contains(&number);
        match pods.get(&number).filter(|_| goes_when_scaled) {
            Some(pod) => wanted.push(controller_reference::<Pod>(&pod.metadata)),
            // Its pod is gone already, and what was to follow it follows.
            None if goes_when_scaled => continue,
            None if policy.when_deleted == DELETE => {
                wanted.push(controller_reference::<StatefulSet>(&set.metadata));
            }
            None => {}
        }
        if wanted != *owners {
            changes.push(OwnerChange {
                name: meta.name.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                owner_references: wanted,
            });
        }
    }
    changes
}

/// The number of the pod that a claim belongs to, by its name: `<template>-<set>-<number>`.
fn number(set: &StatefulSet, claim: &str) -> Option<i32> {
    let of_template = |name: &str| {
        let rest = claim.strip_prefix(name)?.strip_prefix('-')?.strip_prefix(&*set.metadata.name)?;
        let digits = rest.strip_prefix('-')?;
        digits.parse::<i32>().ok().filter(|number| number.to_string() == digits)
    };
    let templates = set.spec.volume_claim_templates.iter().map(crate::objects::RawJson::value);
    templates.into_iter().find_map(|template| of_template(template["metadata"]["name"].as_str()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(deleted: &str, scaled: &str) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "shop", "uid": "set"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "db"}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled},
            },
        }))
        .unwrap()
    }

    fn claim(name: &str) -> PersistentVolumeClaim {
        let metadata = json!({"name": name, "namespace": "shop", "uid": name, "labels": {"app": "db"}});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    /// Who owns each claim after the plan, whose second look must find nothing.
    fn owners(set: &StatefulSet, claims: &mut [Arc<PersistentVolumeClaim>]) -> Vec<String> {
        let pod = |number: i32| {
            let name = format!("db-{number}");
            let metadata = json!({"name": name, "uid": format!("uid-{name}")});
            (number, Arc::new(serde_json::from_value::<Pod>(json!({"metadata": metadata})).unwrap()))
        };
        let pods: BTreeMap<_, _> = [pod(0), pod(1)].into();
        for change in owner_changes(set, &(0..1), &pods, claims) {
            let claim = claims.iter_mut().find(|claim| claim.metadata.name == change.name).unwrap();
            Arc::make_mut(claim).metadata.owner_references = change.owner_references;
        }
        assert_eq!(owner_changes(set, &(0..1), &pods, claims), []);
        let owner = |claim: &Arc<PersistentVolumeClaim>| {
            let owners = claim.metadata.owner_references.iter();
            owners.map(|owner| owner.uid.clone()).collect::<Vec<_>>().join("+")
        };
        claims.iter().map(owner).collect()
    }

    #[test]
    fn each_policy_says_with_what_a_claim_goes_and_may_change_its_mind() {
        let mut claims: Vec<_> =
            ["data-db-0", "data-db-1", "data-db-01", "other-db-0"].map(|name| Arc::new(claim(name))).into();
        for (deleted, scaled, expected) in [
            ("Retain", "Retain", ["", ""]),
            ("Delete", "Retain", ["set", "set"]),
            ("Retain", "Delete", ["", "uid-db-1"]),
            ("Delete", "Delete", ["set", "uid-db-1"]),
            ("Retain", "Retain", ["", ""]),
        ] {
            let owners = owners(&set(deleted, scaled), &mut claims);
            assert_eq!(owners[..2], expected, "{deleted} {scaled}");
            assert_eq!(owners[2..], ["", ""], "claims of others are left alone");
        }
    }

    #[test]
    fn a_claim_that_somebody_else_manages_is_left_to_them() {
        let mut other = claim("data-db-0");
        other.metadata.owner_references.push(OwnerReference {
            uid: "x".into(),
            controller: Some(true),
            ..OwnerReference::default()
        });
        assert_eq!(owners(&set("Delete", "Delete"), &mut [Arc::new(other)]), ["x"]);
    }
}
