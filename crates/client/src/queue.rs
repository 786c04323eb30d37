//! A queue of keys to work on, with the guarantees of client-go's workqueue:
//!
//! - a key that is added many times before it is taken is taken once;
//! - a key is never worked on by two workers at once; added meanwhile, it is taken again afterwards;
//! - a key can be added later: after a time, or after a delay that grows with its failures.
//!
//! Time is tokio's, so that tests pause it. The queue has no task of its own: those who wait in [`WorkQueue::next`]
//! watch the clock.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The delay after the first failure of a key, and the longest one; it doubles in between (client-go's numbers).
const FIRST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_secs(1000);

/// A queue of keys. Clones share it.
pub struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    /// Ready to be taken, in order.
    ready: VecDeque<T>,
    /// To be worked on: those in `ready`, and those of `processing` that were added again.
    dirty: HashSet<T, FixedState>,
    /// Taken and not done.
    processing: HashSet<T, FixedState>,
    /// Waiting for their time, in its order; the number keeps those of one moment apart.
    delayed: BTreeMap<(Instant, u64), T>,
    /// The place of a key in `delayed`.
    delayed_at: HashMap<T, (Instant, u64), FixedState>,
    sequence: u64,
    failures: HashMap<T, u32, FixedState>,
    shut_down: bool,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Clone + Eq + Hash> Default for WorkQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone + Eq + Hash> WorkQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::default(),
            processing: HashSet::default(),
            delayed: BTreeMap::new(),
            delayed_at: HashMap::default(),
            sequence: 0,
            failures: HashMap::default(),
            shut_down: false,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Has a key worked on soon.
    pub fn add(&self, key: T) {
        let mut state = self.shared.state.lock();
        if !state.shut_down && state.add(key) {
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    /// Has a key worked on after a delay. Of several times for one key the earliest counts.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.shared.state.lock();
        if state.shut_down {
            return;
        }
        let at = Instant::now() + delay;
        if let Some(place) = state.delayed_at.get(&key).copied() {
            if place.0 <= at {
                return;
            }
            state.delayed.remove(&place);
        }
        state.sequence += 1;
        let place = (at, state.sequence);
        state.delayed_at.insert(key.clone(), place);
        state.delayed.insert(place, key);
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Counts a failure of a key and has it worked on after a delay that doubles with each failure.
    pub fn add_rate_limited(&self, key: T) {
        let delay = {
            let mut state = self.shared.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            let delay = FIRST_DELAY.saturating_mul(1 << (*failures).min(20)).min(LONGEST_DELAY);
            *failures += 1;
            delay
        };
        self.add_after(key, delay);
    }

    /// Forgets the failures of a key.
    pub fn forget(&self, key: &T) {
        self.shared.state.lock().failures.remove(key);
    }

    /// How often a key has failed since it was last forgotten.
    pub fn failures(&self, key: &T) -> u32 {
        self.shared.state.lock().failures.get(key).copied().unwrap_or_default()
    }

    /// Waits for a key and takes it: call [`WorkQueue::done`] afterwards. `None` once the queue is shut down and
    /// empty.
    pub async fn next(&self) -> Option<T> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let wake_at = {
                let mut state = self.shared.state.lock();
                state.ripen(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.processing.insert(key.clone());
                    let more = !state.ready.is_empty() || !state.delayed.is_empty();
                    drop(state);
                    if more {
                        // Another one who waits takes over the rest, and watching the clock.
                        self.shared.changed.notify_one();
                    }
                    return Some(key);
                }
                if state.shut_down {
                    return None;
                }
                state.delayed.first_key_value().map(|((at, _), _)| *at)
            };
            match wake_at {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Says that the work on a key that was taken is over.
    pub fn done(&self, key: &T) {
        let mut state = self.shared.state.lock();
        state.processing.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    /// How many keys are ready to be taken.
    pub fn len(&self) -> usize {
        self.shared.state.lock().ready.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes nothing more in. What is ready is still handed out; what waits for its time is not.
    pub fn shut_down(&self) {
        let mut state = self.shared.state.lock();
        state.shut_down = true;
        state.delayed.clear();
        state.delayed_at.clear();
        drop(state);
        self.shared.changed.notify_waiters();
        self.shared.changed.notify_one();
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    /// Says whether the key became ready.
    fn add(&mut self, key: T) -> bool {
        if !self.dirty.insert(key.clone()) || self.processing.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    /// Makes ready whose time has come.
    fn ripen(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.delayed_at.remove(&key);
            self.add(key);
        }
    }
}

#[cfg(test)]
mod tests;
