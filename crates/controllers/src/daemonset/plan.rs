//! Which nodes need a pod of a DaemonSet, and which pods go. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::intstr::{IntOrString, Round};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::expectations::Unseen;
use crate::node_fit::{DAEMON_TOLERATIONS, fit};
use crate::objects::{ControllerRevision, DaemonSet, DaemonSetStatus, Node, Pod, seconds_since};
use crate::ownership::{self, OwnerChange};
use crate::pod_writes::{NewPod, Victim};
use crate::revisions::{Change, HASH, History};
use crate::template::{pod_from_template, short_hash};

/// How old a pod must be that has failed before it is replaced, so that one that always fails does not spin.
const FAILED_AGE: i64 = 10;

/// What is known when a DaemonSet is looked at.
pub struct Observed<'a> {
    /// The DaemonSet.
    pub set: &'a DaemonSet,
    /// The pods that it owns or might adopt.
    pub pods: &'a [Arc<Pod>],
    /// All nodes.
    pub nodes: &'a [Arc<Node>],
    /// Its revisions.
    pub revisions: &'a [Arc<ControllerRevision>],
    /// Own writes that the cache does not show yet.
    pub unseen: Unseen,
    /// The time.
    pub now: Timestamp,
}

/// One step. Each is done before the next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Change the owner references of a pod to adopt it.
    Adopt(OwnerChange),
    /// Change the owner references of a pod to let it go.
    Release(OwnerChange),
    /// Change the history of templates.
    Revise(Change),
    /// Delete these pods.
    DeletePods(Vec<Victim>),
    /// Create these pods.
    CreatePods(Vec<NewPod>),
    /// Write the status.
    UpdateStatus(Box<DaemonSetStatus>),
}

/// What to do, and when to look again though nothing has happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The steps.
    pub actions: Vec<Action>,
    /// For pods that become available by age, or have failed.
    pub requeue_after: Option<Duration>,
}

/// Decides how to bring a DaemonSet to its nodes. Pure: no clock, no client; `suffixes` makes names of pods new.
pub fn plan(observed: &Observed<'_>, suffixes: &mut dyn FnMut() -> String) -> Plan {
    let set = observed.set;
    if set.spec.selector.is_empty() {
        return Plan::default();
    }
    let reference = ownership::controller_reference::<DaemonSet>(&set.metadata);
    let claim = ownership::claim(&reference, &set.metadata, &set.spec.selector, observed.pods);
    let mut actions: Vec<_> = claim.adopt.into_iter().map(Action::Adopt).collect();
    actions.extend(claim.release.into_iter().map(Action::Release));
    if set.metadata.is_being_deleted() {
        return Plan { actions, requeue_after: None };
    }
    let template = set.spec.template.value();
    let in_use: HashSet<&str> = claim.claimed.iter().filter_map(|pod| hash(pod)).collect();
    let current = History {
        owner: &set.metadata,
        reference: &reference,
        template: &template,
        limit: set.spec.revision_history_limit.unwrap_or(10),
        revisions: observed.revisions,
    }
    .current(&in_use);
    actions.extend(current.changes.iter().cloned().map(Action::Revise));

    let mut draft = Draft::new(observed, &current.hash);
    let mut by_node: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in &claim.claimed {
        by_node.entry(target(pod)).or_default().push(pod);
    }
    for node in observed.nodes {
        let pods = by_node.remove(node.metadata.name.as_str()).unwrap_or_default();
        draft.look_at_node(node, &template["spec"], &pods);
    }
    draft.roll();
    let Draft { create, delete, status, requeue_after, .. } = draft;
    if !delete.is_empty() {
        actions.push(Action::DeletePods(delete.iter().map(|pod| Victim::from(&***pod)).collect()));
    }
    let new: Vec<_> =
        create.into_iter().map(|node| new_pod(set, &template, &current.hash, node, &suffixes())).collect();
    if !new.is_empty() {
        actions.push(Action::CreatePods(new));
    }
    if status != set.status {
        actions.push(Action::UpdateStatus(Box::new(status)));
    }
    let requeue_after = [requeue_after, observed.unseen.requeue_after()].into_iter().flatten().min();
    Plan { actions, requeue_after }
}

struct Draft<'a> {
    observed: &'a Observed<'a>,
    hash: &'a str,
    status: DaemonSetStatus,
    create: Vec<&'a str>,
    delete: Vec<&'a Arc<Pod>>,
    /// Pods of former templates: (available, the pod).
    old: Vec<(bool, &'a Arc<Pod>)>,
    requeue_after: Option<Duration>,
}

impl<'a> Draft<'a> {
    fn new(observed: &'a Observed<'a>, hash: &'a str) -> Self {
        Self {
            observed,
            hash,
            status: DaemonSetStatus::default(),
            create: Vec::new(),
            delete: Vec::new(),
            old: Vec::new(),
            requeue_after: None,
        }
    }

    fn look_at_node<'p: 'a>(&mut self, node: &'a Node, spec: &Value, pods: &[&'p Arc<Pod>]) {
        let fit = fit(spec, node);
        let unseen = &self.observed.unseen;
        let mut there: Vec<&Arc<Pod>> = pods
            .iter()
            .copied()
            .filter(|pod| pod.is_active() && !unseen.deleted.contains(&pod.metadata.uid))
            .collect();
        there.sort_by_key(|pod| pod.metadata.creation_timestamp);
        let failed = pods.iter().copied().filter(|pod| pod.is_terminal() && !pod.metadata.is_being_deleted());
        let mut rests = false;
        for pod in failed {
            let age =
                pod.metadata.creation_timestamp.map_or(FAILED_AGE, |t| seconds_since(t, self.observed.now));
            if age >= FAILED_AGE {
                self.delete.push(pod);
            } else {
                rests = true;
                self.look_again_in(FAILED_AGE - age);
            }
        }
        if !fit.should_run {
            if !there.is_empty() {
                self.status.number_misscheduled += 1;
            }
            if !fit.may_stay {
                self.delete.append(&mut there);
            }
            return;
        }
        self.status.desired_number_scheduled += 1;
        let is_expected = unseen
            .created
            .iter()
            .any(|name| name.starts_with(&name_prefix(self.observed.set, &node.metadata.name)));
        // A pod that is on its way out still holds the place.
        let is_leaving = pods.iter().any(|pod| !pod.is_terminal() && pod.metadata.is_being_deleted());
        let mut there = there.into_iter();
        let Some(first) = there.next() else {
            if !is_expected && !is_leaving && !rests {
                self.create.push(&node.metadata.name);
            }
            return;
        };
        self.delete.extend(there);
        let set = self.observed.set;
        let available = first.is_available(set.spec.min_ready_seconds, self.observed.now);
        self.status.current_number_scheduled += 1;
        self.status.number_ready += i32::from(first.is_ready());
        self.status.number_available += i32::from(available);
        if hash(first) == Some(self.hash) {
            self.status.updated_number_scheduled += 1;
        } else {
            self.old.push((available, first));
        }
        if let Some(Some(since)) = first.ready_since()
            && !available
        {
            let left = i64::from(set.spec.min_ready_seconds) - seconds_since(since, self.observed.now);
            self.look_again_in(left);
        }
    }

    /// Takes down pods of former templates: those that serve no one at once, the others as many as may be missing.
    fn roll(&mut self) {
        let set = self.observed.set;
        let desired = self.status.desired_number_scheduled;
        self.status.number_unavailable = desired - self.status.number_available;
        self.status.observed_generation = set.metadata.generation;
        if set.spec.update_strategy.r#type == "OnDelete" {
            return;
        }
        let rolling = set.spec.update_strategy.rolling_update.as_ref();
        let one = IntOrString::from(1);
        let share = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&one);
        let allowed = share.scaled(desired, Round::Up).unwrap_or(1).max(1);
        let mut to_spare = allowed - self.status.number_unavailable;
        for (available, pod) in std::mem::take(&mut self.old) {
            if !available {
                self.delete.push(pod);
            } else if to_spare > 0 {
                to_spare -= 1;
                self.delete.push(pod);
            }
        }
    }

    fn look_again_in(&mut self, seconds: i64) {
        let delay = Duration::from_secs(u64::try_from(seconds.max(1)).unwrap_or(1));
        self.requeue_after = Some(self.requeue_after.map_or(delay, |before| before.min(delay)));
    }
}

fn hash(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.get(HASH).map(String::as_str)
}

/// The node that a pod is on, or is meant for.
fn target(pod: &Pod) -> &str {
    if pod.spec.node_name.is_empty() { pod.spec.pinned_to().unwrap_or_default() } else { &pod.spec.node_name }
}

/// How the names of the pods for a node begin: so that one that is not seen yet is known by its name.
fn name_prefix(set: &DaemonSet, node: &str) -> String {
    format!("{}-{}", set.metadata.name, short_hash([node]))
}

fn new_pod(set: &DaemonSet, template: &Value, hash: &str, node: &str, suffix: &str) -> NewPod {
    let meta = &set.metadata;
    let name = format!("{}{suffix}", name_prefix(set, node));
    let reference = ownership::controller_reference::<DaemonSet>(meta);
    let mut document = pod_from_template(template, &meta.namespace, &meta.name, &name, reference);
    if !document["metadata"]["labels"].is_object() {
        document["metadata"]["labels"] = json!({});
    }
    document["metadata"]["labels"][HASH] = json!(hash);
    pin(&mut document["spec"], node);
    NewPod { name, document }
}

/// Has the scheduler place the pod on this node and no other, and lets it stay where others may not.
fn pin(spec: &mut Value, node: &str) {
    let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    for name in ["affinity", "nodeAffinity"] {
        let at = if name == "affinity" { &mut *spec } else { &mut spec["affinity"] };
        if !at[name].is_object() {
            at[name] = json!({});
        }
    }
    // What the template asks of nodes has been checked already.
    spec["affinity"]["nodeAffinity"][required] = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
    let host_network = spec["hostNetwork"] == true;
    let own = DAEMON_TOLERATIONS.iter().copied();
    let network = host_network.then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    let own =
        own.chain(network).map(|(key, effect)| json!({"key": key, "operator": "Exists", "effect": effect}));
    match spec["tolerations"].as_array_mut() {
        Some(list) => list.extend(own),
        None => spec["tolerations"] = own.collect(),
    }
}
