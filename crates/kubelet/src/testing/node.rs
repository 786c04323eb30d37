//! A node whose resources are as a test says.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::pressure::signals::Signals;
use crate::pressure::threshold::Levels;

/// Nothing is measured until a test says something. Clones share everything.
#[derive(Clone, Default)]
pub struct FakeSignals {
    /// One answer after the other; the last one is repeated.
    levels: Arc<Mutex<VecDeque<Levels>>>,
}

impl FakeSignals {
    /// So much is left from now on.
    pub fn set(&self, levels: Levels) {
        *self.levels.lock() = VecDeque::from([levels]);
    }

    /// So much is left at the next look, and so much after it.
    pub fn set_then(&self, first: Levels, then: Levels) {
        *self.levels.lock() = VecDeque::from([first, then]);
    }
}

impl Signals for FakeSignals {
    fn read(&self) -> BoxFuture<'_, Levels> {
        let mut levels = self.levels.lock();
        let next = if levels.len() > 1 { levels.pop_front() } else { levels.front().cloned() };
        Box::pin(std::future::ready(next.unwrap_or_default()))
    }
}
