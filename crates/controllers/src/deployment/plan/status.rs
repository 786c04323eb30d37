//! The status of a Deployment: counts, and the conditions that `kubectl rollout status` waits for.

use std::time::Duration;

use jiff::Timestamp;

use crate::objects::{DeploymentCondition, DeploymentStatus, seconds_since, whole_seconds};

use super::Draft;

/// Enough pods are available.
const AVAILABLE: &str = "Available";
/// The rollout moves, or has arrived.
pub const PROGRESSING: &str = "Progressing";
/// Pods cannot be made or deleted.
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The reasons of [`PROGRESSING`].
pub const NEW_REPLICA_SET: &str = "NewReplicaSetCreated";
pub const FOUND_REPLICA_SET: &str = "FoundNewReplicaSet";
const UPDATED: &str = "ReplicaSetUpdated";
const ARRIVED: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

impl Draft<'_> {
    /// Whether a rollout may be late at all.
    pub(super) fn has_deadline(&self) -> bool {
        self.deployment.spec.progress_deadline_seconds.is_some_and(|seconds| seconds != i32::MAX)
    }

    pub(super) fn condition(&self, r#type: &str) -> Option<&DeploymentCondition> {
        self.conditions.iter().find(|condition| condition.r#type == r#type)
    }

    /// Sets a condition. One that says the same already keeps its times.
    pub(super) fn set_condition(&mut self, r#type: &str, status: &str, reason: &str, message: String) {
        set(&mut self.conditions, self.now, Statement { r#type, status, reason, message });
    }

    /// A paused rollout is not late. That it was paused or resumed is told once.
    pub(super) fn note_pause(&mut self) {
        let reason = self.condition(PROGRESSING).map(|condition| condition.reason.as_str());
        if !self.has_deadline() || reason == Some(TIMED_OUT) {
            return;
        }
        let paused = self.deployment.spec.paused;
        if paused && reason != Some(PAUSED) {
            self.set_condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".to_owned());
        } else if !paused && reason == Some(PAUSED) {
            self.set_condition(PROGRESSING, "Unknown", RESUMED, "Deployment is resumed".to_owned());
        }
    }

    /// The counts, and whether enough is available.
    pub(super) fn compute_status(&self) -> DeploymentStatus {
        let sum = |count: fn(&crate::objects::ReplicaSetStatus) -> i32| -> i32 {
            self.sets.iter().map(|set| count(&set.wanted.status)).sum()
        };
        let available = sum(|status| status.available_replicas);
        let (_, max_unavailable) = self.fenceposts();
        let mut conditions = self.conditions.clone();
        let enough = available >= self.replicas() - max_unavailable;
        set(&mut conditions, self.now, availability(enough));
        DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: sum(|status| status.replicas),
            updated_replicas: self.current.map_or(0, |current| self.sets[current].wanted.status.replicas),
            ready_replicas: sum(|status| status.ready_replicas),
            available_replicas: available,
            unavailable_replicas: (self.total() - available).max(0),
            terminating_replicas: Some(sum(|status| status.terminating_replicas.unwrap_or(0))),
            collision_count: self.deployment.status.collision_count,
            conditions,
        }
    }

    /// Whether the rollout has arrived.
    pub(super) fn is_complete(&self, status: &DeploymentStatus) -> bool {
        let desired = self.replicas();
        status.updated_replicas == desired
            && status.replicas == desired
            && status.available_replicas == desired
            && status.observed_generation >= self.deployment.metadata.generation
    }

    /// The status during a rollout: whether it moves, has arrived, or is late.
    pub(super) fn sync_rollout_status(&mut self) {
        let status = self.compute_status();
        self.conditions.clone_from(&status.conditions);
        if self.has_deadline() {
            self.note_progress(&status);
        } else {
            self.conditions.retain(|condition| condition.r#type != PROGRESSING);
        }
        self.note_failure();
        self.requeue_after = self.time_to_deadline(&status);
        self.status = DeploymentStatus { conditions: std::mem::take(&mut self.conditions), ..status };
    }

    fn note_progress(&mut self, status: &DeploymentStatus) {
        let progressing = self.condition(PROGRESSING);
        let arrived = progressing.is_some_and(|condition| condition.reason == ARRIVED);
        if arrived && status.replicas == status.updated_replicas {
            // It has arrived before; pods that come and go since are no rollout.
            return;
        }
        let subject = match self.current {
            Some(current) => format!("ReplicaSet \"{}\"", self.sets[current].wanted.metadata.name),
            None => format!("Deployment \"{}\"", self.deployment.metadata.name),
        };
        if self.is_complete(status) {
            self.set_condition(
                PROGRESSING,
                "True",
                ARRIVED,
                format!("{subject} has successfully progressed."),
            );
        } else if self.has_progressed(status) {
            let message = format!("{subject} is progressing.");
            let statement = Statement { r#type: PROGRESSING, status: "True", reason: UPDATED, message };
            renew(&mut self.conditions, self.now, statement);
        } else if self.is_late() {
            self.set_condition(
                PROGRESSING,
                "False",
                TIMED_OUT,
                format!("{subject} has timed out progressing."),
            );
        }
    }

    fn has_progressed(&self, new: &DeploymentStatus) -> bool {
        let old = &self.deployment.status;
        new.updated_replicas > old.updated_replicas
            || new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
            || new.ready_replicas > old.ready_replicas
            || new.available_replicas > old.available_replicas
    }

    fn is_late(&self) -> bool {
        let Some(condition) = self.condition(PROGRESSING) else { return false };
        match condition.reason.as_str() {
            ARRIVED => false,
            TIMED_OUT => true,
            _ => self.seconds_left().is_some_and(|left| left < 0),
        }
    }

    fn seconds_left(&self) -> Option<i64> {
        let deadline = self.deployment.spec.progress_deadline_seconds?;
        let since = self.condition(PROGRESSING)?.last_update_time?;
        Some(i64::from(deadline) - seconds_since(since, self.now))
    }

    fn time_to_deadline(&self, status: &DeploymentStatus) -> Option<Duration> {
        let condition = self.condition(PROGRESSING).filter(|_| self.has_deadline())?;
        if self.is_complete(status) || matches!(condition.reason.as_str(), TIMED_OUT | ARRIVED) {
            return None;
        }
        // A second later than the deadline, since times are kept in whole seconds.
        let left = self.seconds_left()?.max(0) + 1;
        Some(Duration::from_secs(u64::try_from(left).unwrap_or(1)))
    }

    /// Passes on why pods cannot be made: of the current ReplicaSet first, else of any.
    fn note_failure(&mut self) {
        let failure = |set: &super::Set| {
            let mut conditions = set.wanted.status.conditions.iter();
            conditions
                .find(|condition| condition.r#type == REPLICA_FAILURE && condition.status == "True")
                .cloned()
        };
        let current = self.current.and_then(|current| failure(&self.sets[current]));
        match current.or_else(|| self.sets.iter().find_map(failure)) {
            Some(condition) => {
                self.set_condition(REPLICA_FAILURE, "True", &condition.reason, condition.message);
            }
            None => self.conditions.retain(|condition| condition.r#type != REPLICA_FAILURE),
        }
    }
}

/// What a condition shall say.
struct Statement<'a> {
    r#type: &'a str,
    status: &'a str,
    reason: &'a str,
    message: String,
}

fn availability(enough: bool) -> Statement<'static> {
    let (status, reason, message) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    Statement { r#type: AVAILABLE, status, reason, message: message.to_owned() }
}

/// Sets a condition. One that says the same already keeps its times.
fn set(conditions: &mut Vec<DeploymentCondition>, now: Timestamp, statement: Statement<'_>) {
    let says_so = |is: &DeploymentCondition| {
        is.r#type == statement.r#type && is.status == statement.status && is.reason == statement.reason
    };
    if !conditions.iter().any(says_so) {
        renew(conditions, now, statement);
    }
}

/// Sets a condition anew; the time of the transition stays where the status does.
fn renew(conditions: &mut Vec<DeploymentCondition>, now: Timestamp, statement: Statement<'_>) {
    let Statement { r#type, status, reason, message } = statement;
    let now = whole_seconds(now);
    let at = conditions.iter().position(|is| is.r#type == r#type);
    let before = at.map(|at| &conditions[at]).filter(|before| before.status == status);
    let condition = DeploymentCondition {
        r#type: r#type.to_owned(),
        status: status.to_owned(),
        last_update_time: Some(now),
        last_transition_time: before.and_then(|before| before.last_transition_time).or(Some(now)),
        reason: reason.to_owned(),
        message,
    };
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}
