//! What a controller has just written and its cache has not shown yet.
//!
//! A reconcile that runs before its own writes come back through the watch would make the same pods again. So the
//! name of each pod is noted before it is created, and the uid of each before it is deleted; the watch crosses them
//! off. A note that nothing crosses off (the pod came and went while the watch was down) expires.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::objects::Pod;

/// How long a write may take to come back. Only a watch that is down is that late, and when it is back it lists.
const EXPIRY: Duration = Duration::from_secs(30);

/// The notes of one controller, by the uid of the owner.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    owners: Arc<Mutex<HashMap<String, Notes>>>,
}

#[derive(Debug, Default)]
struct Notes {
    created: HashMap<String, Timestamp>,
    deleted: HashMap<String, Timestamp>,
}

/// What is noted for one owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Names of pods that were created.
    pub created: HashSet<String>,
    /// Uids of pods that were deleted.
    pub deleted: HashSet<String>,
}

impl Unseen {
    /// When to look again in case nothing comes.
    pub fn requeue_after(&self) -> Option<Duration> {
        (!self.created.is_empty() || !self.deleted.is_empty()).then_some(EXPIRY)
    }
}

impl Expectations {
    /// A pod `name` is about to be created for `owner`.
    pub fn will_create(&self, owner: &str, name: &str, now: Timestamp) {
        self.owners.lock().entry(owner.to_owned()).or_default().created.insert(name.to_owned(), now);
    }

    /// A pod with this uid is about to be deleted for `owner`.
    pub fn will_delete(&self, owner: &str, uid: &str, now: Timestamp) {
        self.owners.lock().entry(owner.to_owned()).or_default().deleted.insert(uid.to_owned(), now);
    }

    /// The pod was not created after all, or is seen.
    pub fn forget_creation(&self, owner: &str, name: &str) {
        self.change(owner, |notes| {
            notes.created.remove(name);
        });
    }

    /// The pod was not deleted after all, or is seen to go.
    pub fn forget_deletion(&self, owner: &str, uid: &str) {
        self.change(owner, |notes| {
            notes.deleted.remove(uid);
        });
    }

    /// The watch shows `pod`; `gone` where it is its last state.
    pub fn observe(&self, pod: &Pod, gone: bool) {
        let Some(owner) = pod.metadata.controller() else { return };
        self.change(&owner.uid, |notes| {
            notes.created.remove(&pod.metadata.name);
            if gone || pod.metadata.is_being_deleted() {
                notes.deleted.remove(&pod.metadata.uid);
            }
        });
    }

    /// What has not come back yet.
    pub fn unseen(&self, owner: &str, now: Timestamp) -> Unseen {
        let mut owners = self.owners.lock();
        let Some(notes) = owners.get_mut(owner) else { return Unseen::default() };
        let is_fresh = |since: &Timestamp| now.duration_since(*since).unsigned_abs() < EXPIRY;
        notes.created.retain(|_, since| is_fresh(since));
        notes.deleted.retain(|_, since| is_fresh(since));
        Unseen {
            created: notes.created.keys().cloned().collect(),
            deleted: notes.deleted.keys().cloned().collect(),
        }
    }

    fn change(&self, owner: &str, change: impl FnOnce(&mut Notes)) {
        let mut owners = self.owners.lock();
        if let Some(notes) = owners.get_mut(owner) {
            change(notes);
            if notes.created.is_empty() && notes.deleted.is_empty() {
                owners.remove(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use api::meta::OwnerReference;

    use super::*;

    #[test]
    fn a_pod_that_the_watch_shows_is_no_longer_expected() {
        let now = Timestamp::UNIX_EPOCH;
        let expectations = Expectations::default();
        expectations.will_create("rs", "a", now);
        expectations.will_create("rs", "b", now);
        let mut pod = Pod::default();
        pod.metadata.name = "a".to_owned();
        pod.metadata.owner_references.push(OwnerReference {
            uid: "rs".to_owned(),
            controller: Some(true),
            ..OwnerReference::default()
        });
        expectations.observe(&pod, false);
        assert_eq!(expectations.unseen("rs", now).created, HashSet::from(["b".to_owned()]));
    }

    #[test]
    fn what_never_comes_expires() {
        let now = Timestamp::UNIX_EPOCH;
        let expectations = Expectations::default();
        expectations.will_delete("rs", "uid", now);
        assert!(expectations.unseen("rs", now).requeue_after().is_some());
        assert_eq!(expectations.unseen("rs", now + EXPIRY), Unseen::default());
    }
}
