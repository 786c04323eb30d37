//! A priority level: how many of its requests are handled at once, and where the others wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

/// How long a request may wait: a quarter of the time that a request may take.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// There is no room for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// What a level may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limits {
    /// As much as there is.
    Exempt,
    /// So many requests at once; others are refused.
    Reject { seats: usize },
    /// So many at once; others wait.
    Queue { seats: usize, queues: usize, hand: usize, length: usize },
}

/// The part of the server's concurrency that a level has a right to.
pub(super) fn shares(spec: &Value) -> u64 {
    match spec["type"].as_str() {
        Some("Limited") => spec["limited"]["nominalConcurrencyShares"].as_u64().unwrap_or(30),
        _ => spec["exempt"]["nominalConcurrencyShares"].as_u64().unwrap_or(0),
    }
}

impl Limits {
    /// What the spec says, where all levels together have `all` shares of `concurrency`.
    pub(super) fn read(spec: &Value, concurrency: u64, all: u64) -> Self {
        if spec["type"] != "Limited" {
            return Self::Exempt;
        }
        let number = |value: &Value, usual: u64| -> usize {
            usize::try_from(value.as_u64().unwrap_or(usual)).unwrap_or(usize::MAX)
        };
        let seats = (concurrency * shares(spec)).div_ceil(all.max(1));
        let seats = usize::try_from(seats).unwrap_or(usize::MAX);
        let response = &spec["limited"]["limitResponse"];
        if response["type"] != "Queue" {
            return Self::Reject { seats };
        }
        let queuing = &response["queuing"];
        // More queues than these make nothing fairer, and cost memory.
        let queues = number(&queuing["queues"], 64).clamp(1, 4096);
        let hand = number(&queuing["handSize"], 8).clamp(1, queues);
        Self::Queue { seats, queues, hand, length: number(&queuing["queueLengthLimit"], 50) }
    }
}

/// A priority level.
pub(super) struct Level {
    uid: String,
    state: Mutex<State>,
}

struct State {
    limits: Limits,
    /// Requests that are being handled.
    taken: usize,
    queues: Vec<VecDeque<Waiting>>,
    /// The queue whose turn is next.
    turn: usize,
}

/// A request that waits: told when there is a seat.
type Waiting = oneshot::Sender<Seat>;

/// A request that is being handled. Makes room for the next when it is dropped.
pub(crate) struct Seat(Option<Arc<Level>>);

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(level) = self.0.take() {
            level.leave();
        }
    }
}

impl Level {
    pub(super) fn new(uid: &str) -> Self {
        let state = State { limits: Limits::Exempt, taken: 0, queues: Vec::new(), turn: 0 };
        Self { uid: uid.to_owned(), state: Mutex::new(state) }
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    /// Takes on new limits. Who waits in a queue that is no more is told so.
    pub(super) fn limit(self: &Arc<Self>, limits: Limits) {
        let mut state = self.state.lock();
        let count = if let Limits::Queue { queues, .. } = limits { queues } else { 0 };
        state.limits = limits;
        state.queues.resize_with(count, VecDeque::new);
        state.queues.truncate(count);
        drop(state);
        self.dispatch();
    }

    /// Waits for a seat.
    pub(super) async fn enter(self: Arc<Self>, flow: u64) -> Result<Seat, Refused> {
        let waiting = {
            let mut state = self.state.lock();
            match state.limits {
                Limits::Exempt => return Ok(Seat(None)),
                Limits::Reject { seats } | Limits::Queue { seats, .. } if state.taken < seats => {
                    state.taken += 1;
                    return Ok(Seat(Some(self.clone())));
                }
                Limits::Reject { .. } => return Err(Refused),
                Limits::Queue { queues, hand, length, .. } => {
                    let hand = deal(flow, queues, hand);
                    let shortest = hand.into_iter().min_by_key(|queue| state.queues[*queue].len());
                    let Some(queue) = shortest.map(|queue| &mut state.queues[queue]) else {
                        return Err(Refused);
                    };
                    // Whoever gave up in the meantime holds no place.
                    queue.retain(|waiting| !waiting.is_closed());
                    if queue.len() >= length {
                        return Err(Refused);
                    }
                    let (sender, receiver) = oneshot::channel();
                    queue.push_back(sender);
                    receiver
                }
            }
        };
        match tokio::time::timeout(LONGEST_WAIT, waiting).await {
            Ok(Ok(seat)) => Ok(seat),
            Ok(Err(_)) | Err(_) => Err(Refused),
        }
    }

    fn leave(self: Arc<Self>) {
        self.state.lock().taken -= 1;
        self.dispatch();
    }

    /// Gives free seats to those who wait, one queue after the other.
    fn dispatch(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                let seats = match state.limits {
                    Limits::Queue { seats, .. } => seats,
                    Limits::Exempt | Limits::Reject { .. } => return,
                };
                if state.taken >= seats {
                    return;
                }
                let Some(waiting) = state.next() else { return };
                state.taken += 1;
                waiting
            };
            // One who gave up gives the seat back by dropping it.
            let _ = next.send(Seat(Some(self.clone())));
        }
    }
}

impl State {
    /// The first of the next queue in which someone waits.
    fn next(&mut self) -> Option<Waiting> {
        let count = self.queues.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            while let Some(waiting) = self.queues[index].pop_front() {
                if !waiting.is_closed() {
                    self.turn = (index + 1) % count;
                    return Some(waiting);
                }
            }
        }
        None
    }
}

/// The queues that a flow may wait in: `hand` different ones of `count`, the same for the same flow.
fn deal(flow: u64, count: usize, hand: usize) -> Vec<usize> {
    let mut rest = u128::from(flow) * 0x9e37_79b9_7f4a_7c15;
    let mut cards: Vec<usize> = Vec::with_capacity(hand);
    for dealt in 0..hand.min(count) {
        let left = count - dealt;
        let mut card = (rest % left as u128) as usize;
        rest /= left as u128;
        // Skip what has been dealt, in order, so that each card is another.
        let mut sorted = cards.clone();
        sorted.sort_unstable();
        for taken in sorted {
            if taken <= card {
                card += 1;
            }
        }
        cards.push(card);
    }
    cards
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_is_of_different_queues_and_always_the_same() {
        for flow in [0, 1, 7, u64::MAX, 0x1234_5678_9abc_def0] {
            let hand = deal(flow, 16, 8);
            let mut sorted = hand.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!((sorted.len(), hand.iter().all(|queue| *queue < 16)), (8, true), "{hand:?}");
            assert_eq!(deal(flow, 16, 8), hand);
        }
        assert_eq!(deal(5, 1, 1), [0]);
    }
}
