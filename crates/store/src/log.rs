//! The log of revisions: the truth about what is stored.
//!
//! Two threads. The *committer* takes what callers ask for, group by group: it decides the group, appends its records
//! to the newest file, makes them safe with one sync, publishes the new state and answers. The *keeper* does all that
//! nobody has to wait for: it makes the next file before it is needed, feeds the index, takes checkpoints, and trims
//! files when they are more than the budget.
//!
//! ```text
//! callers -> queue -> committer -> main files         keeper -> next file, index, kept files
//!                        |  `-> hub (state, events)      ^
//!                        `------- versions --------------'
//! ```
//! Read on: [`format`](mod@format), [`files`], [`recover`], [`committer`], [`keeper`], [`index`],
//! [`collect`], [`past`].

pub(crate) mod format;

pub(crate) mod files;

pub(crate) mod recover;

pub(crate) mod committer;

pub(crate) mod keeper;

pub(crate) mod index;

pub(crate) mod collect;

pub(crate) mod past;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::entry::Extract;
use crate::hub::{Hub, Window};
use crate::key::{Bucket, Key};
use crate::log::committer::{Appender, Committer, Queue, Request};
use crate::log::keeper::Keeper;
use crate::log::recover::{OpenError, Recovered, recover};
use crate::seal::Seal;
use crate::stage::Prepared;
use crate::state::State;
use crate::store::Clock;
use crate::write::{WriteError, WriteResult};

/// Where and how the log is kept.
#[derive(Clone)]
pub struct LogOptions {
    /// The directory. Made if it is not there.
    pub dir: PathBuf,
    /// The disk it is on.
    pub disk: Arc<dyn Disk>,
    /// Size of one file. Files are trimmed as a whole.
    pub segment_bytes: u64,
    /// How much of the disk the history may take: the files of writes, without what was copied forward of them
    /// because it is still live.
    pub history_bytes: u64,
    /// Encrypts values on their way to the disk.
    pub seal: Option<Arc<dyn Seal>>,
}

impl LogOptions {
    /// A log on the system's disk with the usual sizes: files of 16 MiB, 512 MiB of history.
    pub fn new(dir: impl Into<PathBuf>) -> LogOptions {
        LogOptions {
            dir: dir.into(),
            disk: Arc::new(crate::disk::real::RealDisk),
            segment_bytes: 16 << 20,
            history_bytes: 512 << 20,
            seal: None,
        }
    }
}

/// Bucket names, one copy of each.
#[derive(Default)]
pub(crate) struct Names(HashSet<Bucket>);

impl Names {
    /// The key of a record, if it is one.
    pub(crate) fn key(&mut self, bucket: &str, path: &str) -> Option<Key> {
        let bucket = match self.0.get(bucket) {
            Some(bucket) => bucket.clone(),
            None => {
                let bucket = Bucket::from(bucket);
                self.0.insert(bucket.clone());
                bucket
            }
        };
        Key::from_path(bucket, path)
    }
}

/// An error with its causes, for one line of a log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// An open log with its two threads.
pub(crate) struct Log {
    queue: Arc<Queue>,
    keeper: Arc<Keeper>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    hub: Arc<Hub>,
    /// The last state that was read from the log: pages of a long list ask for the same one again and again.
    pub(crate) past: Mutex<Option<Arc<State>>>,
}

impl Log {
    pub(crate) fn open(
        options: LogOptions,
        extract: Extract,
        clock: Clock,
        window: Window,
    ) -> Result<Log, OpenError> {
        let Recovered { files, index, state, tail, unindexed, lock } = recover(&options, &extract)?;
        let hub = Arc::new(Hub::new(state, window));
        let queue = Arc::new(Queue::default());
        let keeper = Arc::new(Keeper::new(files.clone(), index, options.clone(), hub.clone()));
        if let Some((versions, position)) = unindexed {
            keeper.indexed_later(versions, position);
        }
        let appender = Appender::new(files, tail, keeper.clone());
        let committer = Committer::new(hub.clone(), clock, queue.clone(), appender);
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|source| OpenError::Io {
                what: "start a thread for",
                path: options.dir.clone(),
                source,
            })
        };
        let keeping = keeper.clone();
        let keeper_thread = spawn("store-keeper", Box::new(move || keeping.run(lock)))?;
        let committer_thread = spawn("store-commit", Box::new(move || committer.run()))?;
        Ok(Log {
            queue,
            keeper,
            threads: Mutex::new(vec![committer_thread, keeper_thread]),
            hub,
            past: Mutex::new(None),
        })
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(crate) fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    /// Gives writes to the committer. The answer comes when they are done.
    pub(crate) fn submit(
        &self,
        writes: Vec<Result<Prepared, WriteError>>,
    ) -> oneshot::Receiver<Vec<WriteResult>> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Request { writes, reply });
        answer
    }

    /// Does what was asked for, ends both threads and gives the directory free. Blocks.
    pub(crate) fn close(&self) {
        let mut threads = self.threads.lock();
        self.queue.close();
        for (number, thread) in threads.drain(..).enumerate() {
            if number == 1 {
                // The keeper takes its last checkpoint when nothing comes any more.
                self.keeper.close();
            }
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        self.hub.close();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod simulation;
