//! Stores that break one promise each, now and then, behind the same interface as the real one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use store::testing::pod;
use store::{EventKind, Precondition, Revision};

use crate::subject::{Asked, Later, Listed, News, Part, Real, Seen, Subject, Told, Watching};

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a store does wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant { $($(#[$doc])* $name,)* }

        impl Mutant {
            pub const ALL: &'static [Mutant] = &[$(Mutant::$name,)*];
        }
    };
}

mutants! {
    /// Says yes and writes nothing.
    AcknowledgesWithoutWriting,
    /// Says yes before it writes, and does not write if it ends meanwhile.
    AcknowledgesEarly,
    WritesTwice,
    IgnoresPreconditions,
    RefusesWhatHolds,
    RefusesAndWritesAllTheSame,
    RefusesWithTheWrongRevision,
    TellsARevisionThatIsOneTooHigh,
    TellsARevisionAgain,
    WritesAnotherText,
    WritesAnotherKey,
    PutsWhereItShouldDelete,
    DeletesWhereItShouldPut,
    DeletesWhatIsNotThere,
    ListsAnOldState,
    ListsAnOldStateAsTheNewest,
    ListsANewerStateAsAnOlder,
    ListForgetsTheFirst,
    ListForgetsTheLast,
    ListHasOneTwice,
    ListIsOutOfOrder,
    ListKeepsWhatWasDeleted,
    ListLeaksFromOtherScopes,
    ListHasAWrongRevisionOfAnObject,
    ListHasAWrongText,
    ListNamesARevisionOfTheFuture,
    ListOfThePastIsThePresent,
    WatchDropsTheLastEvent,
    WatchDropsAnEvent,
    WatchTellsAnEventTwice,
    WatchSwapsTwoEvents,
    WatchBeginsOneTooLate,
    WatchBeginsOneTooEarly,
    WatchLeaksFromOtherScopes,
    WatchMissesWhatLeavesItsScope,
    WatchTellsADeletionAsAChange,
    WatchTellsAWrongText,
    WatchForgetsTheStateBefore,
    BookmarkIsOneAhead,
    BookmarkGoesBack,
    /// As if the last sync had been skipped.
    RestartForgetsTheLastWrite,
    RestartForgetsADeletion,
    RestartBringsADeletedObjectBack,
    RestartGoesBackARevision,
}

/// How often a mutant does it: every so many calls.
const OFTEN: u64 = 5;

/// A store with one fault.
pub struct Mutated {
    inner: Arc<Real>,
    mutant: Mutant,
    /// It behaves: what stands around the store is checked for faults of its own.
    tame: bool,
    calls: AtomicU64,
    /// What it remembers to be wrong with.
    past: Mutex<Vec<Listed>>,
    restarted: AtomicU64,
}

impl Mutated {
    pub fn new(inner: Real, mutant: Mutant) -> Mutated {
        let (calls, restarted) = (AtomicU64::new(0), AtomicU64::new(0));
        Mutated { inner: Arc::new(inner), mutant, tame: false, calls, past: Mutex::default(), restarted }
    }

    /// One that does nothing wrong.
    pub fn tame(inner: Real) -> Mutated {
        Mutated { tame: true, ..Mutated::new(inner, Mutant::WritesTwice) }
    }

    fn now_and_then(&self) -> bool {
        !self.tame && self.calls.fetch_add(1, Ordering::Relaxed) % OFTEN == OFTEN - 1
    }

    /// After a restart the real store still knows all: the mutant hides what it "forgot".
    fn forgotten(&self, mut listed: Listed) -> Listed {
        if self.restarted.load(Ordering::Relaxed) == 0 {
            return listed;
        }
        match self.mutant {
            Mutant::RestartForgetsTheLastWrite => {
                let newest = listed.items.iter().map(|(_, revision, _)| *revision).max();
                listed.items.retain(|(_, revision, _)| Some(*revision) != newest);
            }
            Mutant::RestartForgetsADeletion | Mutant::RestartBringsADeletedObjectBack => {
                let there = |key| listed.items.iter().any(|(own, _, _)| own == key);
                let past = self.past.lock();
                let gone =
                    past.iter().flat_map(|old| old.items.iter()).find(|(key, _, _)| !there(key)).cloned();
                listed.items.extend(gone);
                listed.items.sort();
                if self.mutant == Mutant::RestartForgetsADeletion {
                    listed.revision = Revision(listed.revision.0 - 1);
                }
            }
            Mutant::RestartGoesBackARevision => listed.revision = Revision(listed.revision.0 - 1),
            _ => {}
        }
        listed
    }

    fn wrong_list(&self, part: Part, mut listed: Listed) -> Listed {
        let old = self.past.lock().first().cloned();
        match self.mutant {
            Mutant::ListsAnOldState => return old.unwrap_or(listed),
            Mutant::ListsAnOldStateAsTheNewest => {
                if let Some(old) = old {
                    listed.items = old.items;
                }
            }
            Mutant::ListsANewerStateAsAnOlder => {
                if let Some(old) = old {
                    listed.revision = old.revision;
                }
            }
            Mutant::ListForgetsTheFirst => drop((!listed.items.is_empty()).then(|| listed.items.remove(0))),
            Mutant::ListForgetsTheLast => drop(listed.items.pop()),
            Mutant::ListHasOneTwice => listed.items.extend(listed.items.last().cloned()),
            Mutant::ListIsOutOfOrder => listed.items.reverse(),
            Mutant::ListKeepsWhatWasDeleted => {
                let there = |key| listed.items.iter().any(|(own, _, _)| own == key);
                let past = self.past.lock();
                let gone =
                    past.iter().flat_map(|old| old.items.iter()).find(|(key, _, _)| !there(key)).cloned();
                listed.items.extend(gone);
                listed.items.sort();
            }
            Mutant::ListLeaksFromOtherScopes if part != Part::All => {
                listed.items = self.inner.list(Part::All).items
            }
            Mutant::ListHasAWrongRevisionOfAnObject => {
                listed.items.iter_mut().take(1).for_each(|(_, revision, _)| *revision = revision.next());
            }
            Mutant::ListHasAWrongText => {
                listed.items.iter_mut().take(1).for_each(|(_, _, text)| text.push('!'))
            }
            Mutant::ListNamesARevisionOfTheFuture => listed.revision = Revision(listed.revision.0 + 1000),
            _ => {}
        }
        listed
    }
}

impl Mutated {
    async fn write_wrong(&self, asked: Asked) -> Told {
        if !self.now_and_then() {
            return self.inner.write(asked).await;
        }
        let next = || self.inner.list(Part::All).revision.next();
        let mut asked = asked;
        match self.mutant {
            Mutant::AcknowledgesWithoutWriting => return Ok(next()),
            Mutant::AcknowledgesEarly => {
                // Another one takes the revision before this one is written.
                let told = next();
                tokio::task::yield_now().await;
                let filler = Asked {
                    key: pod("a/filler"),
                    text: Some("x".to_owned()),
                    precondition: Precondition::None,
                };
                let _lost = self.inner.write(filler).await;
                return Ok(told);
            }
            Mutant::WritesTwice => {
                let _first = self.inner.write(asked.clone()).await;
            }
            Mutant::IgnoresPreconditions => asked.precondition = Precondition::None,
            Mutant::RefusesWhatHolds => {
                let there = self.inner.list(Part::All);
                let there = there.items.iter().find(|(key, _, _)| *key == asked.key).map(|(_, at, _)| *at);
                return Err(there);
            }
            Mutant::RefusesAndWritesAllTheSame => {
                return self.inner.write(asked).await.map_or_else(Err, |_| Err(Some(Revision(1))));
            }
            Mutant::RefusesWithTheWrongRevision => {
                return self
                    .inner
                    .write(asked)
                    .await
                    .map_err(|there| there.map_or(Some(Revision(1)), |_| None));
            }
            Mutant::TellsARevisionThatIsOneTooHigh => {
                return self.inner.write(asked).await.map(Revision::next);
            }
            Mutant::TellsARevisionAgain => {
                return self.inner.write(asked).await.map(|revision| Revision(revision.0 - 1));
            }
            Mutant::WritesAnotherText => asked.text = asked.text.map(|text| text + "!"),
            Mutant::WritesAnotherKey => asked.key = pod("b/other"),
            Mutant::PutsWhereItShouldDelete => asked.text = asked.text.or(Some("l=x".to_owned())),
            Mutant::DeletesWhereItShouldPut => asked.text = None,
            Mutant::DeletesWhatIsNotThere if asked.text.is_none() => {
                return self.inner.write(asked).await.or_else(|_| Ok(next()));
            }
            _ => {}
        }
        self.inner.write(asked).await
    }

    async fn restart_wrong(&self) {
        self.inner.restart().await;
        self.restarted.fetch_add(1, Ordering::Relaxed);
    }
}

impl Subject for Mutated {
    fn write(&self, asked: Asked) -> Later<'_, Told> {
        Box::pin(self.write_wrong(asked))
    }

    fn list(&self, part: Part) -> Listed {
        let listed = self.inner.list(part);
        if part == Part::All {
            self.past.lock().push(listed.clone());
        }
        let listed = self.forgotten(listed);
        if self.now_and_then() { self.wrong_list(part, listed) } else { listed }
    }

    fn list_at(&self, revision: Revision, part: Part) -> Later<'_, Option<Listed>> {
        if self.mutant == Mutant::ListOfThePastIsThePresent {
            let now = Listed { revision, ..self.inner.list(part) };
            return Box::pin(std::future::ready(Some(now)));
        }
        // Who was told of a revision that never was may ask for it.
        if revision > self.inner.list(part).revision {
            return Box::pin(std::future::ready(None));
        }
        self.inner.list_at(revision, part)
    }

    fn watch(&self, part: Part, after: Revision) -> Box<dyn Watching> {
        let newest = self.inner.list(part).revision;
        let (mut inner_part, mut inner_after) = (part, after.min(newest));
        match self.mutant {
            Mutant::WatchBeginsOneTooEarly if after > Revision::FIRST => inner_after = Revision(after.0 - 1),
            Mutant::WatchLeaksFromOtherScopes => inner_part = Part::All,
            _ => {}
        }
        let inner = self.inner.watch(inner_part, inner_after);
        Box::new(MutatedWatch {
            inner,
            part,
            mutant: self.mutant,
            after,
            looks: 0,
            first: true,
            texts: BTreeMap::new(),
        })
    }

    fn restart(&self) -> Later<'_, ()> {
        Box::pin(self.restart_wrong())
    }
}

struct MutatedWatch {
    inner: Box<dyn Watching>,
    part: Part,
    mutant: Mutant,
    after: Revision,
    looks: u64,
    first: bool,
    texts: BTreeMap<String, String>,
}

impl Watching for MutatedWatch {
    fn news(&mut self) -> News {
        let mut news = self.inner.news();
        self.looks += 1;
        let events = &mut news.events;
        let middle = events.len() / 2;
        match self.mutant {
            Mutant::WatchDropsTheLastEvent => drop(events.pop()),
            Mutant::WatchDropsAnEvent if !events.is_empty() => drop(events.remove(middle)),
            Mutant::WatchTellsAnEventTwice if !events.is_empty() => {
                events.insert(middle, events[middle].clone())
            }
            Mutant::WatchSwapsTwoEvents if events.len() > 1 => events.swap(0, 1),
            Mutant::WatchBeginsOneTooLate if self.first && !events.is_empty() => {
                self.first = false;
                events.remove(0);
            }
            Mutant::WatchMissesWhatLeavesItsScope => {
                events.retain(|event| self.part.has(&event.key, &event.text))
            }
            Mutant::WatchTellsADeletionAsAChange => {
                events.iter_mut().for_each(|event| event.kind = EventKind::Put);
            }
            Mutant::WatchTellsAWrongText => {
                // That of the version before.
                for Seen { key, text, .. } in events.iter_mut() {
                    let now = text.clone();
                    if let Some(before) = self.texts.insert(key.to_string(), now) {
                        *text = before;
                    }
                }
            }
            Mutant::WatchForgetsTheStateBefore => events.iter_mut().for_each(|event| event.previous = None),
            Mutant::BookmarkIsOneAhead => news.progress = news.progress.next(),
            Mutant::BookmarkGoesBack if self.looks.is_multiple_of(2) => news.progress = self.after,
            _ => {}
        }
        news
    }
}
