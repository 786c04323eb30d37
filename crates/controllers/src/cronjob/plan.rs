//! Whether a CronJob has to start a Job now, and which old ones go. Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::objects::{CronJob, CronJobStatus, Job, ObjectReference, api_version, whole_seconds};
use crate::ownership::controller_reference;

use super::schedule::Schedule;

/// The annotation of a Job that says for which time it runs.
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// So many missed times are looked through at most; beyond, something is wrong, and only the last one counts.
const MISSED: usize = 100;

/// What is known when a CronJob is looked at.
pub struct Observed<'a> {
    /// The CronJob.
    pub cron_job: &'a CronJob,
    /// Its Jobs.
    pub jobs: &'a [Arc<Job>],
    /// The time.
    pub now: Timestamp,
}

/// One step. Each is done before the next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start a Job. Its name is the time that it runs for, so it is not started twice.
    CreateJob {
        /// Its name.
        name: String,
        /// The whole document.
        document: Value,
    },
    /// Delete a Job.
    DeleteJob {
        /// Its name.
        name: String,
        /// It must still be this one.
        uid: String,
    },
    /// Warn: (reason, message).
    Tell(&'static str, String),
    /// Write the status.
    UpdateStatus(Box<CronJobStatus>),
}

/// What to do, and when to look again though nothing has happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The steps.
    pub actions: Vec<Action>,
    /// Until the next time.
    pub requeue_after: Option<Duration>,
}

/// Decides what a CronJob needs now. Pure: no clock, client or randomness.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let cron_job = observed.cron_job;
    let mut plan = Plan::default();
    if cron_job.metadata.is_being_deleted() {
        return plan;
    }
    let mut status = cron_job.status.clone();
    let active: Vec<_> = observed.jobs.iter().filter(|job| !job.is_finished()).collect();
    status.active = active.iter().map(|job| reference(job)).collect();
    let completed = observed.jobs.iter().filter(|job| job.is("Complete"));
    status.last_successful_time =
        completed.filter_map(|job| job.status.completion_time).chain(status.last_successful_time).max();
    let zone = cron_job.spec.time_zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get);
    match (Schedule::parse(&cron_job.spec.schedule), zone) {
        (Ok(schedule), Ok(zone)) => {
            run(observed, &schedule, &zone, &active, &mut status, &mut plan);
        }
        (Err(error), _) => plan.actions.push(Action::Tell("UnparseableSchedule", error.to_string())),
        (_, Err(_)) => {
            let zone = cron_job.spec.time_zone.clone().unwrap_or_default();
            plan.actions.push(Action::Tell("UnknownTimeZone", format!("invalid timeZone: {zone:?}")));
        }
    }
    clean_up(observed, &mut plan);
    if status != cron_job.status {
        plan.actions.push(Action::UpdateStatus(Box::new(status)));
    }
    plan
}

fn run(
    observed: &Observed<'_>,
    schedule: &Schedule,
    zone: &TimeZone,
    active: &[&Arc<Job>],
    status: &mut CronJobStatus,
    plan: &mut Plan,
) {
    let cron_job = observed.cron_job;
    let now = observed.now;
    if let Some(next) = schedule.next(now, zone)
        && !cron_job.spec.suspend
    {
        // A moment later than the time itself, so that it has come for sure.
        let left = next.duration_since(now).unsigned_abs();
        plan.requeue_after = Some(left + Duration::from_millis(100));
    }
    let Some(due) = due(observed, schedule, zone).filter(|_| !cron_job.spec.suspend) else { return };
    let deadline = cron_job.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    if deadline.is_some_and(|deadline| now.duration_since(due) > deadline) {
        return;
    }
    let is_there = observed.jobs.iter().any(|job| job.metadata.name == job_name(cron_job, due));
    match cron_job.spec.concurrency_policy.as_str() {
        _ if is_there => {}
        "Forbid" if !active.is_empty() => return,
        "Replace" => {
            for job in active {
                let name = job.metadata.name.clone();
                plan.actions.push(Action::DeleteJob { name, uid: job.metadata.uid.clone() });
                status.active.retain(|is| is.uid != job.metadata.uid);
            }
            plan.actions.push(create(cron_job, due));
        }
        _ => plan.actions.push(create(cron_job, due)),
    }
    status.last_schedule_time = Some(whole_seconds(due));
}

/// The last time that has come since the last run, if any.
fn due(observed: &Observed<'_>, schedule: &Schedule, zone: &TimeZone) -> Option<Timestamp> {
    let cron_job = observed.cron_job;
    let since = cron_job.status.last_schedule_time.or(cron_job.metadata.creation_timestamp)?;
    let deadline = cron_job.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    let mut at = deadline.map_or(since.0, |deadline| since.0.max(observed.now - deadline));
    let mut due = None;
    for _ in 0..MISSED {
        match schedule.next(at, zone).filter(|next| *next <= observed.now) {
            Some(next) => {
                due = Some(next);
                at = next;
            }
            None => return due,
        }
    }
    // Very many were missed: go on from shortly before now.
    let period = schedule.next(at, zone)?.duration_since(at);
    let mut near = observed.now - period * 2;
    while let Some(next) = schedule.next(near.max(at), zone).filter(|next| *next <= observed.now) {
        due = Some(next);
        near = next;
    }
    due
}

fn job_name(cron_job: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron_job.metadata.name, at.as_second().div_euclid(60))
}

fn create(cron_job: &CronJob, at: Timestamp) -> Action {
    let mut template = cron_job.spec.job_template.value();
    let name = job_name(cron_job, at);
    let mut metadata = json!({
        "name": name,
        "namespace": cron_job.metadata.namespace,
        "labels": template["metadata"]["labels"].take(),
        "annotations": template["metadata"]["annotations"].take(),
        "ownerReferences": [controller_reference::<CronJob>(&cron_job.metadata)],
    });
    for field in ["labels", "annotations"] {
        if !metadata[field].is_object() {
            metadata[field] = json!({});
        }
    }
    metadata["annotations"][SCHEDULED_AT] = json!(whole_seconds(at).to_string());
    let document = json!({
        "apiVersion": api_version::<Job>(),
        "kind": "Job",
        "metadata": metadata,
        "spec": template["spec"].take(),
    });
    Action::CreateJob { name, document }
}

fn reference(job: &Job) -> ObjectReference {
    ObjectReference {
        api_version: api_version::<Job>(),
        kind: "Job".to_owned(),
        namespace: job.metadata.namespace.clone(),
        name: job.metadata.name.clone(),
        uid: job.metadata.uid.clone(),
    }
}

/// Finished Jobs beyond the limits go, the oldest first.
fn clean_up(observed: &Observed<'_>, plan: &mut Plan) {
    let spec = &observed.cron_job.spec;
    let limits = [
        ("Complete", spec.successful_jobs_history_limit.unwrap_or(3)),
        ("Failed", spec.failed_jobs_history_limit.unwrap_or(1)),
    ];
    for (end, limit) in limits {
        let mut ended: Vec<_> =
            observed.jobs.iter().filter(|job| job.is(end) && !job.metadata.is_being_deleted()).collect();
        ended.sort_by_key(|job| (job.status.start_time, job.metadata.name.clone()));
        let excess = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        for job in ended.into_iter().take(excess) {
            let name = job.metadata.name.clone();
            plan.actions.push(Action::DeleteJob { name, uid: job.metadata.uid.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use api::meta::Condition;

    use super::*;
    use crate::objects::RawJson;

    struct World {
        cron_job: CronJob,
        jobs: Vec<Job>,
        now: Timestamp,
    }

    fn world(schedule: &str, policy: &str) -> World {
        let mut cron_job = CronJob::default();
        cron_job.metadata.name = "tick".into();
        cron_job.metadata.creation_timestamp = Some(whole_seconds(Timestamp::UNIX_EPOCH));
        cron_job.spec.schedule = schedule.into();
        cron_job.spec.concurrency_policy = policy.into();
        cron_job.spec.job_template = RawJson::of(&json!({"spec": {"template": {}}}));
        World { cron_job, jobs: Vec::new(), now: Timestamp::UNIX_EPOCH }
    }

    impl World {
        fn plan(&self) -> Plan {
            let jobs: Vec<_> = self.jobs.iter().cloned().map(Arc::new).collect();
            plan(&Observed { cron_job: &self.cron_job, jobs: &jobs, now: self.now })
        }

        /// Applies plans until only the list of active Jobs has caught up; nothing more may follow.
        #[track_caller]
        fn at(&mut self, second: i64) -> Vec<String> {
            self.now = Timestamp::from_second(second).unwrap();
            for _ in 0..3 {
                let plan = self.plan();
                for action in plan.actions {
                    match action {
                        Action::CreateJob { name, document } => {
                            let mut job: Job = serde_json::from_value(document).unwrap();
                            job.metadata.uid = format!("uid-{name}");
                            job.status.start_time = Some(whole_seconds(self.now));
                            self.jobs.push(job);
                        }
                        Action::DeleteJob { name, .. } => self.jobs.retain(|job| job.metadata.name != name),
                        Action::Tell(reason, message) => panic!("{reason}: {message}"),
                        Action::UpdateStatus(status) => self.cron_job.status = *status,
                    }
                }
            }
            assert_eq!(self.plan().actions, []);
            self.jobs.iter().map(|job| job.metadata.name.clone()).collect()
        }

        fn complete(&mut self) {
            for job in &mut self.jobs {
                job.status.completion_time = Some(whole_seconds(self.now));
                job.status.conditions = vec![Condition {
                    r#type: "Complete".into(),
                    status: "True".into(),
                    ..Condition::default()
                }];
            }
        }
    }

    #[test]
    fn a_job_is_started_at_each_time_and_named_after_it() {
        let mut world = world("*/2 * * * *", "Allow");
        assert_eq!(world.at(10), [""; 0]);
        assert_eq!(world.plan().requeue_after, Some(Duration::from_millis(110_100)));
        assert_eq!(world.at(121), ["tick-2"]);
        assert_eq!(world.at(150), ["tick-2"]);
        assert_eq!(world.at(241), ["tick-2", "tick-4"]);
        assert_eq!(world.cron_job.status.active.len(), 2);
        world.complete();
        world.at(242);
        assert_eq!(world.cron_job.status.active.len(), 0);
        assert!(world.cron_job.status.last_successful_time.is_some());
    }

    #[test]
    fn what_was_missed_is_made_up_for_once() {
        let mut world = world("* * * * *", "Allow");
        assert_eq!(world.at(100_000), ["tick-1666"]);
    }

    #[test]
    fn policies_for_runs_that_overlap() {
        let mut forbid = world("* * * * *", "Forbid");
        forbid.at(61);
        assert_eq!(forbid.at(121), ["tick-1"]);
        forbid.complete();
        assert_eq!(forbid.at(122), ["tick-1", "tick-2"]);
        let mut replace = world("* * * * *", "Replace");
        replace.at(61);
        assert_eq!(replace.at(121), ["tick-2"]);
    }

    #[test]
    fn a_start_that_is_too_late_does_not_happen_and_a_suspended_one_neither() {
        let mut late = world("0 * * * *", "Allow");
        late.cron_job.spec.starting_deadline_seconds = Some(30);
        assert_eq!(late.at(3700), [""; 0]);
        let mut suspended = world("* * * * *", "Allow");
        suspended.cron_job.spec.suspend = true;
        assert_eq!(suspended.at(61), [""; 0]);
        assert_eq!(suspended.plan().requeue_after, None);
    }

    #[test]
    fn history_is_kept_to_its_limit() {
        let mut world = world("* * * * *", "Allow");
        for minute in 1..=5 {
            world.at(minute * 60 + 1);
            world.complete();
        }
        assert_eq!(world.at(302), ["tick-3", "tick-4", "tick-5"]);
    }
}
