//! Decides what a group of writes does: preconditions, revisions, times, the next state and its events.
//!
//! Pure: no disk, no clock. The result is only staged; the committer makes it durable and then visible, or throws
//! it away whole. Read on: [`crate::store`] for who commits.

use std::sync::Arc;

use crate::entry::{Entry, Event, EventKind, Extracted};
use crate::key::Timestamp;
use crate::state::State;
use crate::write::{Change, Precondition, Write, WriteError, WriteResult};

/// A write whose value has been looked at already, outside of the committer.
pub(crate) struct Prepared {
    pub(crate) write: Write,
    pub(crate) extracted: Extracted,
}

/// What a group of writes comes to.
pub(crate) struct Staged {
    /// The state with all of the group's writes.
    pub(crate) state: State,
    /// The writes that happen, in the order of their revisions.
    pub(crate) events: Vec<Arc<Event>>,
    /// One answer for each write that was asked for, in their order.
    pub(crate) results: Vec<WriteResult>,
}

impl Staged {
    pub(crate) fn on(state: &State) -> Staged {
        Staged { state: state.clone(), events: Vec::new(), results: Vec::new() }
    }

    /// Adds one write to the group.
    pub(crate) fn add(&mut self, prepared: &Prepared, now: Timestamp) {
        let result = self.decide(prepared, now);
        self.results.push(result);
    }

    fn decide(&mut self, prepared: &Prepared, now: Timestamp) -> WriteResult {
        let Prepared { write: Write { key, precondition, change, author }, extracted } = prepared;
        let current = self.state.get(key);
        let holds = match precondition {
            Precondition::None => true,
            Precondition::Absent => current.is_none(),
            Precondition::Revision(revision) => current.is_some_and(|entry| entry.revision == *revision),
        };
        let deletes_nothing = matches!(change, Change::Delete { .. }) && current.is_none();
        if !holds || deletes_nothing {
            return Err(WriteError::PreconditionFailed { current: current.cloned() });
        }
        let revision = self.state.revision.next();
        let written = now.max(self.state.written);
        let (kind, template) = match change {
            Change::Put(template) => (EventKind::Put, template),
            Change::Delete { last } => (EventKind::Delete, last),
        };
        let key = match current {
            // One copy of the name in memory, however often it is written.
            Some(current) => current.key.clone(),
            None => key.clone(),
        };
        let extracted = extracted.clone();
        let (value, author) = (template.fill(revision), author.clone());
        let entry = Arc::new(Entry { key, value, revision, written, author, extracted });
        let previous = match kind {
            EventKind::Put => self.state.put(entry.clone()),
            EventKind::Delete => self.state.remove(&entry.key),
        };
        self.state.revision = revision;
        self.state.written = written;
        self.events.push(Arc::new(Event::new(kind, entry.clone(), previous)));
        Ok(entry)
    }
}
