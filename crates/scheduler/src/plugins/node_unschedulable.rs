//! NodeUnschedulable: a cordoned node takes no new pods, but for those that tolerate it.

use crate::objects::{Pod, Taint};
use crate::snapshot::NodeInfo;

use super::Reason;

/// The taint that stands for `spec.unschedulable`.
const TAINT: &str = "node.kubernetes.io/unschedulable";

/// Whether the node is cordoned for the pod.
pub fn filter(pod: &Pod, node: &NodeInfo) -> Option<Reason> {
    if !node.node.spec.unschedulable {
        return None;
    }
    let taint = Taint { key: TAINT.to_owned(), value: String::new(), effect: "NoSchedule".to_owned() };
    let tolerated = pod.spec.tolerations.iter().any(|toleration| toleration.tolerates(&taint));
    (!tolerated).then_some(Reason::Unschedulable)
}
