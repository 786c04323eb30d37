//! How many of a budget's pods may go now. Pure.

use std::sync::Arc;
use std::time::Duration;

use api::intstr::{IntOrString, Round};
use api::meta::Condition;
use jiff::Timestamp;

use crate::objects::{Pod, PodDisruptionBudget, PodDisruptionBudgetStatus, seconds_since, whole_seconds};

/// The condition of a budget.
const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";
/// How long an eviction that was granted may take to show; then it is taken not to have happened.
const DELETION_TIMEOUT: i64 = 120;

/// What is known when a budget is looked at.
pub struct Observed<'a> {
    /// The budget.
    pub budget: &'a PodDisruptionBudget,
    /// The pods that it means.
    pub pods: &'a [Arc<Pod>],
    /// How many pods their owners want, all together.
    pub scale: i32,
    /// The time.
    pub now: Timestamp,
}

/// What to write, and when to look again though nothing has happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The status, if it changes.
    pub status: Option<PodDisruptionBudgetStatus>,
    /// When an eviction that was granted is given up.
    pub requeue_after: Option<Duration>,
}

/// Decides how many pods may go. Pure: no clock, client or randomness.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let budget = observed.budget;
    let mut plan = Plan::default();
    let before = &budget.status;
    // Evictions that were granted and whose pods are not on their way out yet.
    let mut disrupted = before.disrupted_pods.clone();
    disrupted.retain(|name, at| {
        let pod = observed.pods.iter().find(|pod| pod.metadata.name == *name);
        let left = DELETION_TIMEOUT - seconds_since(*at, observed.now);
        let waits = pod.is_some_and(|pod| !pod.metadata.is_being_deleted()) && left > 0;
        if let (true, Ok(left)) = (waits, u64::try_from(left)) {
            let left = Duration::from_secs(left);
            plan.requeue_after = Some(plan.requeue_after.map_or(left, |next| next.min(left)));
        }
        waits
    });
    let is_healthy =
        |pod: &&Arc<Pod>| pod.is_ready() && pod.is_active() && !disrupted.contains_key(&pod.metadata.name);
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let healthy = number(observed.pods.iter().filter(is_healthy).count());
    let (expected, desired) = match (&budget.spec.max_unavailable, &budget.spec.min_available) {
        (Some(most), _) => {
            let missing = most.scaled(observed.scale, Round::Up).unwrap_or(0);
            (observed.scale, (observed.scale - missing).max(0))
        }
        (None, Some(IntOrString::Int(least))) => (number(observed.pods.len()), *least),
        (None, Some(share)) => (observed.scale, share.scaled(observed.scale, Round::Up).unwrap_or(i32::MAX)),
        (None, None) => (number(observed.pods.len()), 1),
    };
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let status = PodDisruptionBudgetStatus {
        observed_generation: budget.metadata.generation,
        disrupted_pods: disrupted,
        disruptions_allowed: allowed,
        current_healthy: healthy,
        desired_healthy: desired,
        expected_pods: expected,
        conditions: conditions(before, allowed, observed.now),
    };
    plan.status = (status != *before).then_some(status);
    plan
}

fn conditions(before: &PodDisruptionBudgetStatus, allowed: i32, now: Timestamp) -> Vec<Condition> {
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let mut conditions = before.conditions.clone();
    let same = |is: &Condition| is.r#type == DISRUPTION_ALLOWED && is.status == status && is.reason == reason;
    if !conditions.iter().any(same) {
        conditions.retain(|is| is.r#type != DISRUPTION_ALLOWED);
        conditions.push(Condition {
            r#type: DISRUPTION_ALLOWED.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            last_transition_time: Some(whole_seconds(now)),
        });
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(ready: usize, unready: usize) -> Vec<Arc<Pod>> {
        (0..ready + unready)
            .map(|i| {
                let mut pod = Pod::default();
                pod.metadata.name = format!("p{i}");
                let status = if i < ready { "True" } else { "False" };
                pod.status.conditions.push(Condition {
                    r#type: "Ready".into(),
                    status: status.into(),
                    ..Condition::default()
                });
                Arc::new(pod)
            })
            .collect()
    }

    #[track_caller]
    fn check(min: Option<&str>, max: Option<&str>, pods: &[Arc<Pod>], expected: (i32, i32, i32)) {
        let share = |text: &str| text.parse::<i32>().map_or(IntOrString::from(text), IntOrString::from);
        let mut budget = PodDisruptionBudget::default();
        budget.spec.min_available = min.map(share);
        budget.spec.max_unavailable = max.map(share);
        let scale = i32::try_from(pods.len()).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let status = plan(&Observed { budget: &budget, pods, scale, now }).status.expect("it is written");
        assert_eq!((status.current_healthy, status.desired_healthy, status.disruptions_allowed), expected);
        budget.status = status;
        assert_eq!(plan(&Observed { budget: &budget, pods, scale, now }), Plan::default());
    }

    #[test]
    fn what_is_allowed_is_what_is_well_less_what_must_be() {
        check(Some("2"), None, &pods(3, 0), (3, 2, 1));
        check(Some("2"), None, &pods(1, 2), (1, 2, 0));
        check(Some("50%"), None, &pods(5, 0), (5, 3, 2));
        check(None, Some("1"), &pods(4, 0), (4, 3, 1));
        check(None, Some("1"), &pods(3, 1), (3, 3, 0));
        check(None, Some("30%"), &pods(4, 0), (4, 2, 2));
        check(Some("0"), None, &pods(0, 0), (0, 0, 0));
    }

    #[test]
    fn an_eviction_that_was_granted_counts_until_it_shows_or_is_overdue() {
        let mut budget = PodDisruptionBudget::default();
        budget.spec.min_available = Some(1.into());
        budget.status.disrupted_pods.insert("p0".into(), whole_seconds(Timestamp::UNIX_EPOCH));
        let pods = pods(3, 0);
        let at = |second| {
            let now = Timestamp::from_second(second).unwrap();
            plan(&Observed { budget: &budget, pods: &pods, scale: 3, now })
        };
        let first = at(20);
        assert_eq!(first.status.unwrap().disruptions_allowed, 1);
        assert_eq!(first.requeue_after, Some(Duration::from_secs(100)));
        let second = at(120).status.unwrap();
        assert_eq!((second.disruptions_allowed, second.disrupted_pods.len()), (2, 0));
    }
}
