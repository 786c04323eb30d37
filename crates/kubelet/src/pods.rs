//! The pods of this node: those that are bound to it, and the static ones of its own folder.
//!
//! A static pod lives by its file. So that it can be seen, the kubelet makes a mirror of it in the apiserver: an
//! object that nobody runs, with the status of the static pod. [`folder`] reads the files.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::gvk::NamespacedName;
use client::Store;
use parking_lot::RwLock;
use serde_json::Value;

use crate::pod::Pod;
use crate::workers::UID;

pub mod folder;

/// Says that a pod is a mirror, and of which static pod.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod of the node's own folder.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticPod {
    /// As the workers see it.
    pub pod: Pod,
    /// What its mirror is made from.
    pub mirror: Value,
}

/// The pods of a node. Clones share everything.
#[derive(Clone)]
pub struct Pods {
    store: Store<Pod>,
    fixed: Arc<RwLock<BTreeMap<String, StaticPod>>>,
}

impl Pods {
    /// The pods of a store, which has an index by [`UID`]; no static ones yet.
    pub fn new(store: Store<Pod>) -> Self {
        Self { store, fixed: Arc::default() }
    }

    /// The pod with that uid, if it is to be run; mirrors are not.
    pub fn by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        if let Some(pod) = self.fixed(uid) {
            return Some(pod);
        }
        self.store.by_index(UID, uid).pop().filter(|pod| mirrored(pod).is_none())
    }

    /// All pods that are to be run.
    pub fn list(&self) -> Vec<Arc<Pod>> {
        let uids: Vec<String> = self.fixed.read().keys().cloned().collect();
        let fixed = uids.iter().filter_map(|uid| self.fixed(uid));
        self.store.list().into_iter().filter(|pod| mirrored(pod).is_none()).chain(fixed).collect()
    }

    /// The pod of that name, and of that uid in the apiserver where one is given.
    pub fn get(&self, name: &NamespacedName, uid: &str) -> Option<Arc<Pod>> {
        let known = self.store.get(name).filter(|pod| uid.is_empty() || pod.metadata.uid == uid)?;
        match mirrored(&known) {
            Some(hash) => self.fixed(hash),
            None => Some(known),
        }
    }

    /// A static pod, with the status that its mirror has.
    fn fixed(&self, uid: &str) -> Option<Arc<Pod>> {
        let mut pod = self.fixed.read().get(uid)?.pod.clone();
        if let Some(mirror) = self.mirror_of(&pod) {
            pod.status = mirror.status.clone();
        }
        Some(Arc::new(pod))
    }

    /// What the mirror of a static pod is made from.
    pub fn document(&self, uid: &str) -> Option<Value> {
        self.fixed.read().get(uid).map(|known| known.mirror.clone())
    }

    /// The object of that uid, if it is a mirror.
    pub fn mirror(&self, uid: &str) -> Option<Arc<Pod>> {
        self.store.by_index(UID, uid).pop().filter(|pod| mirrored(pod).is_some())
    }

    /// The object that has the name of a static pod.
    pub fn namesake(&self, pod: &Pod) -> Option<Arc<Pod>> {
        self.store.get(&NamespacedName::new(&*pod.metadata.namespace, &*pod.metadata.name))
    }

    fn mirror_of(&self, pod: &Pod) -> Option<Arc<Pod>> {
        self.namesake(pod).filter(|mirror| mirrored(mirror) == Some(&pod.metadata.uid))
    }

    /// The uid of the object that shows the status of a pod; `None` where there is none yet.
    pub fn shown_by(&self, pod: &Pod) -> Option<String> {
        if self.fixed.read().contains_key(&pod.metadata.uid) {
            return self.mirror_of(pod).map(|mirror| mirror.metadata.uid.clone());
        }
        Some(pod.metadata.uid.clone())
    }

    /// The static pods are these now. Says whom that concerns: uids of pods and of mirrors.
    pub fn set_static(&self, pods: BTreeMap<String, StaticPod>) -> Vec<String> {
        let mut fixed = self.fixed.write();
        if *fixed == pods {
            return Vec::new();
        }
        let mut uids: Vec<String> = fixed.keys().chain(pods.keys()).cloned().collect();
        *fixed = pods;
        drop(fixed);
        let mirrors = self.store.list().into_iter().filter(|pod| mirrored(pod).is_some());
        uids.extend(mirrors.map(|mirror| mirror.metadata.uid.clone()));
        uids
    }
}

/// Of which static pod it is the mirror, if it is one.
pub fn mirrored(pod: &Pod) -> Option<&str> {
    pod.metadata.annotations.get(MIRROR).map(String::as_str)
}
