//! Mirrors: the objects that show static pods in the apiserver.

use std::sync::Arc;

use tracing::warn;

use super::{Dependencies, Shared, SyncError};
use crate::pod::Pod;
use crate::pods::mirrored;

impl Shared {
    /// Looks at a mirror: one whose static pod is gone, or that somebody deletes, goes at once.
    pub(super) async fn look_at_mirror(&self, mirror: &Pod) -> Result<(), SyncError> {
        let of = mirrored(mirror).unwrap_or_default();
        let lives = self.dependencies.pods.by_uid(of).is_some();
        if lives && !mirror.metadata.is_being_deleted() {
            self.queue.add(of.to_owned());
            return Ok(());
        }
        self.delete(mirror).await
    }

    /// Makes the mirror of a static pod, where there is none; an older one of the same name goes first. A static pod
    /// runs without it, too.
    pub(super) async fn show(&self, pod: &Arc<Pod>) {
        let Dependencies { pods, control, node, .. } = &self.dependencies;
        let Some(mut document) = pods.document(&pod.metadata.uid) else { return };
        let shown = match pods.namesake(pod) {
            Some(known) if mirrored(&known) == Some(&pod.metadata.uid) => return,
            Some(known) if mirrored(&known).is_some() => self.delete(&known).await,
            // Somebody else's pod has that name.
            Some(_) => return,
            None => {
                if let Some(node) = node.borrow().as_ref() {
                    document["metadata"]["ownerReferences"] = serde_json::json!([{
                        "apiVersion": "v1", "kind": "Node", "controller": true,
                        "name": node.metadata.name, "uid": node.metadata.uid,
                    }]);
                }
                control.create_pod(&pod.metadata.namespace, &document).await.map_err(SyncError::from)
            }
        };
        if let Err(error) = shown {
            warn!(pod = %pod.key(), error = %component::ErrorChain(&error), "cannot show a static pod");
        }
    }

    async fn delete(&self, mirror: &Pod) -> Result<(), SyncError> {
        let (namespace, name, uid) =
            (&mirror.metadata.namespace, &mirror.metadata.name, &mirror.metadata.uid);
        match self.dependencies.control.delete_pod(namespace, name, uid).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
