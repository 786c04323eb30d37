//! What a ReplicaSet or a ReplicationController needs next: pods to make or delete, and its status. Pure.
//!
//! Both kinds are one thing here: a ReplicationController is read as a ReplicaSet (see [`Flavor`]).
//! Which pods go first when there are too many is decided in [`rank`].

mod rank;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use api::meta::{Condition, ObjectMeta, OwnerReference};

use crate::expectations::Unseen;
use crate::objects::{
    Pod, ReplicaSet, ReplicaSetSpec, ReplicaSetStatus, ReplicationController, seconds_since, whole_seconds,
};
use crate::ownership::{self, OwnerChange};
use crate::pod_writes::{NewPod, Victim};
use crate::template::{pod_from_template, template_labels};

/// The most pods that one sync makes or deletes, so that one owner does not keep the others waiting.
const BURST: usize = 500;
/// The condition that says that pods cannot be made or deleted.
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Which kind the owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// `apps/v1/ReplicaSet`.
    ReplicaSet,
    /// `v1/ReplicationController`.
    ReplicationController,
}

impl Flavor {
    /// The reference by which `owner` manages its pods.
    pub fn reference(self, owner: &ObjectMeta) -> OwnerReference {
        match self {
            Self::ReplicaSet => ownership::controller_reference::<ReplicaSet>(owner),
            Self::ReplicationController => ownership::controller_reference::<ReplicationController>(owner),
        }
    }
}

impl From<&ReplicationController> for ReplicaSet {
    fn from(controller: &ReplicationController) -> Self {
        let spec = &controller.spec;
        Self {
            metadata: controller.metadata.clone(),
            spec: ReplicaSetSpec {
                replicas: spec.replicas,
                min_ready_seconds: spec.min_ready_seconds,
                selector: api::selector::LabelSelector {
                    match_labels: spec.selector.clone(),
                    match_expressions: Vec::new(),
                },
                template: spec.template.clone(),
            },
            status: controller.status.clone(),
        }
    }
}

/// What is known when a ReplicaSet is looked at.
pub struct Observed<'a> {
    /// The kind of the owner.
    pub flavor: Flavor,
    /// The owner.
    pub replica_set: &'a ReplicaSet,
    /// The pods that it owns or might adopt.
    pub pods: &'a [Arc<Pod>],
    /// The pods of ReplicaSets of the same Deployment: a node that has many of them gives up one first.
    pub related: &'a [Arc<Pod>],
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
    /// Create these pods, a few first, more as that works.
    CreatePods(Vec<NewPod>),
    /// Delete these pods.
    DeletePods(Vec<Victim>),
    /// Write the status that holds once all of the above is done.
    UpdateStatus(Box<ReplicaSetStatus>),
}

/// What to do, and when to look again though nothing has happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The steps.
    pub actions: Vec<Action>,
    /// For pods that become available by age, and for own writes that are overdue.
    pub requeue_after: Option<Duration>,
}

/// Decides how to bring a ReplicaSet to its spec. Pure: no clock, no client; `suffixes` names new pods.
pub fn plan(observed: &Observed<'_>, suffixes: &mut dyn FnMut() -> String) -> Plan {
    let set = observed.replica_set;
    if set.spec.selector.is_empty() {
        // It would take over every pod there is; validation refuses it, so this only guards.
        return Plan::default();
    }
    let reference = observed.flavor.reference(&set.metadata);
    let claim = ownership::claim(&reference, &set.metadata, &set.spec.selector, observed.pods);
    let mut actions: Vec<_> = claim.adopt.into_iter().map(Action::Adopt).collect();
    actions.extend(claim.release.into_iter().map(Action::Release));

    let template = set.spec.template.value();
    let mut seen = Counts::default();
    let mut active = Vec::new();
    let unseen = &observed.unseen;
    for pod in &claim.claimed {
        if pod.is_active() && !unseen.deleted.contains(&pod.metadata.uid) {
            active.push(Arc::clone(pod));
        } else if !pod.is_terminal() {
            seen.terminating += 1;
        }
    }
    let is_seen = |name: &String| claim.claimed.iter().any(|pod| pod.metadata.name == *name);
    let expected = unseen.created.iter().filter(|name| !is_seen(name)).count();

    let (mut created, mut deleted) = (Vec::new(), Vec::new());
    if !set.metadata.is_being_deleted() {
        let wanted = usize::try_from(set.replicas()).unwrap_or(0);
        let there = active.len() + expected;
        for _ in 0..wanted.saturating_sub(there).min(BURST) {
            let meta = &set.metadata;
            let name = format!("{}-{}", meta.name, suffixes());
            let document =
                pod_from_template(&template, &meta.namespace, &meta.name, &name, reference.clone());
            created.push(NewPod { name, document });
        }
        let excess = there.saturating_sub(wanted).min(BURST).min(active.len());
        if excess > 0 {
            rank::sort_by_worth(&mut active, observed.related);
            deleted = active.drain(..excess).collect();
        }
    }
    let made = created.len() + expected;
    if !created.is_empty() {
        actions.push(Action::CreatePods(created));
    }
    // A pod without a node is gone at once; any other first terminates.
    seen.terminating += deleted.iter().filter(|pod| !pod.spec.node_name.is_empty()).count();
    if !deleted.is_empty() {
        actions.push(Action::DeletePods(deleted.iter().map(|pod| Victim::from(&**pod)).collect()));
    }

    seen.count(&active, set, &template, observed.now);
    let status = seen.status(made, observed);
    if status != set.status {
        actions.push(Action::UpdateStatus(Box::new(status)));
    }
    let available_in = until_available(&active, set.spec.min_ready_seconds, observed.now);
    let requeue_after = [available_in, unseen.requeue_after()].into_iter().flatten().min();
    Plan { actions, requeue_after }
}

/// Why pods could not be made or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub reason: &'static str,
    /// What the server said.
    pub message: String,
    /// How many pods are not there that the plan counted.
    pub missing: i32,
}

/// The status after a plan that failed: what the plan foresaw, less what did not come about.
pub fn status_after_failure(
    observed: &Observed<'_>,
    foreseen: Option<&ReplicaSetStatus>,
    failure: &Failure,
) -> ReplicaSetStatus {
    let mut status = foreseen.unwrap_or(&observed.replica_set.status).clone();
    status.replicas = (status.replicas - failure.missing).max(0);
    status.fully_labeled_replicas = (status.fully_labeled_replicas - failure.missing).max(0);
    let before = &observed.replica_set.status.conditions;
    status.conditions = before.clone();
    if !before.iter().any(|condition| condition.r#type == REPLICA_FAILURE) {
        status.conditions.push(Condition {
            r#type: REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: failure.reason.to_owned(),
            message: failure.message.clone(),
            last_transition_time: Some(whole_seconds(observed.now)),
        });
    }
    status
}

#[derive(Default)]
struct Counts {
    replicas: usize,
    fully_labeled: usize,
    ready: usize,
    available: usize,
    terminating: usize,
}

impl Counts {
    fn count(&mut self, active: &[Arc<Pod>], set: &ReplicaSet, template: &Value, now: Timestamp) {
        let count = |is: &dyn Fn(&Pod) -> bool| active.iter().filter(|pod| is(pod)).count();
        self.replicas = active.len();
        self.fully_labeled = count(&|pod| {
            template_labels(template)
                .all(|(key, value)| pod.metadata.labels.get(key).map(String::as_str) == Some(value))
        });
        self.ready = count(&Pod::is_ready);
        self.available = count(&|pod| pod.is_available(set.spec.min_ready_seconds, now));
    }

    /// With `made` pods that are made and not seen yet.
    fn status(&self, made: usize, observed: &Observed<'_>) -> ReplicaSetStatus {
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let before = &observed.replica_set.status;
        let conditions = before
            .conditions
            .iter()
            .filter(|condition| condition.r#type != REPLICA_FAILURE)
            .cloned()
            .collect();
        ReplicaSetStatus {
            replicas: number(self.replicas + made),
            fully_labeled_replicas: number(self.fully_labeled + made),
            ready_replicas: number(self.ready),
            available_replicas: number(self.available),
            terminating_replicas: match observed.flavor {
                Flavor::ReplicaSet => Some(number(self.terminating)),
                Flavor::ReplicationController => None,
            },
            observed_generation: observed.replica_set.metadata.generation,
            conditions,
        }
    }
}

/// When the next of the ready pods has been ready for long enough.
fn until_available(active: &[Arc<Pod>], min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let ready = active.iter().filter_map(|pod| pod.ready_since().flatten());
    let left = ready.map(|since| i64::from(min_ready_seconds) - seconds_since(since, now));
    left.filter(|left| *left > 0).min().and_then(|left| u64::try_from(left).ok()).map(Duration::from_secs)
}
