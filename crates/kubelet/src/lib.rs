//! Runs the pods of one node on Docker Engine.
//!
//! ```text
//! pods       which there are, static ones too
//! pod        what a Pod says (projection)       actions    what to do next (pure)
//! runtime    containers: a trait, Docker        status     what to report (pure)
//! cni        the pod network                    container  from spec to container (pure)
//! volumes    files for containers               probe      liveness, readiness, startup
//! admission  whether the node takes a pod  pressure   what to do when it runs out of something
//! workers    a pod at a time: observe, decide, act, report
//! node       the node's own objects             server     what the apiserver may ask
//! streams    exec, attach, port-forward         stats      what node and pods use
//! cleanup    takes it all away
//! run        wires it all together
//! ```
//! The kubelet keeps nothing that matters in memory: pods are found again by the labels of their containers, so that
//! it may be killed at any moment.

pub mod actions;
pub mod admission;
mod cleanup;
mod cni;
mod config;
pub mod container;
pub mod control_plane;
pub mod node;
pub mod pod;
pub mod pods;
pub mod pressure;
pub mod probe;
mod run;
pub mod runtime;
mod server;
pub mod stats;
pub mod status;
mod streams;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod volumes;
pub mod workers;

pub use cleanup::{CleanupError, cleanup};
pub use config::{Args, Config, ConfigError, GroupSettings, LogLimits};
pub use run::{RunError, run, run_on};
