//! Objects kept in sled alone, without the log: what the store would be if sled were trusted with acknowledged writes.
//!
//! A restart is what `kill -9` leaves: the files as they are at that moment, opened elsewhere. sled writes what it was
//! given some time later, so what was acknowledged meanwhile is gone. Read on: the store's log for what is done instead.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use store::testing::pod;
use store::{EventKind, Key, Precondition, Revision};

use crate::subject::{Asked, Later, Listed, News, Part, Seen, Subject, Told, Watching};

type Map = BTreeMap<Key, (Revision, String)>;

/// A store of that kind.
pub struct SledAlone {
    state: Arc<Mutex<State>>,
}

struct State {
    folder: PathBuf,
    lives: u32,
    db: sled::Db,
    revision: Revision,
    map: Map,
    events: Vec<Seen>,
}

/// Between two of the flushes that sled does twice a second: a test must not depend on when they come.
fn open(folder: &std::path::Path, life: u32) -> sled::Db {
    let config = sled::Config::new().path(folder.join(life.to_string())).flush_every_ms(None);
    config.open().expect("sled opens")
}

impl SledAlone {
    pub fn new(folder: PathBuf) -> SledAlone {
        let db = open(&folder, 0);
        let (revision, map, events) = (Revision::FIRST, Map::new(), Vec::new());
        SledAlone { state: Arc::new(Mutex::new(State { folder, lives: 0, db, revision, map, events })) }
    }
}

impl State {
    fn write(&mut self, asked: Asked) -> Told {
        let previous = self.map.get(&asked.key).cloned();
        let there = previous.as_ref().map(|(revision, _)| *revision);
        let holds = match asked.precondition {
            Precondition::None => true,
            Precondition::Absent => there.is_none(),
            Precondition::Revision(revision) => there == Some(revision),
        };
        if !holds || (asked.text.is_none() && there.is_none()) {
            return Err(there);
        }
        self.revision = self.revision.next();
        let revision = self.revision;
        let path = format!("{}/{}", asked.key.namespace(), asked.key.name());
        let (kind, text) = match asked.text {
            Some(text) => {
                let value = format!("{revision} {text}");
                self.db.insert(path, value.as_bytes()).expect("sled takes it");
                self.map.insert(asked.key.clone(), (revision, text.clone()));
                (EventKind::Put, text)
            }
            None => {
                self.db.remove(path).expect("sled takes it");
                self.map.remove(&asked.key);
                (EventKind::Delete, "gone".to_owned())
            }
        };
        self.events.push(Seen { revision, key: asked.key, kind, text, previous });
        Ok(revision)
    }

    fn list(&self, part: Part) -> Listed {
        let items = self.map.iter().filter(|(key, (_, text))| part.has(key, text));
        let items = items.map(|(key, (revision, text))| (key.clone(), *revision, text.clone()));
        Listed { revision: self.revision, items: items.collect() }
    }

    /// Goes on with what a kill would have left.
    fn killed(&mut self) {
        let (old, new) =
            (self.folder.join(self.lives.to_string()), self.folder.join((self.lives + 1).to_string()));
        std::fs::create_dir(&new).expect("made");
        for entry in std::fs::read_dir(&old).expect("a directory").flatten() {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), new.join(entry.file_name())).expect("copied");
            }
        }
        self.lives += 1;
        self.db = open(&self.folder, self.lives);
        self.map.clear();
        self.events.clear();
        self.revision = Revision::FIRST;
        for pair in self.db.iter() {
            let (path, value) = pair.expect("read");
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
            let (path, value) = (text(&path), text(&value));
            let (revision, value) = value.split_once(' ').expect("a revision and a text");
            let revision = Revision(revision.parse().expect("a number"));
            self.revision = self.revision.max(revision);
            self.map.insert(pod(&path), (revision, value.to_owned()));
        }
    }
}

struct SledWatch {
    state: Arc<Mutex<State>>,
    part: Part,
    after: Revision,
}

impl Watching for SledWatch {
    fn news(&mut self) -> News {
        let state = self.state.lock();
        let carried = |event: &&Seen| {
            let before = event.previous.as_ref().is_some_and(|(_, text)| self.part.has(&event.key, text));
            event.revision > self.after && (before || self.part.has(&event.key, &event.text))
        };
        let events = state.events.iter().filter(carried).cloned().collect();
        let progress = state.revision;
        drop(state);
        self.after = progress;
        News { events, progress }
    }
}

impl Subject for SledAlone {
    fn write(&self, asked: Asked) -> Later<'_, Told> {
        Box::pin(async move { self.state.lock().write(asked) })
    }

    fn list(&self, part: Part) -> Listed {
        self.state.lock().list(part)
    }

    fn list_at(&self, revision: Revision, part: Part) -> Later<'_, Option<Listed>> {
        let newest = self.list(part);
        Box::pin(async move { Some(newest).filter(|newest| newest.revision == revision) })
    }

    fn watch(&self, part: Part, after: Revision) -> Box<dyn Watching> {
        Box::new(SledWatch { state: self.state.clone(), part, after })
    }

    fn restart(&self) -> Later<'_, ()> {
        Box::pin(async move { self.state.lock().killed() })
    }
}
