//! CronJobs: Jobs by the clock.
//!
//! Keys are names of CronJobs; the controller is woken by them, by their Jobs, and by the time of the next run. When
//! that is, is worked out in [`schedule`]; what to do, in [`plan`].

mod plan;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use api::gvk::NamespacedName;
use client::{ClientError, DeleteOptions, EventType, ObjectReference, Resource as _, Store, WorkQueue};

use crate::context::{BY_OWNER, Context};
use crate::objects::{CronJob, Job};
use crate::writes;
use plan::{Action, Observed};

const WORKERS: usize = 5;

struct Controller {
    context: Context,
    cron_jobs: Store<CronJob>,
    jobs: Store<Job>,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller =
        Arc::new(Controller { context: context.clone(), cron_jobs: context.store(), jobs: context.store() });
    let woken = queue.clone();
    controller.cron_jobs.subscribe(move |old, new| {
        if let Some(cron_job) = new.or(old) {
            woken.add(cron_job.metadata.namespaced_name());
        }
    });
    let woken = queue.clone();
    controller.jobs.subscribe(move |old, new| {
        for job in [old, new].into_iter().flatten() {
            if let Some(owner) = job.metadata.controller().filter(|owner| owner.kind == CronJob::KIND) {
                woken.add(NamespacedName::new(&*job.metadata.namespace, &*owner.name));
            }
        }
    });
    context.run("cronjob", queue, WORKERS, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(cron_job) = self.cron_jobs.get(key) else { return Ok(None) };
        let jobs = self.jobs.by_index(BY_OWNER, &cron_job.metadata.uid);
        let plan = plan::plan(&Observed { cron_job: &cron_job, jobs: &jobs, now: self.context.now() });
        for action in &plan.actions {
            self.execute(&cron_job, action).await?;
        }
        Ok(plan.requeue_after)
    }

    async fn execute(&self, cron_job: &CronJob, action: &Action) -> Result<(), ClientError> {
        let meta = &cron_job.metadata;
        let jobs = self.context.api::<Job>();
        match action {
            Action::CreateJob { name, document } => {
                match jobs.create(&meta.namespace, document).await {
                    // Made before, by this very run: its name is the time.
                    Err(error) if error.is_already_exists() => return Ok(()),
                    Err(error) if writes::namespace_is_terminating(&error) => return Ok(()),
                    Err(error) => {
                        let message = format!("Error creating job: {}", error.to_status());
                        self.tell(cron_job, EventType::Warning, "FailedCreate", message);
                        return Err(error);
                    }
                    Ok(_) => {}
                }
                self.tell(cron_job, EventType::Normal, "SuccessfulCreate", format!("Created job {name}"));
                Ok(())
            }
            Action::DeleteJob { name, uid } => {
                let options = DeleteOptions {
                    propagation_policy: "Background".to_owned(),
                    ..DeleteOptions::uid(&**uid)
                };
                match jobs.delete(&meta.namespace, name, &options).await {
                    Err(error) if error.is_not_found() => return Ok(()),
                    result => result.map(drop)?,
                }
                self.tell(cron_job, EventType::Normal, "SuccessfulDelete", format!("Deleted job {name}"));
                Ok(())
            }
            Action::Tell(reason, message) => {
                self.tell(cron_job, EventType::Warning, reason, message.clone());
                Ok(())
            }
            Action::UpdateStatus(status) => {
                let document = json!({
                    "active": (!status.active.is_empty()).then_some(&status.active),
                    "lastScheduleTime": status.last_schedule_time,
                    "lastSuccessfulTime": status.last_successful_time,
                });
                match writes::patch_status(&self.context.api::<CronJob>(), meta, document).await {
                    Err(error) if error.is_not_found() => Ok(()),
                    result => result,
                }
            }
        }
    }

    fn tell(&self, cron_job: &CronJob, r#type: EventType, reason: &str, message: String) {
        self.context.events.event(&ObjectReference::of(cron_job), r#type, reason, message);
    }
}
