//! Who owns what: controller references, and which objects a controller adopts, keeps or releases.

use std::sync::Arc;

use api::meta::{ObjectMeta, OwnerReference};
use api::selector::LabelSelector;

use client::Resource;

use crate::objects::api_version;

/// The reference by which `owner`, of kind `K`, manages an object.
pub fn controller_reference<K: Resource>(owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: api_version::<K>(),
        kind: K::KIND.to_owned(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What of some candidates belongs to an owner.
#[derive(Debug)]
pub struct Claim<K> {
    /// Managed by the owner and selected by it, or about to be.
    pub claimed: Vec<Arc<K>>,
    /// Selected and managed by no one: the owner takes them over.
    pub adopt: Vec<OwnerChange>,
    /// Managed by the owner and no longer selected: let go.
    pub release: Vec<OwnerChange>,
}

/// A write of owner references. The resource version makes sure that no other's change is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerChange {
    /// The name of the object within the owner's namespace.
    pub name: String,
    /// The object must still be this one.
    pub uid: String,
    /// The object must not have changed since.
    pub resource_version: String,
    /// What it shall be owned by.
    pub owner_references: Vec<OwnerReference>,
}

/// Sorts `candidates` by whether `owner` manages them, with the rules of Kubernetes: never two managers, and an
/// owner that is being deleted neither adopts nor releases.
pub fn claim<K: Resource>(
    reference: &OwnerReference,
    owner: &ObjectMeta,
    selector: &LabelSelector,
    candidates: &[Arc<K>],
) -> Claim<K> {
    let mut claim = Claim { claimed: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for candidate in candidates {
        let meta = candidate.metadata();
        let selected = selector.matches(&meta.labels);
        match meta.controller() {
            Some(manager) if manager.uid == owner.uid && selected => {
                claim.claimed.push(Arc::clone(candidate))
            }
            Some(manager) if manager.uid == owner.uid => {
                if !owner.is_being_deleted() && !meta.is_being_deleted() {
                    let others = meta.owner_references.iter().filter(|other| other.uid != owner.uid);
                    claim.release.push(change(meta, others.cloned().collect()));
                }
            }
            Some(_) => {}
            None => {
                if selected && !owner.is_being_deleted() && !meta.is_being_deleted() {
                    let others = meta.owner_references.iter().filter(|other| other.uid != owner.uid);
                    let owners = others.cloned().chain([reference.clone()]).collect();
                    claim.adopt.push(change(meta, owners));
                    claim.claimed.push(Arc::clone(candidate));
                }
            }
        }
    }
    claim
}

fn change(meta: &ObjectMeta, owner_references: Vec<OwnerReference>) -> OwnerChange {
    OwnerChange {
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        owner_references,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Pod, ReplicaSet};

    fn pod(name: &str, app: &str, owner: Option<&str>) -> Arc<Pod> {
        let mut pod = Pod::default();
        pod.metadata.name = name.to_owned();
        pod.metadata.labels.insert("app".to_owned(), app.to_owned());
        pod.metadata.owner_references.extend(owner.map(|uid| OwnerReference {
            uid: uid.to_owned(),
            controller: Some(true),
            ..OwnerReference::default()
        }));
        Arc::new(pod)
    }

    #[test]
    fn an_owner_adopts_orphans_keeps_its_own_releases_strangers_and_takes_nobody_elses() {
        let owner = ObjectMeta { uid: "me".to_owned(), name: "web".to_owned(), ..ObjectMeta::default() };
        let reference = controller_reference::<ReplicaSet>(&owner);
        let selector = LabelSelector {
            match_labels: [("app".to_owned(), "web".to_owned())].into(),
            ..Default::default()
        };
        let candidates = [
            pod("kept", "web", Some("me")),
            pod("strange", "db", Some("me")),
            pod("orphan", "web", None),
            pod("taken", "web", Some("other")),
            pod("unrelated", "db", None),
        ];
        let claim = claim(&reference, &owner, &selector, &candidates);
        let names: Vec<_> = claim.claimed.iter().map(|pod| pod.metadata.name.as_str()).collect();
        assert_eq!(names, ["kept", "orphan"]);
        assert_eq!(claim.adopt.len(), 1);
        assert_eq!(claim.adopt[0].owner_references, [reference]);
        assert_eq!(claim.release.len(), 1);
        assert!(claim.release[0].owner_references.is_empty());
    }

    #[test]
    fn an_owner_that_goes_away_changes_nothing() {
        let owner = ObjectMeta {
            uid: "me".to_owned(),
            deletion_timestamp: Some(crate::objects::whole_seconds(jiff::Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        };
        let reference = controller_reference::<ReplicaSet>(&owner);
        let candidates = [pod("orphan", "web", None), pod("mine", "web", Some("me"))];
        let claim = claim(&reference, &owner, &LabelSelector::default(), &candidates);
        assert!(claim.adopt.is_empty() && claim.release.is_empty());
        assert_eq!(claim.claimed.len(), 1);
    }
}
