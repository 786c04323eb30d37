//! Revisions over bytes: the log, its sled index, and the state in memory.
//!
//! # Contract
//! - **Keys.** An object stands under bucket, namespace and name. Within a bucket, keys are ordered by namespace and
//!   then by name. Values are bytes; the revision of the write stands inside of them, where the writer left a hole.
//! - **What is atomic.** One write: precondition, revision, value and event happen together or not at all. Writes of
//!   one group share a flush, but each succeeds or fails by itself.
//! - **Revisions.** Each write gets the next revision of the whole store: strictly increasing, one for each write,
//!   no gaps, never used twice. An empty store has revision 1.
//! - **When a write is done.** `write` returns when the write is durable and every later read and watch sees it. No
//!   reader ever sees a write that is not durable yet.
//! - **Reads** come from memory and hold no lock. A snapshot is one revision, exactly, for as long as it is held.
//! - **Watches** give every write to their scope after the revision they begin at: in order, none lost, none twice,
//!   or an error that says that they were too slow.
//!
//! Read on, in this order: [`key`], [`entry`], [`write`](mod@write), [`state`], [`stage`], [`hub`], [`watch`],
//! [`store`].

pub mod key;

pub mod entry;

pub mod write;

pub mod state;

mod stage;

mod hub;

pub mod watch;

pub mod store;

pub mod disk;

mod log;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use entry::{Entry, Event, EventKind, Extract, ExtractError, Extracted, Template, Term};
pub use hub::Window;
pub use key::{Bucket, Key, Revision, Timestamp};
pub use log::LogOptions;
pub use log::recover::OpenError;
pub use state::{Listing, Scope, Snapshot};
pub use store::{Backend, Clock, MAX_VALUE, Options, Store};
pub use watch::{ReadError, Watch};
pub use write::{Change, Precondition, Write, WriteError, WriteResult};
