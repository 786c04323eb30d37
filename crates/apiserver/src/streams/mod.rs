//! What flows between a client and a pod: exec, attach and port-forward, as kubectl speaks them.
//!
//! ```text
//! client ── HTTP upgrade ─┬─ WebSocket (channels) ──┬─ process ─┐
//!                         ├─ SPDY/3.1 ──────────────┤           ├─ a gRPC call to the kubelet
//!                         └─ SPDY in a WebSocket ───┴─ forward ─┘  (one for each forwarded connection)
//! ```
//! Requests that are only passed on to a pod ([`proxy`]) use the kubelet's ports, too. The codecs ([`websocket`], [`spdy`], [`channels`]) and the agreement on one of them ([`upgrade`]) are pure. The
//! kubelet is called before the upgrade is answered, so that what it refuses is an HTTP answer. Each stream is a task;
//! nothing is buffered but a few pieces: who does not read holds up who writes.

mod channels;
mod forward;
mod link;
mod options;
mod process;
mod proxy;
mod spdy;
mod upgrade;
mod watch;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use api::status::{Reason, Status};
use bytes::Bytes;
use component::{ErrorChain, spawn};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use http::request::Parts;
use http::{Method, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use rpc::v1::container_input::Message as In;
use rpc::v1::port_forward_request::Message as Sent;
use rpc::v1::{
    ContainerInput, ContainerOpen, ContainerOutput, PortForwardData, PortForwardOpen, PortForwardRequest,
};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::debug;

use self::link::{Frames, Messages};
use self::process::Wanted;
pub(crate) use self::proxy::headers::{of_request as proxied_headers, without_hops};
pub(crate) use self::proxy::{Proxied, proxy};
use self::upgrade::Transport;
pub(crate) use self::upgrade::wants_websocket;
pub(crate) use self::watch::{Framing, watch};
use crate::logs::{self, Kubelets};
use crate::pipeline::{Pipeline, PodHost, RequestContext, Subresource, Target};
use crate::serve::{App, Body};

/// How long the client may take to go on after the upgrade is agreed on.
const UPGRADE_WITHIN: Duration = Duration::from_secs(10);

/// How many pieces of standard input wait for the kubelet.
const QUEUE: usize = 4;

/// What is done with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// A command of the client's is run.
    Exec,
    /// Its first process is joined.
    Attach,
}

/// What a kubelet answers, piece by piece.
pub(crate) type Answers<T> = BoxStream<'static, Result<T, tonic::Status>>;

/// A process that a kubelet has connected us with.
struct ProcessCall {
    input: mpsc::Sender<ContainerInput>,
    output: Answers<ContainerOutput>,
}

/// Answers a REST request for a stream. The connection is no longer HTTP after that.
pub(crate) async fn connect(
    app: &App,
    context: &RequestContext,
    target: &Target,
    head: &Parts,
    query: &[(String, String)],
) -> Result<Response<Body>, Status> {
    let verb = if head.method == Method::POST { "create" } else { "get" };
    app.pipeline.allowed(context, verb, target)?;
    match target.subresource {
        Some(Subresource::Exec) => stream_process(app, context, target, head, query, Verb::Exec).await,
        Some(Subresource::Attach) => stream_process(app, context, target, head, query, Verb::Attach).await,
        _ => {
            let ports = query.iter().filter(|(name, _)| name == "ports");
            let ports: Vec<i32> = ports.filter_map(|(_, value)| value.parse().ok()).collect();
            let options = if ports.is_empty() { json!({}) } else { json!({"ports": ports}) };
            app.pipeline.connect(context, target, options).await?;
            stream_ports(app, context, target, head)
        }
    }
}

async fn stream_process(
    app: &App,
    context: &RequestContext,
    target: &Target,
    head: &Parts,
    query: &[(String, String)],
    verb: Verb,
) -> Result<Response<Body>, Status> {
    let agreed = upgrade::process(head)?;
    let on_upgrade = on_upgrade(head)?;
    let open = options::process(verb, target, query)?;
    let wanted = Wanted {
        verb,
        version: agreed.protocol,
        stdin: open.stdin,
        stdout: open.stdout,
        stderr: open.stderr,
        tty: open.tty,
    };
    let (host, open) = locate(&app.pipeline, context, target, verb, open).await?;
    let (input, queue) = mpsc::channel(QUEUE);
    let output = app.kubelets.process(&host, verb, requests(open, queue)).await?;
    let call = ProcessCall { input, output };
    let response = agreed.response();
    let (shutdown, going) = (app.shutdown.clone(), app.requests.begin_stream());
    spawn(&app.shutdown, "process-stream", async move {
        let Some(upgraded) = upgraded(on_upgrade).await else { return };
        let (read, outlet) = link::split(upgraded);
        match agreed.transport {
            Transport::WebSocket => {
                process::on_websocket(Messages::new(read), outlet, call, wanted, &shutdown).await;
            }
            Transport::Spdy => process::on_spdy(Frames::bare(read), outlet, call, wanted, &shutdown).await,
        }
        drop(going);
    });
    Ok(response)
}

fn stream_ports(
    app: &App,
    context: &RequestContext,
    target: &Target,
    head: &Parts,
) -> Result<Response<Body>, Status> {
    let agreed = upgrade::ports(head)?;
    let on_upgrade = on_upgrade(head)?;
    let ports = Arc::new(KubeletPorts::new(app, context, target)?);
    let response = agreed.response();
    let (shutdown, going) = (app.shutdown.clone(), app.requests.begin_stream());
    spawn(&app.shutdown, "ports-stream", async move {
        let Some(upgraded) = upgraded(on_upgrade).await else { return };
        let (read, outlet) = link::split(upgraded);
        match agreed.transport {
            Transport::WebSocket => {
                let frames = Frames::tunnel(Messages::new(read));
                forward::serve(frames, outlet.tunnel(), ports, true, &shutdown).await;
            }
            Transport::Spdy => forward::serve(Frames::bare(read), outlet, ports, false, &shutdown).await,
        }
        drop(going);
    });
    Ok(response)
}

/// Whether the connection can become something else: that of HTTP/2 cannot.
fn on_upgrade(head: &Parts) -> Result<OnUpgrade, Status> {
    let found = head.extensions.get::<OnUpgrade>().cloned();
    found.ok_or_else(|| Status::bad_request("Upgrade request required"))
}

async fn upgraded(on_upgrade: OnUpgrade) -> Option<TokioIo<Upgraded>> {
    match tokio::time::timeout(UPGRADE_WITHIN, on_upgrade).await {
        Ok(Ok(upgraded)) => Some(TokioIo::new(upgraded)),
        Ok(Err(error)) => {
            debug!(error = %ErrorChain(&error), "upgrade a connection");
            None
        }
        Err(_) => None,
    }
}

/// Checks what is asked, and finds which container of which node is meant.
pub(crate) async fn locate(
    pipeline: &Pipeline,
    context: &RequestContext,
    target: &Target,
    verb: Verb,
    mut open: ContainerOpen,
) -> Result<(PodHost, ContainerOpen), Status> {
    options::check(verb, &open)?;
    // Whoever may only read must not run commands, however it asks.
    let host = pipeline.pod_host(context, "create", target)?;
    pipeline.connect(context, target, options::told(&open)).await?;
    let pod: logs::Pod = serde_json::from_slice(&host.pod).map_err(Status::internal)?;
    open.container = logs::container(&open.container, &pod)?;
    if open.pod_uid.is_empty() {
        open.pod_uid = pod.uid().to_owned();
    }
    Ok((host, open))
}

/// The requests of a call: which container, and then what is said to it.
fn requests(
    open: ContainerOpen,
    queue: mpsc::Receiver<ContainerInput>,
) -> impl Stream<Item = ContainerInput> + Send + 'static {
    let first = stream::iter([ContainerInput { message: Some(In::Open(open)) }]);
    first.chain(received(queue))
}

fn received<T: Send + 'static>(queue: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send + 'static {
    stream::unfold(queue, |mut queue| async move { Some((queue.recv().await?, queue)) })
}

/// Connects to ports of one pod.
trait Ports: Send + Sync {
    /// The pod's name.
    fn pod(&self) -> &str;
    /// Connects to a port; what is in the queue goes there, until its end.
    fn call(
        &self,
        port: u16,
        queue: mpsc::Receiver<Bytes>,
    ) -> BoxFuture<'_, Result<Answers<PortForwardData>, Status>>;
}

/// By the kubelet of its node.
struct KubeletPorts {
    kubelets: Arc<Kubelets>,
    host: PodHost,
    open: PortForwardOpen,
}

impl KubeletPorts {
    fn new(app: &App, context: &RequestContext, target: &Target) -> Result<Self, Status> {
        let open = PortForwardOpen {
            namespace: target.namespace.clone().unwrap_or_default(),
            pod: target.name.clone().unwrap_or_default(),
            pod_uid: String::new(),
            port: 0,
        };
        let (host, open) = locate_port(&app.pipeline, context, target, open)?;
        Ok(Self { kubelets: Arc::clone(&app.kubelets), host, open })
    }
}

impl Ports for KubeletPorts {
    fn pod(&self) -> &str {
        &self.open.pod
    }

    fn call(
        &self,
        port: u16,
        queue: mpsc::Receiver<Bytes>,
    ) -> BoxFuture<'_, Result<Answers<PortForwardData>, Status>> {
        let open = PortForwardOpen { port: port.into(), ..self.open.clone() };
        let first = stream::iter([PortForwardRequest { message: Some(Sent::Open(open)) }]);
        let rest = received(queue).map(|data| PortForwardRequest { message: Some(Sent::Data(data)) });
        Box::pin(async move { self.kubelets.port(&self.host, first.chain(rest)).await })
    }
}

/// Finds the node of a pod whose port is asked for.
pub(crate) fn locate_port(
    pipeline: &Pipeline,
    context: &RequestContext,
    target: &Target,
    mut open: PortForwardOpen,
) -> Result<(PodHost, PortForwardOpen), Status> {
    let host = pipeline.pod_host(context, "create", target)?;
    let pod: logs::Pod = serde_json::from_slice(&host.pod).map_err(Status::internal)?;
    if !matches!(pod.phase(), "Running" | "Pending") {
        let why =
            format!("unable to forward port because pod is not running. Current status={}", pod.phase());
        return Err(Status::failure(Reason::BadRequest, why));
    }
    if open.pod_uid.is_empty() {
        open.pod_uid = pod.uid().to_owned();
    }
    Ok((host, open))
}

#[cfg(test)]
mod tests;
