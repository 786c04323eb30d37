//! TaintToleration: taints keep pods away that do not tolerate them.

use crate::objects::{Pod, Taint};
use crate::snapshot::NodeInfo;

use super::Reason;

/// Whether a taint keeps the pod away.
pub fn filter(pod: &Pod, node: &NodeInfo) -> Option<Reason> {
    let keeps_away = |taint: &Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    let mut taints = node.node.spec.taints.iter().filter(|taint| keeps_away(taint));
    taints.any(|taint| !is_tolerated(pod, taint)).then_some(Reason::UntoleratedTaint)
}

/// How many taints would rather have the pod elsewhere.
pub fn score(pod: &Pod, node: &NodeInfo) -> usize {
    let prefers = |taint: &&Taint| taint.effect == "PreferNoSchedule";
    node.node.spec.taints.iter().filter(prefers).filter(|taint| !is_tolerated(pod, taint)).count()
}

fn is_tolerated(pod: &Pod, taint: &Taint) -> bool {
    pod.spec.tolerations.iter().any(|toleration| toleration.tolerates(taint))
}
