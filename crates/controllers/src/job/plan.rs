//! What a Job needs next: pods, counts, its end. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::meta::Condition;
use api::time::Time;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::expectations::Unseen;
use crate::objects::{Job, JobStatus, Pod, seconds_since, whole_seconds};
use crate::ownership::{self, OwnerChange};
use crate::pod_writes::{NewPod, Victim};
use crate::template::pod_from_template;

use super::indexes;

/// The finalizer of pods whose end has not been counted.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The label and annotation of a pod of an Indexed Job.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The environment variable of its containers.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// Who runs Jobs that name no one else.
const CONTROLLER: &str = "kubernetes.io/job-controller";
/// The most pods that one sync makes.
const BURST: usize = 500;
/// How long to wait after a failure before the next try, at first and at most; it doubles in between.
const BACKOFF: (i64, i64) = (10, 600);

/// What is known when a Job is looked at.
pub struct Observed<'a> {
    /// The Job.
    pub job: &'a Job,
    /// The pods that it owns or might adopt.
    pub pods: &'a [Arc<Pod>],
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
    /// Delete these pods.
    DeletePods(Vec<Victim>),
    /// Create these pods.
    CreatePods(Vec<NewPod>),
    /// Write the status; the Job must not have changed, for numbers are added up in it.
    UpdateStatus(Box<JobStatus>),
    /// Take the finalizer off these pods: their end is in the status now.
    Untrack(Vec<Arc<Pod>>),
    /// Tell something: (a warning, reason, message).
    Tell(bool, &'static str, String),
    /// Delete the Job: it has been over for long enough.
    DeleteJob,
}

/// What to do, and when to look again though nothing has happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The steps.
    pub actions: Vec<Action>,
    /// For deadlines, and for the wait after a failure.
    pub requeue_after: Option<Duration>,
}

impl Plan {
    fn look_again_in(&mut self, seconds: i64) {
        let delay = Duration::from_secs(u64::try_from(seconds.max(1)).unwrap_or(1));
        self.requeue_after = Some(self.requeue_after.map_or(delay, |before| before.min(delay)));
    }
}

/// Decides how to bring a Job on. Pure: no clock, no client; `suffixes` names new pods.
pub fn plan(observed: &Observed<'_>, suffixes: &mut dyn FnMut() -> String) -> Plan {
    let job = observed.job;
    let is_managed_elsewhere = job.spec.managed_by.as_deref().is_some_and(|manager| manager != CONTROLLER);
    if is_managed_elsewhere || job.spec.selector.is_empty() {
        return Plan::default();
    }
    let reference = ownership::controller_reference::<Job>(&job.metadata);
    let claim = ownership::claim(&reference, &job.metadata, &job.spec.selector, observed.pods);
    let mut plan = Plan::default();
    plan.actions.extend(claim.adopt.into_iter().map(Action::Adopt));
    plan.actions.extend(claim.release.into_iter().map(Action::Release));
    let mut draft = Draft::new(observed, claim.claimed);
    draft.count_ended();
    if job.is_finished() || job.metadata.is_being_deleted() {
        draft.after_the_end(&mut plan);
    } else {
        draft.manage(&mut plan, suffixes);
    }
    draft.finish(&mut plan);
    plan
}

struct Draft<'a> {
    job: &'a Job,
    now: Timestamp,
    unseen: &'a Unseen,
    pods: Vec<Arc<Pod>>,
    active: Vec<Arc<Pod>>,
    status: JobStatus,
}

impl<'a> Draft<'a> {
    fn new(observed: &'a Observed<'_>, pods: Vec<Arc<Pod>>) -> Self {
        let deleted = &observed.unseen.deleted;
        let active: Vec<_> = pods
            .iter()
            .filter(|pod| pod.is_active() && !deleted.contains(&pod.metadata.uid))
            .cloned()
            .collect();
        let status = observed.job.status.clone();
        Self { job: observed.job, now: observed.now, unseen: &observed.unseen, pods, active, status }
    }

    fn is_indexed(&self) -> bool {
        self.job.spec.completion_mode == "Indexed"
    }

    /// Turns names of pods that have lost their finalizer into numbers, and notes the names of those that have ended.
    fn count_ended(&mut self) {
        let tracked: HashSet<&str> =
            self.pods.iter().filter(|pod| is_tracked(pod)).map(|pod| pod.metadata.uid.as_str()).collect();
        let uncounted = &mut self.status.uncounted_terminated_pods;
        for (names, number) in [
            (&mut uncounted.succeeded, &mut self.status.succeeded),
            (&mut uncounted.failed, &mut self.status.failed),
        ] {
            let before = names.len();
            names.retain(|uid| tracked.contains(uid.as_str()));
            *number += i32::try_from(before - names.len()).unwrap_or(0);
        }
        let mut done =
            if self.is_indexed() { indexes::parse(&self.status.completed_indexes) } else { BTreeSet::new() };
        for pod in self.pods.iter().filter(|pod| is_tracked(pod)) {
            let uid = &pod.metadata.uid;
            let uncounted = &mut self.status.uncounted_terminated_pods;
            if uncounted.succeeded.contains(uid) || uncounted.failed.contains(uid) {
                continue;
            }
            if pod.status.phase == "Succeeded" {
                match index(pod) {
                    // A second success of an index does not count.
                    Some(index) if !done.insert(index) => uncounted.failed.push(uid.clone()),
                    _ => uncounted.succeeded.push(uid.clone()),
                }
            } else if pod.status.phase == "Failed" || pod.metadata.is_being_deleted() {
                uncounted.failed.push(uid.clone());
            }
        }
        if self.is_indexed() {
            self.status.completed_indexes = indexes::format(&done);
        }
    }

    fn succeeded(&self) -> i32 {
        let uncounted = self.status.uncounted_terminated_pods.succeeded.len();
        self.status.succeeded + i32::try_from(uncounted).unwrap_or(i32::MAX)
    }

    fn failed(&self) -> i32 {
        let uncounted = self.status.uncounted_terminated_pods.failed.len();
        self.status.failed + i32::try_from(uncounted).unwrap_or(i32::MAX)
    }

    fn manage(&mut self, plan: &mut Plan, suffixes: &mut dyn FnMut() -> String) {
        if self.status.start_time.is_none() && !self.job.spec.suspend {
            self.status.start_time = Some(whole_seconds(self.now));
        }
        if let Some((reason, message)) = self.failure(plan) {
            self.delete_active(plan);
            if self.nothing_uncounted() {
                self.set("Failed", true, reason, &message);
                plan.actions.push(Action::Tell(true, reason, message));
            } else {
                self.set("FailureTarget", true, reason, &message);
            }
        } else if self.has_succeeded() {
            let message = "Reached expected number of succeeded pods";
            self.delete_active(plan);
            self.set("SuccessCriteriaMet", true, "CompletionsReached", message);
            if self.nothing_uncounted() {
                self.set("Complete", true, "CompletionsReached", message);
                self.status.completion_time = Some(whole_seconds(self.now));
                plan.actions.push(Action::Tell(false, "Completed", "Job completed".to_owned()));
            }
        } else if self.job.spec.suspend {
            if !self.job.is("Suspended") {
                self.set("Suspended", true, "JobSuspended", "Job suspended");
                plan.actions.push(Action::Tell(false, "Suspended", "Job suspended".to_owned()));
            }
            self.delete_active(plan);
            self.status.start_time = None;
        } else {
            if self.job.is("Suspended") {
                self.set("Suspended", false, "JobResumed", "Job resumed");
                plan.actions.push(Action::Tell(false, "Resumed", "Job resumed".to_owned()));
                self.status.start_time = Some(whole_seconds(self.now));
            }
            self.adjust(plan, suffixes);
        }
    }

    fn nothing_uncounted(&self) -> bool {
        let uncounted = &self.status.uncounted_terminated_pods;
        uncounted.succeeded.is_empty() && uncounted.failed.is_empty()
    }

    /// Why the Job has failed, if it has.
    fn failure(&self, plan: &mut Plan) -> Option<(&'static str, String)> {
        let begun =
            self.status.conditions.iter().find(|is| is.r#type == "FailureTarget" && is.status == "True");
        if let Some(begun) = begun {
            let reason =
                if begun.reason == "DeadlineExceeded" { "DeadlineExceeded" } else { "BackoffLimitExceeded" };
            return Some((reason, begun.message.clone()));
        }
        let limit = self.job.spec.backoff_limit.unwrap_or(6);
        let restarts: i32 = self.active.iter().map(|pod| pod.restarts()).sum();
        let restarts_in_place = self.job.spec.template.value()["spec"]["restartPolicy"] == "OnFailure";
        let exceeded =
            self.failed() > limit || (restarts_in_place && limit > 0 && restarts >= limit && restarts > 0);
        if exceeded {
            let message = "Job has reached the specified backoff limit";
            return Some(("BackoffLimitExceeded", message.to_owned()));
        }
        if let (Some(deadline), Some(start), false) =
            (self.job.spec.active_deadline_seconds, self.status.start_time, self.job.spec.suspend)
        {
            let left = deadline - seconds_since(start, self.now);
            if left <= 0 {
                let message = "Job was active longer than specified deadline";
                return Some(("DeadlineExceeded", message.to_owned()));
            }
            plan.look_again_in(left);
        }
        None
    }

    fn has_succeeded(&self) -> bool {
        match self.job.spec.completions {
            Some(completions) => self.succeeded() >= completions,
            None => self.succeeded() > 0 && self.active.is_empty() && self.expected() == 0,
        }
    }

    /// Pods that are made and not seen yet.
    fn expected(&self) -> usize {
        let seen: HashSet<&str> = self.pods.iter().map(|pod| pod.metadata.name.as_str()).collect();
        self.unseen.created.iter().filter(|name| !seen.contains(name.as_str())).count()
    }

    /// Makes and deletes pods so that as many run as should.
    fn adjust(&mut self, plan: &mut Plan, suffixes: &mut dyn FnMut() -> String) {
        let parallelism = usize::try_from(self.job.spec.parallelism.unwrap_or(1)).unwrap_or(0);
        let there = self.active.len() + self.expected();
        let wanted = match self.job.spec.completions {
            Some(completions) => {
                parallelism.min(usize::try_from(completions - self.succeeded()).unwrap_or(0))
            }
            // Once one has found the work done, no new ones come.
            None if self.succeeded() > 0 => there.min(parallelism),
            None => parallelism,
        };
        if there > wanted {
            let excess = (there - wanted).min(self.active.len());
            // The youngest have done the least.
            self.active
                .sort_by_key(|pod| std::cmp::Reverse((pod.is_ready(), pod.metadata.creation_timestamp)));
            let kept = self.active.len() - excess;
            let victims = self.active.split_off(kept);
            plan.actions.push(Action::DeletePods(victims.iter().map(|pod| Victim::from(&**pod)).collect()));
            return;
        }
        let missing = (wanted - there).min(BURST);
        if missing == 0 {
            return;
        }
        if let Some(wait) = self.wait_after_failure() {
            plan.look_again_in(wait);
            return;
        }
        let free = self.free_indexes();
        let mut new = Vec::with_capacity(missing);
        for place in 0..missing {
            let index = if self.is_indexed() { free.get(place).copied() } else { None };
            if self.is_indexed() && index.is_none() {
                break;
            }
            new.push(new_pod(self.job, index, &suffixes()));
        }
        if !new.is_empty() {
            plan.actions.push(Action::CreatePods(new));
        }
    }

    /// The indexes that are neither done nor under way.
    fn free_indexes(&self) -> Vec<i32> {
        if !self.is_indexed() {
            return Vec::new();
        }
        let mut taken = indexes::parse(&self.status.completed_indexes);
        taken.extend(self.active.iter().filter_map(|pod| index(pod)));
        // The index of a pod that is not seen yet stands in its name.
        let prefix = format!("{}-", self.job.metadata.name);
        let unseen = self.unseen.created.iter().filter_map(|name| name.strip_prefix(&prefix));
        taken.extend(unseen.filter_map(|rest| rest.split_once('-')?.0.parse::<i32>().ok()));
        (0..self.job.spec.completions.unwrap_or(0)).filter(|index| !taken.contains(index)).collect()
    }

    /// Seconds until the next try after the last failure.
    fn wait_after_failure(&self) -> Option<i64> {
        let ends = |phase: &'static str| {
            let pods = self.pods.iter().filter(move |pod| pod.status.phase == phase);
            pods.filter_map(|pod| ended_at(pod))
        };
        let last_success = ends("Succeeded").max();
        let failures: Vec<Time> = ends("Failed").filter(|end| Some(*end) > last_success).collect();
        let last = failures.iter().max()?;
        let doublings = u32::try_from(failures.len().saturating_sub(1).min(20)).unwrap_or(20);
        let wait = BACKOFF.0.saturating_mul(1 << doublings).min(BACKOFF.1);
        let left = wait - seconds_since(*last, self.now);
        (left > 0).then_some(left)
    }

    fn delete_active(&mut self, plan: &mut Plan) {
        if !self.active.is_empty() {
            let victims = self.active.drain(..).map(|pod| Victim::from(&*pod)).collect();
            plan.actions.push(Action::DeletePods(victims));
        }
    }

    fn after_the_end(&mut self, plan: &mut Plan) {
        if self.job.metadata.is_being_deleted() {
            return;
        }
        self.delete_active(plan);
        let ended = self.status.completion_time.or_else(|| {
            let failed = self.status.conditions.iter().find(|condition| condition.r#type == "Failed");
            failed.and_then(|failed| failed.last_transition_time)
        });
        if let (Some(ttl), Some(ended)) = (self.job.spec.ttl_seconds_after_finished, ended) {
            let left = ttl - seconds_since(ended, self.now);
            if left <= 0 {
                plan.actions.push(Action::DeleteJob);
            } else {
                plan.look_again_in(left);
            }
        }
    }

    fn set(&mut self, r#type: &str, status: bool, reason: &str, message: &str) {
        let now = whole_seconds(self.now);
        let condition = Condition {
            r#type: r#type.to_owned(),
            status: if status { "True" } else { "False" }.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: Some(now),
        };
        match self.status.conditions.iter_mut().find(|is| is.r#type == r#type) {
            Some(is) if is.status == condition.status => {}
            Some(is) => *is = condition,
            None => self.status.conditions.push(condition),
        }
    }

    fn finish(mut self, plan: &mut Plan) {
        let made: usize = plan
            .actions
            .iter()
            .map(|action| if let Action::CreatePods(pods) = action { pods.len() } else { 0 })
            .sum();
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let deleted: HashSet<&str> = plan
            .actions
            .iter()
            .flat_map(|action| if let Action::DeletePods(pods) = action { pods.as_slice() } else { &[] })
            .map(|victim| victim.uid.as_str())
            .collect();
        self.status.active = number(self.active.len() + made + self.expected());
        self.status.ready = Some(number(self.active.iter().filter(|pod| pod.is_ready()).count()));
        let terminating = self.pods.iter().filter(|pod| {
            let going = pod.metadata.is_being_deleted() || deleted.contains(pod.metadata.uid.as_str());
            going && !pod.is_terminal()
        });
        self.status.terminating = Some(number(terminating.count()));
        let deletes_job = plan.actions.contains(&Action::DeleteJob);
        if self.status != self.job.status && !deletes_job {
            plan.actions.push(Action::UpdateStatus(Box::new(self.status.clone())));
        }
        // What has ended is in the status by then.
        let uncounted = &self.status.uncounted_terminated_pods;
        let is_noted = |pod: &&Arc<Pod>| {
            let uid = &pod.metadata.uid;
            let over = self.job.is_finished() || self.job.metadata.is_being_deleted();
            let noted = uncounted.succeeded.contains(uid) || uncounted.failed.contains(uid);
            is_tracked(pod) && (noted || (over && !pod.is_active()))
        };
        let untracked: Vec<_> = self.pods.iter().filter(is_noted).cloned().collect();
        if !untracked.is_empty() {
            plan.actions.push(Action::Untrack(untracked));
        }
        if let Some(again) = self.unseen.requeue_after() {
            plan.look_again_in(i64::try_from(again.as_secs()).unwrap_or(1));
        }
    }
}

/// Whether the end of the pod has not been counted yet.
pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().any(|finalizer| finalizer == TRACKING)
}

fn index(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.get(INDEX)?.parse().ok()
}

/// When the last of the containers ended.
fn ended_at(pod: &Pod) -> Option<Time> {
    let terminated =
        pod.status.container_statuses.iter().filter_map(|status| status.state.terminated.as_ref());
    terminated.filter_map(|terminated| terminated.finished_at).max().or(pod.metadata.creation_timestamp)
}

fn new_pod(job: &Job, index: Option<i32>, suffix: &str) -> NewPod {
    let meta = &job.metadata;
    let base = match index {
        Some(index) => format!("{}-{index}", meta.name),
        None => meta.name.clone(),
    };
    let name = format!("{base}-{suffix}");
    let template = job.spec.template.value();
    let reference = ownership::controller_reference::<Job>(meta);
    let mut document = pod_from_template(&template, &meta.namespace, &base, &name, reference);
    let finalizers = &mut document["metadata"]["finalizers"];
    match finalizers.as_array_mut() {
        Some(list) => list.push(json!(TRACKING)),
        None => *finalizers = json!([TRACKING]),
    }
    if let Some(index) = index {
        set_index(&mut document, index, &base);
    }
    NewPod { name, document }
}

/// Tells the pod its index: label, annotation, host name, and a variable in each container.
fn set_index(document: &mut Value, index: i32, base: &str) {
    for field in ["labels", "annotations"] {
        if !document["metadata"][field].is_object() {
            document["metadata"][field] = json!({});
        }
        document["metadata"][field][INDEX] = json!(index.to_string());
    }
    let spec = &mut document["spec"];
    if spec["hostname"].as_str().is_none_or(str::is_empty) {
        spec["hostname"] = json!(base);
    }
    for field in ["initContainers", "containers"] {
        for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            let variable = json!({
                "name": INDEX_VARIABLE,
                "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.labels['{INDEX}']")}},
            });
            match container["env"].as_array_mut() {
                Some(list) if list.iter().any(|is| is["name"] == INDEX_VARIABLE) => {}
                Some(list) => list.push(variable),
                None => container["env"] = json!([variable]),
            }
        }
    }
}
