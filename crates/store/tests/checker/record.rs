//! Runs clients against a subject and notes what they asked and were told.
//!
//! A counter stands for time: what had ended before something else began has smaller numbers. Nothing else about the
//! order is known, as for clients of a real cluster. Read on: [`crate::check`] for what must hold of the notes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use store::testing::pod;
use store::{Precondition, Revision};

use crate::subject::{Asked, Listed, News, Part, Subject, Told};

/// When something was asked and when the answer was there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub began: u64,
    pub ended: u64,
}

/// One note.
#[derive(Debug, Clone)]
pub enum Note {
    Write(Asked, Told),
    List(Part, Listed),
    /// Of a revision that had been seen.
    ListAt(Revision, Part, Listed),
    /// A watch from its begin to its end: what it got each time it looked, and when it looked last.
    Watch {
        part: Part,
        after: Revision,
        news: Vec<News>,
        last: Span,
    },
    /// What a list of all showed right after a restart.
    Restarted(Listed),
}

/// What was noted, in any order.
pub type History = Vec<(Span, Note)>;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    /// The subject is restarted between rounds.
    pub rounds: usize,
    pub clients: u64,
    pub steps: usize,
}

const NAMESPACES: [&str; 2] = ["a", "b"];
const LABELS: [&str; 2] = ["x", "y"];

fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

fn any_part(seed: &mut u64) -> Part {
    match random(seed, 5) {
        0 | 1 => Part::All,
        2 => Part::Namespace(NAMESPACES[random(seed, 2) as usize]),
        _ => Part::Label(LABELS[random(seed, 2) as usize]),
    }
}

struct Recorder {
    subject: Arc<dyn Subject>,
    time: AtomicU64,
    notes: Mutex<History>,
}

impl Recorder {
    fn now(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst)
    }

    fn note(&self, began: u64, note: Note) {
        let span = Span { began, ended: self.now() };
        self.notes.lock().push((span, note));
    }

    async fn client(self: Arc<Self>, number: u64, plan: Plan, round: usize) {
        let mut seed = plan.seed.wrapping_mul(1_000_003) ^ (number << 20) ^ ((round as u64) << 40);
        // Revisions that were seen: to be asked for, and to be expected.
        let mut known = self.subject.list(Part::All);
        let started = known.revision;
        let (part, after) = (any_part(&mut seed), known.revision);
        let began = self.now();
        let mut watch = self.subject.watch(part, after);
        let mut news = Vec::new();
        for step in 0..plan.steps {
            let asked_at = self.now();
            match random(&mut seed, 8) {
                0 => {
                    let part = any_part(&mut seed);
                    let listed = self.subject.list(part);
                    if part == Part::All {
                        known = listed.clone();
                    }
                    self.note(asked_at, Note::List(part, listed));
                }
                1 => {
                    let far = known.revision.0.saturating_sub(started.0);
                    let revision = Revision(started.0 + random(&mut seed, far + 1));
                    let part = any_part(&mut seed);
                    if let Some(listed) = self.subject.list_at(revision, part).await {
                        self.note(asked_at, Note::ListAt(revision, part, listed));
                    }
                }
                2 => news.push(watch.news()),
                _ => {
                    let key = pod(&format!(
                        "{}/p{}",
                        NAMESPACES[random(&mut seed, 2) as usize],
                        random(&mut seed, 4)
                    ));
                    let there = known.items.iter().find(|(own, _, _)| *own == key).map(|(_, at, _)| *at);
                    let precondition = match random(&mut seed, 4) {
                        0 => Precondition::Absent,
                        1 => Precondition::Revision(there.unwrap_or(Revision(2))),
                        _ => Precondition::None,
                    };
                    let label = LABELS[random(&mut seed, 2) as usize];
                    let text = format!("l={label} n={number}-{round}-{step}");
                    let text = (random(&mut seed, 4) > 0).then_some(text);
                    let asked = Asked { key, text, precondition };
                    let told = self.subject.write(asked.clone()).await;
                    self.note(asked_at, Note::Write(asked, told));
                    // Others have their turn between any two steps.
                    tokio::task::yield_now().await;
                }
            }
        }
        let last = self.now();
        news.push(watch.news());
        let last = Span { began: last, ended: self.now() };
        self.note(began, Note::Watch { part, after, news, last });
    }
}

/// Records one history.
pub async fn record(subject: Arc<dyn Subject>, plan: &Plan) -> History {
    let recorder = Arc::new(Recorder { subject, time: AtomicU64::new(0), notes: Mutex::default() });
    for round in 0..plan.rounds {
        if round > 0 {
            let began = recorder.now();
            recorder.subject.restart().await;
            recorder.note(began, Note::Restarted(recorder.subject.list(Part::All)));
        }
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..plan.clients {
            clients.spawn(recorder.clone().client(number, *plan, round));
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("a client does not panic");
        }
    }
    // One look when nothing happens any more.
    let began = recorder.now();
    recorder.note(began, Note::List(Part::All, recorder.subject.list(Part::All)));
    std::mem::take(&mut recorder.notes.lock())
}
