//! Which pods nobody else will take away. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::objects::Pod;

/// How long a node must have been missing: one that is made anew at once keeps its pods.
pub const QUARANTINE: Duration = Duration::from_secs(40);
/// How many pods that have run to their end are kept.
const TERMINATED: usize = 12_500;

/// What is known.
pub struct Observed<'a> {
    /// All pods.
    pub pods: &'a [Arc<Pod>],
    /// Whether there is a node of that name.
    pub has_node: &'a dyn Fn(&str) -> bool,
    /// The time.
    pub now: Timestamp,
}

/// Why a pod goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its node is gone; to be checked once more before anything is deleted.
    NodeIsGone,
    /// It was deleted before it had a node.
    NeverPlaced,
    /// There are too many that have run to their end.
    TooManyTerminated,
}

/// A pod to be deleted without grace.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Why.
    pub why: Why,
}

/// What to do, and when to look again though nothing has happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The deletions.
    pub actions: Vec<Action>,
    /// When the next missing node has been missing for long enough.
    pub requeue_after: Option<Duration>,
}

/// Decides which pods go. `missing_since` is this plan's memory of nodes that pods name and that are not there.
pub fn plan(observed: &Observed<'_>, missing_since: &mut HashMap<String, Timestamp>) -> Plan {
    let mut plan = Plan::default();
    let mut missing = HashMap::new();
    let mut terminated = Vec::new();
    for pod in observed.pods {
        let node = &pod.spec.node_name;
        if node.is_empty() {
            if pod.metadata.is_being_deleted() && pod.metadata.finalizers.is_empty() {
                plan.actions.push(Action { pod: Arc::clone(pod), why: Why::NeverPlaced });
            } else if pod.is_terminal() {
                terminated.push(pod);
            }
        } else if !(observed.has_node)(node) {
            let since = missing_since.get(node).copied().unwrap_or(observed.now);
            missing.insert(node.clone(), since);
            let left = QUARANTINE.saturating_sub(observed.now.duration_since(since).unsigned_abs());
            if left.is_zero() {
                plan.actions.push(Action { pod: Arc::clone(pod), why: Why::NodeIsGone });
            } else {
                plan.requeue_after = Some(plan.requeue_after.map_or(left, |next| next.min(left)));
            }
        } else if pod.is_terminal() {
            terminated.push(pod);
        }
    }
    *missing_since = missing;
    if terminated.len() > TERMINATED {
        terminated.sort_by_key(|pod| pod.metadata.creation_timestamp);
        let excess = terminated.len() - TERMINATED;
        let oldest = terminated.into_iter().take(excess);
        plan.actions.extend(oldest.map(|pod| Action { pod: Arc::clone(pod), why: Why::TooManyTerminated }));
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::whole_seconds;

    fn pod(name: &str, node: &str, phase: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = name.into();
        pod.spec.node_name = node.into();
        pod.status.phase = phase.into();
        pod
    }

    fn names(plan: &Plan) -> Vec<(&str, Why)> {
        plan.actions.iter().map(|action| (action.pod.metadata.name.as_str(), action.why)).collect()
    }

    #[test]
    fn pods_of_a_node_that_stays_away_go_and_others_stay() {
        let pods = [pod("a", "gone", "Running"), pod("b", "here", "Running"), pod("c", "", "Pending")];
        let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
        let mut memory = HashMap::new();
        let has_node = |name: &str| name == "here";
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = plan(&Observed { pods: &pods, has_node: &has_node, now: at(0) }, &mut memory);
        assert_eq!((names(&first), first.requeue_after), (vec![], Some(QUARANTINE)));
        let second = plan(&Observed { pods: &pods, has_node: &has_node, now: at(40) }, &mut memory);
        assert_eq!(names(&second), [("a", Why::NodeIsGone)]);
        let third = plan(&Observed { pods: &pods[1..], has_node: &has_node, now: at(41) }, &mut memory);
        assert_eq!(third, Plan::default());
        assert!(memory.is_empty());
    }

    #[test]
    fn a_pod_that_was_deleted_before_it_had_a_node_goes() {
        let mut stuck = pod("a", "", "Pending");
        stuck.metadata.deletion_timestamp = Some(whole_seconds(Timestamp::UNIX_EPOCH));
        let pods = [Arc::new(stuck)];
        let observed = Observed { pods: &pods, has_node: &|_| true, now: Timestamp::UNIX_EPOCH };
        assert_eq!(names(&plan(&observed, &mut HashMap::new())), [("a", Why::NeverPlaced)]);
    }

    #[test]
    fn of_very_many_ended_pods_the_oldest_go() {
        let pods: Vec<_> = (0..i64::try_from(TERMINATED).unwrap() + 2)
            .map(|i| {
                let mut pod = pod(&i.to_string(), "here", "Succeeded");
                pod.metadata.creation_timestamp = Some(whole_seconds(Timestamp::from_second(i).unwrap()));
                Arc::new(pod)
            })
            .rev()
            .collect();
        let observed = Observed { pods: &pods, has_node: &|_| true, now: Timestamp::UNIX_EPOCH };
        let plan = plan(&observed, &mut HashMap::new());
        assert_eq!(names(&plan), [("0", Why::TooManyTerminated), ("1", Why::TooManyTerminated)]);
    }
}
