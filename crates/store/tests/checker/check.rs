//! What must hold of a recorded history, checked from the notes alone.
//!
//! The revisions of the acknowledged writes are the order that the store claims. The checker replays them on a map: the
//! order must agree with time (what ended before something began comes first), every precondition must have held, and
//! whatever was read must be the replayed state at the revision that the answer names, no older than what was known
//! before and no newer than what can have happened. Watches must be exact, contiguous runs of the replayed events.

use std::collections::BTreeMap;

use store::{EventKind, Key, Precondition, Revision};

use crate::record::{History, Note, Span};
use crate::subject::{Asked, Item, Listed, News, Part, Seen};

type Map = BTreeMap<Key, (Revision, String)>;

/// The replayed history.
struct Replay {
    /// An event for each revision after the first.
    events: Vec<Seen>,
    /// The state after each of them, beginning with the empty one.
    states: Vec<Map>,
    /// When each of them was asked for and acknowledged.
    spans: Vec<Span>,
    faults: Vec<String>,
}

/// What cannot be; nothing where all is well.
pub fn check(history: &History) -> Vec<String> {
    let mut replay =
        Replay { events: Vec::new(), states: vec![Map::new()], spans: Vec::new(), faults: Vec::new() };
    replay.writes(history);
    if !replay.faults.is_empty() {
        // Nothing more can be said against an order that is none.
        return replay.faults;
    }
    for (span, note) in history {
        match note {
            Note::Write(asked, Err(current)) => replay.refusal(span, asked, *current),
            Note::Write(_, Ok(_)) => {}
            Note::List(part, listed) | Note::ListAt(_, part, listed) => {
                if let Note::ListAt(revision, ..) = note {
                    if listed.revision != *revision {
                        replay.fault(format!("asked for {revision}, got {}", listed.revision));
                    }
                } else {
                    replay.freshness(span, listed.revision, "a list");
                }
                replay.list(*part, listed);
            }
            Note::Restarted(listed) => {
                replay.freshness(span, listed.revision, "a restart");
                replay.list(Part::All, listed);
            }
            Note::Watch { part, after, news, last } => replay.watch(*part, *after, news, last),
        }
    }
    replay.faults
}

impl Replay {
    fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    fn newest(&self) -> Revision {
        Revision(Revision::FIRST.0 + self.events.len() as u64)
    }

    fn state(&self, revision: Revision) -> Option<&Map> {
        self.states.get(revision.0.checked_sub(Revision::FIRST.0)? as usize)
    }

    /// Replays what was acknowledged, in the order of the revisions.
    fn writes(&mut self, history: &History) {
        let mut all: Vec<(Revision, &Span, &Asked)> = Vec::new();
        for (span, note) in history {
            if let Note::Write(asked, Ok(revision)) = note {
                all.push((*revision, span, asked));
            }
        }
        all.sort_by_key(|(revision, span, _)| (*revision, span.began));
        // The latest beginning so far: whoever ended before it cannot come after it.
        let mut latest = 0;
        for (revision, span, asked) in all {
            if revision != self.newest().next() {
                self.fault(format!("{revision} follows {}", self.newest()));
                return;
            }
            if span.ended < latest {
                self.fault(format!(
                    "{revision} was acknowledged before one with a lower revision was asked for"
                ));
            }
            latest = latest.max(span.began);
            let mut map = self.states.last().cloned().unwrap_or_default();
            let previous = map.get(&asked.key).cloned();
            if !holds(asked, previous.as_ref().map(|(revision, _)| *revision)) {
                self.fault(format!("{revision} was written though {asked:?} did not hold"));
            }
            let (kind, text) = match &asked.text {
                Some(text) => (EventKind::Put, text.clone()),
                None => (EventKind::Delete, "gone".to_owned()),
            };
            match kind {
                EventKind::Put => map.insert(asked.key.clone(), (revision, text.clone())),
                EventKind::Delete => map.remove(&asked.key),
            };
            self.states.push(map);
            self.spans.push(*span);
            self.events.push(Seen { revision, key: asked.key.clone(), kind, text, previous });
        }
    }

    /// The oldest and the newest revision that an answer in this span may be about.
    fn window(&self, span: &Span) -> (Revision, Revision) {
        let count = |wanted: &dyn Fn(&Span) -> bool| {
            let last = self.spans.iter().rposition(wanted).map_or(0, |place| place as u64 + 1);
            Revision(Revision::FIRST.0 + last)
        };
        (count(&|write| write.ended < span.began), count(&|write| write.began < span.ended))
    }

    fn freshness(&mut self, span: &Span, revision: Revision, what: &str) {
        let (oldest, newest) = self.window(span);
        if revision < oldest {
            self.fault(format!("{what} shows {revision}, and {oldest} was acknowledged before"));
        }
        if revision > newest {
            self.fault(format!("{what} shows {revision}, and {newest} is the newest that was asked for"));
        }
    }

    fn refusal(&mut self, span: &Span, asked: &Asked, current: Option<Revision>) {
        let (oldest, newest) = self.window(span);
        let mut revisions = (oldest.0..=newest.0).map(Revision);
        let there = |revision: Revision| {
            self.state(revision).and_then(|map| map.get(&asked.key)).map(|(revision, _)| *revision)
        };
        if holds(asked, current) || !revisions.any(|revision| there(revision) == current) {
            self.fault(format!("{asked:?} was refused because of {current:?}, which was not so"));
        }
    }

    fn list(&mut self, part: Part, listed: &Listed) {
        let Some(map) = self.state(listed.revision) else {
            return self.fault(format!("a list shows {}, which never was", listed.revision));
        };
        let wanted: Vec<Item> = map
            .iter()
            .filter(|(key, (_, text))| part.has(key, text))
            .map(|(key, (revision, text))| (key.clone(), *revision, text.clone()))
            .collect();
        if listed.items != wanted {
            self.fault(format!("{part:?} at {}: {:?} instead of {wanted:?}", listed.revision, listed.items));
        }
    }

    fn watch(&mut self, part: Part, after: Revision, news: &[News], last: &Span) {
        let carried = |event: &&Seen| {
            let before = event.previous.as_ref().is_some_and(|(_, text)| part.has(&event.key, text));
            event.revision > after && (before || part.has(&event.key, &event.text))
        };
        let wanted: Vec<Seen> = self.events.iter().filter(carried).cloned().collect();
        let mut given = 0;
        let mut progress = after;
        for news in news {
            given += news.events.len();
            if news.progress < progress {
                self.fault(format!("a watch went back from {progress} to {}", news.progress));
            }
            progress = news.progress;
            let due = wanted.iter().filter(|event| event.revision <= progress).count();
            // A bookmark promises everything up to it, and nothing that was told is beyond it.
            if given != due {
                self.fault(format!("{part:?} after {after}: {given} events of {due} at bookmark {progress}"));
            }
        }
        let events: Vec<Seen> = news.iter().flat_map(|news| news.events.iter().cloned()).collect();
        if wanted.get(..events.len()) != Some(&events[..]) {
            self.fault(format!("{part:?} after {after}: {events:?} instead of {wanted:?}"));
        }
        self.freshness(last, progress, "a watch");
    }
}

fn holds(asked: &Asked, there: Option<Revision>) -> bool {
    let holds = match asked.precondition {
        Precondition::None => true,
        Precondition::Absent => there.is_none(),
        Precondition::Revision(revision) => there == Some(revision),
    };
    holds && (asked.text.is_some() || there.is_some())
}
