//! Binds pods to nodes.
//!
//! The heart is [`schedule()`]: a pure function from a [`Snapshot`] and a pod to a node, or to the reasons why there is
//! none. Around it: [`queue`] (who is next), [`state`] (events in, decisions out), [`run()`] (informers, bindings,
//! events). The reasons for and against a node are in [`plugins`], named as in Kubernetes.

mod config;
mod metrics;
pub mod objects;
pub mod plugins;
pub mod queue;
pub mod resources;
mod run;
pub mod schedule;
pub mod snapshot;
pub mod state;
pub mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use config::{Args, Config, ConfigError};
pub use run::run;
pub use schedule::{Assignment, FitError, schedule};
pub use snapshot::{PodInfo, Snapshot};
