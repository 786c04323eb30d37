//! HTTP requests that are passed on to a pod, or to one of the pods of a Service: `pods/proxy` and `services/proxy`.
//!
//! The way is that of port-forward: the kubelet of the pod's node connects to the port from inside of the pod, so the
//! apiserver needs no way into the pod network, and no address that a client or an object names is ever dialled. What
//! the pod answers is passed on as it is; the apiserver follows no redirect.

pub(crate) mod headers;
mod place;

use std::sync::Arc;

use api::object::Header;
use api::status::{Reason, Status};
use bytes::BytesMut;
use component::{ErrorChain, spawn};
use futures_util::StreamExt as _;
use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rpc::v1::{PortForwardData, PortForwardOpen};
use store::{Bucket, Key, Snapshot};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

use self::place::Named;
use super::{Answers, KubeletPorts, Ports};
use crate::endpoints::{Service, Slice};
use crate::pipeline::{RequestContext, Target};
use crate::serve::{App, Body, empty};

/// How much is on its way between the HTTP connection and the kubelet's call.
const BUFFER: usize = 64 * 1024;

/// Of which Service an EndpointSlice is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// How many pieces wait for the kubelet.
const QUEUE: usize = 4;

/// A request to pass on.
pub(crate) struct Proxied<'a> {
    pub(crate) context: &'a RequestContext,
    pub(crate) target: &'a Target,
    pub(crate) head: &'a Parts,
    /// The path behind `proxy`, as it was sent: empty, or with a slash first.
    pub(crate) path: &'a str,
    pub(crate) body: Incoming,
}

/// Passes a request on, and its answer back.
pub(crate) async fn proxy(app: &App, request: Proxied<'_>) -> Result<Response<Body>, Status> {
    let Proxied { context, target, head, path, body } = request;
    let verb = match head.method {
        http::Method::POST => "create",
        http::Method::PUT => "update",
        http::Method::PATCH => "patch",
        http::Method::DELETE => "delete",
        _ => "get",
    };
    app.pipeline.allowed(context, verb, target)?;
    if path.is_empty() {
        return Ok(to_its_root(head));
    }
    app.pipeline.connect(context, target, serde_json::json!({"path": path})).await?;
    let asked = head.uri.path();
    let prefix = asked.strip_suffix(path).unwrap_or(asked);
    let (ports, port) = find(app, context, target)?;
    let host = format!("{}:{port}", ports.pod());
    let mut sent = Request::new(body);
    *sent.method_mut() = head.method.clone();
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    *sent.uri_mut() =
        format!("{path}{query}").parse().map_err(|_| Status::bad_request("the path is none"))?;
    *sent.headers_mut() = headers::of_request(&head.headers, &host, asked);
    let mut answer = exchange(app, &ports, port, sent).await?;
    headers::of_answer(answer.headers_mut(), prefix);
    let going = app.requests.begin_stream();
    Ok(answer.map(|body| {
        body.map_frame(move |frame| {
            // The request counts as open for as long as its frames come.
            let _open = &going;
            frame
        })
        .map_err(Into::into)
        .boxed_unsync()
    }))
}

/// Relative links of the pod's pages need the slash.
fn to_its_root(head: &Parts) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(location) = format!("{}/{query}", head.uri.path()).parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The pod and the port that are meant.
fn find(app: &App, context: &RequestContext, target: &Target) -> Result<(KubeletPorts, u16), Status> {
    let wanted = place::named(target.name.as_deref().unwrap_or_default())?;
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let snapshot = app.pipeline.store().snapshot();
    let (name, port) = match &*target.def.plural {
        "services" => {
            let turn =
                usize::try_from(context.now.as_nanosecond().unsigned_abs() / 1000 % 0xffff).unwrap_or(0);
            let (name, port) = pod_of_service(&snapshot, namespace, &wanted, turn)?;
            (name, Some(port))
        }
        _ => (wanted.name.to_owned(), None),
    };
    let entry = snapshot.get(&Key::new(&Bucket::from("pods"), namespace, &name));
    let entry = entry.ok_or_else(|| Status::not_found("", "pods", &name))?;
    let host = crate::kinds::pod::host(&snapshot, entry)?;
    let port = match port {
        Some(port) => port,
        None => {
            let pod: place::Pod = serde_json::from_slice(&host.pod).map_err(Status::internal)?;
            place::port_of_pod(wanted.port, &pod)?
        }
    };
    let pod_uid =
        serde_json::from_slice::<crate::logs::Pod>(&host.pod).map_err(Status::internal)?.uid().to_owned();
    let open = PortForwardOpen { namespace: namespace.to_owned(), pod: name, pod_uid, port: 0 };
    Ok((KubeletPorts { kubelets: Arc::clone(&app.kubelets), host, open }, port))
}

fn pod_of_service(
    snapshot: &Snapshot,
    namespace: &str,
    wanted: &Named<'_>,
    turn: usize,
) -> Result<(String, u16), Status> {
    let service = snapshot.get(&Key::new(&Bucket::from("services"), namespace, wanted.name));
    let service = service.ok_or_else(|| Status::not_found("", "services", wanted.name))?;
    let service: Service = serde_json::from_slice(&service.value).map_err(Status::internal)?;
    let slices = snapshot.list(&Bucket::from("endpointslices.discovery.k8s.io"), Some(namespace), None);
    let own = slices.filter(|slice| {
        let labels = slice.header::<Header>().map(|header| &header.labels);
        labels.is_some_and(|labels| labels.get(SERVICE_NAME) == Some(wanted.name))
    });
    let slices: Vec<Slice> = own.filter_map(|slice| serde_json::from_slice(&slice.value).ok()).collect();
    place::pod_of_service(wanted, &service, &slices, turn)
}

/// One request on a connection of its own.
async fn exchange(
    app: &App,
    ports: &KubeletPorts,
    port: u16,
    request: Request<Incoming>,
) -> Result<Response<Incoming>, Status> {
    let unavailable = |why: String| {
        let whole = format!("error trying to reach service: {why}");
        Status::failure(Reason::ServiceUnavailable, whole)
    };
    let (queue, received) = mpsc::channel(QUEUE);
    let answers = ports.call(port, received).await.map_err(|status| unavailable(status.message))?;
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    let stopping = app.shutdown.clone();
    spawn(&app.shutdown, "proxy", async move {
        tokio::select! {
            () = pump(theirs, queue, answers) => {}
            () = stopping.triggered() => {}
        }
    });
    let told = |error: hyper::Error| unavailable(ErrorChain(&error).to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.map_err(told)?;
    spawn(&app.shutdown, "proxy-connection", async move {
        // Ends with the request and its answer; what goes wrong is told by them.
        let _ended = connection.await;
    });
    let answer = sender.send_request(request).await.map_err(told)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(unavailable("the pod wants to speak another protocol".to_owned()));
    }
    Ok(answer)
}

/// Both directions between a connection and a call, until either is over.
async fn pump(io: DuplexStream, queue: mpsc::Sender<bytes::Bytes>, mut answers: Answers<PortForwardData>) {
    let (mut read, mut write) = tokio::io::split(io);
    let there = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(BUFFER / 2);
            match read.read_buf(&mut buffer).await {
                Ok(count) if count > 0 => {
                    if queue.send(buffer.split().freeze()).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    };
    let back = async {
        while let Some(Ok(piece)) = answers.next().await {
            if write.write_all(&piece.data).await.is_err() {
                return;
            }
        }
        let _gone = write.shutdown().await;
    };
    // A client that has closed its side wants no more; a pod that has closed its side has said all.
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}
