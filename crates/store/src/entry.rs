//! What stands under a key, and what is told when it changes: entries, their headers, and events.
//!
//! The store knows bytes only. What it must know of their meaning (a parsed header for filters, terms for the
//! index) comes from the [`Extract`] function that it is opened with. Read on: [`crate::state`] for the maps.

use std::any::Any;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::author::Author;
use crate::key::{Key, Revision, Timestamp};

/// An encoded object with a hole where its revision goes: the stored value is head, decimal revision, tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Everything before the revision.
    pub head: Bytes,
    /// Everything after it.
    pub tail: Bytes,
}

impl Template {
    /// A template of its two halves.
    pub fn new(head: impl Into<Bytes>, tail: impl Into<Bytes>) -> Template {
        Template { head: head.into(), tail: tail.into() }
    }

    /// The value of a write that got this revision.
    pub fn fill(&self, revision: Revision) -> Bytes {
        let digits = Digits::of(revision.0);
        let digits = digits.as_bytes();
        let mut value = Vec::with_capacity(self.head.len() + digits.len() + self.tail.len());
        value.extend_from_slice(&self.head);
        value.extend_from_slice(digits);
        value.extend_from_slice(&self.tail);
        value.into()
    }
}

/// Decimal digits of a number, without an allocation.
struct Digits {
    buffer: [u8; 20],
    start: usize,
}

impl Digits {
    fn of(mut number: u64) -> Digits {
        let mut digits = Digits { buffer: [0; 20], start: 20 };
        loop {
            digits.start -= 1;
            digits.buffer[digits.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return digits;
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

/// A fact about an object that lists and watches may select by, such as one label or one selectable field.
///
/// Only a hash of it is kept. Two facts may share a hash, so whoever lists by a term still checks the selector;
/// the term only makes the candidates few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(u64);

impl Term {
    /// The term of a fact: its kind (`label`, `field`), its name and its value.
    pub fn new(kind: &str, name: &str, value: &str) -> Term {
        Term(foldhash::fast::FixedState::default().hash_one((kind, name, value)))
    }
}

/// What an [`Extract`] function finds in a value.
#[derive(Clone)]
pub struct Extracted {
    /// A parsed header, for filters: [`Entry::header`] gives it back.
    pub header: Arc<dyn Any + Send + Sync>,
    /// Terms under which the entry can be listed and watched.
    pub terms: Arc<[Term]>,
}

impl Extracted {
    /// No header, no terms: for values that nobody filters.
    pub fn nothing() -> Extracted {
        Extracted { header: Arc::new(()), terms: Arc::default() }
    }
}

/// Why a value was not understood.
pub type ExtractError = Box<dyn std::error::Error + Send + Sync>;

/// Reads header and terms of a value. Called once for each write, and at start-up for each live value, from
/// several threads. The revision inside the value may be a placeholder: what is extracted must not depend on it.
pub type Extract = Arc<dyn Fn(&Key, &[u8]) -> Result<Extracted, ExtractError> + Send + Sync>;

/// An object as of one revision. Never changes; shared by maps, events and readers.
pub struct Entry {
    /// What names it.
    pub key: Key,
    /// The encoded object, its revision inside.
    pub value: Bytes,
    /// The write that made it.
    pub revision: Revision,
    /// When that was.
    pub written: Timestamp,
    /// Who made it, where the writer said so.
    pub author: Option<Author>,
    pub(crate) extracted: Extracted,
}

impl Entry {
    /// The header, if it is of this type.
    pub fn header<H: Any>(&self) -> Option<&H> {
        self.extracted.header.downcast_ref()
    }

    /// The same state of the same object in another form, as another version of its kind: for readers, not to be
    /// stored.
    pub fn in_form(&self, value: Bytes, header: Arc<dyn Any + Send + Sync>) -> Entry {
        Entry {
            key: self.key.clone(),
            value,
            revision: self.revision,
            written: self.written,
            author: self.author.clone(),
            extracted: Extracted { header, terms: Arc::default() },
        }
    }

    /// The terms under which it is indexed.
    pub fn terms(&self) -> &[Term] {
        &self.extracted.terms
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key, self.revision)?;
        if f.alternate() {
            write!(f, " {}", String::from_utf8_lossy(&self.value))?;
        }
        Ok(())
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (&self.key, self.revision, &self.value, self.written)
            == (&other.key, other.revision, &other.value, other.written)
    }
}

/// What a write did to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The key has the event's entry now.
    Put,
    /// The key is gone; the event's entry is its last state, with the revision of the deletion.
    Delete,
}

/// One write, as watchers see it.
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The new state, or the last one of what was deleted.
    pub entry: Arc<Entry>,
    /// The state before, if there was one.
    pub previous: Option<Arc<Entry>>,
    encodings: Mutex<Vec<(u32, Bytes)>>,
}

impl Event {
    pub(crate) fn new(kind: EventKind, entry: Arc<Entry>, previous: Option<Arc<Entry>>) -> Event {
        Event { kind, entry, previous, encodings: Mutex::new(Vec::new()) }
    }

    /// The write's revision.
    pub fn revision(&self) -> Revision {
        self.entry.revision
    }

    /// The event in an encoding that the caller numbers (a frame of JSON, a gRPC message, ...). The first caller
    /// makes it, all others share it, those that came meanwhile wait.
    pub fn encoding(&self, number: u32, make: impl FnOnce(&Event) -> Bytes) -> Bytes {
        let mut encodings = self.encodings.lock();
        if let Some((_, bytes)) = encodings.iter().find(|(known, _)| *known == number) {
            return bytes.clone();
        }
        let bytes = make(self);
        encodings.push((number, bytes.clone()));
        bytes
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} (before: {:?})", self.kind, self.entry, self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_with_the_decimal_revision() {
        let template = Template::new("{\"v\":\"", "\"}");
        for revision in [0, 7, 10, 1_234_567_890, u64::MAX] {
            assert_eq!(template.fill(Revision(revision)), format!("{{\"v\":\"{revision}\"}}"));
        }
    }

    #[test]
    fn terms_differ_where_their_parts_do() {
        let terms = [
            Term::new("label", "a", "b"),
            Term::new("field", "a", "b"),
            Term::new("label", "ab", ""),
            Term::new("label", "", "ab"),
        ];
        for (i, one) in terms.iter().enumerate() {
            for other in &terms[i + 1..] {
                assert_ne!(one, other);
            }
        }
    }
}
