//! What became of objects: the versions of one, and how the state of one moment differs from that of another.
//!
//! Everything comes from the store's history, whose reach is bounded by its budget. Reading it needs the same rights
//! as reading what is there now. Read on: [`super::past`] for moments, [`super::undelete`] for bringing things back.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::registry::ResourceDef;
use store::{Bucket, Entry, EventKind, Scope, Snapshot};

use super::types::{Answer, RequestContext, Target, WatchEventType};
use super::{Pipeline, author, object};

/// One version of an object.
#[derive(Debug, Clone)]
pub struct Version {
    /// What happened.
    pub kind: WatchEventType,
    /// The object after it; its last state where it was deleted.
    pub entry: Arc<Entry>,
    /// Who did it; empty where that is not known.
    pub user: String,
    /// What it was done with, as `kubectl`; empty where that is not known.
    pub manager: String,
}

/// How one object differs between two moments.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The resource, in the version in which it is stored.
    pub def: Arc<ResourceDef>,
    /// Absent where it was made since.
    pub before: Option<Arc<Entry>>,
    /// Absent where it has gone since.
    pub after: Option<Arc<Entry>>,
}

impl Pipeline {
    /// The versions of an object that are kept, newest first. An object of the same name that was there before is
    /// part of it.
    pub async fn versions(&self, context: &RequestContext, target: &Target) -> Answer<Vec<Version>> {
        self.allowed(context, "get", target)?;
        let key = object::key(target);
        let events = self.inner.store.history(&key).await.map_err(|error| self.unreachable(&error))?;
        if events.is_empty() {
            return Err(object::not_found(&target.def, key.name()));
        }
        let entries = events.iter().map(|event| event.entry.clone()).collect();
        let shown = self.all_shown(&target.def, entries).await?;
        let version = |(event, entry): (&Arc<store::Event>, Arc<Entry>)| {
            let (user, manager) = author::parts(event.entry.author.as_deref().unwrap_or_default());
            Version {
                kind: match (event.kind, &event.previous) {
                    (EventKind::Delete, _) => WatchEventType::Deleted,
                    (EventKind::Put, None) => WatchEventType::Added,
                    (EventKind::Put, Some(_)) => WatchEventType::Modified,
                },
                entry,
                user: user.to_owned(),
                manager: manager.to_owned(),
            }
        };
        Ok(events.iter().zip(shown).map(version).collect())
    }

    /// What differs between a moment and a later one (the present, where it is not given), in one namespace or in all
    /// and beside them; of the resources in these buckets, or of all.
    pub async fn differences(
        &self,
        context: &RequestContext,
        since: &str,
        until: &str,
        namespace: &str,
        buckets: &BTreeSet<Arc<str>>,
    ) -> Answer<Vec<Difference>> {
        let since = self.past(since, context.now).await?.revision;
        let then = self.snapshot_for(&RequestContext { at: Some(since), ..context.clone() }, "").await?;
        let now = match until {
            "" => self.inner.store.snapshot(),
            until => {
                let until = self.past(until, context.now).await?.revision;
                self.snapshot_for(&RequestContext { at: Some(until), ..context.clone() }, "").await?
            }
        };
        let all: BTreeSet<&Bucket> = then.buckets().chain(now.buckets()).collect();
        let mut found = Vec::new();
        for bucket in all {
            if !buckets.is_empty() && !buckets.contains(bucket.as_str()) {
                continue;
            }
            let Some(def) = self.stored_in(bucket) else { continue };
            if !namespace.is_empty() && !def.namespaced {
                continue;
            }
            let place = Some(namespace).filter(|namespace| !namespace.is_empty());
            self.allowed(context, "list", &Target::collection(def.clone(), place))?;
            compare(&then, &now, bucket, place.into(), |before, after| {
                found.push(Difference { def: def.clone(), before, after });
            });
        }
        Ok(found)
    }

    /// The resource whose objects are in a bucket, in the version in which they are stored.
    pub(super) fn stored_in(&self, bucket: &Bucket) -> Option<Arc<ResourceDef>> {
        let registry = self.registry();
        let mut all = registry.all().iter().filter(|def| *def.bucket == *bucket.as_str());
        let first = all.next()?;
        // All versions of a custom resource are served by their own schema; what is stored has that of its own.
        let stored = std::iter::once(first).chain(all).find(|def| def.is_stored()).unwrap_or(first);
        Some(registry.storage(stored))
    }
}

/// Tells of each key that has another version, or none, in one of the snapshots. Both are walked side by side.
fn compare(
    then: &Snapshot,
    now: &Snapshot,
    bucket: &Bucket,
    scope: Scope<'_>,
    mut tell: impl FnMut(Option<Arc<Entry>>, Option<Arc<Entry>>),
) {
    let mut old = then.list(bucket, scope, None).peekable();
    let mut new = now.list(bucket, scope, None).peekable();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => old.key.cmp(&new.key),
        };
        match order {
            std::cmp::Ordering::Less => tell(old.next().cloned(), None),
            std::cmp::Ordering::Greater => tell(None, new.next().cloned()),
            std::cmp::Ordering::Equal => {
                let (before, after) = (old.next(), new.next());
                if before.map(|entry| entry.revision) != after.map(|entry| entry.revision) {
                    tell(before.cloned(), after.cloned());
                }
            }
        }
    }
}
