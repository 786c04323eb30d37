//! Carries out the plan of a Deployment.

use serde_json::{Map, Value, json};

use api::meta::ObjectMeta;
use client::{ClientError, DeleteOptions, EventType, ObjectReference, PatchType};

use crate::objects::{Deployment, DeploymentStatus, ReplicaSet};
use crate::template::same_template;
use crate::writes;

use super::Controller;
use super::plan::{Action, NewReplicaSet, Plan, ReplicaSetChange};

impl Controller {
    /// Carries out a plan, step by step; the first step that fails ends it.
    pub(super) async fn execute(&self, deployment: &Deployment, plan: &Plan) -> Result<(), ClientError> {
        let meta = &deployment.metadata;
        let sets = self.context.api::<ReplicaSet>();
        for action in &plan.actions {
            match action {
                Action::Adopt(change) => {
                    if !writes::may_adopt(&self.context.api::<Deployment>(), meta).await? {
                        return Ok(());
                    }
                    writes::change_owner(&sets, &meta.namespace, change).await?;
                }
                Action::Release(change) => writes::change_owner(&sets, &meta.namespace, change).await?,
                Action::CreateReplicaSet(new) => self.create(deployment, new).await?,
                Action::UpdateReplicaSet(change) => self.update(deployment, change).await?,
                Action::DeleteReplicaSet { name, uid, resource_version } => {
                    let options = DeleteOptions {
                        resource_version: resource_version.clone(),
                        ..DeleteOptions::uid(&**uid)
                    };
                    match sets.delete(&meta.namespace, name, &options).await {
                        Err(error) if error.is_not_found() => {}
                        result => result.map(drop)?,
                    }
                }
                Action::SetRevision(revision) => {
                    let annotations = json!({super::plan::REVISION: revision});
                    let patch = json!({"metadata": {"uid": meta.uid, "annotations": annotations}});
                    let api = self.context.api::<Deployment>();
                    api.patch(&meta.namespace, &meta.name, PatchType::Merge, &patch).await?;
                }
                Action::UpdateStatus(status) => self.write_status(meta, status).await?,
            }
        }
        Ok(())
    }

    async fn create(&self, deployment: &Deployment, new: &NewReplicaSet) -> Result<(), ClientError> {
        let meta = &deployment.metadata;
        let api = self.context.api::<ReplicaSet>();
        match api.create(&meta.namespace, &new.document).await {
            Ok(_) => {
                if new.replicas > 0 {
                    self.tell_scaled(deployment, &new.name, 0, new.replicas);
                }
                Ok(())
            }
            Err(error) if error.is_already_exists() => {
                let there = api.get(&meta.namespace, &new.name).await?;
                let mine = there.metadata.controller().is_some_and(|owner| owner.uid == meta.uid);
                if mine && same_template(&there.spec.template.value(), &new.template) {
                    // The cache had not shown it yet; it will.
                    return Ok(());
                }
                // Another template has the same hash: the next one is counted on top.
                let collisions = deployment.status.collision_count.unwrap_or(0) + 1;
                let status = json!({"collisionCount": collisions});
                writes::patch_status(&self.context.api::<Deployment>(), meta, status).await?;
                Err(error)
            }
            Err(error) if writes::namespace_is_terminating(&error) => Ok(()),
            Err(error) => {
                let message =
                    format!("Failed to create new replica set \"{}\": {}", new.name, error.to_status());
                self.tell(deployment, EventType::Warning, "ReplicaSetCreateError", message);
                Err(error)
            }
        }
    }

    async fn update(&self, deployment: &Deployment, change: &ReplicaSetChange) -> Result<(), ClientError> {
        let mut metadata = json!({"resourceVersion": change.resource_version});
        if !change.annotations.is_empty() {
            metadata["annotations"] = json!(change.annotations);
        }
        let mut spec = Map::new();
        if let Some((_, replicas)) = change.replicas {
            spec.insert("replicas".to_owned(), json!(replicas));
        }
        if let Some(seconds) = change.min_ready_seconds {
            spec.insert("minReadySeconds".to_owned(), json!(seconds));
        }
        let mut patch = json!({"metadata": metadata});
        if !spec.is_empty() {
            patch["spec"] = Value::Object(spec);
        }
        let api = self.context.api::<ReplicaSet>();
        api.patch(&deployment.metadata.namespace, &change.name, PatchType::Merge, &patch).await?;
        if let Some((from, to)) = change.replicas {
            self.tell_scaled(deployment, &change.name, from, to);
        }
        Ok(())
    }

    fn tell_scaled(&self, deployment: &Deployment, set: &str, from: i32, to: i32) {
        let direction = if to > from { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {set} from {from} to {to}");
        self.tell(deployment, EventType::Normal, "ScalingReplicaSet", message);
    }

    fn tell(&self, deployment: &Deployment, r#type: EventType, reason: &str, message: String) {
        self.context.events.event(&ObjectReference::of(deployment), r#type, reason, message);
    }

    async fn write_status(&self, meta: &ObjectMeta, status: &DeploymentStatus) -> Result<(), ClientError> {
        let document = json!({
            "observedGeneration": status.observed_generation,
            "replicas": writes::count(status.replicas),
            "updatedReplicas": writes::count(status.updated_replicas),
            "readyReplicas": writes::count(status.ready_replicas),
            "availableReplicas": writes::count(status.available_replicas),
            "unavailableReplicas": writes::count(status.unavailable_replicas),
            "terminatingReplicas": status.terminating_replicas,
            "conditions": status.conditions,
        });
        match writes::patch_status(&self.context.api::<Deployment>(), meta, document).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }
}
