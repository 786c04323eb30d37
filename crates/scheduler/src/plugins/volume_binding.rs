//! VolumeBinding: whether a node can reach the volumes of a pod, or get those that are still to be found or made.

use std::sync::Arc;

use api::gvk::NamespacedName;

use crate::objects::Pod;
use crate::snapshot::{NodeInfo, Snapshot};
use crate::storage::{Claim, Storage, Volume, Wanted};

use super::{Reason, node_affinity};

/// The provisioner of volumes on nodes, and the annotation of nodes that have room for them.
const NODE_LOCAL: (&str, &str) = ("coxswain.io/node-local", "coxswain.io/node-local-volumes");

/// The volumes of one pod.
#[derive(Debug, Default)]
pub struct PodVolumes<'a> {
    /// Of claims that are bound; `None` where the volume does not exist.
    bound: Vec<Option<&'a Volume>>,
    /// Claims that wait for the pod to have a node, and the free volumes that suit them.
    waiting: Vec<(&'a Arc<Claim>, Vec<&'a Arc<Volume>>)>,
    storage: Option<&'a Storage>,
}

impl<'a> PodVolumes<'a> {
    /// Looks up the volumes of a pod; the error says why no node at all is possible.
    pub fn new(pod: &Pod, snapshot: &'a Snapshot) -> Result<Self, String> {
        let storage = &snapshot.storage;
        let mut volumes = Self { storage: Some(storage), ..Self::default() };
        for (name, is_ephemeral) in pod.claims_by_kind() {
            let key = NamespacedName::new(&*pod.metadata.namespace, &*name);
            let Some(claim) = storage.claim(&key) else {
                return Err(if is_ephemeral {
                    format!(
                        "waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\""
                    )
                } else {
                    format!("persistentvolumeclaim \"{name}\" not found")
                });
            };
            if claim.status.phase == "Lost" {
                let volume = &claim.spec.volume_name;
                return Err(format!(
                    "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\""
                ));
            }
            if claim.metadata.is_being_deleted() {
                return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
            }
            if is_ephemeral && claim.metadata.controller().is_none_or(|owner| owner.uid != pod.metadata.uid) {
                return Err(format!("PVC {key} was not created for pod (pod is not owner)"));
            }
            if claim.is_bound() {
                volumes.bound.push(storage.volume(&claim.spec.volume_name).map(|volume| &**volume));
                continue;
            }
            let class = storage.class(claim.class());
            if class.is_some_and(|class| class.volume_binding_mode == "WaitForFirstConsumer")
                && claim.spec.volume_name.is_empty()
            {
                volumes.waiting.push((claim, storage.suitable(claim)));
            } else {
                return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
            }
        }
        Ok(volumes)
    }

    /// Whether the node can have them.
    pub fn filter(&self, node: &NodeInfo) -> Option<Reason> {
        for volume in &self.bound {
            match volume {
                None => return Some(Reason::VolumeGone),
                Some(volume) if !reaches(node, volume) => return Some(Reason::VolumeNodeAffinity),
                Some(_) => {}
            }
        }
        if self.waiting.is_empty() || self.choose(node).is_some() {
            return None;
        }
        Some(Reason::NoVolume)
    }

    /// What each waiting claim gets on the node; `None` where one gets nothing.
    pub fn choose(&self, node: &NodeInfo) -> Option<Vec<Wanted>> {
        let mut chosen: Vec<Wanted> = Vec::new();
        for (claim, suitable) in &self.waiting {
            let node_of = self.storage.and_then(|storage| storage.node_of(claim));
            let is_taken = |volume: &Arc<Volume>| {
                let others = chosen.iter().filter_map(|wanted| wanted.volume.as_ref());
                others.into_iter().any(|other| Arc::ptr_eq(other, volume))
            };
            let found = suitable
                .iter()
                .find(|volume| node_of.is_none() && reaches(node, volume) && !is_taken(volume));
            let can_be_made =
                node_of.is_none_or(|selected| selected == node.name()) && self.makes(claim, node);
            if found.is_none() && !can_be_made {
                return None;
            }
            chosen.push(Wanted { claim: Arc::clone(claim), volume: found.map(|volume| Arc::clone(volume)) });
        }
        Some(chosen)
    }

    /// Whether the class of a claim can make a volume on the node.
    fn makes(&self, claim: &Claim, node: &NodeInfo) -> bool {
        let class = self.storage.and_then(|storage| storage.class(claim.class()));
        match class.map(|class| class.provisioner.as_str()) {
            None | Some("" | "kubernetes.io/no-provisioner") => false,
            Some(name) if name == NODE_LOCAL.0 => node.node.metadata.annotations.contains_key(NODE_LOCAL.1),
            Some(_) => true,
        }
    }
}

/// Whether a node reaches a volume.
fn reaches(node: &NodeInfo, volume: &Volume) -> bool {
    let required = volume.spec.node_affinity.required.as_ref();
    required.is_none_or(|required| node_affinity::selects(required, node))
}
