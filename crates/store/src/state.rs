//! The whole state at one revision, in persistent ordered maps, and what readers see of it.
//!
//! A [`Snapshot`] is a pointer. Making the next state copies only the path to what changed, so any number of old
//! snapshots live on beside the newest without a lock and without a copy of theirs.
//! Read on: [`crate::stage`] for how the next state comes about.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::entry::{Entry, Term};
use crate::key::{Bucket, Key, Path, Revision, Timestamp};

/// Which part of a bucket to list or to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// All of it.
    All,
    /// One namespace.
    Namespace(&'a str),
    /// What has this term, in one namespace or in all.
    Term(Term, Option<&'a str>),
}

impl<'a> From<Option<&'a str>> for Scope<'a> {
    fn from(namespace: Option<&'a str>) -> Scope<'a> {
        namespace.map_or(Scope::All, Scope::Namespace)
    }
}

/// One bucket's maps.
#[derive(Clone, Default)]
pub(crate) struct BucketState {
    pub(crate) objects: OrdMap<Path, Arc<Entry>>,
    terms: OrdMap<Term, OrdSet<Path>>,
}

/// Everything as of one revision.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    /// Time of the newest record: record times never go back.
    pub(crate) written: Timestamp,
    /// Bytes of all live values.
    pub(crate) live_bytes: u64,
    pub(crate) buckets: OrdMap<Bucket, BucketState>,
}

impl State {
    pub(crate) fn empty() -> State {
        State {
            revision: Revision::FIRST,
            written: Timestamp::default(),
            live_bytes: 0,
            buckets: OrdMap::new(),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.buckets.get(key.bucket())?.objects.get(key.path())
    }

    /// Puts an entry under its key and gives what stood there. Does not touch the revision.
    pub(crate) fn put(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let bucket = self.bucket_mut(entry.key.bucket());
        let path = entry.key.path().clone();
        let size = entry.value.len() as u64;
        let previous = bucket.objects.insert(path.clone(), entry.clone());
        let old_terms = previous.as_deref().map_or(&[][..], Entry::terms);
        if old_terms != entry.terms() {
            for term in old_terms.iter().filter(|term| !entry.terms().contains(term)) {
                bucket.forget_term(term, &path);
            }
            for term in entry.terms().iter().filter(|term| !old_terms.contains(term)) {
                bucket.terms.entry(*term).or_default().insert(path.clone());
            }
        }
        self.live_bytes += size;
        self.live_bytes -= previous.as_ref().map_or(0, |entry| entry.value.len() as u64);
        previous
    }

    /// Takes a key away and gives what stood there. Does not touch the revision.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Entry>> {
        let bucket = self.buckets.get_mut(key.bucket())?;
        let previous = bucket.objects.remove(key.path())?;
        for term in previous.terms() {
            bucket.forget_term(term, key.path());
        }
        if bucket.objects.is_empty() {
            self.buckets.remove(key.bucket());
        }
        self.live_bytes -= previous.value.len() as u64;
        Some(previous)
    }

    fn bucket_mut(&mut self, bucket: &Bucket) -> &mut BucketState {
        self.buckets.entry(bucket.clone()).or_default()
    }
}

impl BucketState {
    fn forget_term(&mut self, term: &Term, path: &Path) {
        if let Some(paths) = self.terms.get_mut(term) {
            paths.remove(path);
            if paths.is_empty() {
                self.terms.remove(term);
            }
        }
    }

    fn list<'a>(&'a self, scope: Scope<'_>, after: Option<&str>) -> Listing<'a> {
        let (namespace, term) = match scope {
            Scope::All => (None, None),
            Scope::Namespace(namespace) => (Some(namespace), None),
            Scope::Term(term, namespace) => (namespace, Some(term)),
        };
        let (first, end) = match namespace {
            Some(namespace) => (format!("{namespace}\0"), Some(format!("{namespace}\x01"))),
            None => (String::new(), None),
        };
        let start = match after {
            Some(after) if after >= first.as_str() => Bound::Excluded(after),
            _ => Bound::Included(first.as_str()),
        };
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        if let (Bound::Excluded(start), Bound::Excluded(end)) = (start, end)
            && start >= end
        {
            return Box::new(std::iter::empty());
        }
        match term {
            None => Box::new(self.objects.range::<_, str>((start, end)).map(|(_, entry)| entry)),
            Some(term) => match self.terms.get(&term) {
                None => Box::new(std::iter::empty()),
                Some(paths) => {
                    Box::new(paths.range::<_, str>((start, end)).filter_map(|path| self.objects.get(path)))
                }
            },
        }
    }
}

/// Entries in the order of their keys.
pub type Listing<'a> = Box<dyn Iterator<Item = &'a Arc<Entry>> + Send + 'a>;

/// The state at one revision. Cheap to clone and to keep.
#[derive(Clone)]
pub struct Snapshot(pub(crate) Arc<State>);

impl Snapshot {
    /// The newest write that it holds.
    pub fn revision(&self) -> Revision {
        self.0.revision
    }

    /// When that write was made.
    pub fn written(&self) -> Timestamp {
        self.0.written
    }

    /// What stands under the key.
    pub fn get(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.0.get(key)
    }

    /// What a scope of the bucket holds, in the order of the keys, beginning after one of them.
    /// A page costs what it returns, wherever it begins.
    pub fn list<'a>(
        &'a self,
        bucket: &Bucket,
        scope: impl Into<Scope<'a>>,
        after: Option<&Key>,
    ) -> Listing<'a> {
        match self.0.buckets.get(bucket) {
            Some(bucket) => bucket.list(scope.into(), after.map(|key| &*key.path().0)),
            None => Box::new(std::iter::empty()),
        }
    }

    /// Number of entries in the bucket.
    pub fn len(&self, bucket: &Bucket) -> usize {
        self.0.buckets.get(bucket).map_or(0, |bucket| bucket.objects.len())
    }

    /// Whether nothing at all is stored.
    pub fn is_empty(&self) -> bool {
        self.0.buckets.is_empty()
    }

    /// The buckets that hold something.
    pub fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.0.buckets.keys()
    }

    /// Bytes of all values.
    pub fn live_bytes(&self) -> u64 {
        self.0.live_bytes
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot@{}", self.0.revision)
    }
}
