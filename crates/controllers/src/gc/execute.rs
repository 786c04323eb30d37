//! Asks the apiserver for owners, and carries out what was decided.

use api::gvk::GroupVersion;
use api::meta::OwnerReference;
use client::{ClientError, DeleteOptions, DynamicApi, PartialObject, PatchOptions, PatchType};
use serde_json::{Value, json};
use tracing::debug;

use crate::resources;

use super::Controller;
use super::graph::{Node, Uid};
use super::plan::{Action, Presence};

impl Controller {
    /// Asks for an owner. One of a kind that is not known, or that cannot be where the reference says, is taken to be
    /// there: nothing is deleted for want of knowledge.
    pub(super) async fn look_up(
        &self,
        owner: &OwnerReference,
        namespace: &str,
    ) -> Result<Presence, ClientError> {
        let GroupVersion { group, version } = GroupVersion::parse(&owner.api_version);
        let Some(def) = self.kind(&group, &version, &owner.kind) else {
            debug!(api_version = owner.api_version, kind = owner.kind, "owner of an unknown kind");
            return Ok(Presence::Present);
        };
        if def.namespaced && namespace.is_empty() {
            return Ok(Presence::Present);
        }
        let namespace = if def.namespaced { namespace } else { "" };
        let found = match self.context.client.dynamic(resources::name(&def)).get(namespace, &owner.name).await
        {
            Ok(raw) => Some(raw.decode::<PartialObject>()?.metadata),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        match found.filter(|meta| meta.uid == owner.uid) {
            None => {
                self.note_gone(Uid::from(owner.uid.as_str()));
                Ok(Presence::Absent)
            }
            Some(meta) if Node::new(0, &meta).is_deleting_dependents() => Ok(Presence::TakesDependents),
            Some(_) => Ok(Presence::Present),
        }
    }

    pub(super) async fn execute(&self, uid: &Uid, action: Action) -> Result<(), ClientError> {
        let Some(node) = self.graph.lock().get(uid).cloned() else { return Ok(()) };
        let result = match action {
            Action::Delete(policy) => {
                let options = DeleteOptions {
                    propagation_policy: policy.to_owned(),
                    resource_version: node.resource_version.to_string(),
                    ..DeleteOptions::uid(uid.as_str())
                };
                debug!(namespace = %node.namespace, name = %node.name, policy, "delete: its owners are gone");
                self.api(&node).delete(&node.namespace, &node.name, &options).await.map(drop)
            }
            Action::SetOwners(owners) => self.set_owners(&node, uid, &owners).await,
            Action::Orphan(dependents) => {
                for (dependent, owners) in dependents {
                    let Some(node) = self.graph.lock().get(&dependent).cloned() else { continue };
                    match self.set_owners(&node, &dependent, &owners).await {
                        Err(error) if error.is_not_found() => {}
                        result => result?,
                    }
                }
                // The watch shows that they are free, and then the owner is looked at again.
                Ok(())
            }
            Action::RemoveFinalizer(finalizer) => {
                let rest: Vec<_> = node.finalizers.iter().filter(|has| *has != finalizer).collect();
                self.patch(&node, uid, json!({"finalizers": rest})).await
            }
        };
        match result {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }

    async fn set_owners(&self, node: &Node, uid: &Uid, owners: &[OwnerReference]) -> Result<(), ClientError> {
        self.patch(node, uid, json!({"ownerReferences": owners})).await
    }

    /// Changes metadata of the object as it was seen.
    async fn patch(&self, node: &Node, uid: &Uid, mut metadata: Value) -> Result<(), ClientError> {
        metadata["uid"] = json!(uid.as_str());
        metadata["resourceVersion"] = json!(node.resource_version);
        let patch = json!({"metadata": metadata}).to_string();
        let options = PatchOptions::default();
        let body = (PatchType::Merge, patch.into());
        self.api(node).patch(&node.namespace, &node.name, "", body, &options).await.map(drop)
    }

    fn api(&self, node: &Node) -> DynamicApi {
        self.context.client.dynamic(resources::name(&self.resource(node.resource)))
    }
}
