//! What tests put in the place of containers and of the apiserver, and a clock that goes with tokio's time.
//!
//! [`FakeRuntime`] keeps sandboxes and containers in memory and lets each of them live as its image's [`Script`]
//! says; [`FakeControlPlane`] keeps pods, and is watched by an informer as the apiserver is. Both outlive a kubelet
//! that is started again.

mod control;
mod node;
mod runtime;

use std::time::Duration;

use component::Clock;
use jiff::Timestamp;
use tokio::time::Instant;

pub use control::FakeControlPlane;
pub use node::FakeSignals;
pub use runtime::{FakeRuntime, Life, Script};

/// A wall clock that goes as tokio's time does: a paused test moves both.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    epoch: Timestamp,
    started: Instant,
}

impl TokioClock {
    /// Says `epoch` now.
    pub fn at(epoch: Timestamp) -> Self {
        Self { epoch, started: Instant::now() }
    }

    /// How long it has been going.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.epoch.checked_add(self.elapsed()).unwrap_or(Timestamp::MAX)
    }
}
