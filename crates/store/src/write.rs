//! What a caller asks the store to change, and how it can fail. Read on: [`crate::stage`] for how it is decided.

use std::sync::Arc;

use crate::author::Author;
use crate::entry::{Entry, ExtractError, Template};
use crate::key::{Key, Revision};

/// What must hold of a key, at the moment of the write, for the write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// The key is not there.
    Absent,
    /// The key's entry has this revision.
    Revision(Revision),
}

/// What a write does.
#[derive(Debug, Clone)]
pub enum Change {
    /// The key gets this value.
    Put(Template),
    /// The key goes away. A key that is not there cannot be deleted: [`WriteError::PreconditionFailed`].
    Delete {
        /// The last state, as watchers shall see it, with a hole for the revision of the deletion.
        last: Template,
    },
}

impl Change {
    /// Bytes of the value, without the digits of its revision.
    pub(crate) fn size(&self) -> usize {
        let (Change::Put(template) | Change::Delete { last: template }) = self;
        template.head.len() + template.tail.len()
    }
}

/// One write to one key.
#[derive(Debug, Clone)]
pub struct Write {
    /// Which object.
    pub key: Key,
    /// What must hold.
    pub precondition: Precondition,
    /// What to do.
    pub change: Change,
    /// Who does it, for the history.
    pub author: Option<Author>,
}

/// Why a write did not happen. Except for [`WriteError::Unknown`] it has left no trace.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The key is not in the state that the write asked for.
    #[error("the key is not in the expected state")]
    PreconditionFailed {
        /// What stands there; none when the key is not there.
        current: Option<Arc<Entry>>,
    },
    /// The key holds a NUL, has no name, or is too long.
    #[error("{key} cannot be a key")]
    InvalidKey {
        /// The key.
        key: Key,
    },
    /// The value is larger than a record may be.
    #[error("a value of {size} bytes is more than the store takes")]
    TooLarge {
        /// Size of the value in bytes.
        size: usize,
    },
    /// The value was not understood.
    #[error("the value was not understood")]
    Malformed {
        /// What the extract function said.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The disk is full. Deletes may still go through, and writes will again once there is space.
    #[error("the disk is full")]
    Full,
    /// The disk failed. The store takes no writes until it is opened anew; it goes on to serve reads.
    #[error("the disk failed ({reason}): the store takes no more writes")]
    Failed {
        /// What failed.
        reason: Arc<str>,
    },
    /// The disk failed, or etcd went out of reach, while this very write was on its way: it may be there later, or not.
    #[error("nobody knows whether the write was done ({reason})")]
    Unknown {
        /// What failed.
        reason: Arc<str>,
    },
    /// etcd is out of reach, or refuses. Trying again later may help.
    #[error("etcd cannot be used ({reason})")]
    Unavailable {
        /// What the last try said.
        reason: Arc<str>,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl WriteError {
    pub(crate) fn malformed(source: ExtractError) -> WriteError {
        WriteError::Malformed { source: source.into() }
    }
}

/// How one write ended: the entry that it made (for a delete the last state, with the revision of the deletion).
pub type WriteResult = Result<Arc<Entry>, WriteError>;
