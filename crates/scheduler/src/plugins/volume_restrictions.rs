//! VolumeRestrictions: a claim that is ReadWriteOncePod is for one pod in the whole cluster.

use api::gvk::NamespacedName;

use crate::objects::Pod;
use crate::snapshot::{NodeInfo, Snapshot};

use super::Reason;

/// The claims of a pod that nobody else may use.
#[derive(Debug, Default)]
pub struct Exclusive {
    namespace: String,
    uid: String,
    claims: Vec<String>,
    /// The nodes of pods that use one of them. On the node that is looked at the pods that are there now count: some
    /// may have been thought away.
    nodes: Vec<String>,
}

impl Exclusive {
    /// Looks for pods that use the exclusive claims of `pod`.
    pub fn new(pod: &Pod, snapshot: &Snapshot) -> Self {
        let mut exclusive = Self::default();
        let is_exclusive = |name: &String| {
            let key = NamespacedName::new(&*pod.metadata.namespace, &**name);
            let claim = snapshot.storage.claim(&key);
            claim.is_some_and(|claim| claim.spec.access_modes.iter().any(|mode| mode == "ReadWriteOncePod"))
        };
        exclusive.claims = pod.claims().filter(is_exclusive).collect();
        if exclusive.claims.is_empty() {
            return exclusive;
        }
        exclusive.namespace.clone_from(&pod.metadata.namespace);
        exclusive.uid.clone_from(&pod.metadata.uid);
        for node in snapshot.nodes() {
            if exclusive.is_used_on(node) {
                exclusive.nodes.push(node.name().to_owned());
            }
        }
        exclusive
    }

    fn is_used_on(&self, node: &NodeInfo) -> bool {
        let uses = |pod: &Pod| {
            pod.metadata.namespace == self.namespace
                && pod.metadata.uid != self.uid
                && pod.claims().any(|claim| self.claims.contains(&claim))
        };
        node.pods.values().any(|info| uses(&info.pod))
    }

    /// Whether a pod uses one of the claims already.
    pub fn filter(&self, node: &NodeInfo) -> Option<Reason> {
        if self.claims.is_empty() {
            return None;
        }
        let elsewhere = self.nodes.iter().any(|name| name != node.name());
        (elsewhere || self.is_used_on(node)).then_some(Reason::ReadWriteOncePod)
    }
}
