//! Which pods of less priority have to go so that a pod fits. Pure.
//!
//! On each node that could become possible as few pods as possible are chosen, the least important ones; of all nodes
//! the one is taken whose victims matter least.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::plugins::inter_pod_affinity::Near;
use crate::plugins::pod_topology_spread::Counts;
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

use super::{Circumstances, FitError, Volumes, filter};

/// A node to be cleared, and of what.
#[derive(Debug, Clone)]
pub struct Preemption {
    /// The name of the node.
    pub node: String,
    /// The pods that have to go.
    pub victims: Vec<Arc<PodInfo>>,
}

/// How much the victims on a node matter; the least is taken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    highest: i32,
    total: i64,
    count: usize,
    /// Victims that have run the shortest.
    started: Reverse<Option<jiff::Timestamp>>,
}

/// Finds the pods to take down for `pod`, or notes in `error` why there are none.
pub fn preempt(snapshot: &Snapshot, pod: &PodInfo, error: &mut FitError) -> Option<Preemption> {
    if pod.pod.spec.preemption_policy == "Never" {
        error.never_preempts();
        return None;
    }
    let spread = Counts::default();
    let near = Near::new(&pod.pod, snapshot);
    let volumes = Volumes::new(&pod.pod, snapshot).ok()?;
    let known = Circumstances { spread: &spread, near: &near, volumes: &volumes };
    let candidates = error.resolvable().iter().filter_map(|name| snapshot.node(name));
    let best = candidates
        .filter_map(|node| Some((node, victims(pod, node, &known)?)))
        .min_by_key(|(_, victims)| cost(victims));
    if best.is_none() && !error.resolvable().is_empty() {
        error.without_victims();
    }
    best.map(|(node, victims)| Preemption { node: node.name().to_owned(), victims })
}

fn cost(victims: &[Arc<PodInfo>]) -> Cost {
    let priorities = victims.iter().map(|victim| victim.pod.spec.priority);
    Cost {
        highest: priorities.clone().max().unwrap_or(i32::MIN),
        total: priorities.map(i64::from).sum(),
        count: victims.len(),
        started: Reverse(
            victims.iter().filter_map(|victim| victim.pod.metadata.creation_timestamp).map(|t| t.0).min(),
        ),
    }
}

/// The fewest and least important pods of a node without which the pod fits.
fn victims(pod: &PodInfo, node: &NodeInfo, known: &Circumstances<'_>) -> Option<Vec<Arc<PodInfo>>> {
    let priority = pod.pod.spec.priority;
    let mut lesser: Vec<_> =
        node.pods.values().filter(|other| other.pod.spec.priority < priority).cloned().collect();
    if lesser.is_empty() {
        return None;
    }
    let fits = |without: &[&Arc<PodInfo>]| {
        let cleared = node.without(without.iter().map(|victim| victim.pod.metadata.uid.as_str()));
        let mut reasons = Vec::new();
        filter(pod, &cleared, known, &mut reasons);
        reasons.is_empty()
    };
    if !fits(&lesser.iter().collect::<Vec<_>>()) {
        return None;
    }
    // The most important come back first, as long as the pod still fits.
    lesser.sort_by(|a, b| {
        let rank = |info: &PodInfo| {
            let meta = &info.pod.metadata;
            (Reverse(info.pod.spec.priority), meta.creation_timestamp, meta.uid.clone())
        };
        rank(a).cmp(&rank(b))
    });
    let mut gone: Vec<&Arc<PodInfo>> = lesser.iter().collect();
    for candidate in &lesser {
        let others: Vec<_> = gone.iter().copied().filter(|other| !Arc::ptr_eq(other, candidate)).collect();
        if fits(&others) {
            gone = others;
        }
    }
    Some(gone.into_iter().cloned().collect())
}
