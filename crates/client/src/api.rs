//! Objects of one kind through a projection.

use std::marker::PhantomData;

use futures_util::{Stream, StreamExt as _};
use serde::Serialize;

use crate::{
    ClientError, DeleteOptions, Deleted, DynamicApi, List, ListParams, PatchOptions, PatchType, RawObject,
    Resource, WatchItem, WatchParams, WriteOptions,
};

/// Objects of the kind that `K` projects. Namespaces are empty for cluster-scoped kinds.
#[derive(Debug)]
pub struct Api<K> {
    dynamic: DynamicApi,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Self {
        Self { dynamic: self.dynamic.clone(), kind: PhantomData }
    }
}

impl<K: Resource> Api<K> {
    pub(crate) fn new(dynamic: DynamicApi) -> Self {
        Self { dynamic, kind: PhantomData }
    }

    /// The same objects as bytes.
    pub fn dynamic(&self) -> &DynamicApi {
        &self.dynamic
    }

    /// One object.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<K, ClientError> {
        self.dynamic.get(namespace, name).await?.decode()
    }

    /// One object, or none.
    pub async fn get_opt(&self, namespace: &str, name: &str) -> Result<Option<K>, ClientError> {
        match self.get(namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The objects that match; an empty namespace lists all namespaces.
    pub async fn list(&self, namespace: &str, params: &ListParams) -> Result<List<K>, ClientError> {
        let list = self.dynamic.list(namespace, params).await?;
        Ok(List {
            items: list.items.iter().map(RawObject::decode).collect::<Result<_, _>>()?,
            resource_version: list.resource_version,
            api_version: list.api_version,
            kind: list.kind,
            continue_token: list.continue_token,
            remaining_item_count: list.remaining_item_count,
        })
    }

    /// The changes as they come. Most callers want an [`crate::Informer`].
    pub async fn watch(
        &self,
        namespace: &str,
        params: &WatchParams,
    ) -> Result<impl Stream<Item = Result<WatchItem<K>, ClientError>> + Unpin + use<K>, ClientError> {
        Ok(self.dynamic.watch(namespace, params).await?.map(|item| {
            Ok(match item? {
                WatchItem::Added(raw) => WatchItem::Added(raw.decode()?),
                WatchItem::Modified(raw) => WatchItem::Modified(raw.decode()?),
                WatchItem::Deleted(raw) => WatchItem::Deleted(raw.decode()?),
                WatchItem::Bookmark { resource_version, initial_events_end } => {
                    WatchItem::Bookmark { resource_version, initial_events_end }
                }
            })
        }))
    }

    /// Stores a new object: a whole document.
    pub async fn create(&self, namespace: &str, object: &impl Serialize) -> Result<K, ClientError> {
        self.dynamic.create(namespace, object, &WriteOptions::default()).await?.decode()
    }

    /// Replaces an object with a whole document.
    pub async fn update(
        &self,
        namespace: &str,
        name: &str,
        object: &impl Serialize,
    ) -> Result<K, ClientError> {
        self.dynamic.update(namespace, name, "", object, &WriteOptions::default()).await?.decode()
    }

    /// Replaces an object's status; the document is the whole object.
    pub async fn update_status(
        &self,
        namespace: &str,
        name: &str,
        object: &impl Serialize,
    ) -> Result<K, ClientError> {
        self.dynamic.update(namespace, name, "status", object, &WriteOptions::default()).await?.decode()
    }

    /// Changes an object.
    pub async fn patch(
        &self,
        namespace: &str,
        name: &str,
        r#type: PatchType,
        body: &impl Serialize,
    ) -> Result<K, ClientError> {
        self.patch_subresource(namespace, name, "", (r#type, body), &PatchOptions::default()).await
    }

    /// Changes an object's status.
    pub async fn patch_status(
        &self,
        namespace: &str,
        name: &str,
        r#type: PatchType,
        body: &impl Serialize,
    ) -> Result<K, ClientError> {
        self.patch_subresource(namespace, name, "status", (r#type, body), &PatchOptions::default()).await
    }

    /// Changes an object, or the subresource that is named, with options.
    pub async fn patch_subresource(
        &self,
        namespace: &str,
        name: &str,
        subresource: &str,
        (r#type, body): (PatchType, &impl Serialize),
        options: &PatchOptions,
    ) -> Result<K, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Encode)?;
        self.dynamic.patch(namespace, name, subresource, (r#type, body.into()), options).await?.decode()
    }

    /// Deletes one object. The object that comes back is not decoded: after a deletion nobody reads it.
    pub async fn delete(
        &self,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted<RawObject>, ClientError> {
        self.dynamic.delete(namespace, name, options).await
    }

    /// Deletes the objects that match.
    pub async fn delete_collection(
        &self,
        namespace: &str,
        params: &ListParams,
        options: &DeleteOptions,
    ) -> Result<Vec<RawObject>, ClientError> {
        self.dynamic.delete_collection(namespace, params, options).await
    }
}
