//! The next pod of a StatefulSet to make, replace or take down. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::retention;
use crate::expectations::Unseen;
use crate::objects::{
    ControllerRevision, PersistentVolumeClaim, Pod, StatefulSet, StatefulSetStatus, seconds_since,
};
use crate::ownership::{self, OwnerChange};
use crate::pod_writes::{NewPod, Victim};
use crate::revisions::{self, Change, HASH, History};
use crate::template::pod_from_template;

/// The label of a pod that is its name, so that a Service can mean one pod.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// The label of a pod that is its number.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// What is known when a StatefulSet is looked at.
pub struct Observed<'a> {
    /// The StatefulSet.
    pub set: &'a StatefulSet,
    /// The pods that it owns or might adopt.
    pub pods: &'a [Arc<Pod>],
    /// Its revisions.
    pub revisions: &'a [Arc<ControllerRevision>],
    /// The claims of its namespace, where it has templates for claims.
    pub claims: &'a [Arc<PersistentVolumeClaim>],
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
    /// Change the owner references of a claim, so that it goes with what it should.
    OwnClaim(OwnerChange),
    /// Change the history of templates.
    Revise(Change),
    /// Delete these pods.
    DeletePods(Vec<Victim>),
    /// Create these pods, each after its claims.
    CreatePods(Vec<NumberedPod>),
    /// Write the status.
    UpdateStatus(Box<StatefulSetStatus>),
}

/// A pod to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberedPod {
    /// The pod.
    pub pod: NewPod,
    /// The claims for its volumes; those that are there are kept.
    pub claims: Vec<Value>,
}

/// What to do, and when to look again though nothing has happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The steps.
    pub actions: Vec<Action>,
    /// For pods that become available by age.
    pub requeue_after: Option<Duration>,
}

/// Decides how to bring a StatefulSet to its spec. Pure: no clock, client or randomness.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let set = observed.set;
    if set.spec.selector.is_empty() {
        return Plan::default();
    }
    let reference = ownership::controller_reference::<StatefulSet>(&set.metadata);
    let claim = ownership::claim(&reference, &set.metadata, &set.spec.selector, observed.pods);
    let mut actions: Vec<_> = claim.adopt.into_iter().map(Action::Adopt).collect();
    actions.extend(claim.release.into_iter().map(Action::Release));
    if set.metadata.is_being_deleted() {
        return Plan { actions, requeue_after: None };
    }
    let template = set.spec.template.value();
    let mut in_use: HashSet<&str> = claim.claimed.iter().filter_map(|pod| revision(pod)).collect();
    in_use.insert(&set.status.current_revision);
    let update = History {
        owner: &set.metadata,
        reference: &reference,
        template: &template,
        limit: set.spec.revision_history_limit.unwrap_or(10),
        revisions: observed.revisions,
    }
    .current(&in_use);
    actions.extend(update.changes.iter().cloned().map(Action::Revise));

    let mut draft = Draft { observed, template, update: update.name, create: Vec::new(), delete: Vec::new() };
    let by_number: BTreeMap<i32, Arc<Pod>> =
        claim.claimed.iter().filter_map(|pod| Some((number(set, pod)?, Arc::clone(pod)))).collect();
    draft.decide(&by_number);
    let status = draft.status(&by_number);
    let claims = retention::owner_changes(set, &draft.numbers(), &by_number, observed.claims);
    let Draft { create, delete, .. } = draft;
    // Before a pod goes that a claim is to follow.
    actions.extend(claims.into_iter().map(Action::OwnClaim));
    if !delete.is_empty() {
        actions.push(Action::DeletePods(delete));
    }
    if !create.is_empty() {
        actions.push(Action::CreatePods(create));
    }
    if status != set.status {
        actions.push(Action::UpdateStatus(Box::new(status)));
    }
    let ready = by_number.values().filter_map(|pod| pod.ready_since().flatten());
    let left = ready.map(|since| i64::from(set.spec.min_ready_seconds) - seconds_since(since, observed.now));
    let available_in = left.filter(|left| *left > 0).min().and_then(|left| u64::try_from(left).ok());
    let requeue_after =
        [available_in.map(Duration::from_secs), observed.unseen.requeue_after()].into_iter().flatten().min();
    Plan { actions, requeue_after }
}

struct Draft<'a> {
    observed: &'a Observed<'a>,
    template: Value,
    /// The name of the revision of the template.
    update: String,
    create: Vec<NumberedPod>,
    delete: Vec<Victim>,
}

impl Draft<'_> {
    fn set(&self) -> &StatefulSet {
        self.observed.set
    }

    fn numbers(&self) -> std::ops::Range<i32> {
        let start = self.set().spec.ordinals.start;
        start..start + self.set().spec.replicas.unwrap_or(1).max(0)
    }

    fn is_ordered(&self) -> bool {
        self.set().spec.pod_management_policy != "Parallel"
    }

    fn is_leaving(&self, pod: &Pod) -> bool {
        pod.metadata.is_being_deleted() || self.observed.unseen.deleted.contains(&pod.metadata.uid)
    }

    fn is_healthy(&self, pod: &Pod) -> bool {
        let available = pod.is_available(self.set().spec.min_ready_seconds, self.observed.now);
        pod.status.phase == "Running" && available && !self.is_leaving(pod)
    }

    /// In order: one pod at a time, and the next only when this one is well. In parallel: all at once.
    fn decide(&mut self, pods: &BTreeMap<i32, Arc<Pod>>) {
        for number in self.numbers() {
            let waits = match pods.get(&number) {
                None => {
                    let name = pod_name(self.set(), number);
                    if !self.observed.unseen.created.contains(&name) {
                        self.create.push(self.new_pod(number));
                    }
                    true
                }
                Some(pod) if self.is_leaving(pod) => true,
                Some(pod) if pod.is_terminal() => {
                    self.delete.push(Victim::from(&**pod));
                    true
                }
                Some(pod) => !self.is_healthy(pod),
            };
            if waits && self.is_ordered() {
                return;
            }
        }
        let wanted = self.numbers();
        for pod in pods.iter().rev().filter(|(number, _)| !wanted.contains(number)).map(|(_, pod)| pod) {
            if !self.is_leaving(pod) {
                self.delete.push(Victim::from(&**pod));
            }
            if self.is_ordered() {
                return;
            }
        }
        if self.create.is_empty() && self.delete.is_empty() {
            self.roll(pods);
        }
    }

    /// Replaces the pod with the highest number that has a former template, when those above it are well.
    fn roll(&mut self, pods: &BTreeMap<i32, Arc<Pod>>) {
        if self.set().spec.update_strategy.r#type == "OnDelete" {
            return;
        }
        let from = self.numbers().start + self.partition();
        for number in self.numbers().rev().take_while(|number| *number >= from) {
            let Some(pod) = pods.get(&number) else { return };
            if revision(pod) != Some(&self.update) && !self.is_leaving(pod) {
                self.delete.push(Victim::from(&**pod));
                return;
            }
            if !self.is_healthy(pod) {
                return;
            }
        }
    }

    fn partition(&self) -> i32 {
        let rolling = self.set().spec.update_strategy.rolling_update.as_ref();
        rolling.and_then(|rolling| rolling.partition).unwrap_or(0)
    }

    fn new_pod(&self, number: i32) -> NumberedPod {
        let set = self.set();
        let meta = &set.metadata;
        // Below the partition the former template still holds.
        let is_former = number < self.numbers().start + self.partition();
        let former = self
            .observed
            .revisions
            .iter()
            .find(|revision| is_former && revision.metadata.name == set.status.current_revision);
        let (template, revision) = match former {
            Some(former) => (revisions::template_of(former), former.metadata.name.clone()),
            None => (self.template.clone(), self.update.clone()),
        };
        let name = pod_name(set, number);
        let reference = ownership::controller_reference::<StatefulSet>(meta);
        let mut document = pod_from_template(&template, &meta.namespace, &meta.name, &name, reference);
        if !document["metadata"]["labels"].is_object() {
            document["metadata"]["labels"] = json!({});
        }
        let labels = &mut document["metadata"]["labels"];
        labels[POD_NAME] = json!(name);
        labels[POD_INDEX] = json!(number.to_string());
        labels[HASH] = json!(revision);
        let spec = &mut document["spec"];
        spec["hostname"] = json!(name);
        spec["subdomain"] = json!(set.spec.service_name);
        let claims = self.claims(&name, spec);
        NumberedPod { pod: NewPod { name, document }, claims }
    }

    /// The claims of a pod, and the volumes that lead to them.
    fn claims(&self, pod: &str, spec: &mut Value) -> Vec<Value> {
        let set = self.set();
        let mut claims = Vec::new();
        for template in &set.spec.volume_claim_templates {
            let mut claim = template.value();
            let volume = claim["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let name = format!("{volume}-{pod}");
            claim["apiVersion"] = json!("v1");
            claim["kind"] = json!("PersistentVolumeClaim");
            claim["metadata"]["name"] = json!(name);
            claim["metadata"]["namespace"] = json!(set.metadata.namespace);
            if !claim["metadata"]["labels"].is_object() {
                claim["metadata"]["labels"] = json!({});
            }
            for (key, value) in &set.spec.selector.match_labels {
                claim["metadata"]["labels"][key] = json!(value);
            }
            if let Some(fields) = claim.as_object_mut() {
                fields.shift_remove("status");
            }
            if !spec["volumes"].is_array() {
                spec["volumes"] = json!([]);
            }
            if let Some(volumes) = spec["volumes"].as_array_mut() {
                volumes.retain(|is| is["name"] != volume);
                volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": name}}));
            }
            claims.push(claim);
        }
        claims
    }

    fn status(&self, pods: &BTreeMap<i32, Arc<Pod>>) -> StatefulSetStatus {
        let set = self.set();
        let before = &set.status;
        let current =
            if before.current_revision.is_empty() { &self.update } else { &before.current_revision };
        let numbers = self.numbers();
        let alive = || pods.values().filter(|pod| !pod.is_terminal());
        let count = |is: &dyn Fn(&Pod) -> bool| {
            i32::try_from(alive().filter(|pod| is(pod)).count()).unwrap_or(i32::MAX)
        };
        let of = |name: &str| {
            let pods = pods.iter().filter(|(number, _)| numbers.contains(number)).map(|(_, pod)| pod);
            let alive = pods.filter(|pod| !pod.is_terminal() && !self.is_leaving(pod));
            i32::try_from(alive.filter(|pod| revision(pod) == Some(name)).count()).unwrap_or(i32::MAX)
        };
        let mut status = StatefulSetStatus {
            observed_generation: set.metadata.generation,
            replicas: count(&|_| true),
            ready_replicas: count(&|pod| pod.is_ready()),
            available_replicas: count(&|pod| pod.is_available(set.spec.min_ready_seconds, self.observed.now)),
            current_replicas: of(current),
            updated_replicas: of(&self.update),
            current_revision: current.clone(),
            update_revision: self.update.clone(),
            collision_count: before.collision_count,
        };
        let wanted = i32::try_from(numbers.len()).unwrap_or(i32::MAX);
        if status.updated_replicas == wanted && status.ready_replicas == wanted && status.replicas == wanted {
            status.current_revision.clone_from(&status.update_revision);
            status.current_replicas = status.updated_replicas;
        }
        status
    }
}

fn revision(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.get(HASH).map(String::as_str)
}

fn pod_name(set: &StatefulSet, number: i32) -> String {
    format!("{}-{number}", set.metadata.name)
}

/// The number in a pod's name.
fn number(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    pod.metadata.name.strip_prefix(&set.metadata.name)?.strip_prefix('-')?.parse().ok()
}
