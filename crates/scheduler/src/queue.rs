//! Pods that wait for a node: by priority, then by age; those that fit nowhere wait for a change that could help.
//!
//! A pod is in one [`Place`] at a time:
//! ```text
//! upsert -> Active -> pop -> (bound)
//!             ^        `-> fits nowhere -> Unschedulable -> something changes -> BackingOff -> Active
//! upsert -> Gated -> its gates are gone -> Active
//! ```
//! The time is an input.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::time::Instant;

use crate::snapshot::PodInfo;

/// How long a pod that fits nowhere rests before it is tried again, at first and at most; it doubles in between.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How long a pod waits for a change before it is tried anyway: in case no change says what it should.
const PATIENCE: Duration = Duration::from_secs(300);

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A node is new or has more to give.
    Node,
    /// A pod has left a node.
    PodGone,
    /// A pod has come to a node.
    PodPlaced,
    /// A claim, volume or class has changed.
    Storage,
}

/// Which changes could help a pod. A change of a node always could.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaitsFor {
    /// A pod that leaves.
    pub pod_gone: bool,
    /// A pod that comes.
    pub pod_placed: bool,
    /// Claims, volumes and classes.
    pub storage: bool,
    /// Pods have been told to go for this one: it is tried as soon as they have.
    pub eager: bool,
}

impl WaitsFor {
    fn is_helped_by(self, change: Change) -> bool {
        match change {
            Change::Node => true,
            Change::PodGone => self.pod_gone || self.eager,
            Change::PodPlaced => self.pod_placed,
            Change::Storage => self.storage,
        }
    }
}

/// The order of pods that can be tried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    priority: Reverse<i32>,
    /// When it came first: a pod that is tried again has not lost its place.
    sequence: u64,
}

#[derive(Debug, Clone)]
enum Place {
    Active(Rank),
    BackingOff(Instant),
    Unschedulable { since: Instant, rest_until: Instant, waits_for: WaitsFor },
    Gated,
}

#[derive(Debug)]
struct Entry {
    info: Arc<PodInfo>,
    attempts: u32,
    sequence: u64,
    place: Place,
}

/// A pod that has been taken from the queue.
#[derive(Debug, Clone)]
pub struct Queued {
    /// The pod.
    pub info: Arc<PodInfo>,
    /// How often it has fitted nowhere.
    pub attempts: u32,
    sequence: u64,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<String, Entry, FixedState>,
    active: BTreeMap<Rank, String>,
    backing_off: BTreeSet<(Instant, String)>,
    /// The uids of those that fit nowhere: a change looks at these only, not at all that wait.
    unschedulable: HashSet<String, FixedState>,
    sequence: u64,
}

impl Queue {
    /// Nothing waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many pods wait: (can be tried, rest, fit nowhere, are held back).
    pub fn lengths(&self) -> (usize, usize, usize, usize) {
        let (active, resting, waiting) =
            (self.active.len(), self.backing_off.len(), self.unschedulable.len());
        (active, resting, waiting, self.pods.len() - active - resting - waiting)
    }

    /// A pod is new or has changed. What only its status says does not wake it.
    pub fn upsert(&mut self, info: Arc<PodInfo>, now: Instant) {
        let uid = info.pod.metadata.uid.clone();
        let gated = !info.pod.spec.scheduling_gates.is_empty();
        let Some(entry) = self.pods.get_mut(&uid) else {
            self.sequence += 1;
            let queued = Queued { info, attempts: 0, sequence: self.sequence };
            return if gated { self.insert(queued, Place::Gated) } else { self.activate(queued) };
        };
        let before = std::mem::replace(&mut entry.info, info);
        let same = before.pod.spec == entry.info.pod.spec
            && before.pod.metadata.labels == entry.info.pod.metadata.labels;
        if same {
            return;
        }
        if let Some(queued) = self.remove(&uid) {
            if gated {
                self.insert(queued, Place::Gated);
            } else {
                let rest = now + backoff(queued.attempts);
                self.rest(queued, rest, now);
            }
        }
    }

    /// A pod is gone, or has a node.
    pub fn remove(&mut self, uid: &str) -> Option<Queued> {
        let entry = self.pods.remove(uid)?;
        match entry.place {
            Place::Active(rank) => {
                self.active.remove(&rank);
            }
            Place::BackingOff(until) => {
                self.backing_off.remove(&(until, uid.to_owned()));
            }
            Place::Unschedulable { .. } => {
                self.unschedulable.remove(uid);
            }
            Place::Gated => {}
        }
        Some(Queued { info: entry.info, attempts: entry.attempts, sequence: entry.sequence })
    }

    /// Takes the pod that is next.
    pub fn pop(&mut self, now: Instant) -> Option<Queued> {
        self.flush(now);
        let (_, uid) = self.active.pop_first()?;
        let entry = self.pods.remove(&uid)?;
        Some(Queued { info: entry.info, attempts: entry.attempts, sequence: entry.sequence })
    }

    /// A pod that was taken fits nowhere: it waits for a change.
    pub fn put_back(&mut self, mut queued: Queued, waits_for: WaitsFor, now: Instant) {
        let rest_until = if waits_for.eager { now } else { now + backoff(queued.attempts) };
        queued.attempts += 1;
        self.insert(queued, Place::Unschedulable { since: now, rest_until, waits_for });
    }

    /// A pod that was taken could not be bound: it is tried again after a rest.
    pub fn retry(&mut self, mut queued: Queued, now: Instant) {
        let rest = now + backoff(queued.attempts);
        queued.attempts += 1;
        self.rest(queued, rest, now);
    }

    /// Something has changed: wakes those that it could help.
    pub fn wake(&mut self, change: Change, now: Instant) {
        let helped: Vec<_> = self
            .unschedulable()
            .filter(|(_, _, _, waits_for)| waits_for.is_helped_by(change))
            .map(|(uid, _, rest_until, _)| (uid.to_owned(), rest_until))
            .collect();
        for (uid, rest_until) in helped {
            if let Some(queued) = self.remove(&uid) {
                self.rest(queued, rest_until, now);
            }
        }
    }

    /// When to look again though nothing happens.
    pub fn next_at(&self) -> Option<Instant> {
        let rest = self.backing_off.first().map(|(until, _)| *until);
        let patience = self.unschedulable().map(|(_, since, _, _)| since + PATIENCE);
        patience.chain(rest).min()
    }

    /// Moves what has rested, or waited for too long, to where it can be tried.
    fn flush(&mut self, now: Instant) {
        while let Some((until, uid)) = self.backing_off.first().cloned() {
            if until > now {
                break;
            }
            if let Some(queued) = self.remove(&uid) {
                self.activate(queued);
            } else {
                self.backing_off.remove(&(until, uid));
            }
        }
        if !self.active.is_empty() {
            return;
        }
        let impatient: Vec<_> = self
            .unschedulable()
            .filter(|(_, since, _, _)| *since + PATIENCE <= now)
            .map(|(uid, _, _, _)| uid.to_owned())
            .collect();
        for uid in impatient {
            if let Some(queued) = self.remove(&uid) {
                self.activate(queued);
            }
        }
    }

    /// Those that fit nowhere: uid, since when, until when they rest, for what they wait.
    fn unschedulable(&self) -> impl Iterator<Item = (&str, Instant, Instant, WaitsFor)> {
        self.unschedulable.iter().filter_map(|uid| match self.pods.get(uid)?.place {
            Place::Unschedulable { since, rest_until, waits_for } => {
                Some((uid.as_str(), since, rest_until, waits_for))
            }
            Place::Active(_) | Place::BackingOff(_) | Place::Gated => None,
        })
    }

    fn rest(&mut self, queued: Queued, until: Instant, now: Instant) {
        if until <= now {
            self.activate(queued);
        } else {
            self.backing_off.insert((until, queued.info.pod.metadata.uid.clone()));
            self.insert(queued, Place::BackingOff(until));
        }
    }

    fn activate(&mut self, queued: Queued) {
        let priority = Reverse(queued.info.pod.spec.priority);
        let rank = Rank { priority, sequence: queued.sequence };
        self.active.insert(rank.clone(), queued.info.pod.metadata.uid.clone());
        self.insert(queued, Place::Active(rank));
    }

    fn insert(&mut self, queued: Queued, place: Place) {
        let Queued { info, attempts, sequence } = queued;
        if let Place::Unschedulable { .. } = place {
            self.unschedulable.insert(info.pod.metadata.uid.clone());
        }
        self.pods.insert(info.pod.metadata.uid.clone(), Entry { info, attempts, sequence, place });
    }
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF.0.saturating_mul(1 << attempts.min(10)).min(BACKOFF.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn info(name: &str, priority: i32) -> Arc<PodInfo> {
        let mut pod = testing::pod(name);
        pod.spec.priority = priority;
        testing::info(pod)
    }

    fn names(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(now)).map(|queued| queued.info.pod.metadata.name.clone()).collect()
    }

    #[test]
    fn the_important_go_first_then_the_old() {
        let (mut queue, now) = (Queue::new(), Instant::now());
        for (name, priority) in [("a", 0), ("b", 10), ("c", 0), ("d", 10)] {
            queue.upsert(info(name, priority), now);
        }
        queue.upsert(info("a", 0), now);
        assert_eq!(names(&mut queue, now), ["b", "d", "a", "c"]);
    }

    #[test]
    fn what_fits_nowhere_waits_for_a_change_that_helps_and_rests_longer_each_time() {
        let (mut queue, mut now) = (Queue::new(), Instant::now());
        let waits_for = WaitsFor { pod_gone: true, ..WaitsFor::default() };
        queue.upsert(info("a", 0), now);
        for rest in [1, 2, 4, 8, 10, 10] {
            let queued = queue.pop(now).expect("it is tried");
            queue.put_back(queued, waits_for, now);
            queue.wake(Change::PodPlaced, now);
            assert_eq!(queue.lengths(), (0, 0, 1, 0));
            queue.wake(Change::PodGone, now);
            assert_eq!(queue.lengths(), (0, 1, 0, 0));
            assert_eq!(queue.next_at(), Some(now + Duration::from_secs(rest)));
            assert!(queue.pop(now).is_none());
            now += Duration::from_secs(rest);
        }
    }

    #[test]
    fn a_pod_for_which_others_go_does_not_rest() {
        let (mut queue, now) = (Queue::new(), Instant::now());
        queue.upsert(info("a", 0), now);
        let queued = queue.pop(now).expect("it is tried");
        queue.put_back(queued, WaitsFor { eager: true, ..WaitsFor::default() }, now);
        queue.wake(Change::PodGone, now);
        assert_eq!(names(&mut queue, now), ["a"]);
    }

    #[test]
    fn nothing_waits_for_ever() {
        let (mut queue, now) = (Queue::new(), Instant::now());
        queue.upsert(info("a", 0), now);
        let queued = queue.pop(now).expect("it is tried");
        queue.put_back(queued, WaitsFor::default(), now);
        let later = queue.next_at().expect("it looks again");
        assert_eq!(later, now + PATIENCE);
        assert_eq!(names(&mut queue, later), ["a"]);
    }

    #[test]
    fn gates_hold_a_pod_back() {
        let (mut queue, now) = (Queue::new(), Instant::now());
        let mut pod = testing::pod("a");
        pod.spec.scheduling_gates.push(crate::objects::SchedulingGate { name: "later".into() });
        queue.upsert(testing::info(pod), now);
        assert!(queue.pop(now).is_none());
        queue.upsert(info("a", 0), now);
        assert_eq!(names(&mut queue, now + Duration::from_secs(1)), ["a"]);
    }

    #[test]
    fn what_is_gone_is_gone_wherever_it_was() {
        let (mut queue, now) = (Queue::new(), Instant::now());
        queue.upsert(info("a", 0), now);
        assert!(queue.remove("uid-a").is_some());
        queue.upsert(info("b", 0), now);
        let queued = queue.pop(now).expect("it is tried");
        queue.retry(queued, now);
        assert!(queue.remove("uid-b").is_some());
        assert_eq!(queue.lengths(), (0, 0, 0, 0));
        assert_eq!(queue.next_at(), None);
    }
}
