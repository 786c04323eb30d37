//! All daemons in one process, on nodes without containers.
//!
//! [`TestCluster`] starts apiserver, scheduler and controllers on free ports of loopback; they talk gRPC over mutual
//! TLS as they do between processes. A [`FakeNode`] does what the other daemons see of a kubelet: it registers,
//! renews its Lease, and brings the pods that are bound to it to Running. Tests look through an [`Observer`], which
//! follows watches and keeps all that it saw: to wait is to look again at each change, never to sleep. A warning in
//! the log that no test expects fails the test ([`logs`]).
//!
//! Each test owns its cluster. All of it runs on the test's own thread: use `#[tokio::test]` as it is.

pub mod logs;
pub mod manifests;
mod node;
pub mod objects;
mod observer;
mod test_cluster;

pub use node::FakeNode;
pub use observer::{Change, Observer, until_shown};
pub use test_cluster::{Options, TestCluster, Time};
