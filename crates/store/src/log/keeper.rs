//! The keeper: one thread for all that no writer has to wait for.
//!
//! It makes the next file before it is needed, feeds the index with what the committer appended, takes checkpoints
//! of it, and trims. It sleeps until there is something worth doing: an idle store does nothing at all.
//! Read on: [`crate::log::index`] for what it feeds, [`crate::log::collect`] for trimming.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::disk::{File, is_full};
use crate::hub::Hub;
use crate::key::Key;
use crate::log::LogOptions;
use crate::log::files::Files;
use crate::log::format::FileId;
use crate::log::index::{Index, IndexError, Position, Version};

/// So many versions wait before the index is fed. What the index lacks at start-up is read from the log instead.
/// Keys that change often are written once for many versions.
const FEED: usize = 16 << 10;

/// The keeper, shared by its thread, the committer and readers of the past.
pub(crate) struct Keeper {
    pub(crate) files: Arc<Files>,
    pub(crate) options: LogOptions,
    pub(crate) hub: Arc<Hub>,
    index: Mutex<Index>,
    todo: Mutex<Todo>,
    news: Condvar,
    /// Locked while a file is being made.
    spare: Mutex<Option<Spare>>,
    /// The index does not know all that it should. The past cannot be read until the next start.
    pub(crate) stale: AtomicBool,
}

#[derive(Default)]
struct Todo {
    pending: Vec<(Key, Version)>,
    position: Option<Position>,
    spare: Option<(FileId, u64)>,
    checkpoint: bool,
    closing: bool,
}

/// A file that is ready for the committer.
struct Spare {
    id: FileId,
    file: Arc<dyn File>,
    size: u64,
}

impl Keeper {
    pub(crate) fn new(files: Arc<Files>, index: Index, options: LogOptions, hub: Arc<Hub>) -> Keeper {
        Keeper {
            files,
            options,
            hub,
            index: Mutex::new(index),
            todo: Mutex::new(Todo::default()),
            news: Condvar::new(),
            spare: Mutex::new(None),
            stale: AtomicBool::new(false),
        }
    }

    /// Takes versions for the index, to be written some time.
    pub(crate) fn indexed_later(&self, versions: Vec<(Key, Version)>, position: Position) {
        let mut todo = self.todo.lock();
        todo.pending.extend(versions);
        todo.position = Some(position);
        if todo.pending.len() >= FEED {
            drop(todo);
            self.news.notify_one();
        }
    }

    /// Asks for the next file to be made.
    pub(crate) fn want_spare(&self, id: FileId, size: u64) {
        let mut todo = self.todo.lock();
        todo.spare = Some((id, size));
        todo.checkpoint = true;
        drop(todo);
        self.news.notify_one();
    }

    pub(crate) fn spare_is_ready(&self) -> bool {
        self.spare.try_lock().is_some_and(|spare| spare.is_some())
    }

    /// The next file, made now if it is not ready. At least this large.
    pub(crate) fn take_spare(&self, id: FileId, size: u64) -> io::Result<(Arc<dyn File>, u64)> {
        let mut spare = self.spare.lock();
        self.todo.lock().spare = None;
        match spare.take_if(|spare| spare.id == id) {
            Some(ready) if ready.size >= size => Ok((ready.file, ready.size)),
            Some(ready) => match ready.file.allocate(size) {
                Ok(()) => Ok((ready.file, size)),
                Err(error) => {
                    *spare = Some(ready);
                    Err(error)
                }
            },
            None => Ok((self.files.create_blank(id, size)?, size)),
        }
    }

    pub(crate) fn close(&self) {
        self.todo.lock().closing = true;
        self.news.notify_one();
    }

    /// Works until it is closed. Holds the directory's lock for so long.
    pub(crate) fn run(&self, _lock: Box<dyn Send + Sync>) {
        loop {
            {
                let mut todo = self.todo.lock();
                while todo.pending.len() < FEED && todo.spare.is_none() && !todo.checkpoint && !todo.closing {
                    self.news.wait(&mut todo);
                }
            }
            if self.work() {
                return;
            }
        }
    }

    /// Does what there is to do. True when that was the last time.
    pub(crate) fn work(&self) -> bool {
        let (spare, checkpoint, closing) = {
            let mut todo = self.todo.lock();
            (todo.spare.take(), std::mem::take(&mut todo.checkpoint), todo.closing)
        };
        if let Some((id, size)) = spare
            && !closing
        {
            self.make_spare(id, size);
        }
        let fed = self
            .index()
            .and_then(|mut index| if checkpoint || closing { index.checkpoint() } else { Ok(()) });
        if let Err(reason) = fed {
            tracing::warn!(%reason, "the index of the log is behind");
        }
        if closing {
            // Handles may live on for their reads; whoever opens the directory next must not wait for them.
            self.stale.store(true, Ordering::Release);
            *self.index.lock() = Index::in_memory();
            self.discard_spare();
        } else if checkpoint && let Err(error) = self.trim() {
            tracing::warn!(error = %crate::log::chain(&error), "cannot trim the log");
        }
        closing
    }

    fn make_spare(&self, id: FileId, size: u64) {
        let mut spare = self.spare.lock();
        if spare.as_ref().is_some_and(|spare| spare.id >= id) {
            return;
        }
        match self.files.create_blank(id, size) {
            Ok(file) => *spare = Some(Spare { id, file, size }),
            Err(error) if is_full(&error) => tracing::warn!("no room for the next file of the log"),
            // The committer took the name meanwhile.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => tracing::warn!(%error, "cannot make the next file of the log"),
        }
    }

    /// The next start would remove it anyway.
    fn discard_spare(&self) {
        if let Some(spare) = self.spare.lock().take() {
            let path = self.files.path(spare.id);
            if let Err(error) = self.files.disk.remove(&path) {
                tracing::debug!(%error, "cannot remove a file that was not used");
            }
        }
    }

    /// The index, with all that was appended so far.
    ///
    /// If it cannot be fed it is given up until the next start, which reads from the log what it lacks: fed again
    /// later, it would say that it reaches further than it does.
    pub(crate) fn index(&self) -> Result<MutexGuard<'_, Index>, IndexError> {
        let mut index = self.index.lock();
        let (pending, position) = {
            let mut todo = self.todo.lock();
            (std::mem::take(&mut todo.pending), todo.position.take())
        };
        if self.stale.load(Ordering::Acquire) {
            return Err(IndexError::new("it is closed, or not kept up since an error"));
        }
        if let Some(position) = position
            && let Err(error) = index.feed(&pending, position)
        {
            self.stale.store(true, Ordering::Release);
            return Err(error);
        }
        Ok(index)
    }
}
