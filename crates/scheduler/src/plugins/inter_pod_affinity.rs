//! InterPodAffinity: pods that want to be near others, or far from them.
//!
//! A term names pods by labels and a place by a node label. A namespace selector that asks for something is taken to
//! match the pod's own namespace only; an empty one matches all.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::objects::{Pod, PodAffinityTerm};
use crate::snapshot::{NodeInfo, Snapshot};

use super::Reason;

/// (label of the place, its value) -> how many pods.
type Places<'a> = HashMap<(&'a str, &'a str), i64, FixedState>;

/// What is at each place, for one pod. Counted once for all nodes.
#[derive(Debug, Default)]
pub struct Near<'a> {
    affinity: Vec<Term<'a>>,
    anti_affinity: Vec<Term<'a>>,
    /// Places where a pod is that does not want this one near.
    guarded: Places<'a>,
    /// The sum of the weights of what should be near, or not.
    wishes: Places<'a>,
}

#[derive(Debug)]
struct Term<'a> {
    term: &'a PodAffinityTerm,
    places: Places<'a>,
    /// No pod is meant anywhere, but the pod itself: the first of a group may go where it likes.
    is_first: bool,
}

impl<'a> Near<'a> {
    /// Counts for a pod; costs nothing where no pod has any affinity.
    pub fn new(pod: &'a Pod, snapshot: &'a Snapshot) -> Self {
        let affinity = &pod.spec.affinity;
        let count = |term: &'a PodAffinityTerm| {
            let places = places(term, pod, snapshot);
            let is_first = places.is_empty() && means(term, pod, pod);
            Term { term, places, is_first }
        };
        let terms = |affinity: &'a Option<crate::objects::PodAffinity>| {
            affinity.iter().flat_map(|affinity| &affinity.required).map(count).collect()
        };
        let mut near = Self {
            affinity: terms(&affinity.pod_affinity),
            anti_affinity: terms(&affinity.pod_anti_affinity),
            ..Self::default()
        };
        let wishes = affinity.pod_affinity.iter().map(|wishes| (wishes, 1));
        for (wishes, sign) in wishes.chain(affinity.pod_anti_affinity.iter().map(|wishes| (wishes, -1))) {
            for wish in &wishes.preferred {
                for (place, count) in places(&wish.pod_affinity_term, pod, snapshot) {
                    *near.wishes.entry(place).or_default() += sign * i64::from(wish.weight) * count;
                }
            }
        }
        if snapshot.has_anti_affinity() {
            near.note_guards(pod, snapshot);
        }
        near
    }

    fn note_guards(&mut self, pod: &Pod, snapshot: &'a Snapshot) {
        for node in snapshot.nodes().iter().filter(|node| node.with_anti_affinity > 0) {
            for other in node.pods.values() {
                for term in other.pod.spec.affinity.pod_anti_affinity.iter().flat_map(|anti| &anti.required) {
                    if let Some(place) = place(term, node)
                        && means(term, &other.pod, pod)
                    {
                        *self.guarded.entry((&term.topology_key, place)).or_default() += 1;
                    }
                }
            }
        }
    }

    /// Why the pod cannot be near what is at the node.
    pub fn filter(&self, node: &NodeInfo) -> Option<Reason> {
        let at = |term: &Term<'_>| {
            let place = place(term.term, node)?;
            term.places.get(&(term.term.topology_key.as_str(), place)).copied()
        };
        let has_place = |term: &Term<'_>| place(term.term, node).is_some();
        let mut affinity = self.affinity.iter();
        if !affinity.all(|term| has_place(term) && (at(term).is_some() || term.is_first)) {
            return Some(Reason::PodAffinity);
        }
        if self.anti_affinity.iter().any(|term| at(term).is_some()) {
            return Some(Reason::PodAntiAffinity);
        }
        let mut guarded = self.guarded.keys();
        let is_here = |(key, value): &(&str, &str)| {
            node.node.metadata.labels.get(*key).is_some_and(|here| here == value)
        };
        guarded.any(is_here).then_some(Reason::ExistingAntiAffinity)
    }

    /// The weights of what should be near, less those of what should not.
    pub fn score(&self, node: &NodeInfo) -> i64 {
        let labels = &node.node.metadata.labels;
        let here =
            self.wishes.iter().filter(|((key, value), _)| labels.get(*key).is_some_and(|l| l == value));
        here.map(|(_, weight)| weight).sum()
    }
}

fn place<'n>(term: &PodAffinityTerm, node: &'n NodeInfo) -> Option<&'n str> {
    node.node.metadata.labels.get(&term.topology_key).map(String::as_str)
}

fn places<'a>(term: &'a PodAffinityTerm, pod: &Pod, snapshot: &'a Snapshot) -> Places<'a> {
    let mut places = Places::default();
    for node in snapshot.nodes() {
        let Some(place) = place(term, node) else { continue };
        let meant = node.pods.values().filter(|other| means(term, pod, &other.pod)).count();
        if meant > 0 {
            let count = places.entry((term.topology_key.as_str(), place)).or_default();
            *count += i64::try_from(meant).unwrap_or(i64::MAX);
        }
    }
    places
}

/// Whether a term of `owner` means `other`.
fn means(term: &PodAffinityTerm, owner: &Pod, other: &Pod) -> bool {
    let selected =
        term.label_selector.as_ref().is_some_and(|selector| selector.matches(&other.metadata.labels));
    let everywhere = term.namespace_selector.as_ref().is_some_and(|selector| selector.is_empty());
    let namespace = &other.metadata.namespace;
    let listed = if term.namespaces.is_empty() {
        *namespace == owner.metadata.namespace
    } else {
        term.namespaces.contains(namespace)
    };
    selected && (everywhere || listed)
}
