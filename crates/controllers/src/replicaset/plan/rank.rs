//! Which pods a controller can best do without: the order in which Kubernetes takes them down.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::objects::Pod;

/// What a user can set to keep a pod longer, or give it up sooner.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What a pod is worth. The order of the fields is the policy: the least goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worth<'a> {
    is_assigned: bool,
    phase: PhaseWorth,
    is_ready: bool,
    deletion_cost: i32,
    /// A node that runs many pods of the same kind gives up one first.
    pods_on_node: Reverse<usize>,
    /// What has been ready for long has proved itself.
    ready_since: Reverse<Option<Timestamp>>,
    restarts: Reverse<i32>,
    created: Reverse<Option<Timestamp>>,
    /// Only to make the order total.
    name: &'a str,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PhaseWorth {
    Pending,
    Unknown,
    Running,
}

/// The pods that go first stand first.
pub fn sort_by_worth(pods: &mut [Arc<Pod>], related: &[Arc<Pod>]) {
    let mut on_node: HashMap<String, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| pod.is_active() && !pod.spec.node_name.is_empty()) {
        *on_node.entry(pod.spec.node_name.clone()).or_default() += 1;
    }
    pods.sort_by(|a, b| worth(a, &on_node).cmp(&worth(b, &on_node)));
}

fn worth<'a>(pod: &'a Pod, on_node: &HashMap<String, usize>) -> Worth<'a> {
    let ready = pod.ready_since();
    let cost = pod.metadata.annotations.get(DELETION_COST).and_then(|cost| cost.parse().ok());
    Worth {
        is_assigned: !pod.spec.node_name.is_empty(),
        phase: match pod.status.phase.as_str() {
            "Running" => PhaseWorth::Running,
            "Unknown" => PhaseWorth::Unknown,
            _ => PhaseWorth::Pending,
        },
        is_ready: ready.is_some(),
        deletion_cost: cost.unwrap_or(0),
        pods_on_node: Reverse(on_node.get(&pod.spec.node_name).copied().unwrap_or(0)),
        ready_since: Reverse(ready.flatten().map(|since| since.0)),
        restarts: Reverse(pod.restarts()),
        created: Reverse(pod.metadata.creation_timestamp.map(|created| created.0)),
        name: &pod.metadata.name,
    }
}
