//! NodeName: a pod that names its node runs there or nowhere.

use crate::objects::Pod;
use crate::snapshot::NodeInfo;

use super::Reason;

/// Whether the pod names another node.
pub fn filter(pod: &Pod, node: &NodeInfo) -> Option<Reason> {
    let other = !pod.spec.node_name.is_empty() && pod.spec.node_name != node.name();
    other.then_some(Reason::NodeName)
}
