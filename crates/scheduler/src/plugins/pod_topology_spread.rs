//! PodTopologySpread: pods that a selector means are spread over places (zones, hosts) evenly.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::objects::{Pod, TopologySpreadConstraint};
use crate::snapshot::{NodeInfo, Snapshot};

use super::{Reason, node_affinity};

/// How many pods each place has, for each constraint of a pod. Counted once for all nodes.
#[derive(Debug, Default)]
pub struct Counts<'a> {
    constraints: Vec<Counted<'a>>,
}

#[derive(Debug)]
struct Counted<'a> {
    constraint: &'a TopologySpreadConstraint,
    places: HashMap<&'a str, i64, FixedState>,
    least: i64,
    /// Whether the pod is one of those that are counted.
    counts_itself: i64,
}

impl<'a> Counts<'a> {
    /// Counts for a pod; costs nothing for a pod without constraints.
    pub fn new(pod: &'a Pod, snapshot: &'a Snapshot) -> Self {
        let constraints = pod.spec.topology_spread_constraints.iter();
        Self { constraints: constraints.map(|constraint| count(constraint, pod, snapshot)).collect() }
    }

    /// Whether the pod would make one place too full.
    pub fn filter(&self, node: &NodeInfo) -> Option<Reason> {
        let hard = self.constraints.iter().filter(|counted| counted.is_hard());
        for counted in hard {
            let Some(place) = counted.place(node) else { return Some(Reason::TopologySpreadLabel) };
            let here = counted.places.get(place).copied().unwrap_or(0) + counted.counts_itself;
            if here - counted.least > i64::from(counted.constraint.max_skew) {
                return Some(Reason::TopologySpread);
            }
        }
        None
    }

    /// How many pods are at the node's places already, for the constraints that are wishes.
    pub fn score(&self, node: &NodeInfo) -> i64 {
        let soft = self.constraints.iter().filter(|counted| !counted.is_hard());
        soft.map(|counted| {
            let here = counted.place(node).and_then(|place| counted.places.get(place));
            // A node at no place is the last choice.
            here.copied().unwrap_or(if counted.place(node).is_some() { 0 } else { i64::from(i32::MAX) })
        })
        .sum()
    }
}

impl Counted<'_> {
    fn is_hard(&self) -> bool {
        self.constraint.when_unsatisfiable != "ScheduleAnyway"
    }

    fn place<'n>(&self, node: &'n NodeInfo) -> Option<&'n str> {
        node.node.metadata.labels.get(&self.constraint.topology_key).map(String::as_str)
    }
}

fn count<'a>(constraint: &'a TopologySpreadConstraint, pod: &'a Pod, snapshot: &'a Snapshot) -> Counted<'a> {
    let means = |other: &Pod| {
        let selected = constraint
            .label_selector
            .as_ref()
            .is_some_and(|selector| selector.matches(&other.metadata.labels));
        let keys = constraint.match_label_keys.iter();
        let mut same = keys.filter_map(|key| Some((key, pod.metadata.labels.get(key)?)));
        selected
            && other.metadata.namespace == pod.metadata.namespace
            && same.all(|(key, value)| other.metadata.labels.get(key) == Some(value))
    };
    let mut places: HashMap<&str, i64, FixedState> = HashMap::default();
    for node in snapshot.nodes() {
        let Some(place) = node.node.metadata.labels.get(&constraint.topology_key) else { continue };
        if !node_affinity::matches(pod, node) {
            continue;
        }
        let meant =
            node.pods.values().filter(|other| !other.pod.metadata.is_being_deleted() && means(&other.pod));
        *places.entry(place).or_default() += i64::try_from(meant.count()).unwrap_or(i64::MAX);
    }
    let enough =
        constraint.min_domains.is_none_or(|least| places.len() >= usize::try_from(least).unwrap_or(0));
    let least = if enough { places.values().copied().min().unwrap_or(0) } else { 0 };
    Counted { constraint, places, least, counts_itself: i64::from(means(pod)) }
}
