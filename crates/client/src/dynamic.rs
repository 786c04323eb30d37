//! Objects of any resource as the bytes that the store holds. [`crate::Api`] decodes on top of this.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use rpc::v1::{self, Encoding, WatchEventType, list_chunk};

use crate::{
    Client, ClientError, DeleteOptions, GroupVersionResource, ListParams, PatchOptions, PatchType,
    WatchParams, WriteOptions,
};

/// One object: its payload as JSON, with the metadata that routes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawObject {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Unique over all time.
    pub uid: String,
    /// The store revision of the last change.
    pub resource_version: u64,
    /// Compact JSON.
    pub payload: Bytes,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl RawObject {
    fn from_proto(object: v1::Object) -> Self {
        let metadata = object.metadata.unwrap_or_default();
        Self {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            payload: object.payload,
            warnings: object.warnings,
        }
    }

    /// Decodes the payload into a projection.
    pub fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.payload).map_err(|source| ClientError::Decode {
            what: api::gvk::NamespacedName::new(&*self.namespace, &*self.name).to_string(),
            source,
        })
    }
}

/// What a list returned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct List<T> {
    /// The objects.
    pub items: Vec<T>,
    /// The revision of the snapshot that the list shows.
    pub resource_version: u64,
    /// As `apps/v1`.
    pub api_version: String,
    /// As `ReplicaSetList`.
    pub kind: String,
    /// Not empty where there are more.
    pub continue_token: String,
    /// How many more there are, where that is known.
    pub remaining_item_count: Option<i64>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchItem<T> {
    /// An object is new.
    Added(T),
    /// An object has changed.
    Modified(T),
    /// An object is gone; this was its last state, with the version of the deletion.
    Deleted(T),
    /// Everything up to this version has been sent.
    Bookmark {
        /// To resume from.
        resource_version: u64,
        /// Whether it ends the initial events.
        initial_events_end: bool,
    },
}

/// What a deletion returned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Deleted<T> {
    /// The last state, or the state now where the object goes on existing for a while.
    pub object: T,
    /// Whether it is gone from the store.
    pub gone: bool,
}

/// Objects of one resource.
#[derive(Debug, Clone)]
pub struct DynamicApi {
    client: Client,
    resource: GroupVersionResource,
    encoding: Encoding,
}

impl DynamicApi {
    pub(crate) fn new(client: Client, resource: GroupVersionResource) -> Self {
        Self { client, resource, encoding: Encoding::Json }
    }

    /// The same, whose answers to get, list and watch are encoded in another way ([`Encoding::Table`]).
    #[must_use]
    pub fn with_encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Which resource.
    pub fn resource(&self) -> &GroupVersionResource {
        &self.resource
    }

    /// One object. The namespace is empty for cluster-scoped resources.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<RawObject, ClientError> {
        self.get_subresource(namespace, name, "").await
    }

    /// One object's subresource: `status` or `scale`.
    pub async fn get_subresource(
        &self,
        namespace: &str,
        name: &str,
        subresource: &str,
    ) -> Result<RawObject, ClientError> {
        let request = v1::GetRequest {
            resource: Some(self.resource.to_proto()),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            encoding: self.encoding.into(),
        };
        Ok(RawObject::from_proto(self.client.resources().get(request).await?.into_inner()))
    }

    /// All objects that match, collected. An empty namespace lists all namespaces.
    pub async fn list(&self, namespace: &str, params: &ListParams) -> Result<List<RawObject>, ClientError> {
        let mut list = List::default();
        let mut parts = self.list_stream(namespace, params).await?;
        let mut complete = false;
        while let Some(part) = parts.next().await {
            match part? {
                list_chunk::Part::Header(header) => {
                    list.resource_version = header.resource_version;
                    list.api_version = header.api_version;
                    list.kind = header.kind;
                }
                list_chunk::Part::Items(items) => {
                    list.items.extend(items.objects.into_iter().map(RawObject::from_proto));
                }
                list_chunk::Part::Trailer(trailer) => {
                    complete = true;
                    list.continue_token = trailer.continue_token;
                    list.remaining_item_count = trailer.remaining_item_count;
                }
            }
        }
        if complete { Ok(list) } else { Err(ClientError::Protocol("a list ends with its trailer")) }
    }

    /// The parts of a list as they come: a header, chunks of objects, a trailer.
    pub async fn list_stream(
        &self,
        namespace: &str,
        params: &ListParams,
    ) -> Result<impl Stream<Item = Result<list_chunk::Part, ClientError>> + Unpin + use<>, ClientError> {
        let request = v1::ListRequest {
            resource: Some(self.resource.to_proto()),
            namespace: namespace.to_owned(),
            selector: params.selector(),
            limit: params.limit,
            continue_token: params.continue_token.clone(),
            resource_version: params.resource_version.clone(),
            resource_version_match: params.resource_version_match.clone(),
            encoding: self.encoding.into(),
        };
        let stream = self.client.resources().list(request).await?.into_inner();
        Ok(stream.map(|chunk| match chunk {
            Ok(chunk) => chunk.part.ok_or(ClientError::Protocol("a list chunk has a part")),
            Err(status) => Err(status.into()),
        }))
    }

    /// The changes as they come. The stream ends with an error, or when the server ends the watch.
    pub async fn watch(
        &self,
        namespace: &str,
        params: &WatchParams,
    ) -> Result<impl Stream<Item = Result<WatchItem<RawObject>, ClientError>> + Unpin + use<>, ClientError>
    {
        let request = v1::WatchRequest {
            resource: Some(self.resource.to_proto()),
            namespace: namespace.to_owned(),
            selector: params.selector(),
            resource_version: params.resource_version.clone(),
            send_initial_events: params.send_initial_events,
            allow_bookmarks: true,
            timeout_seconds: params.timeout_seconds,
            encoding: self.encoding.into(),
        };
        let stream = self.client.resources().watch(request).await?.into_inner();
        Ok(stream.map(|event| watch_item(event?)))
    }

    /// Stores a new object.
    pub async fn create(
        &self,
        namespace: &str,
        object: &impl serde::Serialize,
        options: &WriteOptions,
    ) -> Result<RawObject, ClientError> {
        let payload = serde_json::to_vec(object).map_err(ClientError::Encode)?;
        self.create_encoded(namespace, "", "", Encoding::Json, payload.into(), options).await
    }

    /// Stores a new object, or makes a subresource (`binding`, `eviction`, `token`) of `name`, from text that is
    /// encoded already (YAML is accepted too).
    pub async fn create_encoded(
        &self,
        namespace: &str,
        name: &str,
        subresource: &str,
        encoding: Encoding,
        payload: Bytes,
        options: &WriteOptions,
    ) -> Result<RawObject, ClientError> {
        let request = v1::CreateRequest {
            resource: Some(self.resource.to_proto()),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            encoding: encoding.into(),
            payload,
            options: self.client.write_options(options),
        };
        Ok(RawObject::from_proto(self.client.resources().create(request).await?.into_inner()))
    }

    /// Replaces an object, or its subresource where one is named.
    pub async fn update(
        &self,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: &impl serde::Serialize,
        options: &WriteOptions,
    ) -> Result<RawObject, ClientError> {
        let request = v1::UpdateRequest {
            resource: Some(self.resource.to_proto()),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            encoding: Encoding::Json.into(),
            payload: serde_json::to_vec(object).map_err(ClientError::Encode)?.into(),
            options: self.client.write_options(options),
        };
        Ok(RawObject::from_proto(self.client.resources().update(request).await?.into_inner()))
    }

    /// Changes an object, or its subresource where one is named.
    pub async fn patch(
        &self,
        namespace: &str,
        name: &str,
        subresource: &str,
        (r#type, patch): (PatchType, Bytes),
        options: &PatchOptions,
    ) -> Result<RawObject, ClientError> {
        let request = v1::PatchRequest {
            resource: Some(self.resource.to_proto()),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            r#type: r#type.to_proto().into(),
            patch,
            options: self.client.write_options(&options.write),
            force: options.force,
        };
        Ok(RawObject::from_proto(self.client.resources().patch(request).await?.into_inner()))
    }

    /// Deletes one object.
    pub async fn delete(
        &self,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted<RawObject>, ClientError> {
        let request = v1::DeleteRequest {
            resource: Some(self.resource.to_proto()),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            options: Some(options.to_proto()),
        };
        let response = self.client.resources().delete(request).await?.into_inner();
        let object = response.object.map(RawObject::from_proto).unwrap_or_default();
        Ok(Deleted { object, gone: response.gone })
    }

    /// Deletes the objects that match; returns them.
    pub async fn delete_collection(
        &self,
        namespace: &str,
        params: &ListParams,
        options: &DeleteOptions,
    ) -> Result<Vec<RawObject>, ClientError> {
        let request = v1::DeleteCollectionRequest {
            resource: Some(self.resource.to_proto()),
            namespace: namespace.to_owned(),
            selector: params.selector(),
            options: Some(options.to_proto()),
        };
        let response = self.client.resources().delete_collection(request).await?.into_inner();
        Ok(response.objects.into_iter().map(RawObject::from_proto).collect())
    }
}

pub(crate) fn raw_objects(items: v1::ListItems) -> impl Iterator<Item = RawObject> {
    items.objects.into_iter().map(RawObject::from_proto)
}

fn watch_item(event: v1::WatchEvent) -> Result<WatchItem<RawObject>, ClientError> {
    let r#type = event.r#type();
    let object = RawObject::from_proto(event.object.unwrap_or_default());
    match r#type {
        WatchEventType::Added => Ok(WatchItem::Added(object)),
        WatchEventType::Modified => Ok(WatchItem::Modified(object)),
        WatchEventType::Deleted => Ok(WatchItem::Deleted(object)),
        WatchEventType::Bookmark => Ok(WatchItem::Bookmark {
            resource_version: object.resource_version,
            initial_events_end: event.initial_events_end,
        }),
        WatchEventType::Unspecified => Err(ClientError::Protocol("a watch event has a type")),
    }
}
