//! What a Deployment needs next: which ReplicaSets to make, scale, annotate or delete, and its status. Pure.
//!
//! The plan works on a draft of the ReplicaSets: each step changes the draft, and at the end every difference between
//! draft and observation is one action. So there is at most one write per object and sync. The steps are in
//! [`revision`] (which ReplicaSet is the current one), [`rollout`] (who has how many pods) and [`status`].

mod revision;
pub use revision::REVISION;
mod rollout;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use api::intstr::{IntOrString, Round};

use crate::objects::{Deployment, DeploymentCondition, DeploymentStatus, Pod, ReplicaSet, api_version};
use crate::ownership::{self, OwnerChange};

/// What is known when a Deployment is looked at.
pub struct Observed<'a> {
    /// The Deployment.
    pub deployment: &'a Deployment,
    /// The ReplicaSets of its namespace, or at least those that it owns or selects.
    pub replica_sets: &'a [Arc<ReplicaSet>],
    /// The pods of those ReplicaSets; read for the strategy Recreate only.
    pub pods: &'a [Arc<Pod>],
    /// The time.
    pub now: Timestamp,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Change the owner references of a ReplicaSet to adopt it.
    Adopt(OwnerChange),
    /// Change the owner references of a ReplicaSet to let it go.
    Release(OwnerChange),
    /// Create a ReplicaSet.
    CreateReplicaSet(Box<NewReplicaSet>),
    /// Change a ReplicaSet.
    UpdateReplicaSet(ReplicaSetChange),
    /// Delete an old ReplicaSet that has no pods.
    DeleteReplicaSet {
        /// Its name.
        name: String,
        /// It must still be this one.
        uid: String,
        /// And unchanged.
        resource_version: String,
    },
    /// Note the current revision on the Deployment.
    SetRevision(String),
    /// Write the status.
    UpdateStatus(Box<DeploymentStatus>),
}

/// A ReplicaSet to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReplicaSet {
    /// Its name: that of the Deployment and the hash of the template.
    pub name: String,
    /// How many pods it starts with.
    pub replicas: i32,
    /// The template, to tell whether one that is there already is the same.
    pub template: Value,
    /// The whole document.
    pub document: Value,
}

/// What changes in a ReplicaSet.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaSetChange {
    /// Its name.
    pub name: String,
    /// It must not have changed since.
    pub resource_version: String,
    /// From and to.
    pub replicas: Option<(i32, i32)>,
    /// Annotations to set.
    pub annotations: BTreeMap<String, String>,
    /// The new minReadySeconds.
    pub min_ready_seconds: Option<i32>,
}

/// What to do, and when to look again though nothing has happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The writes, in order.
    pub actions: Vec<Action>,
    /// For the progress deadline.
    pub requeue_after: Option<Duration>,
}

/// Decides how to bring a Deployment to its spec. Pure: no clock, client or randomness.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let deployment = observed.deployment;
    if deployment.spec.selector.is_empty() {
        // It would take over every pod there is; validation refuses it, so this only guards.
        return Plan::default();
    }
    let reference = ownership::controller_reference::<Deployment>(&deployment.metadata);
    let claim =
        ownership::claim(&reference, &deployment.metadata, &deployment.spec.selector, observed.replica_sets);
    if !claim.adopt.is_empty() || !claim.release.is_empty() {
        // The writes change the ReplicaSets; what follows is decided when they are seen.
        let adopt = claim.adopt.into_iter().map(Action::Adopt);
        let release = claim.release.into_iter().map(Action::Release);
        return Plan { actions: adopt.chain(release).collect(), requeue_after: None };
    }
    let mut draft = Draft::new(observed, claim.claimed);
    draft.run();
    draft.finish()
}

/// A ReplicaSet as it shall be, and as it is.
struct Set {
    wanted: ReplicaSet,
    /// None for one that is to be created.
    observed: Option<Arc<ReplicaSet>>,
    delete: bool,
}

impl Set {
    fn replicas(&self) -> i32 {
        self.wanted.replicas()
    }

    fn available(&self) -> i32 {
        self.wanted.status.available_replicas
    }

    fn annotation(&self, key: &str) -> Option<i64> {
        self.wanted.metadata.annotations.get(key)?.parse().ok()
    }
}

/// The state that the steps of a plan work on.
struct Draft<'a> {
    deployment: &'a Deployment,
    pods: &'a [Arc<Pod>],
    now: Timestamp,
    template: Value,
    /// Oldest first.
    sets: Vec<Set>,
    /// The set of the current template.
    current: Option<usize>,
    /// The template of the set that is to be created, with its hash label.
    new_template: Value,
    revision: Option<String>,
    conditions: Vec<DeploymentCondition>,
    status: DeploymentStatus,
    requeue_after: Option<Duration>,
}

impl<'a> Draft<'a> {
    fn new(observed: &Observed<'a>, mut claimed: Vec<Arc<ReplicaSet>>) -> Self {
        claimed.sort_by(|a, b| {
            let age = |set: &ReplicaSet| (set.metadata.creation_timestamp, set.metadata.name.clone());
            age(a).cmp(&age(b))
        });
        let template = observed.deployment.spec.template.value();
        let sets: Vec<_> = claimed
            .into_iter()
            .map(|set| Set { wanted: (*set).clone(), observed: Some(set), delete: false })
            .collect();
        let current = sets
            .iter()
            .position(|set| crate::template::same_template(&set.wanted.spec.template.value(), &template));
        Self {
            deployment: observed.deployment,
            pods: observed.pods,
            now: observed.now,
            template,
            sets,
            current,
            new_template: Value::Null,
            revision: None,
            conditions: observed.deployment.status.conditions.clone(),
            status: observed.deployment.status.clone(),
            requeue_after: None,
        }
    }

    fn run(&mut self) {
        if self.deployment.metadata.is_being_deleted() {
            self.status = self.compute_status();
            return;
        }
        self.note_pause();
        if self.deployment.spec.paused || self.is_scaling_event() {
            self.sync_revision(false);
            self.scale_all();
            if self.deployment.spec.paused {
                self.clean_up();
            }
            self.status = self.compute_status();
        } else if self.is_recreate() {
            self.recreate();
        } else {
            self.rolling_update();
        }
    }

    /// One action for each difference. What scales down stands before what scales up, so that not even for a moment
    /// there are more pods than the surge allows.
    fn finish(self) -> Plan {
        let mut down = Vec::new();
        let mut rest = Vec::new();
        for set in &self.sets {
            match &set.observed {
                None => rest.push(Action::CreateReplicaSet(Box::new(NewReplicaSet {
                    name: set.wanted.metadata.name.clone(),
                    replicas: set.replicas(),
                    template: self.new_template.clone(),
                    document: document(&set.wanted, &self.new_template),
                }))),
                Some(observed) if set.delete => rest.push(Action::DeleteReplicaSet {
                    name: observed.metadata.name.clone(),
                    uid: observed.metadata.uid.clone(),
                    resource_version: observed.metadata.resource_version.clone(),
                }),
                Some(observed) => {
                    let Some(change) = difference(observed, &set.wanted) else { continue };
                    let is_down = change.replicas.is_some_and(|(from, to)| to < from);
                    (if is_down { &mut down } else { &mut rest }).push(Action::UpdateReplicaSet(change));
                }
            }
        }
        let mut actions = down;
        actions.append(&mut rest);
        let has_revision = self.deployment.metadata.annotations.get(revision::REVISION);
        if let Some(revision) = self.revision.filter(|revision| has_revision != Some(revision)) {
            actions.push(Action::SetRevision(revision));
        }
        if self.status != self.deployment.status {
            actions.push(Action::UpdateStatus(Box::new(self.status)));
        }
        Plan { actions, requeue_after: self.requeue_after }
    }

    fn replicas(&self) -> i32 {
        self.deployment.spec.replicas.unwrap_or(1)
    }

    fn is_recreate(&self) -> bool {
        self.deployment.spec.strategy.r#type == "Recreate"
    }

    /// The sets of former templates, oldest first.
    fn old(&self) -> impl Iterator<Item = usize> + use<> {
        let current = self.current;
        (0..self.sets.len()).filter(move |index| Some(*index) != current)
    }

    /// All pods that are asked for.
    fn total(&self) -> i32 {
        self.sets.iter().map(Set::replicas).sum()
    }

    /// maxSurge and maxUnavailable in pods; never both zero, or nothing could move.
    fn fenceposts(&self) -> (i32, i32) {
        if self.is_recreate() {
            return (0, 0);
        }
        let replicas = self.replicas();
        let update = self.deployment.spec.strategy.rolling_update.as_ref();
        let quarter = IntOrString::from("25%");
        let share = |value: Option<&IntOrString>, round| {
            value.unwrap_or(&quarter).scaled(replicas, round).unwrap_or(0).max(0)
        };
        let surge = share(update.and_then(|update| update.max_surge.as_ref()), Round::Up);
        let unavailable = share(update.and_then(|update| update.max_unavailable.as_ref()), Round::Down);
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        (surge, unavailable.min(replicas))
    }
}

fn difference(observed: &ReplicaSet, wanted: &ReplicaSet) -> Option<ReplicaSetChange> {
    let (from, to) = (observed.replicas(), wanted.replicas());
    let annotations: BTreeMap<_, _> = wanted
        .metadata
        .annotations
        .iter()
        .filter(|(key, value)| observed.metadata.annotations.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let min_ready_seconds = wanted.spec.min_ready_seconds;
    let change = ReplicaSetChange {
        name: observed.metadata.name.clone(),
        resource_version: observed.metadata.resource_version.clone(),
        replicas: (from != to).then_some((from, to)),
        annotations,
        min_ready_seconds: (observed.spec.min_ready_seconds != min_ready_seconds)
            .then_some(min_ready_seconds),
    };
    let is_empty =
        change.replicas.is_none() && change.annotations.is_empty() && change.min_ready_seconds.is_none();
    (!is_empty).then_some(change)
}

/// The document of a new ReplicaSet.
fn document(set: &ReplicaSet, template: &Value) -> Value {
    json!({
        "apiVersion": api_version::<ReplicaSet>(),
        "kind": <ReplicaSet as client::Resource>::KIND,
        "metadata": set.metadata,
        "spec": {
            "replicas": set.replicas(),
            "minReadySeconds": set.spec.min_ready_seconds,
            "selector": set.spec.selector,
            "template": template,
        },
    })
}
