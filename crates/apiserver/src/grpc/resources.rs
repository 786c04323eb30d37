//! The service `Resources`: objects of every kind.

use std::pin::Pin;
use std::sync::Arc;

use api::registry::ResourceDef;
use bytes::{BufMut as _, BytesMut};
use component::{SharedClock, Shutdown};
use futures_util::stream::{self, Stream};
use rpc::status::to_grpc;
use rpc::v1::resources_server::Resources;
use rpc::v1::{self, list_chunk::Part};
use store::Entry;
use tonic::{Request, Response, Status};

use super::context;
use super::convert::{self, Place};
use crate::logs::Kubelets;
use crate::metrics_api::{self, Asking};
use crate::pipeline::{
    Binding, GetOptions, ListOptions, Pipeline, RequestContext, Target, WatchItem, WatchOptions, WatchStream,
    object_of_value, render,
};
use crate::view::{Form, ListMeta, View};

/// How many objects, and about how many bytes, go into one chunk of a list: well below what a client takes.
const CHUNK_OBJECTS: usize = 500;
const CHUNK_BYTES: usize = 512 * 1024;

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves objects.
pub(super) struct Service {
    pipeline: Pipeline,
    kubelets: Arc<Kubelets>,
    clock: SharedClock,
    shutdown: Shutdown,
}

impl Service {
    pub(super) fn new(
        pipeline: Pipeline,
        kubelets: Arc<Kubelets>,
        clock: SharedClock,
        shutdown: Shutdown,
    ) -> Self {
        Self { pipeline, kubelets, clock, shutdown }
    }

    fn asking<'a>(&'a self, context: &'a RequestContext) -> Asking<'a> {
        Asking { pipeline: &self.pipeline, kubelets: &self.kubelets, context }
    }

    fn take<T>(&self, request: Request<T>) -> (RequestContext, T) {
        let context = context(&request, &self.clock);
        (context, request.into_inner())
    }
}

#[tonic::async_trait]
impl Resources for Service {
    type ListStream = Streamed<v1::ListChunk>;
    type WatchStream = Streamed<v1::WatchEvent>;

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Object>, Status> {
        let (context, request) = self.take(request);
        let v1::GetRequest { resource, namespace, name, subresource, encoding } = &request;
        let form = convert::form(*encoding).map_err(to_grpc)?;
        let place = Place { resource, namespace, name, subresource };
        let target = convert::named(&self.pipeline, &place).map_err(to_grpc)?;
        let found = if metrics_api::serves(&target.def) {
            metrics_api::get(&self.asking(&context), &target).await
        } else {
            self.pipeline.get(&context, &target, &GetOptions::default()).await
        };
        let found = found.map_err(to_grpc)?;
        let view = convert::view(&target.def, form, context.now).map_err(to_grpc)?;
        let stored = found.entry.as_ref().map_or(&found.bytes, |entry| &entry.value);
        Ok(Response::new(v1::Object {
            encoding: convert::encoding(form),
            payload: view.object(&found.bytes, stored),
            ..convert::object(&found)
        }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let (context, request) = self.take(request);
        let v1::ListRequest { resource, namespace, selector, limit, continue_token, .. } = &request;
        let form = convert::form(request.encoding).map_err(to_grpc)?;
        let place = Place { resource, namespace, name: "", subresource: "" };
        let target = convert::target(&self.pipeline, &place).map_err(to_grpc)?;
        let v1::Selector { labels, fields } = selector.clone().unwrap_or_default();
        let options = ListOptions {
            label_selector: labels,
            field_selector: fields,
            limit: u64::from(*limit),
            continue_token: continue_token.clone(),
            resource_version: request.resource_version.clone(),
            resource_version_match: request.resource_version_match.clone(),
        };
        if metrics_api::serves(&target.def) {
            let found = metrics_api::list(&self.asking(&context), &target, &options).await;
            let parts = measured(&target, form, context.now, &found.map_err(to_grpc)?).map_err(to_grpc)?;
            return Ok(Response::new(Box::pin(stream::iter(parts))));
        }
        let found = self.pipeline.list(&context, &target, &options).await.map_err(to_grpc)?;
        let api_version = found.def.api_version();
        let header = v1::ListHeader {
            resource_version: found.revision,
            api_version: api_version.clone(),
            kind: found.def.list_kind.to_string(),
        };
        let trailer = v1::ListTrailer {
            continue_token: found.continue_token.unwrap_or_default(),
            remaining_item_count: found.remaining,
        };
        let view = convert::view(&found.def, form, context.now).map_err(to_grpc)?;
        let meta = ListMeta { revision: found.revision.to_string(), ..ListMeta::default() };
        let chunks =
            Chunks { def: found.def, api_version, form, view, meta, entries: found.entries.into_iter() };
        let parts = std::iter::once(Part::Header(header))
            .chain(chunks.map(Part::Items))
            .chain(std::iter::once(Part::Trailer(trailer)));
        let parts = parts.map(|part| Ok(v1::ListChunk { part: Some(part) }));
        Ok(Response::new(Box::pin(stream::iter(parts))))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (context, request) = self.take(request);
        let v1::WatchRequest { resource, namespace, selector, resource_version, .. } = &request;
        let form = convert::form(request.encoding).map_err(to_grpc)?;
        let place = Place { resource, namespace, name: "", subresource: "" };
        let target = convert::target(&self.pipeline, &place).map_err(to_grpc)?;
        let v1::Selector { labels, fields } = selector.clone().unwrap_or_default();
        let initial = request.send_initial_events;
        let options = WatchOptions {
            label_selector: labels,
            field_selector: fields,
            resource_version: resource_version.clone(),
            resource_version_match: if initial { "NotOlderThan".to_owned() } else { String::new() },
            send_initial_events: initial.then_some(true),
            allow_bookmarks: request.allow_bookmarks || initial,
            timeout_seconds: u64::from(request.timeout_seconds),
        };
        let changes = self.pipeline.watch(&context, &target, &options).map_err(to_grpc)?;
        let events = Events {
            changes: Some(changes),
            view: convert::view(&target.def, form, context.now).map_err(to_grpc)?,
            form,
            clock: self.clock.clone(),
            first: true,
            api_version: target.def.api_version(),
            def: target.def,
            shutdown: self.shutdown.clone(),
        };
        let stream = stream::unfold(events, |mut events| async move {
            let event = events.next().await?;
            Some((event, events))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn create(&self, request: Request<v1::CreateRequest>) -> Result<Response<v1::Object>, Status> {
        let (context, request) = self.take(request);
        let v1::CreateRequest { resource, namespace, name, subresource, encoding, payload, options } =
            request;
        let place =
            Place { resource: &resource, namespace: &namespace, name: &name, subresource: &subresource };
        let target = convert::target(&self.pipeline, &place).map_err(to_grpc)?;
        let body = convert::body(encoding, payload).map_err(to_grpc)?;
        let options = convert::write_options("CreateOptions", options, false).map_err(to_grpc)?;
        let written = self.pipeline.create(&context, &target, body, &options).await.map_err(to_grpc)?;
        Ok(Response::new(convert::object(&written.object)))
    }

    async fn update(&self, request: Request<v1::UpdateRequest>) -> Result<Response<v1::Object>, Status> {
        let (context, request) = self.take(request);
        let v1::UpdateRequest { resource, namespace, name, subresource, encoding, payload, options } =
            request;
        let place =
            Place { resource: &resource, namespace: &namespace, name: &name, subresource: &subresource };
        let target = convert::named(&self.pipeline, &place).map_err(to_grpc)?;
        let body = convert::body(encoding, payload).map_err(to_grpc)?;
        let options = convert::write_options("UpdateOptions", options, false).map_err(to_grpc)?;
        let written = self.pipeline.update(&context, &target, body, &options).await.map_err(to_grpc)?;
        Ok(Response::new(convert::object(&written.object)))
    }

    async fn patch(&self, request: Request<v1::PatchRequest>) -> Result<Response<v1::Object>, Status> {
        let (context, request) = self.take(request);
        let v1::PatchRequest { resource, namespace, name, subresource, r#type, patch, options, force } =
            request;
        let place =
            Place { resource: &resource, namespace: &namespace, name: &name, subresource: &subresource };
        let target = convert::named(&self.pipeline, &place).map_err(to_grpc)?;
        let kind = convert::patch_type(r#type).map_err(to_grpc)?;
        let options = convert::write_options("PatchOptions", options, force).map_err(to_grpc)?;
        let body = convert::patch_body(kind, patch);
        let written = self.pipeline.patch(&context, &target, kind, body, &options).await.map_err(to_grpc)?;
        Ok(Response::new(convert::object(&written.object)))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let (context, request) = self.take(request);
        let v1::DeleteRequest { resource, namespace, name, options } = request;
        let place = Place { resource: &resource, namespace: &namespace, name: &name, subresource: "" };
        let target = convert::named(&self.pipeline, &place).map_err(to_grpc)?;
        let options = convert::delete_options(options).map_err(to_grpc)?;
        let deleted = self.pipeline.delete(&context, &target, &options).await.map_err(to_grpc)?;
        Ok(Response::new(v1::DeleteResponse {
            object: Some(convert::object(deleted.object())),
            gone: deleted.is_gone(),
        }))
    }

    async fn delete_collection(
        &self,
        request: Request<v1::DeleteCollectionRequest>,
    ) -> Result<Response<v1::DeleteCollectionResponse>, Status> {
        let (context, request) = self.take(request);
        let v1::DeleteCollectionRequest { resource, namespace, selector, options } = request;
        let place = Place { resource: &resource, namespace: &namespace, name: "", subresource: "" };
        let target = convert::target(&self.pipeline, &place).map_err(to_grpc)?;
        let v1::Selector { labels, fields } = selector.unwrap_or_default();
        let selected =
            ListOptions { label_selector: labels, field_selector: fields, ..ListOptions::default() };
        let options = convert::delete_options(options).map_err(to_grpc)?;
        let deleted =
            self.pipeline.delete_collection(&context, &target, &selected, &options).await.map_err(to_grpc)?;
        let api_version = deleted.def.api_version();
        let objects =
            deleted.entries.iter().map(|entry| convert::entry(&deleted.def, &api_version, entry)).collect();
        Ok(Response::new(v1::DeleteCollectionResponse { objects }))
    }

    async fn bind(&self, request: Request<v1::BindRequest>) -> Result<Response<v1::BindResponse>, Status> {
        let (context, request) = self.take(request);
        let bindings = request
            .bindings
            .into_iter()
            .map(|v1::Binding { namespace, pod, uid, node }| Binding {
                namespace,
                pod,
                uid,
                node,
                annotations: Default::default(),
            })
            .collect();
        let results = self.pipeline.bind(&context, bindings).await;
        let told = |result: Result<(), api::status::Status>| match result {
            Ok(()) => v1::BindResult::default(),
            Err(status) => v1::BindResult { status: serde_json::to_vec(&status).unwrap_or_default().into() },
        };
        Ok(Response::new(v1::BindResponse { results: results.into_iter().map(told).collect() }))
    }
}

/// The list of what is used, all at once.
fn measured(
    target: &Target,
    form: Form,
    now: jiff::Timestamp,
    found: &[serde_json::Value],
) -> Result<Vec<Result<v1::ListChunk, Status>>, api::status::Status> {
    let view = convert::view(&target.def, form, now)?;
    let objects = match form {
        Form::Table(_) => vec![v1::Object {
            encoding: convert::encoding(form),
            payload: metrics_api::together(&view, found),
            ..v1::Object::default()
        }],
        Form::Object | Form::Partial(_) => {
            found.iter().map(|object| convert::object(&object_of_value(object))).collect()
        }
    };
    let header = v1::ListHeader {
        api_version: target.def.api_version(),
        kind: target.def.list_kind.to_string(),
        ..v1::ListHeader::default()
    };
    let parts = [
        Part::Header(header),
        Part::Items(v1::ListItems { objects }),
        Part::Trailer(v1::ListTrailer::default()),
    ];
    Ok(parts.map(|part| Ok(v1::ListChunk { part: Some(part) })).into())
}

/// Makes the chunks of a list when they are wanted.
struct Chunks {
    def: Arc<ResourceDef>,
    api_version: String,
    form: Form,
    view: View,
    meta: ListMeta,
    entries: std::vec::IntoIter<Arc<Entry>>,
}

impl Chunks {
    /// One object that is the table of many.
    fn table(&mut self) -> Option<v1::ListItems> {
        let mut rows = BytesMut::from(&*self.view.list_head(&self.meta));
        let mut count = 0;
        for entry in self.entries.by_ref().take(CHUNK_OBJECTS) {
            if count > 0 {
                rows.put_u8(b',');
            }
            count += 1;
            self.view.item(&render(&self.def, &entry), &entry.value, &mut rows);
        }
        rows.put_slice(self.view.list_tail());
        let object = v1::Object {
            encoding: convert::encoding(self.form),
            payload: rows.freeze(),
            ..v1::Object::default()
        };
        (count > 0).then(|| v1::ListItems { objects: vec![object] })
    }
}

impl Iterator for Chunks {
    type Item = v1::ListItems;

    fn next(&mut self) -> Option<v1::ListItems> {
        if matches!(self.form, Form::Table(_)) {
            return self.table();
        }
        let mut objects = Vec::new();
        let mut bytes = 0;
        while objects.len() < CHUNK_OBJECTS && bytes < CHUNK_BYTES {
            let Some(entry) = self.entries.next() else { break };
            let object = convert::entry(&self.def, &self.api_version, &entry);
            bytes += object.payload.len();
            objects.push(object);
        }
        (!objects.is_empty()).then_some(v1::ListItems { objects })
    }
}

/// Makes the events of a watch; ends when the server does.
struct Events {
    changes: Option<WatchStream>,
    def: Arc<ResourceDef>,
    api_version: String,
    form: Form,
    view: View,
    clock: SharedClock,
    first: bool,
    shutdown: Shutdown,
}

impl Events {
    async fn next(&mut self) -> Option<Result<v1::WatchEvent, Status>> {
        let changes = self.changes.as_mut()?;
        // Looked at first, because a busy watch never comes to wait for it.
        let change = if self.shutdown.is_triggered() {
            None
        } else {
            tokio::select! {
                biased;
                change = changes.next() => change,
                () = self.shutdown.triggered() => None,
            }
        };
        match change {
            Some(Ok(item)) => Some(Ok(self.event(item))),
            Some(Err(status)) => {
                self.changes = None;
                Some(Err(to_grpc(status)))
            }
            None => {
                self.changes = None;
                None
            }
        }
    }

    fn event(&mut self, item: WatchItem) -> v1::WatchEvent {
        if self.form == Form::Object {
            return convert::event(&self.def, &self.api_version, item);
        }
        self.view.set_now(self.clock.now());
        let stored = item.entry.as_ref().map_or(&item.object, |entry| &entry.value);
        let mut table = BytesMut::new();
        self.view.frame(&item.object, stored, std::mem::take(&mut self.first), &mut table);
        let mut event = convert::event(&self.def, &self.api_version, item);
        if let Some(object) = &mut event.object {
            object.payload = table.freeze();
            object.encoding = convert::encoding(self.form);
        }
        event
    }
}
