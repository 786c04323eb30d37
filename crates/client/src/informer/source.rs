//! What an informer needs of the network.

use std::future::Future;
use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use rpc::v1::list_chunk::Part;

use crate::dynamic::raw_objects;
use crate::{ClientError, DynamicApi, ListParams, RawObject, WatchItem, WatchParams};

/// Where a stream starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The present objects and then the changes, in one watch.
    Beginning,
    /// The present objects only.
    List,
    /// The changes after a version.
    Version(u64),
}

/// What a stream brings.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceItem {
    /// An object as it is now.
    Applied(RawObject),
    /// An object that is gone.
    Deleted(RawObject),
    /// Nothing more up to this version.
    Bookmark(u64),
    /// All present objects have come, as of `version`.
    Complete {
        /// The version of the snapshot.
        version: u64,
        /// Whether the changes follow in the same stream.
        watching: bool,
    },
}

/// A stream of items; it is over after an error.
pub type ItemStream = Pin<Box<dyn Stream<Item = Result<SourceItem, ClientError>> + Send>>;

/// Opens streams.
pub trait Source: Send + Sync + 'static {
    /// Opens one.
    fn open(&self, from: From) -> impl Future<Output = Result<ItemStream, ClientError>> + Send;

    /// Waits until another user of the same connection has had an answer: then trying again is worth it at once.
    fn recovered(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// The apiserver as a source.
#[derive(Debug, Clone)]
pub struct ApiSource {
    api: DynamicApi,
    namespace: String,
    labels: String,
    fields: String,
}

impl ApiSource {
    /// The objects of one resource that match; empty texts select all. For watchers of resources that are known only
    /// at run time.
    pub fn new(api: DynamicApi, namespace: String, labels: String, fields: String) -> Self {
        Self { api, namespace, labels, fields }
    }

    async fn list(&self) -> Result<ItemStream, ClientError> {
        let params =
            ListParams { labels: self.labels.clone(), fields: self.fields.clone(), ..ListParams::default() };
        let parts = self.api.list_stream(&self.namespace, &params).await?;
        let mut version = 0;
        let items = parts.flat_map(move |part| {
            let items = match part {
                Ok(Part::Header(header)) => {
                    version = header.resource_version;
                    Vec::new()
                }
                Ok(Part::Items(items)) => {
                    raw_objects(items).map(|raw| Ok(SourceItem::Applied(raw))).collect()
                }
                Ok(Part::Trailer(_)) => vec![Ok(SourceItem::Complete { version, watching: false })],
                Err(error) => vec![Err(error)],
            };
            stream::iter(items)
        });
        Ok(Box::pin(items))
    }

    async fn watch(&self, resource_version: String, initial: bool) -> Result<ItemStream, ClientError> {
        let params = WatchParams {
            labels: self.labels.clone(),
            fields: self.fields.clone(),
            resource_version,
            send_initial_events: initial,
            timeout_seconds: 0,
        };
        let items = self.api.watch(&self.namespace, &params).await?;
        Ok(Box::pin(items.map(|item| {
            Ok(match item? {
                WatchItem::Added(raw) | WatchItem::Modified(raw) => SourceItem::Applied(raw),
                WatchItem::Deleted(raw) => SourceItem::Deleted(raw),
                WatchItem::Bookmark { resource_version, initial_events_end: true } => {
                    SourceItem::Complete { version: resource_version, watching: true }
                }
                WatchItem::Bookmark { resource_version, initial_events_end: false } => {
                    SourceItem::Bookmark(resource_version)
                }
            })
        })))
    }
}

impl Source for ApiSource {
    async fn open(&self, from: From) -> Result<ItemStream, ClientError> {
        let opened = match from {
            From::Beginning => self.watch(String::new(), true).await,
            From::List => self.list().await,
            From::Version(version) => self.watch(version.to_string(), false).await,
        };
        if opened.is_ok() {
            self.api.client().tell_recovered();
        }
        opened
    }

    async fn recovered(&self) {
        self.api.client().recovered().await;
    }
}
