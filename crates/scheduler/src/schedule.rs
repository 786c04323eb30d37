//! The decision: which node a pod goes to, or why it cannot go anywhere. Pure.

mod fit_error;
pub mod preemption;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use crate::objects::Pod;
use crate::plugins::inter_pod_affinity::Near;
use crate::plugins::pod_topology_spread::Counts;
use crate::plugins::{
    Reason, node_affinity, node_name, node_ports, node_resources_balanced_allocation, node_resources_fit,
    node_unschedulable, taint_toleration, volume_binding::PodVolumes, volume_restrictions::Exclusive,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};
use crate::storage::Wanted;

pub use fit_error::FitError;

/// Where a pod goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The name of the node.
    pub node: String,
    /// How many nodes were possible.
    pub feasible: usize,
    /// How many nodes were looked at.
    pub evaluated: usize,
}

/// How good a node is. The order of the fields is the policy: an earlier field outweighs all later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    /// TaintToleration: taints that would rather have the pod elsewhere.
    pub taints: Reverse<usize>,
    /// NodeAffinity: what the pod prefers of nodes.
    pub node_affinity: i64,
    /// InterPodAffinity: what the pod prefers to be near.
    pub pod_affinity: i64,
    /// PodTopologySpread: pods that are meant to be elsewhere.
    pub topology_spread: Reverse<i64>,
    /// Pods of the same owner: they are spread, so that one node takes as few of them with it as possible.
    pub siblings: Reverse<u32>,
    /// NodeResourcesFit, LeastAllocated: what is left.
    pub least_allocated: i64,
    /// NodeResourcesBalancedAllocation: how evenly what is used is used.
    pub balanced_allocation: i64,
}

/// With more nodes than this not all are scored: enough possible ones are.
const ENOUGH: usize = 100;

/// Decides where `pod` goes. Among equals the first from `start` on wins, so a caller that moves `start` on spreads
/// pods over equal nodes, and a decision can be repeated. Pure: no clock, client or randomness.
pub fn schedule(snapshot: &Snapshot, pod: &PodInfo, start: usize) -> Result<Assignment, FitError> {
    let nodes = snapshot.nodes();
    let spread = Counts::new(&pod.pod, snapshot);
    let near = Near::new(&pod.pod, snapshot);
    let volumes = match Volumes::new(&pod.pod, snapshot) {
        Ok(volumes) => volumes,
        Err(message) => return Err(FitError::on_every_node(nodes.len(), message)),
    };
    let enough = enough(nodes.len());
    let mut error = FitError::new(nodes.len());
    let mut best: Option<(Score, usize)> = None;
    let (mut feasible, mut evaluated) = (0, 0);
    let mut reasons = Vec::new();
    for step in 0..nodes.len() {
        let index = (start + step) % nodes.len();
        let node = &nodes[index];
        evaluated += 1;
        filter(pod, node, &Circumstances { spread: &spread, near: &near, volumes: &volumes }, &mut reasons);
        if !reasons.is_empty() {
            error.add(node.name(), &mut reasons);
            continue;
        }
        feasible += 1;
        let score = score(pod, node, &spread, &near);
        if best.is_none_or(|(most, _)| score > most) {
            best = Some((score, index));
        }
        if feasible >= enough {
            break;
        }
    }
    match best {
        Some((_, index)) => Ok(Assignment { node: nodes[index].name().to_owned(), feasible, evaluated }),
        None => Err(error),
    }
}

/// How many possible nodes are enough to choose from: all of a small cluster, a share of a large one that gets smaller
/// with its size (as in Kubernetes: 50 % less one for each 125 nodes, at least 5 %).
fn enough(nodes: usize) -> usize {
    if nodes <= ENOUGH {
        return nodes;
    }
    let percent = 50usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(ENOUGH)
}

/// The volumes of a pod.
struct Volumes<'a> {
    binding: PodVolumes<'a>,
    exclusive: Exclusive,
}

impl<'a> Volumes<'a> {
    /// The error says why no node at all is possible.
    fn new(pod: &Pod, snapshot: &'a Snapshot) -> Result<Self, String> {
        if pod.spec.volumes.is_empty() {
            return Ok(Self { binding: PodVolumes::default(), exclusive: Exclusive::default() });
        }
        let binding = PodVolumes::new(pod, snapshot)?;
        Ok(Self { binding, exclusive: Exclusive::new(pod, snapshot) })
    }

    fn filter(&self, node: &NodeInfo) -> Option<Reason> {
        self.exclusive.filter(node).or_else(|| self.binding.filter(node))
    }
}

/// What is worked out once for all nodes.
struct Circumstances<'a> {
    spread: &'a Counts<'a>,
    near: &'a Near<'a>,
    volumes: &'a Volumes<'a>,
}

/// What the claims of a pod get that wait for it to have a node, on this node.
pub fn volumes_on(snapshot: &Snapshot, pod: &Pod, node: &str) -> Vec<Wanted> {
    if pod.spec.volumes.is_empty() {
        return Vec::new();
    }
    let volumes = PodVolumes::new(pod, snapshot).ok();
    let node = snapshot.node(node);
    volumes.zip(node).and_then(|(volumes, node)| volumes.choose(node)).unwrap_or_default()
}

/// Why the pod cannot run on the node. The first plugin that objects is asked for all its reasons, the others not.
fn filter(pod: &PodInfo, node: &NodeInfo, known: &Circumstances<'_>, reasons: &mut Vec<Reason>) {
    let first = node_unschedulable::filter(&pod.pod, node)
        .or_else(|| node_name::filter(&pod.pod, node))
        .or_else(|| taint_toleration::filter(&pod.pod, node))
        .or_else(|| node_affinity::filter(&pod.pod, node))
        .or_else(|| node_ports::filter(pod, node));
    if let Some(reason) = first {
        reasons.push(reason);
        return;
    }
    node_resources_fit::filter(pod, node, reasons);
    if reasons.is_empty() {
        let volumes = known.volumes.filter(node);
        reasons.extend(volumes.or_else(|| known.spread.filter(node)).or_else(|| known.near.filter(node)));
    }
}

fn score(pod: &PodInfo, node: &NodeInfo, spread: &Counts<'_>, near: &Near<'_>) -> Score {
    Score {
        taints: Reverse(taint_toleration::score(&pod.pod, node)),
        node_affinity: node_affinity::score(&pod.pod, node),
        pod_affinity: near.score(node),
        topology_spread: Reverse(spread.score(node)),
        siblings: Reverse(pod.owner().map_or(0, |owner| node.siblings(owner))),
        least_allocated: node_resources_fit::score(pod, node),
        balanced_allocation: node_resources_balanced_allocation::score(pod, node),
    }
}
