//! NodeResourcesBalancedAllocation: cpu and memory should be used up at the same pace, so that neither is left over.

use crate::snapshot::{NodeInfo, PodInfo};

/// How evenly cpu and memory are used with the pod on it: 0 to 100.
pub fn score(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let used = |has: i64, taken: i64| if has <= 0 { 1000 } else { (taken * 1000 / has).min(1000) };
    let cpu = used(node.allocatable.milli_cpu, node.scored.0 + pod.scored.0);
    let memory = used(node.allocatable.memory, node.scored.1 + pod.scored.1);
    // The standard deviation of two numbers is half of their distance.
    (1000 - (cpu - memory).abs() / 2) / 10
}
