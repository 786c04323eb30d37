//! Typed client over gRPC, informer cache, work queue, event recorder.
//!
//! ```text
//! Client (one channel) -> Api<K> / DynamicApi -> get, list, watch, create, update, patch, delete, bind
//! Informer<K>: list + watch -> Store<K> (cache, indexes) -> handlers -> WorkQueue<Key>
//! run_controller: WorkQueue -> reconcile(key) -> writes through Api<K>
//! EventRecorder: events about objects, never blocking
//! ```
//!
//! A [`Resource`] is a projection: a small struct with the fields that its daemon reads, decoded straight from
//! the payload bytes. Objects are never written back from projections.

mod api;
mod cluster;
mod connection;
mod controller;
mod dynamic;
mod error;
pub mod events;
mod history;
pub mod informer;
mod params;
mod queue;
mod resource;
mod store;
mod streams;

pub use api::Api;
pub use cluster::Backup;
pub use connection::Client;
pub use controller::run_controller;
pub use dynamic::{Deleted, DynamicApi, List, RawObject, WatchItem};
pub use error::{ClientError, NoAnswer};
pub use events::{EventRecorder, EventType, ObjectReference};
pub use informer::Informer;
pub use params::{DeleteOptions, ListParams, PatchOptions, PatchType, WatchParams, WriteOptions};
pub use queue::WorkQueue;
pub use resource::{GroupVersionResource, PartialObject, Resource};
pub use rpc::v1::{
    Binding, ContainerOpen, Difference, DifferencesRequest, Encoding, JoinRequest, LogsRequest, Object,
    PortForwardOpen, TerminalSize, UndeleteOutcome, UndeleteRequest, UndeletedObject, Version,
    VersionsRequest, WatchEventType,
};
pub use store::Store;
pub use streams::{ProcessInput, ProcessOutput};
