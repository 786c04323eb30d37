//! Carries out the plan of a Job.

use futures_util::future::join_all;
use serde_json::{Value, json};

use client::{ClientError, DeleteOptions, EventType, PatchType};

use crate::objects::{Job, JobStatus, Pod};
use crate::ownership::controller_reference;
use crate::pod_writes::Owner;
use crate::writes;

use super::Controller;
use super::plan::{Action, Plan, TRACKING};

impl Controller {
    pub(super) async fn execute(&self, job: &Job, plan: &Plan) -> Result<(), ClientError> {
        let meta = &job.metadata;
        let reference = controller_reference::<Job>(meta);
        let owner = Owner { meta, reference: &reference };
        let pods = self.context.api::<Pod>();
        let mut failure = None;
        for action in &plan.actions {
            match action {
                Action::Adopt(change) => {
                    if !writes::may_adopt(&self.context.api::<Job>(), meta).await? {
                        return Ok(());
                    }
                    writes::change_owner(&pods, &meta.namespace, change).await?;
                }
                Action::Release(change) => writes::change_owner(&pods, &meta.namespace, change).await?,
                Action::DeletePods(victims) => {
                    self.writes.delete(owner, victims).await.map_err(|failed| failed.error)?;
                }
                Action::CreatePods(new) => {
                    // What was made counts even where the rest was refused; the status is corrected at the next look.
                    failure = self.writes.create(owner, new).await.err();
                }
                Action::UpdateStatus(status) => {
                    let mut status = (**status).clone();
                    if let Some(failed) = &failure {
                        status.active -= i32::try_from(failed.count).unwrap_or(0);
                    }
                    self.write_status(job, &status).await?;
                }
                Action::Untrack(ended) => {
                    let results = join_all(ended.iter().map(|pod| self.untrack(pod))).await;
                    results.into_iter().collect::<Result<Vec<()>, _>>()?;
                }
                Action::Tell(is_warning, reason, message) => {
                    let r#type = if *is_warning { EventType::Warning } else { EventType::Normal };
                    self.writes.tell(owner, r#type, reason, message.clone());
                }
                Action::DeleteJob => {
                    let options = DeleteOptions {
                        propagation_policy: "Foreground".to_owned(),
                        ..DeleteOptions::uid(&*meta.uid)
                    };
                    match self.context.api::<Job>().delete(&meta.namespace, &meta.name, &options).await {
                        Err(error) if error.is_not_found() => {}
                        result => result.map(drop)?,
                    }
                }
            }
        }
        match failure {
            Some(failed) => Err(failed.error),
            None => Ok(()),
        }
    }

    pub(super) async fn untrack(&self, pod: &Pod) -> Result<(), ClientError> {
        let meta = &pod.metadata;
        let rest: Vec<_> = meta.finalizers.iter().filter(|finalizer| *finalizer != TRACKING).collect();
        let patch = json!({"metadata": {
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "finalizers": rest,
        }});
        let api = self.context.api::<Pod>();
        match api.patch(&meta.namespace, &meta.name, PatchType::Merge, &patch).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }

    async fn write_status(&self, job: &Job, status: &JobStatus) -> Result<(), ClientError> {
        let uncounted = &status.uncounted_terminated_pods;
        let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
        let names = |names: &[String]| if names.is_empty() { Value::Null } else { json!(names) };
        let document = json!({
            "conditions": (!status.conditions.is_empty()).then_some(&status.conditions),
            "startTime": status.start_time,
            "completionTime": status.completion_time,
            "active": writes::count(status.active),
            "ready": status.ready,
            "terminating": status.terminating,
            "succeeded": writes::count(status.succeeded),
            "failed": writes::count(status.failed),
            "completedIndexes": text(&status.completed_indexes),
            "uncountedTerminatedPods": {
                "succeeded": names(&uncounted.succeeded),
                "failed": names(&uncounted.failed),
            },
        });
        let meta = &job.metadata;
        let patch = json!({
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "status": document,
        });
        let api = self.context.api::<Job>();
        match api.patch_status(&meta.namespace, &meta.name, PatchType::Merge, &patch).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }
}
