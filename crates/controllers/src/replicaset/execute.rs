//! Carries out the plan of a ReplicaSet.

use serde_json::json;

use api::meta::ObjectMeta;
use client::ClientError;

use crate::objects::{Pod, ReplicaSet, ReplicaSetStatus, ReplicationController};
use crate::pod_writes::{Owner, PodsFailed};
use crate::writes;

use super::Controller;
use super::plan::{Action, Failure, Flavor, Observed, Plan, status_after_failure};

impl Controller {
    /// Carries out a plan, step by step. A failure to make or delete pods is told in the status before it is
    /// returned.
    pub(super) async fn execute(&self, observed: &Observed<'_>, plan: &Plan) -> Result<(), ClientError> {
        let owner = &observed.replica_set.metadata;
        let reference = self.flavor.reference(owner);
        let whose = Owner { meta: owner, reference: &reference };
        let foreseen = plan.actions.iter().find_map(|action| match action {
            Action::UpdateStatus(status) => Some(&**status),
            Action::Adopt(_) | Action::Release(_) | Action::CreatePods(_) | Action::DeletePods(_) => None,
        });
        let pods = self.context.api::<Pod>();
        let mut may_adopt = None;
        for action in &plan.actions {
            let result = match action {
                Action::Adopt(change) => {
                    if may_adopt.is_none() {
                        may_adopt = Some(self.may_adopt(owner).await?);
                    }
                    if may_adopt == Some(false) {
                        return Ok(());
                    }
                    writes::change_owner(&pods, &owner.namespace, change).await?;
                    Ok(())
                }
                Action::Release(change) => {
                    match writes::change_owner(&pods, &owner.namespace, change).await {
                        Err(error) if error.is_not_found() => {}
                        result => result?,
                    }
                    Ok(())
                }
                Action::CreatePods(new) => self.writes.create(whose, new).await.map_err(|failed| {
                    let missing = i32::try_from(failed.count).unwrap_or(i32::MAX);
                    (failure("FailedCreate", &failed, missing), failed.error)
                }),
                Action::DeletePods(victims) => self.writes.delete(whose, victims).await.map_err(|failed| {
                    let kept = i32::try_from(failed.count).unwrap_or(i32::MAX);
                    (failure("FailedDelete", &failed, -kept), failed.error)
                }),
                Action::UpdateStatus(status) => {
                    self.write_status(owner, status).await?;
                    Ok(())
                }
            };
            if let Err((failure, error)) = result {
                self.write_status(owner, &status_after_failure(observed, foreseen, &failure)).await?;
                return Err(error);
            }
        }
        Ok(())
    }

    async fn may_adopt(&self, owner: &ObjectMeta) -> Result<bool, ClientError> {
        match self.flavor {
            Flavor::ReplicaSet => writes::may_adopt(&self.context.api::<ReplicaSet>(), owner).await,
            Flavor::ReplicationController => {
                writes::may_adopt(&self.context.api::<ReplicationController>(), owner).await
            }
        }
    }

    async fn write_status(&self, owner: &ObjectMeta, status: &ReplicaSetStatus) -> Result<(), ClientError> {
        let conditions = (!status.conditions.is_empty()).then_some(&status.conditions);
        let mut document = json!({
            "replicas": status.replicas,
            "fullyLabeledReplicas": writes::count(status.fully_labeled_replicas),
            "readyReplicas": writes::count(status.ready_replicas),
            "availableReplicas": writes::count(status.available_replicas),
            "observedGeneration": status.observed_generation,
            "conditions": conditions,
        });
        let result = match self.flavor {
            Flavor::ReplicaSet => {
                document["terminatingReplicas"] = json!(status.terminating_replicas);
                writes::patch_status(&self.context.api::<ReplicaSet>(), owner, document).await
            }
            Flavor::ReplicationController => {
                writes::patch_status(&self.context.api::<ReplicationController>(), owner, document).await
            }
        };
        match result {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }
}

fn failure(reason: &'static str, failed: &PodsFailed, missing: i32) -> Failure {
    Failure { reason, message: failed.error.to_status().to_string(), missing }
}
