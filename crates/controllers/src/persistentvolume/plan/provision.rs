//! Volumes that are made for a claim: folders on the node that the claim's pod was given.
//!
//! A node that has room for them says where, in the annotation [`FOLDER`]. The volume is written here; the kubelet
//! of that node makes the folder when a pod first uses it, and takes it away once the volume is gone.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Action, Told, for_uid, guarded};
use crate::objects::{
    Node, PROVISIONED_BY, PROVISIONER, PersistentVolume, PersistentVolumeClaim, SELECTED_NODE, StorageClass,
};

/// Who makes them.
pub const NODE_LOCAL: &str = "coxswain.io/node-local";
/// The annotation of a node that says in which folder its volumes are.
pub const FOLDER: &str = "coxswain.io/node-local-volumes";
/// The label of a volume that is on a node, so that its kubelet hears of no others.
pub const NODE_LABEL: &str = "coxswain.io/node";
/// The label that a node is known by.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What to do for a claim that no volume was found for.
pub struct Provision {
    /// The steps.
    pub actions: Vec<Action>,
    /// What to tell.
    pub told: Option<Told>,
}

/// Decides how a claim of a class gets a volume.
pub fn provision(claim: &PersistentVolumeClaim, class: &StorageClass, nodes: &[Arc<Node>]) -> Provision {
    let nothing = |told| Provision { actions: Vec::new(), told: Some(told) };
    if class.provisioner == "kubernetes.io/no-provisioner" {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return nothing(Told::normal("FailedBinding", message));
    }
    if class.provisioner != NODE_LOCAL {
        return wait_for(claim, &class.provisioner);
    }
    if claim.spec.volume_mode == "Block" {
        let message = "failed to provision volume: node-local volumes are file systems, not block devices";
        return nothing(Told::warning("ProvisioningFailed", message));
    }
    let Some(node) = node_for(claim, nodes) else {
        // The scheduler chooses again, once it sees that the node it chose is out of the question.
        let chosen = claim.metadata.annotations.get(SELECTED_NODE);
        let actions = chosen.map(|_| {
            let patch = json!({"metadata": {"annotations": {SELECTED_NODE: null}}});
            Action::PatchClaim(guarded(&claim.metadata, patch))
        });
        let message = match chosen {
            Some(node) => format!("failed to provision volume: node \"{node}\" has no room for volumes"),
            None => "failed to provision volume: no node has room for volumes".to_owned(),
        };
        let told = Some(Told::warning("ProvisioningFailed", message));
        return Provision { actions: actions.into_iter().collect(), told };
    };
    let volume = volume(claim, class, node);
    let name = volume["metadata"]["name"].as_str().unwrap_or_default();
    let told = Told::normal("ProvisioningSucceeded", format!("Successfully provisioned volume {name}"));
    Provision { actions: vec![Action::CreateVolume(Box::new(volume))], told: Some(told) }
}

/// Tells a provisioner that is not part of this cluster's controllers that it is its turn.
fn wait_for(claim: &PersistentVolumeClaim, provisioner: &str) -> Provision {
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by \
         the system administrator. If volume creation is delayed, please verify that the provisioner is running \
         and correctly registered."
    );
    let known = claim.metadata.annotations.get(PROVISIONER).map(String::as_str) == Some(provisioner);
    let patch = json!({"metadata": {"annotations": {
        PROVISIONER: provisioner,
        "volume.beta.kubernetes.io/storage-provisioner": provisioner,
    }}});
    let actions = if known { Vec::new() } else { vec![Action::PatchClaim(guarded(&claim.metadata, patch))] };
    Provision { actions, told: Some(Told::normal("ExternalProvisioning", message)) }
}

/// The node that was selected, or for a claim that does not wait for one any that has room.
fn node_for<'a>(claim: &PersistentVolumeClaim, nodes: &'a [Arc<Node>]) -> Option<&'a Node> {
    let has_room =
        |node: &&Node| node.metadata.annotations.contains_key(FOLDER) && !node.metadata.is_being_deleted();
    let mut nodes = nodes.iter().map(|node| &**node).filter(has_room);
    if let Some(name) = claim.metadata.annotations.get(SELECTED_NODE) {
        return nodes.find(|node| node.metadata.name == *name);
    }
    let mut nodes: Vec<_> = nodes.filter(|node| !node.spec.unschedulable).collect();
    nodes.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    // Spread by the claim's uid, which is as good as chance and the same when looked at again.
    let hash = |sum: usize, byte: u8| sum.wrapping_mul(31).wrapping_add(usize::from(byte));
    let number = claim.metadata.uid.bytes().fold(0, hash);
    number.checked_rem(nodes.len()).map(|index| nodes[index])
}

fn volume(claim: &PersistentVolumeClaim, class: &StorageClass, node: &Node) -> Value {
    let name = format!("pvc-{}", claim.metadata.uid);
    let folder = node.metadata.annotations.get(FOLDER).map(|folder| folder.trim_end_matches('/'));
    let hostname = node.metadata.labels.get(HOSTNAME).unwrap_or(&node.metadata.name);
    let policy = if class.reclaim_policy.is_empty() { "Delete" } else { &class.reclaim_policy };
    let mut volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "labels": {NODE_LABEL: node.metadata.name},
            "annotations": {PROVISIONED_BY: NODE_LOCAL},
            "finalizers": [crate::volume_protection::VOLUME],
        },
        "spec": {
            "capacity": {"storage": claim.size()},
            "accessModes": claim.spec.access_modes,
            "claimRef": {
                "kind": "PersistentVolumeClaim",
                "apiVersion": "v1",
                "namespace": claim.metadata.namespace,
                "name": claim.metadata.name,
                "uid": claim.metadata.uid,
                "resourceVersion": claim.metadata.resource_version,
            },
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": class.metadata.name,
            "volumeMode": "Filesystem",
            "local": {"path": format!("{}/{name}", folder.unwrap_or_default())},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": HOSTNAME, "operator": "In", "values": [hostname]},
            ]}]}},
        },
    });
    if !class.mount_options.is_empty() {
        volume["spec"]["mountOptions"] = json!(class.mount_options);
    }
    volume
}

/// Lets a volume grow with its claim, where its class allows it: a folder has no size of its own.
pub fn expand(
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
    class: Option<&StorageClass>,
) -> Vec<Action> {
    let ours = volume.metadata.annotations.get(PROVISIONED_BY).map(String::as_str) == Some(NODE_LOCAL);
    let allowed = class.is_some_and(|class| class.allow_volume_expansion == Some(true));
    let wanted = claim.size();
    let mut actions = Vec::new();
    if !ours || !allowed || claim.status.phase != "Bound" {
        return actions;
    }
    if volume.size() < wanted {
        let patch = guarded(&volume.metadata, json!({"spec": {"capacity": {"storage": wanted}}}));
        actions.push(Action::PatchVolume { name: volume.metadata.name.clone(), patch });
    }
    if claim.status.capacity.get("storage").is_some_and(|shown| *shown < wanted) {
        let status = json!({"status": {"capacity": {"storage": wanted}}});
        actions.push(Action::PatchClaimStatus(for_uid(&claim.metadata, status)));
    }
    actions
}
