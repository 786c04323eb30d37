//! Configurations as they are stored, read once for each revision.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use store::{Bucket, Key, Revision, Snapshot};

/// The objects of one bucket, as they were read. What is compiled of them is kept with them.
pub(super) struct Configured<T> {
    bucket: Bucket,
    read: Mutex<HashMap<Box<str>, Read<T>>>,
}

/// An object, and as of when.
type Read<T> = (Revision, Arc<T>);

impl<T: DeserializeOwned + Default> Configured<T> {
    pub(super) fn new(bucket: &str) -> Self {
        Self { bucket: Bucket::from(bucket), read: Mutex::default() }
    }

    /// Whether there are any.
    pub(super) fn any(&self, snapshot: &Snapshot) -> bool {
        snapshot.list(&self.bucket, None, None).next().is_some()
    }

    /// Those of a snapshot, by name.
    pub(super) fn all(&self, snapshot: &Snapshot) -> Vec<Arc<T>> {
        let mut entries = snapshot.list(&self.bucket, None, None).peekable();
        if entries.peek().is_none() {
            return Vec::new();
        }
        let mut read = self.read.lock();
        let mut all = Vec::new();
        for entry in entries {
            let name = entry.key.name();
            match read.get(name) {
                Some((revision, known)) if *revision == entry.revision => all.push(known.clone()),
                _ => {
                    let made: T = serde_json::from_slice(&entry.value).unwrap_or_default();
                    let made = Arc::new(made);
                    read.insert(name.into(), (entry.revision, made.clone()));
                    all.push(made);
                }
            }
        }
        if read.len() > all.len() {
            read.retain(|name, _| snapshot.get(&Key::new(&self.bucket, "", name)).is_some());
        }
        all
    }
}
