//! What every daemon shares: main(), logging, TLS, health, metrics, shutdown, named tasks, backoff.
//!
//! A daemon's `main.rs` parses its arguments with [`parse`] and hands over to [`main()`], which makes the runtime,
//! the log, the health and metrics endpoint and the [`Shutdown`] that SIGTERM triggers, and picks the exit code.
//! Everything below gets these as parameters:
//!
//! ```text
//! SIGTERM, a task's panic -> Shutdown (token + tracker) -> every task made by spawn()
//! Health, Metrics -> endpoints (/healthz /livez /readyz /metrics) -> http (plain), or the apiserver's TLS port
//! ```
//!
//! Nothing here knows of the other crates of this workspace.

mod backoff;
mod clock;
mod daemon;
pub mod endpoints;
mod error;
pub mod health;
pub mod kubeconfig;
pub mod logging;
pub mod metrics;
mod shutdown;
pub mod tls;

pub use backoff::Backoff;
pub use clock::{Clock, SharedClock, SystemClock, TestClock};
pub use daemon::{CommonArgs, Context, Failure, Spec, Threads, main, parse};
pub use endpoints::Endpoints;
pub use error::ErrorChain;
pub use health::Health;
pub use kubeconfig::Kubeconfig;
pub use metrics::Metrics;
pub use shutdown::{Shutdown, spawn};

#[doc(hidden)]
pub use mimalloc;
pub use prometheus_client;

/// Makes mimalloc the allocator of the binary: one line in each `main.rs`.
#[macro_export]
macro_rules! allocator {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::mimalloc::MiMalloc = $crate::mimalloc::MiMalloc;
    };
}
