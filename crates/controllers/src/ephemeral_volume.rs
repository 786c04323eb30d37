//! Generic ephemeral volumes: makes the claim of each, which its pod owns, so that it goes with the pod.

use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use client::{ClientError, EventType, ObjectReference, Store, WorkQueue};
use serde_json::{Value, json};

use crate::context::Context;
use crate::objects::{PersistentVolumeClaim, Pod};
use crate::ownership::controller_reference;
use crate::writes;

struct Controller {
    context: Context,
    pods: Store<Pod>,
    claims: Store<PersistentVolumeClaim>,
}

/// Starts the controller. Its keys are pods.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller =
        Arc::new(Controller { context: context.clone(), pods: context.store(), claims: context.store() });
    let woken = queue.clone();
    controller.pods.subscribe(move |_, new| {
        if let Some(pod) = new.filter(|pod| pod.spec.volumes.iter().any(|volume| volume.ephemeral.is_some()))
        {
            woken.add(pod.metadata.namespaced_name());
        }
    });
    let woken = queue.clone();
    controller.claims.subscribe(move |old, new| {
        if let (Some(claim), None) = (old, new)
            && let Some(owner) = claim.metadata.controller().filter(|owner| owner.kind == "Pod")
        {
            woken.add(NamespacedName::new(&*claim.metadata.namespace, &*owner.name));
        }
    });
    context.run("ephemeral-volume", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(pod) = self.pods.get(key).filter(|pod| pod.is_active()) else { return Ok(None) };
        for volume in &pod.spec.volumes {
            let (Some(source), Some(name)) = (&volume.ephemeral, volume.claim_name(&pod.metadata.name))
            else {
                continue;
            };
            match self.claims.get(&NamespacedName::new(&*key.namespace, &*name)) {
                None => self.make(&pod, &name, source.volume_claim_template.value()).await?,
                Some(claim) if claim.metadata.controller().is_some_and(|o| o.uid == pod.metadata.uid) => {}
                Some(_) => {
                    let message = format!("PVC {key} was not created for pod {key} (pod is not owner)");
                    let message = message.replacen(&key.to_string(), &format!("{}/{name}", key.namespace), 1);
                    self.tell(&pod, "EphemeralVolumeConflict", message);
                }
            }
        }
        Ok(None)
    }

    async fn make(&self, pod: &Pod, name: &str, template: Value) -> Result<(), ClientError> {
        let claim = claim(pod, name, &template);
        let api = self.context.api::<PersistentVolumeClaim>();
        match api.create(&pod.metadata.namespace, &claim).await {
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) if writes::namespace_is_terminating(&error) => Ok(()),
            Err(error) => {
                let message = format!("ephemeral volume controller: {}", error.to_status());
                self.tell(pod, "FailedCreate", message);
                Err(error)
            }
            Ok(_) => Ok(()),
        }
    }

    fn tell(&self, pod: &Pod, reason: &str, message: String) {
        self.context.events.event(&ObjectReference::of(pod), EventType::Warning, reason, message);
    }
}

/// The claim that a template makes.
fn claim(pod: &Pod, name: &str, template: &Value) -> Value {
    let of_template = &template["metadata"];
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": pod.metadata.namespace,
            "labels": of_template["labels"],
            "annotations": of_template["annotations"],
            "ownerReferences": [controller_reference::<Pod>(&pod.metadata)],
        },
        "spec": template["spec"],
    })
}
