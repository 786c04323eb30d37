//! Priority and fairness: which requests are taken at once, which wait, and which are sent away.
//!
//! FlowSchemas sort requests into priority levels; PriorityLevelConfigurations share the server's concurrency between
//! them. A level that is full queues: a flow (a user, or a namespace) is dealt a few of the level's queues and waits in
//! the shortest, and queues take turns, so that no flow can keep another out. A request that finds no room is refused
//! with 429. See KEP-1040.
//!
//! The objects are read anew whenever one of them changes. Read on: [`schema`] for what matches, [`level`] for queues.

mod first;
mod level;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use component::{ErrorChain, Shutdown, spawn};
use parking_lot::RwLock;
use serde_json::Value;
use store::{Bucket, Revision, Snapshot, Store};
use tracing::warn;

pub(crate) use self::first::objects as first_objects;
use self::level::{Level, Limits};
pub(crate) use self::level::{Refused, Seat};
use self::schema::Schema;
use crate::pipeline::Attributes;

/// How many requests may be handled at once in all levels that are limited. Kubernetes takes 600.
const CONCURRENCY: u64 = 1000;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// Sorts requests into levels.
#[derive(Clone)]
pub(crate) struct Flow(Arc<RwLock<Rules>>);

/// What the objects say.
#[derive(Default)]
struct Rules {
    /// The first that matches counts.
    schemas: Vec<Schema>,
    levels: HashMap<String, Arc<Level>>,
}

/// What a request was sorted into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sorted {
    /// The uid of its FlowSchema.
    pub(crate) schema: String,
    /// The uid of its PriorityLevelConfiguration.
    pub(crate) level: String,
}

/// A request that is to be handled: where it belongs, and whether there is room.
pub(crate) struct Admission {
    /// Nothing where no schema matches.
    pub(crate) sorted: Option<Sorted>,
    /// Held while the request is handled.
    pub(crate) seat: Result<Option<Seat>, Refused>,
}

impl Flow {
    /// Reads the objects of `store`, now and whenever they change.
    pub(crate) fn start(store: &Store, shutdown: &Shutdown) -> Self {
        let flow = Self(Arc::default());
        let buckets = ["flowschemas", "prioritylevelconfigurations"].map(bucket);
        flow.read(&store.snapshot(), &buckets);
        let (own, store, stopping) = (flow.clone(), store.clone(), shutdown.clone());
        spawn(shutdown, "flow-control", async move {
            tokio::select! {
                () = stopping.triggered() => {}
                () = own.follow(&store, &buckets) => {}
            }
        });
        flow
    }

    /// Reads the objects anew at every change of one of them.
    async fn follow(&self, store: &Store, buckets: &[Bucket; 2]) {
        loop {
            let snapshot = store.snapshot();
            self.read(&snapshot, buckets);
            let watch = |bucket: &Bucket| store.watch(bucket, Revision(snapshot.revision().0), None::<&str>);
            let (Ok(mut schemas), Ok(mut levels)) = (watch(&buckets[0]), watch(&buckets[1])) else { return };
            let changed = tokio::select! {
                changed = schemas.next() => changed,
                changed = levels.next() => changed,
            };
            if let Err(error) = changed {
                // A store that is closed or fails says so to everyone; what was read last holds.
                return warn!(error = %ErrorChain(&error), "watch flow schemas");
            }
        }
    }

    fn read(&self, snapshot: &Snapshot, buckets: &[Bucket; 2]) {
        let objects = |bucket: &Bucket| -> Vec<Value> {
            let entries = snapshot.list(bucket, None::<&str>, None);
            entries.filter_map(|entry| serde_json::from_slice(&entry.value).ok()).collect()
        };
        self.replace(&objects(&buckets[0]), &objects(&buckets[1]));
    }

    /// Takes on what the objects say. A level that stays keeps its queues.
    fn replace(&self, schemas: &[Value], levels: &[Value]) {
        let mut rules = self.0.write();
        let shares: u64 = levels.iter().map(|level| level::shares(&level["spec"])).sum();
        let mut kept = HashMap::new();
        for object in levels {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
            let limits = Limits::read(&object["spec"], CONCURRENCY, shares);
            let before = rules.levels.get(&name).filter(|level| level.uid() == uid);
            let level = before.cloned().unwrap_or_else(|| Arc::new(Level::new(uid)));
            level.limit(limits);
            kept.insert(name, level);
        }
        rules.levels = kept;
        rules.schemas = schemas.iter().map(Schema::read).collect();
        rules.schemas.sort_by(|left, right| left.order().cmp(&right.order()));
    }

    /// Sorts a request, and waits until there is room for it.
    pub(crate) async fn admit(&self, request: &Attributes<'_>) -> Admission {
        let found = {
            let rules = self.0.read();
            rules.schemas.iter().find_map(|schema| {
                let level = rules.levels.get(&schema.level)?;
                schema.matches(request).then(|| {
                    let sorted = Sorted { schema: schema.uid.clone(), level: level.uid().to_owned() };
                    (sorted, level.clone(), schema.flow(request))
                })
            })
        };
        match found {
            None => Admission { sorted: None, seat: Ok(None) },
            Some((sorted, level, flow)) => {
                let seat = level.enter(flow).await;
                Admission { sorted: Some(sorted), seat: seat.map(Some) }
            }
        }
    }
}

fn bucket(plural: &str) -> Bucket {
    Bucket::new(format!("{plural}.{GROUP}"))
}
