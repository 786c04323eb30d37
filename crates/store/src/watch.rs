//! A watcher's side of the event streams. Read on: [`crate::hub`] for where the events stand.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::entry::{Event, Extract};
use crate::hub::{Found, Hub, Stream, Topic};
use crate::key::{Bucket, Revision};
use crate::log::keeper::Keeper;
use crate::log::past::PastReader;
use crate::state::Scope;

/// Why the past cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The revision is older than what is kept.
    #[error("revision {asked} is compacted, the oldest one is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The oldest revision that can be read.
        oldest: Revision,
    },
    /// The revision has not happened yet.
    #[error("revision {asked} is in the future, the newest one is {newest}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The log could not be read.
    #[error("the log cannot be read ({reason})")]
    Failed {
        /// What failed, and where.
        reason: Arc<str>,
    },
}

/// Events taken from a stream at once. Enough to spare locks, few enough to not keep an old event alive for long.
const BATCH: usize = 256;

/// An endless sequence of the events of a scope, in the order of their revisions, none lost, none twice.
///
/// It ends with [`ReadError::Compacted`] when its reader was too slow for what is kept (in the log, if there is one:
/// memory alone never ends a watch then), and with
/// [`ReadError::Closed`] when the store closes.
pub struct Watch {
    hub: Arc<Hub>,
    stream: Arc<Stream>,
    bucket: Bucket,
    topic: Topic,
    /// Only this namespace of a term's stream.
    namespace: Option<Box<str>>,
    /// Everything up to here was given out or does not belong to the scope.
    position: Revision,
    /// Everything up to here was taken from the stream.
    taken: Revision,
    pending: VecDeque<Arc<Event>>,
    /// Where events come from that the window does not have any more.
    past: Option<(Arc<Keeper>, Extract)>,
    reader: Option<PastReader>,
}

impl Watch {
    pub(crate) fn new(
        hub: Arc<Hub>,
        bucket: &Bucket,
        scope: Scope<'_>,
        after: Revision,
        past: Option<(Arc<Keeper>, Extract)>,
    ) -> Watch {
        let topic = Topic::of(scope);
        let namespace = match scope {
            Scope::Term(_, namespace) => namespace.map(Box::from),
            Scope::All | Scope::Namespace(_) => None,
        };
        let stream = hub.subscribe(bucket, topic.clone(), after);
        Watch {
            hub,
            stream,
            bucket: bucket.clone(),
            topic,
            namespace,
            position: after,
            taken: after,
            pending: VecDeque::new(),
            past,
            reader: None,
        }
    }

    /// The next event; waits until there is one. May be dropped while it waits: nothing gets lost.
    pub async fn next(&mut self) -> Result<Arc<Event>, ReadError> {
        loop {
            if let Some(event) = self.take_pending() {
                return Ok(event);
            }
            self.wait().await?;
        }
    }

    /// The next events, at least one and at most `most`; waits until there is one.
    pub async fn next_batch(&mut self, most: usize) -> Result<Vec<Arc<Event>>, ReadError> {
        let mut batch = vec![self.next().await?];
        while batch.len() < most {
            match self.try_next()? {
                Some(event) => batch.push(event),
                None => break,
            }
        }
        Ok(batch)
    }

    /// The next event, if it has happened already.
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, ReadError> {
        loop {
            if let Some(event) = self.take_pending() {
                return Ok(Some(event));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// The revision up to which this watch has given out everything: what a bookmark may say.
    pub fn progress(&mut self) -> Revision {
        // The order matters: what is published after this line may be missing from the look that follows it.
        let published = self.hub.published();
        if self.pending.is_empty()
            && let Found::Nothing = self.stream.read(self.taken, 0, &mut self.pending)
        {
            self.position = self.position.max(published);
            self.taken = self.position;
        }
        self.position
    }

    fn take_pending(&mut self) -> Option<Arc<Event>> {
        let event = self.pending.pop_front()?;
        self.position = event.revision();
        Some(event)
    }

    /// Waits until something is pending.
    async fn wait(&mut self) -> Result<(), ReadError> {
        let stream = self.stream.clone();
        loop {
            let news = stream.news.notified();
            tokio::pin!(news);
            // From here on no wake-up is missed, so the look that follows decides.
            news.as_mut().enable();
            if self.fill()? {
                return Ok(());
            }
            news.await;
        }
    }

    /// Takes what the stream has. False when it has nothing new.
    fn fill(&mut self) -> Result<bool, ReadError> {
        loop {
            match self.stream.read(self.taken, BATCH, &mut self.pending) {
                Found::Nothing if self.hub.is_closed() => return Err(ReadError::Closed),
                Found::Nothing => return Ok(false),
                Found::Lost(floor) => self.read_past(floor)?,
                Found::Events => {
                    self.reader = None;
                    if let Some(newest) = self.pending.back() {
                        self.taken = newest.revision();
                    }
                }
            }
            if let Some(namespace) = &self.namespace {
                self.pending.retain(|event| event.entry.key.namespace() == &**namespace);
            }
            if !self.pending.is_empty() {
                return Ok(true);
            }
            self.position = self.taken;
        }
    }

    /// Takes from the log what fell out of the stream, up to its floor. This blocks for a short while: a batch is
    /// small, and mostly still in the system's memory.
    fn read_past(&mut self, floor: Revision) -> Result<(), ReadError> {
        let Some((keeper, extract)) = &self.past else {
            return Err(ReadError::Compacted { asked: self.taken, oldest: floor });
        };
        let taken = self.taken;
        let reader =
            self.reader.get_or_insert_with(|| PastReader::new(keeper.clone(), extract.clone(), taken));
        let events = reader.read(&self.bucket, &self.topic, floor, BATCH)?;
        self.taken = reader.position();
        self.pending.extend(events);
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.unsubscribe(&self.bucket, &self.topic, &self.stream);
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch({} {:?} after {})", self.bucket, self.topic, self.position)
    }
}
