//! What follows from a change of a CustomResourceDefinition: its status, what is served, and the end of its objects.
//!
//! Level-triggered: whatever has happened, [`Pipeline::settle_definitions`] compares all definitions with what should
//! be. It is called after every write of a definition, when the last object of a deleted one is gone, at the start, and
//! now and then.

use std::sync::Arc;

use api::registry::{Registry, ResourceDef};
use api::structural::definition::{BUCKET, CLEANUP, bucket_of, is_terminating};
use api::time::Time;
use jiff::Timestamp;
use serde_json::Value;
use store::{Bucket, Change, Entry, Precondition, Scope, Write};
use tracing::warn;

use super::delete::{self, Plan};
use super::object::{self, finalizers};
use super::types::DeleteOptions;
use super::{Pipeline, extract};
use crate::crd;
use crate::crd::status::{self, Condition};

/// How many objects go in one group of writes.
const GROUP: usize = 256;

/// How often definitions are looked at again because someone else has written them meanwhile.
const ROUNDS: usize = 8;

impl Pipeline {
    /// The resources that are served now.
    pub fn registry(&self) -> Arc<Registry> {
        self.inner.definitions.registry()
    }

    /// Tells when other resources are served.
    pub(crate) fn registry_changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.inner.definitions.changes()
    }

    /// To be called when an object of `def` was written, or has gone.
    pub(super) async fn written(&self, def: &ResourceDef, gone: bool, now: Timestamp) {
        let is_last = gone && def.custom.as_ref().is_some_and(|custom| custom.terminating);
        if &*def.bucket == BUCKET || is_last {
            self.settle_definitions(now).await;
        }
    }

    /// Brings the status of all definitions up to date, serves what is established, and removes the objects of
    /// definitions that are deleted.
    pub(crate) async fn settle_definitions(&self, now: Timestamp) {
        for _ in 0..ROUNDS {
            if self.settle_names(now).await {
                break;
            }
        }
        self.inner.definitions.refresh(&self.inner.store);
        let (entries, documents) = self.definitions();
        let leaving = |definition: &Value| {
            is_terminating(definition) && finalizers(definition).any(|finalizer| finalizer == CLEANUP)
        };
        let mut is_gone = false;
        for (entry, definition) in entries.iter().zip(documents).filter(|(_, own)| leaving(own)) {
            let is_ended = self.clean_up(entry, definition, now).await;
            is_gone |= is_ended;
        }
        if is_gone {
            self.inner.definitions.refresh(&self.inner.store);
            // Others may want the names.
            self.settle_names(now).await;
            self.inner.definitions.refresh(&self.inner.store);
        }
    }

    /// Writes the status of every definition that should have another; `false` where another change came between.
    async fn settle_names(&self, now: Timestamp) -> bool {
        let (entries, documents) = self.definitions();
        let mut is_settled = true;
        for (place, document) in status::plan(&documents, now) {
            is_settled &= self.put(&entries[place], &document).await;
        }
        is_settled
    }

    /// All definitions without their schemas, those that were made first before the others.
    fn definitions(&self) -> (Vec<Arc<Entry>>, Vec<Value>) {
        let snapshot = self.inner.store.snapshot();
        let entries = snapshot.list(&Bucket::from(BUCKET), Scope::All, None);
        let mut all: Vec<(Arc<Entry>, Value)> =
            entries.filter_map(|entry| Some((entry.clone(), crd::outline(&entry.value)?))).collect();
        all.sort_by(|(_, left), (_, right)| {
            object::meta(left, "creationTimestamp").cmp(object::meta(right, "creationTimestamp"))
        });
        all.into_iter().unzip()
    }

    /// Writes the status of a definition; `false` where another change came between.
    async fn put(&self, entry: &Entry, outline: &Value) -> bool {
        let Ok(mut definition) = object::stored(entry) else { return false };
        definition["status"] = outline["status"].clone();
        self.replace(entry, Change::Put(object::template(&definition))).await
    }

    async fn replace(&self, entry: &Entry, change: Change) -> bool {
        let precondition = Precondition::Revision(entry.revision);
        let write = Write { key: entry.key.clone(), precondition, change, author: None };
        match self.inner.store.write(write).await {
            Ok(_) => true,
            Err(error) => {
                let name = entry.key.name();
                warn!(name, error = %component::ErrorChain(&error), "write the status of a definition");
                false
            }
        }
    }

    /// Removes the objects of a definition, and the definition itself once none is left.
    async fn clean_up(&self, entry: &Entry, mut definition: Value, now: Timestamp) -> bool {
        let bucket = Bucket::from(bucket_of(&definition).as_str());
        self.remove_all(&bucket, now).await;
        if self.inner.store.snapshot().len(&bucket) > 0 {
            let deleting = Condition {
                ty: "Terminating",
                is_true: true,
                reason: "InstanceDeletionInProgress",
                message: "CustomResource deletion is in progress",
            };
            let before = definition["status"].clone();
            status::set_condition(&mut definition, &deleting, &Time(now).to_string());
            if definition["status"] != before {
                self.put(entry, &definition).await;
            }
            return false;
        }
        let rest: Vec<Value> =
            finalizers(&definition).filter(|own| *own != CLEANUP).map(Value::from).collect();
        let is_last = rest.is_empty();
        definition["metadata"]["finalizers"] = rest.into();
        if let (true, Some(metadata)) = (is_last, definition["metadata"].as_object_mut()) {
            metadata.shift_remove("finalizers");
        }
        let done = Condition {
            ty: "Terminating",
            is_true: false,
            reason: "InstanceDeletionCompleted",
            message: "removed all instances",
        };
        status::set_condition(&mut definition, &done, &Time(now).to_string());
        let Ok(mut whole) = object::stored(entry) else { return false };
        whole["metadata"] = definition["metadata"].take();
        whole["status"] = definition["status"].take();
        let last = object::template(&whole);
        let change = if is_last { Change::Delete { last } } else { Change::Put(last) };
        self.replace(entry, change).await
    }

    /// Deletes every object of a bucket; those with finalizers are marked.
    async fn remove_all(&self, bucket: &Bucket, now: Timestamp) {
        let def = extract::unknown(bucket.as_str());
        let snapshot = self.inner.store.snapshot();
        let entries: Vec<_> = snapshot.list(bucket, Scope::All, None).cloned().collect();
        for group in entries.chunks(GROUP) {
            let mut writes = Vec::with_capacity(group.len());
            for entry in group {
                let Ok(old) = object::stored(entry) else { continue };
                let plan = delete::plan(&def, &old, &DeleteOptions::default(), now);
                let change = match &plan {
                    Plan::Nothing => continue,
                    Plan::Mark(value) => Change::Put(object::template(value)),
                    Plan::Remove(last) => Change::Delete { last: object::template(last) },
                };
                let precondition = Precondition::Revision(entry.revision);
                writes.push(Write { key: entry.key.clone(), precondition, change, author: None });
            }
            // One that someone changes meanwhile is met again in the next round.
            self.inner.store.write_all(writes).await;
        }
    }
}
