//! Claims, volumes and classes: what changes about them, and what is decided for them.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tracing::{debug, warn};

use client::{Client, ClientError, Informer, PatchType, Resource};
use component::{ErrorChain, Shutdown};

use crate::objects::Pod;
use crate::state::Event;
use crate::storage::{BOUND_BY_CONTROLLER, Claim, SELECTED_NODE, StorageClass, Volume, Wanted};

/// A pod whose claims get something.
pub struct ToPrepare {
    pub pod: Arc<Pod>,
    pub node: String,
    pub wanted: Vec<Wanted>,
}

/// Has every change of a claim, volume or class sent as an event; returns once all are known. `false` where the
/// shutdown came first.
pub async fn watch_storage(client: &Client, events: &UnboundedSender<Event>, shutdown: &Shutdown) -> bool {
    let claims = watch(client, events, shutdown, |claim: &Arc<Claim>, now| {
        Event::Claim(claim.metadata.namespaced_name(), now)
    });
    let volumes = watch(client, events, shutdown, |volume: &Arc<Volume>, now| {
        Event::Volume(volume.metadata.name.clone(), now)
    });
    let classes = watch(client, events, shutdown, |class: &Arc<StorageClass>, now| {
        Event::Class(class.metadata.name.clone(), now)
    });
    let waits: [std::pin::Pin<Box<dyn Future<Output = ()> + Send>>; 3] = [
        Box::pin(async move { claims.wait_synced().await }),
        Box::pin(async move { volumes.wait_synced().await }),
        Box::pin(async move { classes.wait_synced().await }),
    ];
    client::informer::wait_all_synced(waits, shutdown).await
}

fn watch<K: Resource>(
    client: &Client,
    events: &UnboundedSender<Event>,
    shutdown: &Shutdown,
    event: impl Fn(&Arc<K>, Option<Arc<K>>) -> Event + Send + Sync + 'static,
) -> client::Store<K> {
    let sender = events.clone();
    Informer::<K>::new()
        .on_change(move |old, new| {
            if let Some(object) = new.or(old) {
                drop(sender.send(event(object, new.cloned())));
            }
        })
        .spawn(&client.api(), shutdown)
}

/// Writes what was decided for claims.
pub struct Preparer {
    pub client: Client,
    pub events: UnboundedSender<Event>,
}

impl Preparer {
    /// One pod after the other: what one has got, the next one is refused.
    pub async fn run(self, mut pods: UnboundedReceiver<ToPrepare>) {
        while let Some(ToPrepare { pod, node, wanted }) = pods.recv().await {
            let mut result = Ok(());
            for wanted in &wanted {
                result = self.write(wanted, &node).await;
                if let Err(error) = &result {
                    let name = pod.metadata.namespaced_name();
                    if error.is_conflict() || error.is_not_found() {
                        debug!(pod = %name, %node, error = %ErrorChain(error), "volumes not prepared");
                    } else {
                        warn!(pod = %name, %node, error = %ErrorChain(error), "volumes not prepared");
                    }
                    break;
                }
            }
            drop(self.events.send(Event::Prepared { uid: pod.metadata.uid.clone(), result }));
        }
    }

    async fn write(&self, Wanted { claim, volume }: &Wanted, node: &str) -> Result<(), ClientError> {
        let meta = &claim.metadata;
        match volume {
            Some(volume) if volume.spec.claim_ref.as_ref().is_some_and(|of| of.uid == meta.uid) => Ok(()),
            Some(volume) => {
                let mut patch = json!({
                    "metadata": {
                        "uid": volume.metadata.uid,
                        "resourceVersion": volume.metadata.resource_version,
                    },
                    "spec": {"claimRef": {
                        "kind": "PersistentVolumeClaim",
                        "apiVersion": "v1",
                        "namespace": meta.namespace,
                        "name": meta.name,
                        "uid": meta.uid,
                        "resourceVersion": meta.resource_version,
                    }},
                });
                if volume.spec.claim_ref.is_none() {
                    patch["metadata"]["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
                }
                let api = self.client.api::<Volume>();
                api.patch("", &volume.metadata.name, PatchType::Merge, &patch).await.map(drop)
            }
            None if meta.annotations.get(SELECTED_NODE).is_some_and(|selected| selected == node) => Ok(()),
            None => {
                let patch = json!({"metadata": {
                    "uid": meta.uid,
                    "resourceVersion": meta.resource_version,
                    "annotations": {SELECTED_NODE: node},
                }});
                let api = self.client.api::<Claim>();
                api.patch(&meta.namespace, &meta.name, PatchType::Merge, &patch).await.map(drop)
            }
        }
    }
}
