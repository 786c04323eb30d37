//! Encryption at rest: values of some buckets are sealed before they reach the disk.
//!
//! The log asks a [`Seal`] for every value on its way to a file and back; memory holds plain values. What is sealed
//! is bound to its key and its revision, so it cannot be moved to another place in the files. Names are not sealed.
//! Backups are plain: they must be of use when the keys are lost with the machine.
//! Read on: [`keys`] for the one that is used.

pub mod keys;

use crate::key::{Bucket, Revision};

/// Seals and opens values.
pub trait Seal: Send + Sync {
    /// Whether values of this bucket are sealed when they are written.
    fn seals(&self, bucket: &Bucket) -> bool;

    /// Seals a value. The same context must be given to open it.
    fn seal(&self, context: &[u8], value: &[u8]) -> Result<Vec<u8>, SealError>;

    /// Opens a sealed value.
    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError>;
}

/// Why a value cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no key at all for what was sealed.
    #[error("the key that the value was sealed with is not there")]
    NoKey,
    /// The key is there and does not open it: it was changed, or moved from another place.
    #[error("the value was changed after it was sealed")]
    Changed,
    /// The value cannot be sealed.
    #[error("the value cannot be sealed")]
    Failed,
}

/// What a sealed value is bound to.
pub(crate) fn context(bucket: &str, path: &str, revision: Revision) -> Vec<u8> {
    let mut context = Vec::with_capacity(bucket.len() + path.len() + 10);
    context.extend_from_slice(bucket.as_bytes());
    context.push(0);
    context.extend_from_slice(path.as_bytes());
    context.push(0);
    context.extend_from_slice(&revision.0.to_le_bytes());
    context
}
