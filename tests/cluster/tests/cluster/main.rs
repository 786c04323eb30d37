//! How the daemons work together, each test in a cluster of its own. Read `deployments.rs` first.

mod deployments;
mod namespaces;
mod nodes;
mod ownership;
mod restarts;
mod rollouts;
mod scheduling;
mod storage;
