//! Writes stored objects once more as they are: what the store encrypts is then encrypted with the newest key.

use store::{Bucket, Change, Precondition, Scope, Write, WriteError};

use super::types::{Answer, RequestContext};
use super::{Pipeline, object};

/// How many objects are written in one group: enough to share a sync, few enough to hold in memory.
const GROUP: usize = 256;

impl Pipeline {
    /// Writes every object of a bucket anew, and says how many. One that changes meanwhile is written by who changes
    /// it, and one that is deleted is not.
    pub(crate) async fn write_anew(&self, context: &RequestContext, bucket: &Bucket) -> Answer<u64> {
        let snapshot = self.inner.store.snapshot();
        let entries: Vec<_> = snapshot.list(bucket, Scope::All, None).cloned().collect();
        let mut count = 0;
        for group in entries.chunks(GROUP) {
            let mut writes = Vec::with_capacity(group.len());
            for entry in group {
                writes.push(Write {
                    key: entry.key.clone(),
                    precondition: Precondition::Revision(entry.revision),
                    change: Change::Put(object::template(&object::stored(entry)?)),
                    author: Some(self.author(context, "")),
                });
            }
            for result in self.inner.store.write_all(writes).await {
                match result {
                    Ok(_) => count += 1,
                    Err(WriteError::PreconditionFailed { .. }) => {}
                    Err(error) => return Err(object::write_failed(&error)),
                }
            }
        }
        Ok(count)
    }
}
