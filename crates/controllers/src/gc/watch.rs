//! Feeds the graph: one watch for each resource, of which only the metadata is kept.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use client::informer::{ApiSource, From, ItemStream, Source as _, SourceItem};
use client::{ClientError, PartialObject, RawObject};
use component::{ErrorChain, spawn};
use foldhash::fast::FixedState;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tracing::debug;

use super::Controller;
use super::graph::{Node, Uid};

/// How long to wait after a failure; a resource that is not served is asked for rarely.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Starts the watch of one resource. Counts up `synced` when all its objects are in the graph, or it is not served.
pub fn spawn_watch(controller: &Arc<Controller>, resource: usize, synced: Arc<watch::Sender<usize>>) {
    let def = controller.resource(resource);
    let api = controller.context.client.dynamic(crate::resources::name(&def));
    let source = ApiSource::new(api, String::new(), String::new(), String::new());
    let watcher = Watcher { controller: Arc::clone(controller), resource, source, synced: Some(synced) };
    let stop = controller.context.shutdown.clone();
    let name = format!("garbage-collector-{}", def.plural);
    spawn(&controller.context.shutdown, name, async move {
        tokio::select! {
            () = stop.triggered() => {}
            () = watcher.run() => {}
        }
    });
}

struct Watcher {
    controller: Arc<Controller>,
    resource: usize,
    source: ApiSource,
    synced: Option<Arc<watch::Sender<usize>>>,
}

impl Watcher {
    async fn run(mut self) {
        let mut version = None;
        loop {
            let from = version.map_or(From::Beginning, From::Version);
            let result = match self.source.open(from).await {
                Ok(stream) => self.follow(stream, &mut version).await,
                Err(error) => Err(error),
            };
            let Err(error) = result else { continue };
            if error.is_expired() {
                version = None;
                continue;
            }
            let unserved = error.is_not_found() || !error.is_retryable();
            debug!(resource = self.resource, error = %ErrorChain(&error), "watch failed");
            if unserved {
                self.note_synced();
                // Its objects went before their definition did.
                if self.controller.is_gone(&self.controller.resource(self.resource)) {
                    let uids = self.controller.graph.lock().uids(self.resource);
                    uids.into_iter().for_each(|uid| self.look_at(|graph| graph.remove(&uid)));
                    return;
                }
            }
            tokio::time::sleep(if unserved { PAUSE.1 } else { PAUSE.0 }).await;
        }
    }

    /// Follows a stream to its end. `version` is where the next one can go on.
    async fn follow(&mut self, mut stream: ItemStream, version: &mut Option<u64>) -> Result<(), ClientError> {
        // Those that a stream from the beginning does not show are gone.
        let mut stale = version.is_none().then(|| self.controller.graph.lock().uids(self.resource));
        while let Some(item) = stream.next().await {
            match item? {
                SourceItem::Applied(raw) => {
                    let seen = self.apply(&raw, stale.as_mut())?;
                    if stale.is_none() {
                        *version = Some(seen);
                    }
                }
                SourceItem::Deleted(raw) => {
                    let uid = Uid::from(raw.uid.as_str());
                    if let Some(stale) = stale.as_mut() {
                        stale.remove(&uid);
                    } else {
                        *version = Some(raw.resource_version);
                    }
                    self.look_at(|graph| graph.remove(&uid));
                }
                SourceItem::Bookmark(seen) => {
                    if stale.is_none() {
                        *version = Some(seen);
                    }
                }
                SourceItem::Complete { version: seen, .. } => {
                    for uid in stale.take().into_iter().flatten() {
                        self.look_at(|graph| graph.remove(&uid));
                    }
                    *version = Some(seen);
                    self.note_synced();
                }
            }
        }
        Ok(())
    }

    fn apply(
        &self,
        raw: &RawObject,
        stale: Option<&mut HashSet<Uid, FixedState>>,
    ) -> Result<u64, ClientError> {
        let meta = raw.decode::<PartialObject>()?.metadata;
        let uid = Uid::from(meta.uid.as_str());
        if let Some(stale) = stale {
            stale.remove(&uid);
        }
        self.look_at(|graph| graph.apply(&uid, Node::new(self.resource, &meta)));
        Ok(raw.resource_version)
    }

    fn look_at(&self, change: impl FnOnce(&mut super::Graph) -> Vec<Uid>) {
        let uids = change(&mut self.controller.graph.lock());
        uids.into_iter().for_each(|uid| self.controller.queue.add(uid));
    }

    fn note_synced(&mut self) {
        if let Some(synced) = self.synced.take() {
            synced.send_modify(|count| *count += 1);
        }
    }
}
