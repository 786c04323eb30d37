//! CustomResourceDefinitions: which resources are served beside the built-in ones.
//!
//! [`Definitions`] holds the registry that every request looks into, as a snapshot that is replaced when a definition
//! changes. What a definition's status says is decided in [`status`]. Read on: `pipeline::definitions`, which writes it
//! and removes the objects of a definition that is deleted; `api::structural`, what a custom resource is.

pub(crate) mod convert;
pub(crate) mod rules;
pub(crate) mod status;

use std::collections::HashMap;
use std::sync::Arc;

use api::registry::{Registry, ResourceDef};
use api::structural::definition::{self, BUCKET, CLEANUP};
use api::time::Time;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Bucket, Scope, Snapshot, Store};
use tokio::sync::watch;

/// The resources that are served now.
pub(crate) struct Definitions {
    registry: ArcSwap<Registry>,
    made: Mutex<Made>,
    /// The generation of the registry, for those who wait for another.
    changes: watch::Sender<u64>,
}

/// What was made of each definition, by the name of the definition.
#[derive(Default)]
struct Made {
    generation: u64,
    of: HashMap<String, Version>,
}

struct Version {
    revision: u64,
    /// The revision with which the desired state of the definition came.
    since: u64,
    uid: String,
    counted: i64,
    resources: Vec<Arc<ResourceDef>>,
}

impl Definitions {
    /// Reads the definitions that are stored.
    pub(crate) fn rebuild(store: &Store) -> Self {
        let registry = ArcSwap::from_pointee(Registry::with_custom([], 0));
        let own = Self { registry, made: Mutex::default(), changes: watch::Sender::new(0) };
        own.refresh(store);
        own
    }

    /// The resources that are served.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registry.load_full()
    }

    /// Serves what the store says now.
    pub(crate) fn refresh(&self, store: &Store) {
        // The snapshot is taken inside: of two that refresh at once, the later one knows more.
        let mut made = self.made.lock();
        let before = std::mem::take(&mut made.of);
        let count = before.len();
        let mut old = before;
        let mut is_changed = false;
        for (name, revision, document) in changed(&store.snapshot(), &old) {
            let version = match document {
                None => old.remove(&name),
                Some(document) => {
                    is_changed = true;
                    Some(Version::of(&document, revision, old.remove(&name)))
                }
            };
            made.of.extend(version.map(|version| (name, version)));
        }
        if !is_changed && made.of.len() == count {
            return;
        }
        made.generation += 1;
        let mut all: Vec<&Arc<ResourceDef>> =
            made.of.values().flat_map(|version| &version.resources).collect();
        all.sort_by(|left, right| {
            let by_version = || definition::version_order(&left.version, &right.version);
            left.group.cmp(&right.group).then_with(by_version).then_with(|| left.plural.cmp(&right.plural))
        });
        let registry = Registry::with_custom(all.into_iter().cloned(), made.generation);
        self.registry.store(Arc::new(registry));
        self.changes.send_replace(made.generation);
    }

    /// Tells when other resources are served; once at the beginning.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.subscribe();
        changes.mark_changed();
        changes
    }

    /// Whether a custom resource is still what it was: there, and with the schema that it had.
    pub(crate) fn serves(&self, def: &ResourceDef) -> bool {
        let present = self.registry.load().resource(&def.group, &def.version, &def.plural);
        let revision = |def: &ResourceDef| def.custom.as_ref().map(|custom| custom.revision);
        present.is_some_and(|present| revision(&present) == revision(def))
    }
}

impl Version {
    fn of(document: &Value, revision: u64, old: Option<Self>) -> Self {
        let metadata = &document["metadata"];
        let uid = metadata["uid"].as_str().unwrap_or_default().to_owned();
        let counted = metadata["generation"].as_i64().unwrap_or_default();
        // What changes the status only changes nothing about the objects.
        let since = old
            .filter(|old| old.uid == uid && (old.counted == counted || definition::is_terminating(document)))
            .map_or(revision, |old| old.since);
        let resources = definition::resources(document, since).into_iter().map(Arc::new).collect();
        Self { revision, since, uid, counted, resources }
    }
}

/// Every definition by name with its revision, and its document where it is not what is known.
fn changed(snapshot: &Snapshot, known: &HashMap<String, Version>) -> Vec<(String, u64, Option<Value>)> {
    let entries = snapshot.list(&Bucket::from(BUCKET), Scope::All, None);
    entries
        .map(|entry| {
            let (name, revision) = (entry.key.name().to_owned(), entry.revision.0);
            let is_known = known.get(&name).is_some_and(|version| version.revision == revision);
            let document = (!is_known).then(|| serde_json::from_slice(&entry.value).unwrap_or_default());
            (name, revision, document)
        })
        .collect()
}

/// A definition without its versions: all that its status depends on.
pub(crate) fn outline(bytes: &[u8]) -> Option<Value> {
    #[derive(Deserialize)]
    struct Outline {
        metadata: Value,
        spec: Spec,
        #[serde(default)]
        status: Value,
    }
    #[derive(Deserialize)]
    struct Spec {
        group: Value,
        names: Value,
    }
    let Outline { metadata, spec, status } = serde_json::from_slice(bytes).ok()?;
    Some(json!({"metadata": metadata, "spec": {"group": spec.group, "names": spec.names}, "status": status}))
}

/// Begins the deletion of a definition: it stays until its objects are gone.
pub(crate) fn begin_deletion(definition: &mut Value, now: Timestamp) {
    let finalizers = &mut definition["metadata"]["finalizers"];
    match finalizers.as_array_mut() {
        Some(list) if list.iter().any(|finalizer| finalizer == CLEANUP) => {}
        Some(list) => list.push(CLEANUP.into()),
        None => *finalizers = json!([CLEANUP]),
    }
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    status::set_condition(
        definition,
        &status::Condition { ty: "Terminating", is_true: true, reason: "InstanceDeletionPending", message },
        &Time(now).to_string(),
    );
}
