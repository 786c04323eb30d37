//! Revisions over bytes: the log, its sled index, and the state in memory.
//!
//! # Contract
//! - **Keys.** An object stands under bucket, namespace and name. Within a bucket, keys are ordered by namespace and
//!   then by name. Values are bytes; the revision of the write stands inside of them, where the writer left a hole.
//! - **What is atomic.** One write: precondition, revision, value and event happen together or not at all. Writes of
//!   one group share a sync, but each succeeds or fails by itself.
//! - **Revisions.** Each write gets the next revision of the whole store: strictly increasing, one for each write,
//!   no gaps. An empty store has revision 1. A revision that anyone has seen is never used again. The time of a
//!   record is the clock's, but never before that of the record before it.
//! - **When a write is done.** `write` returns when the write is durable and every later read and watch sees it. No
//!   reader ever sees a write that is not durable yet. A write that was handed over happens even if its future is
//!   dropped.
//! - **Reads** come from memory and hold no lock. A snapshot is one revision, exactly, for as long as it is held.
//! - **Watches** give every write to their scope after the revision they begin at: in order, none lost, none twice,
//!   or an error that says that they were too slow. Where memory ends they go on from the log.
//!
//! # The log backend
//! - **What is recovered.** All that was acknowledged, after a kill or a power cut at any moment; of the group that
//!   was on its way, its first few writes or none. What was recovered is made safe again before anyone sees it.
//! - **Damage.** A record that was acknowledged and is not whole any more is refused by file and offset: the store
//!   does not open, and nothing behind the damage is served. What was never acknowledged is cut off.
//! - **A disk that fails.** After a sync that failed the store takes no more writes until it is opened anew, and
//!   never tries that sync again. Reads go on. What was on its way ends with [`WriteError::Unknown`].
//! - **A disk that is full** refuses writes with [`WriteError::Full`] and leaves no trace of them; deletes go on in a
//!   small reserve; all goes on when there is space.
//! - **History.** Every version is kept until the files of writes are more than their budget. Then the oldest file
//!   goes: the versions that the oldest readable state still needs are copied forward, and [`Store::oldest`] moves
//!   to the end of that file. Before it, reads end with [`ReadError::Compacted`].
//! - **Secrets.** Values of the buckets that [`LogOptions::seal`] names are encrypted on the disk, bound to their key
//!   and revision.
//! - **Authors.** A write may say who makes it; the log, the history and backups keep that beside the value.
//! - **Formats.** Every file says its version; one that is newer is refused. The index is a copy that is made anew
//!   whenever it does not fit. One process has the directory open at a time.
//!
//! # The etcd backend
//! - **Revisions** are etcd's: strictly increasing for all stores over one etcd cluster, with gaps where something else
//!   is written there. A group's writes follow one another; writes of others may stand between them.
//! - **When a write is done.** When etcd has acknowledged it and this store's memory has it. Preconditions hold across
//!   all stores. If its answer gets lost the store finds out; where it cannot, [`WriteError::Unknown`]; where etcd is
//!   out of reach, [`WriteError::Unavailable`], and [`Store::reachable`] says so until it is back.
//! - **Reads** see all writes of their own store, and those of another one as soon as etcd has told of them: a moment
//!   later, or when etcd is back.
//! - **History** is what the window in memory has: it begins some thousand revisions before the store was opened, if
//!   etcd still has them. Watches go on over the loss of a member and of the connection. What was compacted meanwhile
//!   or changed by hand cannot be told, nor a delete for whose last state etcd has no room: watches end with
//!   [`ReadError::Compacted`] then.
//! - **Secrets** are encrypted with the keys of [`EtcdOptions::seal`], bound to their key and to when and by whom they
//!   were written. Somebody who can write to etcd can bring back an old value.
//!
//! Read on, in this order: [`key`], [`entry`], [`write`](mod@write), [`state`], [`stage`], [`hub`], [`watch`],
//! [`store`], [`disk`], the log, etcd, [`backup`], [`seal`].

pub mod key;

pub mod entry;

pub mod write;

pub(crate) mod author;

pub mod state;

mod stage;

mod hub;

pub mod watch;

pub mod store;

pub mod disk;

mod log;

mod etcd;

pub mod backup;

pub mod seal;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use author::Author;
pub use backup::{Backup, RestoreError, Restored, restore, restore_into, was_interrupted};
pub use entry::{Entry, Event, EventKind, Extract, ExtractError, Extracted, Template, Term};
pub use etcd::{EtcdError, EtcdOptions, EtcdTls};
pub use hub::Window;
pub use key::{Bucket, Key, Revision, Timestamp};
pub use log::LogOptions;
pub use log::recover::OpenError;
pub use state::{Listing, Scope, Snapshot};
pub use store::{Backend, Clock, MAX_VALUE, Options, Store};
pub use watch::{ReadError, Watch};
pub use write::{Change, Precondition, Write, WriteError, WriteResult};
