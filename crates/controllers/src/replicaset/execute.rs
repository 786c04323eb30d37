//! Carries out the plan of a ReplicaSet.

use futures_util::future::join_all;
use serde_json::json;

use api::meta::ObjectMeta;
use client::{ClientError, DeleteOptions, EventType, ObjectReference};

use crate::objects::{Pod, ReplicaSet, ReplicaSetStatus, ReplicationController};
use crate::writes;

use super::Controller;
use super::plan::{Action, Failure, Flavor, NewPod, Observed, Plan, Victim, status_after_failure};

/// How many pods a slow start creates at first; each batch that succeeds doubles it.
const FIRST_BATCH: usize = 1;

impl Controller {
    /// Carries out a plan, step by step. A failure to make or delete pods is told in the status before it is
    /// returned.
    pub(super) async fn execute(&self, observed: &Observed<'_>, plan: &Plan) -> Result<(), ClientError> {
        let owner = &observed.replica_set.metadata;
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
                Action::CreatePods(pods) => self.create(owner, pods).await,
                Action::DeletePods(victims) => self.delete(owner, victims).await,
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

    /// Creates one pod, then two, then four: where a quota or an admission refuses, it is asked once, not a
    /// thousand times.
    async fn create(&self, owner: &ObjectMeta, pods: &[NewPod]) -> Result<(), (Failure, ClientError)> {
        let mut rest = pods;
        let mut batch = FIRST_BATCH;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(batch.min(rest.len()));
            let results = join_all(now.iter().map(|pod| self.create_one(owner, pod))).await;
            let failed = results.iter().filter(|result| result.is_err()).count();
            if let Some(error) = results.into_iter().find_map(Result::err) {
                if writes::namespace_is_terminating(&error) {
                    return Ok(());
                }
                let missing = i32::try_from(failed + later.len()).unwrap_or(i32::MAX);
                return Err((failure("FailedCreate", &error, missing), error));
            }
            rest = later;
            batch *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, owner: &ObjectMeta, pod: &NewPod) -> Result<(), ClientError> {
        self.expectations.will_create(&owner.uid, &pod.name, self.context.now());
        let api = self.context.api::<Pod>();
        match api.dynamic().create(&owner.namespace, &pod.document, &Default::default()).await {
            Ok(_) => {
                self.tell(owner, EventType::Normal, "SuccessfulCreate", format!("Created pod: {}", pod.name));
                Ok(())
            }
            Err(error) => {
                // Without an answer the pod may have been created: the note stays until the pod is seen or it expires.
                if error.status().is_some() {
                    self.expectations.forget_creation(&owner.uid, &pod.name);
                }
                if !writes::namespace_is_terminating(&error) {
                    let message = format!("Error creating: {}", error.to_status());
                    self.tell(owner, EventType::Warning, "FailedCreate", message);
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, owner: &ObjectMeta, victims: &[Victim]) -> Result<(), (Failure, ClientError)> {
        let results = join_all(victims.iter().map(|victim| self.delete_one(owner, victim))).await;
        let failed = results.iter().filter(|result| result.is_err()).count();
        match results.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some(error) => {
                let kept = i32::try_from(failed).unwrap_or(i32::MAX);
                Err((failure("FailedDelete", &error, -kept), error))
            }
        }
    }

    async fn delete_one(&self, owner: &ObjectMeta, victim: &Victim) -> Result<(), ClientError> {
        self.expectations.will_delete(&owner.uid, &victim.uid, self.context.now());
        let api = self.context.api::<Pod>();
        match api.delete(&owner.namespace, &victim.name, &DeleteOptions::uid(&*victim.uid)).await {
            Ok(_) => {
                self.tell(
                    owner,
                    EventType::Normal,
                    "SuccessfulDelete",
                    format!("Deleted pod: {}", victim.name),
                );
                Ok(())
            }
            Err(error) => {
                self.expectations.forget_deletion(&owner.uid, &victim.uid);
                // Gone already, or made anew under the same name: either way this one is gone.
                if error.is_not_found() || error.is_conflict() {
                    return Ok(());
                }
                self.tell(
                    owner,
                    EventType::Warning,
                    "FailedDelete",
                    format!("Error deleting: {}", error.to_status()),
                );
                Err(error)
            }
        }
    }

    fn tell(&self, owner: &ObjectMeta, r#type: EventType, reason: &str, message: String) {
        let reference = self.flavor.reference(owner);
        let object = ObjectReference::new(&reference.api_version, &reference.kind, owner);
        self.context.events.event(&object, r#type, reason, message);
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

fn failure(reason: &'static str, error: &ClientError, missing: i32) -> Failure {
    Failure { reason, message: error.to_status().to_string(), missing }
}
