//! What becomes of a claim.

use std::sync::Arc;

use api::meta::ObjectMeta;
use serde_json::{Map, Value, json};

use super::{Action, Plan, Told, for_uid, guarded, matching, provision};
use crate::objects::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, Node, PersistentVolume, PersistentVolumeClaim, SELECTED_NODE,
    StorageClass,
};

/// What is known when a claim is looked at.
pub struct Observed<'a> {
    /// The claim.
    pub claim: &'a PersistentVolumeClaim,
    /// All volumes.
    pub volumes: &'a [Arc<PersistentVolume>],
    /// All classes.
    pub classes: &'a [Arc<StorageClass>],
    /// All nodes.
    pub nodes: &'a [Arc<Node>],
}

impl Observed<'_> {
    fn volume(&self, name: &str) -> Option<&PersistentVolume> {
        self.volumes.iter().find(|volume| volume.metadata.name == name).map(|volume| &**volume)
    }

    fn class(&self) -> Option<&StorageClass> {
        let name = self.claim.class();
        self.classes.iter().find(|class| class.metadata.name == name).map(|class| &**class)
    }
}

/// Decides what to do about a claim. Pure: no clock, client or randomness.
pub fn plan_claim(observed: &Observed<'_>) -> Plan {
    let claim = observed.claim;
    if claim.metadata.annotations.contains_key(BIND_COMPLETED) {
        return bound(observed);
    }
    if claim.metadata.is_being_deleted() {
        return Plan::default();
    }
    if claim.spec.volume_name.is_empty() { unbound(observed) } else { asks_for_one(observed) }
}

/// It was bound: it stays so, or has lost its volume for ever.
fn bound(observed: &Observed<'_>) -> Plan {
    let claim = observed.claim;
    if claim.spec.volume_name.is_empty() {
        let why = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return lost(claim, "ClaimLost", why);
    }
    match observed.volume(&claim.spec.volume_name) {
        None => {
            let why = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
            lost(claim, "ClaimLost", why)
        }
        Some(volume) if volume.spec.claim_ref.is_none() || volume.is_for(claim) => {
            let mut plan = bind(volume, claim);
            plan.actions.extend(provision::expand(volume, claim, observed.class()));
            plan
        }
        Some(_) => {
            let why = "Two claims are bound to the same volume, this one is bound incorrectly";
            lost(claim, "ClaimMisbound", why)
        }
    }
}

fn lost(claim: &PersistentVolumeClaim, reason: &'static str, why: &str) -> Plan {
    if claim.status.phase == "Lost" {
        return Plan::default();
    }
    let status = json!({"status": {"phase": "Lost", "accessModes": null, "capacity": null}});
    let actions = vec![Action::PatchClaimStatus(for_uid(&claim.metadata, status))];
    Plan { actions, told: Some(Told::warning(reason, why)) }
}

/// The user, or the scheduler, has named the volume.
fn asks_for_one(observed: &Observed<'_>) -> Plan {
    let claim = observed.claim;
    let name = &claim.spec.volume_name;
    match observed.volume(name) {
        None => pending(claim),
        Some(volume) if volume.is_for(claim) => bind(volume, claim),
        Some(volume) if volume.spec.claim_ref.is_none() => match matching::mismatch(volume, claim) {
            None => bind(volume, claim),
            Some(why) => {
                let message = format!("Cannot bind to requested volume \"{name}\": {why}");
                pending(claim).tell(Told::warning("VolumeMismatch", message))
            }
        },
        Some(_) => {
            let message = format!("volume \"{name}\" already bound to a different claim.");
            pending(claim).tell(Told::warning("FailedBinding", message))
        }
    }
}

/// A volume is to be found, or made.
fn unbound(observed: &Observed<'_>) -> Plan {
    let claim = observed.claim;
    let class = observed.class();
    let waits = class.is_some_and(StorageClass::waits_for_consumer);
    if let Some(volume) = matching::best(observed.volumes, claim, waits) {
        return bind(volume, claim);
    }
    if claim.spec.storage_class_name.is_none() && claim.class().is_empty() {
        // The newest of several defaults counts, as in Kubernetes; the name decides among equals.
        let age = |class: &StorageClass| (class.metadata.creation_timestamp, class.metadata.name.clone());
        let defaults = observed.classes.iter().filter(|class| class.is_default());
        return match defaults.max_by_key(|class| age(class)) {
            Some(class) => {
                let patch = json!({"spec": {"storageClassName": class.metadata.name}});
                let actions = vec![Action::PatchClaim(guarded(&claim.metadata, patch))];
                Plan { actions, told: None }
            }
            None => no_volume(claim),
        };
    }
    if claim.class().is_empty() {
        return no_volume(claim);
    }
    let Some(class) = class else {
        let message = format!("storageclass.storage.k8s.io \"{}\" not found", claim.class());
        return pending(claim).tell(Told::warning("ProvisioningFailed", message));
    };
    if waits && !claim.metadata.annotations.contains_key(SELECTED_NODE) {
        let message = "waiting for first consumer to be created before binding";
        return pending(claim).tell(Told::normal("WaitForFirstConsumer", message));
    }
    let mut plan = pending(claim);
    let provision::Provision { actions, told } = provision::provision(claim, class, observed.nodes);
    plan.actions.extend(actions);
    plan.told = told;
    plan
}

fn no_volume(claim: &PersistentVolumeClaim) -> Plan {
    let message = "no persistent volumes available for this claim and no storage class is set";
    pending(claim).tell(Told::normal("FailedBinding", message))
}

fn pending(claim: &PersistentVolumeClaim) -> Plan {
    if claim.status.phase == "Pending" {
        return Plan::default();
    }
    let patch = for_uid(&claim.metadata, json!({"status": {"phase": "Pending"}}));
    Plan { actions: vec![Action::PatchClaimStatus(patch)], told: None }
}

/// Makes a volume and a claim name each other, as far as they do not yet.
fn bind(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Plan {
    let mut actions = Vec::new();
    let known = volume.spec.claim_ref.as_ref();
    if known.is_none_or(|reference| reference.uid != claim.metadata.uid) {
        let mut patch = json!({"spec": {"claimRef": {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "namespace": claim.metadata.namespace,
            "name": claim.metadata.name,
            "uid": claim.metadata.uid,
            "resourceVersion": claim.metadata.resource_version,
        }}});
        if known.is_none() {
            patch["metadata"]["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
        }
        let patch = guarded(&volume.metadata, patch);
        actions.push(Action::PatchVolume { name: volume.metadata.name.clone(), patch });
    }
    if volume.status.phase != "Bound" {
        let patch = for_uid(&volume.metadata, json!({"status": {"phase": "Bound"}}));
        actions.push(Action::PatchVolumeStatus { name: volume.metadata.name.clone(), patch });
    }
    let mut annotations = missing(&claim.metadata, BIND_COMPLETED);
    let mut spec = Map::new();
    if claim.spec.volume_name.is_empty() {
        spec.insert("volumeName".to_owned(), json!(volume.metadata.name));
        annotations.extend(missing(&claim.metadata, BOUND_BY_CONTROLLER));
    }
    if !annotations.is_empty() || !spec.is_empty() {
        let patch = json!({"metadata": {"annotations": annotations}, "spec": spec});
        actions.push(Action::PatchClaim(guarded(&claim.metadata, patch)));
    }
    // The size is shown once; what it grows to later is shown by whoever lets it grow.
    let shows_size = claim.status.capacity.contains_key("storage") || volume.spec.capacity.is_empty();
    if claim.status.phase != "Bound" || claim.status.access_modes != volume.spec.access_modes || !shows_size {
        let status = json!({"status": {
            "phase": "Bound", "accessModes": volume.spec.access_modes, "capacity": volume.spec.capacity,
        }});
        actions.push(Action::PatchClaimStatus(for_uid(&claim.metadata, status)));
    }
    Plan { actions, told: None }
}

/// An annotation that is to be `yes`, where it is not there.
fn missing(meta: &ObjectMeta, key: &str) -> Map<String, Value> {
    let mut map = Map::new();
    if !meta.annotations.contains_key(key) {
        map.insert(key.to_owned(), json!("yes"));
    }
    map
}
