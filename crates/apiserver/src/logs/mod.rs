//! What containers print: asked of the kubelet of their node, for REST's `pods/log` and for the gRPC service `Node`.
//!
//! Read on: [`request`] for what a client may ask, [`kubelets`] for the connections.

mod kubelets;
mod request;

use std::time::Duration;

use api::status::Status;
use futures_util::stream::{self, StreamExt as _};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use rpc::v1::LogsRequest;
use store::{Bucket, Key};

pub(crate) use kubelets::{Chunks, Kubelets};
pub(crate) use request::{Pod, container};

use crate::metrics::Going;
use crate::pipeline::{Pipeline, RequestContext, Target};
use crate::serve::{App, Body, empty};

/// How long an answer waits for the first words, so that a failure can still be told as one.
const FIRST_WORDS: Duration = Duration::from_millis(500);

/// Answers a REST request for the log of a container.
pub(crate) async fn log(
    app: &App,
    context: &RequestContext,
    target: &Target,
    query: &[(String, String)],
) -> Result<Response<Body>, Status> {
    let request = request::parse(target, query)?;
    let chunks = open(&app.pipeline, &app.kubelets, context, target, request).await?;
    let mut response = Response::new(match chunks {
        Some(chunks) => body(chunks, app.requests.begin_stream(), app.shutdown.clone()),
        None => empty(),
    });
    *response.status_mut() = StatusCode::OK;
    let plain = http::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    Ok(response)
}

fn body(chunks: Chunks, going: Going, shutdown: component::Shutdown) -> Body {
    let stopping = async move { shutdown.triggered().await };
    let frames = chunks.take_until(Box::pin(stopping)).map(move |chunk| {
        // The request counts as open for as long as its frames are made.
        let _open = &going;
        chunk.map(|chunk| Frame::data(chunk.data)).map_err(Into::into)
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Opens a log; there is none yet where the pod has no node.
pub(crate) async fn open(
    pipeline: &Pipeline,
    kubelets: &Kubelets,
    context: &RequestContext,
    target: &Target,
    request: LogsRequest,
) -> Result<Option<Chunks>, Status> {
    pipeline.allowed(context, "get", target)?;
    let key = Key::new(&Bucket::from("pods"), &request.namespace, &request.pod);
    let snapshot = pipeline.store().snapshot();
    let pod = snapshot.get(&key).ok_or_else(|| Status::not_found("", "pods", &request.pod))?;
    let pod: request::Pod = serde_json::from_slice(&pod.value).map_err(Status::internal)?;
    let request = request::resolve(request, &pod)?;
    if pod.spec.node_name.is_empty() {
        return Ok(None);
    }
    let host = pipeline.pod_host(context, "get", target)?;
    let chunks = kubelets.logs(&host, request).await?;
    first_words(chunks).await.map(Some)
}

/// Waits a little for the first chunk: when it is a failure, it becomes the answer.
async fn first_words(mut chunks: Chunks) -> Result<Chunks, Status> {
    let first = match tokio::time::timeout(FIRST_WORDS, chunks.next()).await {
        Err(_) => return Ok(chunks),
        Ok(None) => return Ok(Box::pin(stream::empty())),
        Ok(Some(Err(status))) => return Err(rpc::status::from_grpc(&status)),
        Ok(Some(Ok(chunk))) => chunk,
    };
    Ok(Box::pin(stream::iter([Ok(first)]).chain(chunks)))
}
