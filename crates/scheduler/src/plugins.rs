//! The reasons for and against a node, one file for each plugin, named as in Kubernetes.
//!
//! A filter says why a pod cannot run on a node, or nothing. A score says how well it would run there; how scores
//! weigh against each other is the order of the fields of [`crate::schedule::Score`].

pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_resources_balanced_allocation;
pub mod node_resources_fit;
pub mod node_unschedulable;
pub mod pod_topology_spread;
pub mod taint_toleration;
pub mod volume_binding;
pub mod volume_restrictions;

use std::fmt;

/// Why a node is not possible.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The node is cordoned.
    Unschedulable,
    /// The pod names another node.
    NodeName,
    /// A taint keeps the pod away.
    UntoleratedTaint,
    /// The node's labels are not those the pod asks for.
    NodeAffinity,
    /// A host port is taken.
    NodePorts,
    /// Too little of a resource is left. `ever`: an empty node would have enough.
    Insufficient {
        /// Its name.
        resource: String,
        /// Whether it would fit if nothing else were there.
        ever: bool,
    },
    /// The node has as many pods as it takes.
    TooManyPods,
    /// Pods would not be spread evenly enough.
    TopologySpread,
    /// The node is at no place by which pods are spread.
    TopologySpreadLabel,
    /// No pod is near that should be.
    PodAffinity,
    /// A pod is near that should not be.
    PodAntiAffinity,
    /// A pod is near that wants to be alone.
    ExistingAntiAffinity,
    /// A volume of the pod is not reached from the node.
    VolumeNodeAffinity,
    /// A claim of the pod would get no volume on the node.
    NoVolume,
    /// A claim of the pod is bound to a volume that is gone.
    VolumeGone,
    /// A pod uses a claim that is for one pod only.
    ReadWriteOncePod,
}

impl Reason {
    /// Whether the node could become possible if some of its pods went.
    pub fn is_resolvable(&self) -> bool {
        match self {
            Self::Unschedulable
            | Self::NodeName
            | Self::UntoleratedTaint
            | Self::NodeAffinity
            | Self::TopologySpreadLabel
            | Self::PodAffinity
            | Self::VolumeNodeAffinity
            | Self::NoVolume
            | Self::VolumeGone
            | Self::Insufficient { ever: false, .. } => false,
            Self::NodePorts
            | Self::Insufficient { ever: true, .. }
            | Self::TooManyPods
            | Self::TopologySpread
            | Self::PodAntiAffinity
            | Self::ReadWriteOncePod
            | Self::ExistingAntiAffinity => true,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unschedulable => "node(s) were unschedulable",
            Self::NodeName => "node(s) didn't match the requested node name",
            Self::UntoleratedTaint => "node(s) had untolerated taint(s)",
            Self::NodeAffinity => "node(s) didn't match Pod's node affinity/selector",
            Self::NodePorts => "node(s) didn't have free ports for the requested pod ports",
            Self::Insufficient { resource, .. } => return write!(f, "Insufficient {resource}"),
            Self::TooManyPods => "Too many pods",
            Self::TopologySpread => "node(s) didn't match pod topology spread constraints",
            Self::TopologySpreadLabel => {
                "node(s) didn't match pod topology spread constraints (missing required label)"
            }
            Self::PodAffinity => "node(s) didn't match pod affinity rules",
            Self::PodAntiAffinity => "node(s) didn't match pod anti-affinity rules",
            Self::VolumeNodeAffinity => "node(s) had volume node affinity conflict",
            Self::NoVolume => "node(s) didn't find available persistent volumes to bind",
            Self::VolumeGone => "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
            Self::ReadWriteOncePod => {
                "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
            }
            Self::ExistingAntiAffinity => "node(s) didn't satisfy existing pods anti-affinity rules",
        })
    }
}
