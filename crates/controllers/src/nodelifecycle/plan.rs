//! What the silence of a node, its conditions and its taints mean for it and for its pods. Pure.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use api::meta::Condition;
use api::time::Time;
use jiff::{SignedDuration, Timestamp};

use crate::objects::{Node, NodeCondition, Pod, Taint, seconds_since, whole_seconds};

/// How long a node may be silent.
pub const GRACE: Duration = Duration::from_secs(40);
/// How long a node that has just been made may take to say something.
const STARTUP_GRACE: Duration = Duration::from_secs(60);

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions that keep new pods away while they are True, and the taints that do it.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// Conditions that only the kubelet knows about.
const KUBELET_CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What is known when a node is looked at.
pub struct Observed<'a> {
    /// The node.
    pub node: &'a Node,
    /// When its last sign of life was seen.
    pub seen_at: Timestamp,
    /// Whether its kubelet has ever taken a Lease.
    pub has_lease: bool,
    /// Its pods.
    pub pods: &'a [Arc<Pod>],
    /// The time.
    pub now: Timestamp,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Replace the taints; the node must not have changed.
    SetTaints(Vec<Taint>),
    /// Write these conditions of the node.
    SetConditions(Vec<NodeCondition>),
    /// Take the pod out of Services.
    MarkNotReady {
        /// The pod.
        pod: Arc<Pod>,
        /// Its new condition Ready.
        condition: Condition,
    },
    /// Delete the pod: it does not tolerate a taint, or not for any longer.
    Evict {
        /// The pod.
        pod: Arc<Pod>,
    },
}

/// What to do, and when to look again though nothing has happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The writes, in order.
    pub actions: Vec<Action>,
    /// When the node will have been silent for too long, or the next pod has to go.
    pub requeue_after: Option<Duration>,
}

/// Whether the node is well, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Ready,
    NotReady,
    Unreachable,
}

/// Decides about a node. Pure: no clock, client or randomness.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let node = observed.node;
    let mut actions = Vec::new();
    let silence = observed.now.duration_since(observed.seen_at);
    let said_something = node.condition("Ready").is_some() || observed.has_lease;
    let grace = if said_something { GRACE } else { STARTUP_GRACE };
    let is_silent = silence.unsigned_abs() >= grace && !silence.is_negative();

    let ready = node.condition("Ready").map(|ready| ready.status.as_str());
    let health = match ready {
        _ if is_silent => Health::Unreachable,
        Some("True") => Health::Ready,
        Some("Unknown") => Health::Unreachable,
        Some(_) => Health::NotReady,
        None => Health::NotReady,
    };
    // The taints first: the write of conditions changes the version that they are checked against.
    let taints = taints(node, health, observed.now);
    if taints != node.spec.taints {
        actions.push(Action::SetTaints(taints.clone()));
    }
    if is_silent {
        let conditions = unknown_conditions(node, observed.now);
        if !conditions.is_empty() {
            actions.push(Action::SetConditions(conditions));
        }
    }
    let mut next = (!is_silent).then(|| grace.saturating_sub(silence.unsigned_abs()));
    let effects: Vec<_> = taints.iter().filter(|taint| taint.effect == "NoExecute").collect();
    for pod in observed.pods.iter().filter(|pod| pod.is_active()) {
        match eviction_at(pod, &effects, observed.now) {
            Some(at) if at <= observed.now => {
                actions.push(Action::Evict { pod: Arc::clone(pod) });
                continue;
            }
            Some(at) => {
                let left = at.duration_since(observed.now).unsigned_abs();
                next = Some(next.map_or(left, |next| next.min(left)));
            }
            None => {}
        }
        if health != Health::Ready && pod.is_ready() {
            let now = whole_seconds(observed.now);
            let condition = Condition {
                r#type: "Ready".to_owned(),
                status: "False".to_owned(),
                last_transition_time: Some(now),
                ..Condition::default()
            };
            actions.push(Action::MarkNotReady { pod: Arc::clone(pod), condition });
        }
    }
    Plan { actions, requeue_after: next.map(|next| next.max(Duration::from_millis(100))) }
}

/// The conditions that become Unknown.
fn unknown_conditions(node: &Node, now: Timestamp) -> Vec<NodeCondition> {
    let now = whole_seconds(now);
    let unknown = |r#type: &&str| {
        let is = node.condition(r#type);
        if is.is_some_and(|is| is.status == "Unknown") {
            return None;
        }
        let (reason, message) = match is {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        let heartbeat = is.and_then(|is| is.last_heartbeat_time).or(node.metadata.creation_timestamp);
        Some(NodeCondition {
            r#type: (*r#type).to_owned(),
            status: "Unknown".to_owned(),
            last_heartbeat_time: heartbeat,
            last_transition_time: Some(now),
            reason: reason.to_owned(),
            message: message.to_owned(),
        })
    };
    KUBELET_CONDITIONS.iter().filter_map(unknown).collect()
}

/// The taints that the node shall have: those of others as they are, ours by its health and conditions.
fn taints(node: &Node, health: Health, now: Timestamp) -> Vec<Taint> {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    match health {
        Health::Ready => {}
        Health::NotReady => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        Health::Unreachable => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
    }
    let is_true = |r#type| node.condition(r#type).is_some_and(|condition| condition.status == "True");
    let pressures = PRESSURES.iter().filter(|(condition, _)| is_true(condition));
    wanted.extend(pressures.map(|(_, taint)| (*taint, "NoSchedule")));
    if node.spec.unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let is_ours = |taint: &Taint| match taint.effect.as_str() {
        "NoSchedule" => {
            [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&taint.key.as_str())
                || PRESSURES.iter().any(|(_, key)| taint.key == *key)
        }
        "NoExecute" => [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()),
        _ => false,
    };
    let mut taints: Vec<Taint> = node
        .spec
        .taints
        .iter()
        .filter(|taint| !is_ours(taint) || wanted.contains(&(taint.key.as_str(), taint.effect.as_str())))
        .cloned()
        .collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(Taint {
                key: key.to_owned(),
                value: String::new(),
                effect: effect.to_owned(),
                time_added: Some(whole_seconds(now)),
            });
        }
    }
    taints
}

/// When the pod has to go because of the taints; `None` for never.
fn eviction_at(pod: &Pod, taints: &[&Taint], now: Timestamp) -> Option<Timestamp> {
    taints
        .iter()
        .filter_map(|taint| {
            let mut tolerations =
                pod.spec.tolerations.iter().filter(|toleration| toleration.tolerates(taint));
            let Some(first) = tolerations.next() else { return Some(now) };
            let for_ever = |seconds: Option<i64>| seconds.is_none();
            let mut shortest = first.toleration_seconds;
            for toleration in tolerations {
                if for_ever(shortest) {
                    shortest = toleration.toleration_seconds;
                } else if let Some(seconds) = toleration.toleration_seconds {
                    shortest = shortest.map(|shortest| shortest.min(seconds));
                }
            }
            let since: Time = taint.time_added.unwrap_or_else(|| whole_seconds(now));
            debug_assert!(seconds_since(since, now) >= 0 || taint.time_added.is_some());
            shortest.map(|seconds| since.0 + SignedDuration::from_secs(seconds.clamp(0, i64::from(i32::MAX))))
        })
        .min()
}
