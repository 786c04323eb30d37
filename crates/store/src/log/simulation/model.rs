//! What a store must be: a map for each revision, and the list of writes that led there.
//!
//! The model knows every write that was acknowledged. After a crash the store must hold all of them, and of the
//! group that was on its way the first few writes or none: exactly the model's map at the store's revision.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Driven;
use crate::entry::{Entry, EventKind};
use crate::hub::Topic;
use crate::key::{Bucket, Key, Revision};
use crate::log::past::PastReader;
use crate::state::{Scope, State};
use crate::testing::{delete, pod, put, put_if, text};
use crate::watch::ReadError;
use crate::write::{Precondition, Write, WriteError, WriteResult};

/// A write that happened or may have.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Happened {
    pub(super) key: Key,
    pub(super) kind: EventKind,
    pub(super) text: String,
}

impl Happened {
    fn apply(&self, map: &mut Map, revision: Revision) {
        match self.kind {
            EventKind::Put => map.insert(self.key.clone(), (revision, short(&self.text))),
            EventKind::Delete => map.remove(&self.key),
        };
    }
}

/// Enough of a text to know it.
fn short(text: &str) -> String {
    format!("{} {}", text.split(' ').next().unwrap_or_default(), text.len())
}

/// A map of keys to the revision and the text that they have.
pub(super) type Map = BTreeMap<Key, (Revision, String)>;

#[derive(Default)]
pub(super) struct Model {
    /// All writes; the first has the revision after [`Revision::FIRST`].
    writes: Vec<Happened>,
    /// The map after all of them.
    pub(super) current: Map,
}

impl Model {
    pub(super) fn revision(&self) -> Revision {
        Revision(Revision::FIRST.0 + self.writes.len() as u64)
    }

    /// The map at a revision.
    pub(super) fn at(&self, revision: Revision) -> Map {
        let count = (revision.0 - Revision::FIRST.0) as usize;
        let mut map = Map::new();
        for (number, write) in self.writes[..count].iter().enumerate() {
            write.apply(&mut map, Revision(Revision::FIRST.0 + number as u64 + 1));
        }
        map
    }

    fn push(&mut self, write: Happened) {
        let revision = self.revision().next();
        write.apply(&mut self.current, revision);
        self.writes.push(write);
    }

    /// What a group of writes must come to, with the answers that it must get.
    fn expect(
        &self,
        writes: &[Write],
        texts: &[String],
    ) -> (Vec<Happened>, Vec<Result<Revision, Option<Revision>>>) {
        let mut map = self.current.clone();
        let mut revision = self.revision();
        let (mut happened, mut answers) = (Vec::new(), Vec::new());
        for (write, text) in writes.iter().zip(texts) {
            let current = map.get(&write.key).map(|(revision, _)| *revision);
            let kind = match write.change {
                crate::Change::Put(_) => EventKind::Put,
                crate::Change::Delete { .. } => EventKind::Delete,
            };
            let holds = match write.precondition {
                Precondition::None => kind == EventKind::Put || current.is_some(),
                Precondition::Absent => kind == EventKind::Put && current.is_none(),
                Precondition::Revision(revision) => current == Some(revision),
            };
            if !holds {
                answers.push(Err(current));
                continue;
            }
            revision = revision.next();
            match kind {
                EventKind::Put => map.insert(write.key.clone(), (revision, short(text))),
                EventKind::Delete => map.remove(&write.key),
            };
            happened.push(Happened { key: write.key.clone(), kind, text: text.clone() });
            answers.push(Ok(revision));
        }
        (happened, answers)
    }
}

/// What the driven store holds must be what the model says.
#[track_caller]
pub(super) fn assert_state(state: &State, expected: &Map) {
    let snapshot = crate::state::Snapshot(std::sync::Arc::new(state.clone()));
    let mut seen = Map::new();
    let buckets: Vec<_> = snapshot.buckets().cloned().collect();
    for bucket in buckets {
        for entry in snapshot.list(&bucket, Scope::All, None) {
            assert_entry(entry);
            seen.insert(entry.key.clone(), (entry.revision, short(text(entry))));
        }
    }
    assert_eq!(&seen, expected);
}

/// An entry's value carries its own text and revision.
#[track_caller]
fn assert_entry(entry: &Entry) {
    let template = crate::testing::object(text(entry));
    assert_eq!(entry.value, template.fill(entry.revision), "{entry}");
}

/// Makes up writes by a seed.
pub(super) struct Writer {
    pub(super) random: StdRng,
    count: u64,
}

impl Writer {
    pub(super) fn new(seed: u64) -> Writer {
        Writer { random: StdRng::seed_from_u64(seed), count: 0 }
    }

    /// A group of writes with the text of each.
    pub(super) fn group(&mut self, model: &Model) -> (Vec<Write>, Vec<String>) {
        let map = model.current.clone();
        let count = self.random.random_range(1..6);
        (0..count).map(|_| self.write(&map)).unzip()
    }

    fn write(&mut self, map: &Map) -> (Write, String) {
        self.count += 1;
        let random = &mut self.random;
        let key = pod(&format!("n{}/p{}", random.random_range(0..2), random.random_range(0..8)));
        let long = if random.random_ratio(1, 20) {
            random.random_range(600..5000)
        } else {
            random.random_range(0..200)
        };
        let text = format!("n=v{} {}", self.count, "x".repeat(long));
        let current = map.get(&key).map(|(revision, _)| *revision);
        let precondition = match random.random_range(0..6) {
            0 => Precondition::Absent,
            1 => Precondition::Revision(current.unwrap_or(Revision(3))),
            2 => Precondition::Revision(Revision(1)),
            _ => Precondition::None,
        };
        let write = if random.random_ratio(1, 4) {
            Write { precondition, ..delete(&key, &text) }
        } else if precondition == Precondition::None {
            put(&key, &text)
        } else {
            put_if(&key, &text, precondition)
        };
        (write, text)
    }
}

/// How a group ended.
pub(super) enum Ended {
    /// All answers are the model's.
    Well,
    /// The disk was full; some or all of the group was refused, the rest happened.
    Full,
    /// The disk failed. These writes may be there after the next start: the first few of them, or none.
    Broken(Vec<Happened>),
}

/// Commits a group on the store and on the model, and compares.
pub(super) fn commit(store: &mut Driven, model: &mut Model, writer: &mut Writer) -> Ended {
    let before = store.hub.state().revision;
    let (writes, texts) = writer.group(model);
    let (expected, answers) = model.expect(&writes, &texts);
    let (results, broken) = store.write(writes.clone());
    if broken {
        assert!(
            results.iter().all(|result| matches!(result, Err(WriteError::Unknown { .. }))),
            "{results:?}"
        );
        assert_eq!(store.hub.state().revision, before, "nothing became visible");
        return Ended::Broken(expected);
    }
    if results.iter().any(|result| matches!(result, Err(WriteError::Full))) {
        // Those that happened are those that were answered with an entry.
        for ((write, text), result) in writes.iter().zip(&texts).zip(&results) {
            if let Ok(entry) = result {
                assert_eq!(entry.revision, model.revision().next());
                assert!(matches!(write.change, crate::Change::Delete { .. }), "only deletes use the reserve");
                let kind = EventKind::Delete;
                model.push(Happened { key: write.key.clone(), kind, text: text.clone() });
            }
        }
        assert_eq!(store.hub.state().revision, model.revision());
        return Ended::Full;
    }
    assert_answers(&results, &answers);
    expected.into_iter().for_each(|write| model.push(write));
    Ended::Well
}

#[track_caller]
fn assert_answers(results: &[WriteResult], expected: &[Result<Revision, Option<Revision>>]) {
    let told: Vec<_> = results
        .iter()
        .map(|result| match result {
            Ok(entry) => Ok(entry.revision),
            Err(WriteError::PreconditionFailed { current }) => {
                Err(current.as_ref().map(|entry| entry.revision))
            }
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(told, expected);
}

/// After a restart: all that was acknowledged is there, and of what was on its way the first few writes.
#[track_caller]
pub(super) fn assert_recovered(store: &Driven, model: &mut Model, on_its_way: Vec<Happened>) {
    let state = store.hub.state();
    let acknowledged = model.revision();
    let possible = acknowledged.0 + on_its_way.len() as u64;
    assert!(state.revision >= acknowledged, "{} of {acknowledged} is left", state.revision);
    assert!(state.revision.0 <= possible, "{} was never written", state.revision);
    let count = (state.revision.0 - acknowledged.0) as usize;
    on_its_way.into_iter().take(count).for_each(|write| model.push(write));
    assert_state(&state, &model.current);
}

/// Everything from the oldest revision on can be read: each event once and in order, the state at any revision, and
/// the versions of any key.
#[track_caller]
pub(super) fn assert_past(store: &Driven, model: &Model, random: &mut StdRng) {
    if store.keeper.stale.load(std::sync::atomic::Ordering::Relaxed) {
        return;
    }
    let (oldest, newest) = (store.keeper.compacted(), model.revision());
    assert!(oldest <= newest);
    let after = Revision(random.random_range(oldest.0..=newest.0));
    let mut reader = PastReader::new(store.keeper.clone(), store.extract.clone(), after);
    let mut revision = after;
    let pods = Bucket::from("pods");
    let mut map = model.at(after);
    while reader.position() < newest {
        let events = reader.read(&pods, &Topic::All, newest, random.random_range(1..10)).expect("kept");
        for event in events {
            revision = revision.next();
            let write = &model.writes[(revision.0 - Revision::FIRST.0) as usize - 1];
            assert_eq!(event.revision(), revision);
            assert_eq!(
                (&event.entry.key, event.kind, text(&event.entry)),
                (&write.key, write.kind, &*write.text)
            );
            let before = event.previous.as_ref().map(|entry| (entry.revision, short(text(entry))));
            assert_eq!(before.as_ref(), map.get(&write.key));
            write.apply(&mut map, revision);
        }
    }
    assert_eq!(revision, newest);

    let asked = Revision(random.random_range(oldest.0..=newest.0));
    let state = store.keeper.state_at(asked, &store.extract).expect("kept");
    assert_eq!(state.revision, asked);
    assert_state(&state, &model.at(asked));
    if oldest > Revision::FIRST {
        let before = Revision(oldest.0 - 1);
        assert!(matches!(store.keeper.state_at(before, &store.extract), Err(ReadError::Compacted { .. })));
    }

    let key = pod(&format!("n{}/p{}", random.random_range(0..2), random.random_range(0..8)));
    let history = store.keeper.history(&key, &store.extract).expect("kept");
    let told: Vec<_> = history.iter().rev().map(|event| (event.revision(), event.kind)).collect();
    let mut expected = Vec::new();
    for (number, write) in model.writes.iter().enumerate() {
        let revision = Revision(Revision::FIRST.0 + number as u64 + 1);
        if write.key == key {
            if revision <= oldest {
                expected.clear();
            }
            if revision > oldest || write.kind == EventKind::Put {
                expected.push((revision, write.kind));
            }
        }
    }
    assert_eq!(told, expected, "{key} from {oldest}");
}
