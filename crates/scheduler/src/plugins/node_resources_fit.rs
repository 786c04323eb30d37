//! NodeResourcesFit: enough of everything must be left; the more is left, the better (LeastAllocated).

use crate::snapshot::{NodeInfo, PodInfo};

use super::Reason;

/// Every resource of which too little is left.
pub fn filter(pod: &PodInfo, node: &NodeInfo, reasons: &mut Vec<Reason>) {
    let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    if pods + 1 > node.allowed_pods {
        reasons.push(Reason::TooManyPods);
    }
    let (wanted, has, taken) = (&pod.requests, &node.allocatable, &node.requested);
    let mut check = |resource: &str, wanted: i64, has: i64, taken: i64| {
        if wanted > 0 && wanted > has - taken {
            reasons.push(Reason::Insufficient { resource: resource.to_owned(), ever: wanted <= has });
        }
    };
    check("cpu", wanted.milli_cpu, has.milli_cpu, taken.milli_cpu);
    check("memory", wanted.memory, has.memory, taken.memory);
    check("ephemeral-storage", wanted.ephemeral_storage, has.ephemeral_storage, taken.ephemeral_storage);
    for (name, wanted) in &wanted.extended {
        let has = has.extended.get(name).copied().unwrap_or(0);
        let taken = taken.extended.get(name).copied().unwrap_or(0);
        check(name, *wanted, has, taken);
    }
}

/// How much is left of cpu and memory with the pod on it: 0 (nothing) to 100 (all).
pub fn score(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let left = |has: i64, taken: i64| if has <= 0 || taken > has { 0 } else { (has - taken) * 100 / has };
    let cpu = left(node.allocatable.milli_cpu, node.scored.0 + pod.scored.0);
    let memory = left(node.allocatable.memory, node.scored.1 + pod.scored.1);
    (cpu + memory) / 2
}
