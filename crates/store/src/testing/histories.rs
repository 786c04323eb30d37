//! Random histories against a model: many writes, watchers of all scopes that come, lag and go, reads of the past.
//!
//! The model is a map and a vector of events. Every answer of the store is checked against it: revisions that are
//! strictly increasing and never used twice, lists that equal the model at their revision, watches that are exact
//! contiguous runs of the events of their scope (also of objects that leave it), and bookmarks that are never ahead.
//! By seed: the same one makes the same history. Read on: [`super::behaviours`] for the simple cases.

use std::collections::BTreeMap;

use super::{delete, pod, put, put_if, text};
use crate::{
    Bucket, Change, EventKind, Key, Precondition, ReadError, Revision, Scope, Snapshot, Store, Term, Watch,
    Write, WriteError,
};

/// A number below the bound (splitmix64).
pub(crate) fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below.max(1)
}

/// An event as the model knows it.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    revision: Revision,
    key: Key,
    kind: EventKind,
    text: String,
    previous: Option<(Revision, String)>,
}

type Map = BTreeMap<Key, (Revision, String)>;

/// What is watched, in a form that can be kept.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    All,
    Namespace(&'static str),
    Label(&'static str, Option<&'static str>),
}

const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const LABELS: [&str; 4] = ["x", "y", "z", "never"];

impl Part {
    fn any(seed: &mut u64) -> Part {
        let namespace = NAMESPACES[random(seed, 3) as usize];
        let label = LABELS[random(seed, 4) as usize];
        match random(seed, 4) {
            0 => Part::All,
            1 => Part::Namespace(namespace),
            2 => Part::Label(label, None),
            _ => Part::Label(label, Some(namespace)),
        }
    }

    fn scope(&self) -> Scope<'_> {
        match self {
            Part::All => Scope::All,
            Part::Namespace(namespace) => Scope::Namespace(namespace),
            Part::Label(label, namespace) => Scope::Term(Term::new("label", "l", label), *namespace),
        }
    }

    fn has(&self, key: &Key, text: &str) -> bool {
        let labelled = |label: &str| text.split(' ').any(|word| word.strip_prefix("l=") == Some(label));
        match self {
            Part::All => true,
            Part::Namespace(namespace) => key.namespace() == *namespace,
            Part::Label(label, namespace) => {
                labelled(label) && namespace.is_none_or(|namespace| key.namespace() == namespace)
            }
        }
    }

    fn carries(&self, event: &Told) -> bool {
        self.has(&event.key, &event.text)
            || event.previous.as_ref().is_some_and(|(_, before)| self.has(&event.key, before))
    }
}

struct Watcher {
    part: Part,
    watch: Watch,
    after: Revision,
    seen: Vec<Told>,
}

struct Model {
    events: Vec<Told>,
    current: Map,
}

impl Model {
    fn revision(&self) -> Revision {
        Revision(Revision::FIRST.0 + self.events.len() as u64)
    }

    fn at(&self, revision: Revision) -> Map {
        let mut map = Map::new();
        for event in self.events.iter().take_while(|event| event.revision <= revision) {
            match event.kind {
                EventKind::Put => map.insert(event.key.clone(), (event.revision, event.text.clone())),
                EventKind::Delete => map.remove(&event.key),
            };
        }
        map
    }

    /// What a write must come to.
    fn write(&mut self, write: &Write, text: String) -> Result<Revision, Option<Revision>> {
        let current = self.current.get(&write.key).cloned();
        let kind = match write.change {
            Change::Put(_) => EventKind::Put,
            Change::Delete { .. } => EventKind::Delete,
        };
        let there = current.as_ref().map(|(revision, _)| *revision);
        let holds = match write.precondition {
            Precondition::None => true,
            Precondition::Absent => there.is_none(),
            Precondition::Revision(revision) => there == Some(revision),
        };
        if !holds || (kind == EventKind::Delete && there.is_none()) {
            return Err(there);
        }
        let revision = self.revision().next();
        match kind {
            EventKind::Put => self.current.insert(write.key.clone(), (revision, text.clone())),
            EventKind::Delete => self.current.remove(&write.key),
        };
        self.events.push(Told { revision, key: write.key.clone(), kind, text, previous: current });
        Ok(revision)
    }
}

/// One history of so many steps.
pub async fn a_random_history_is_what_the_model_says(store: Store, seed: u64, steps: usize) {
    let mut seed = seed;
    let mut model = Model { events: Vec::new(), current: Map::new() };
    let mut watchers: Vec<Watcher> = Vec::new();
    for step in 0..steps {
        match random(&mut seed, 10) {
            0..5 => write_some(&store, &mut model, &mut seed, step).await,
            5 => {
                let oldest = store.oldest().0;
                let newest = model.revision().0;
                let after = Revision(oldest + random(&mut seed, newest - oldest + 1));
                let part = Part::any(&mut seed);
                let watch = match store.watch(&Bucket::from("pods"), after, part.scope()) {
                    Ok(watch) => watch,
                    // The history may have been trimmed since we looked.
                    Err(ReadError::Compacted { .. }) => continue,
                    Err(error) => panic!("{error}"),
                };
                watchers.push(Watcher { part, watch, after, seen: Vec::new() });
            }
            6 if !watchers.is_empty() => {
                let at = random(&mut seed, watchers.len() as u64) as usize;
                let watcher = watchers.swap_remove(at);
                check_watcher(watcher, &model, false);
            }
            7 if !watchers.is_empty() => {
                let at = random(&mut seed, watchers.len() as u64) as usize;
                let most = random(&mut seed, 5) as usize;
                follow(&mut watchers[at], &model, most);
            }
            8 => read_the_past(&store, &model, &mut seed).await,
            _ => check_lists(&store.snapshot(), &model.current, &mut seed),
        }
    }
    for watcher in watchers {
        check_watcher(watcher, &model, true);
    }
    assert_eq!(store.snapshot().revision(), model.revision());
}

async fn write_some(store: &Store, model: &mut Model, seed: &mut u64, step: usize) {
    let mut writes = Vec::new();
    let mut expected = Vec::new();
    for number in 0..=random(seed, 4) {
        let namespace = NAMESPACES[random(seed, 3) as usize];
        let key = pod(&format!("{namespace}/p{}", random(seed, 6)));
        let text = format!("l={} n={step}-{number}", LABELS[random(seed, 3) as usize]);
        let there = model.current.get(&key).map(|(revision, _)| *revision);
        let write = match random(seed, 6) {
            0 => delete(&key, &text),
            1 => put_if(&key, &text, Precondition::Absent),
            2 => put_if(&key, &text, Precondition::Revision(there.unwrap_or(Revision(2)))),
            _ => put(&key, &text),
        };
        expected.push(model.write(&write, text));
        writes.push(write);
    }
    let results = store.write_all(writes).await;
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

/// Takes some events, and looks at the bookmark.
fn follow(watcher: &mut Watcher, model: &Model, most: usize) {
    for _ in 0..most {
        match watcher.watch.try_next() {
            Ok(Some(event)) => watcher.seen.push(Told {
                revision: event.revision(),
                key: event.entry.key.clone(),
                kind: event.kind,
                text: text(&event.entry).to_owned(),
                previous: event.previous.as_ref().map(|entry| (entry.revision, text(entry).to_owned())),
            }),
            Ok(None) => break,
            Err(error) => panic!("{error}"),
        }
    }
    let progress = watcher.watch.progress();
    let given = watcher.seen.last().map_or(watcher.after, |event| event.revision);
    assert!(progress >= given && progress <= model.revision());
    let skipped = model.events.iter().filter(|event| event.revision > given && event.revision <= progress);
    let skipped: Vec<_> = skipped.filter(|event| watcher.part.carries(event)).collect();
    assert_eq!(skipped, Vec::<&Told>::new(), "a bookmark is ahead");
}

/// What a watcher saw is a run of what happened in its scope; in the end all of it.
fn check_watcher(mut watcher: Watcher, model: &Model, to_the_end: bool) {
    if to_the_end {
        follow(&mut watcher, model, usize::MAX);
        assert_eq!(watcher.watch.progress(), model.revision());
    }
    let all =
        model.events.iter().filter(|event| event.revision > watcher.after && watcher.part.carries(event));
    let mut expected: Vec<_> = all.cloned().collect();
    if !to_the_end {
        expected.truncate(watcher.seen.len());
    }
    assert_eq!(watcher.seen, expected, "{:?} after {}", watcher.part, watcher.after);
}

fn check_lists(snapshot: &Snapshot, map: &Map, seed: &mut u64) {
    let part = Part::any(seed);
    let after = pod(&format!("{}/p{}", NAMESPACES[random(seed, 3) as usize], random(seed, 6)));
    let after = (random(seed, 2) == 0).then_some(after);
    let listed: Vec<_> = snapshot
        .list(&Bucket::from("pods"), part.scope(), after.as_ref())
        .map(|entry| (entry.key.clone(), (entry.revision, text(entry).to_owned())))
        .collect();
    let wanted = map
        .iter()
        .filter(|(key, (_, text))| part.has(key, text) && after.as_ref().is_none_or(|after| *key > after));
    let wanted: Vec<_> = wanted.map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(listed, wanted, "{part:?} after {after:?}");
}

async fn read_the_past(store: &Store, model: &Model, seed: &mut u64) {
    let oldest = store.oldest().0;
    let revision = Revision(oldest + random(seed, model.revision().0 - oldest + 1));
    match store.snapshot_at(revision).await {
        Ok(snapshot) => {
            assert_eq!(snapshot.revision(), revision);
            check_lists(&snapshot, &model.at(revision), seed);
        }
        Err(ReadError::Compacted { .. }) => assert!(revision < store.oldest()),
        Err(error) => panic!("{error}"),
    }
}
