//! The gRPC service of a node, for the apiserver only: logs, what [`crate::streams`] does, and [`crate::stats`].

use std::sync::Arc;
use std::time::Duration;

use api::status::Status;
use bytes::Bytes;
use client::LogsRequest;
use component::{SharedClock, Shutdown, spawn};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use rpc::status::to_grpc;
use rpc::v1::node_server::{Node, NodeServer};
use rpc::v1::{ContainerInput, LogsChunk, PortForwardRequest, StatsRequest, StatsResponse};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Streaming};
use tracing::error;

use crate::pod::Pod;
use crate::pods::Pods;
use crate::runtime::{LogOptions, Runtime, RuntimePod};
use crate::stats::Collector;
use crate::streams::{self, ContainerOutputs, PortOutputs, Verb};

/// Whom the kubelet serves: the apiserver's client certificate.
const ONLY_CLIENT: &str = "kube-apiserver-kubelet-client";

/// How much of one call may be on its way to us.
const STREAM_WINDOW: u32 = 256 * 1024;

/// How much of all calls of a connection together: so much that a call that nobody reads never holds up the others.
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;

/// How many calls there may be on one connection: each connection to a forwarded port is one.
const MAX_CALLS: u32 = 4096;

/// How often a silent apiserver is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// The keys of the server.
pub struct Keys {
    /// PEM certificate.
    pub certificate: Vec<u8>,
    /// PEM private key.
    pub key: Vec<u8>,
    /// PEM certificates of the authority of clients.
    pub client_ca: Vec<u8>,
}

/// The service.
pub struct NodeService {
    /// The containers.
    pub runtime: Arc<dyn Runtime>,
    /// The pods of this node.
    pub pods: Pods,
    /// What they use.
    pub stats: Arc<Collector>,
    /// The time, for `sinceSeconds`.
    pub clock: SharedClock,
    /// Ends what flows.
    pub shutdown: Shutdown,
}

/// Serves on a listener until shutdown.
pub fn serve(
    service: NodeService,
    keys: &Keys,
    listener: TcpListener,
    shutdown: &Shutdown,
) -> Result<(), tonic::transport::Error> {
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&keys.certificate, &keys.key))
        .client_ca_root(Certificate::from_pem(&keys.client_ca));
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(rpc::FILE_DESCRIPTOR_SET)
        .build_v1();
    let router = Server::builder()
        .tls_config(tls)?
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_CALLS)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PONG_WITHIN))
        .add_service(health_service)
        .add_optional_service(reflection.ok());
    let router = router.add_service(NodeServer::with_interceptor(service, only_the_apiserver));
    let stop = shutdown.clone();
    spawn(shutdown, "node-server", async move {
        health.set_serving::<NodeServer<NodeService>>().await;
        let until = async move { stop.triggered().await };
        if let Err(error) = router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), until).await
        {
            error!(error = %component::ErrorChain(&error), "the node's service ended");
        }
    });
    Ok(())
}

/// A certificate of the cluster is not enough: pods' users have those too.
#[allow(clippy::result_large_err, reason = "the form of tonic's interceptors")]
fn only_the_apiserver(request: Request<()>) -> Result<Request<()>, tonic::Status> {
    let certificates = request.peer_certs();
    let subject =
        certificates.as_deref().and_then(|list| list.first()).and_then(|own| component::tls::subject(own));
    match subject {
        Some(subject) if subject.common_name == ONLY_CLIENT => Ok(request),
        Some(_) | None => Err(tonic::Status::permission_denied("only the apiserver is served")),
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    type LogsStream = BoxStream<'static, Result<LogsChunk, tonic::Status>>;
    type ExecStream = ContainerOutputs;
    type AttachStream = ContainerOutputs;
    type PortForwardStream = PortOutputs;

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, tonic::Status> {
        let request = request.into_inner();
        let pod = self.find(&request.namespace, &request.pod, &request.pod_uid).map_err(to_grpc)?;
        let runtime =
            self.runtime.pod(&pod.metadata.uid).await.map_err(|error| to_grpc(Status::internal(error)))?;
        let id = container(&request, &runtime).map_err(to_grpc)?;
        let options = options(&request, self.clock.now()).map_err(to_grpc)?;
        let log = self.runtime.logs(&id, options);
        let limit = request.limit_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let chunks =
            limited(log.map(|chunk| chunk.map_err(|error| to_grpc(Status::internal(error)))).boxed(), limit);
        Ok(Response::new(chunks.map(|chunk| chunk.map(|data| LogsChunk { data })).boxed()))
    }

    async fn exec(
        &self,
        request: Request<Streaming<ContainerInput>>,
    ) -> Result<Response<ContainerOutputs>, tonic::Status> {
        self.open(Verb::Exec, request.into_inner()).await.map(Response::new).map_err(to_grpc)
    }

    async fn attach(
        &self,
        request: Request<Streaming<ContainerInput>>,
    ) -> Result<Response<ContainerOutputs>, tonic::Status> {
        self.open(Verb::Attach, request.into_inner()).await.map(Response::new).map_err(to_grpc)
    }

    async fn port_forward(
        &self,
        request: Request<Streaming<PortForwardRequest>>,
    ) -> Result<Response<PortOutputs>, tonic::Status> {
        self.forward(request.into_inner()).await.map(Response::new).map_err(to_grpc)
    }

    async fn stats(&self, request: Request<StatsRequest>) -> Result<Response<StatsResponse>, tonic::Status> {
        let stats = self.stats.collect(request.into_inner().disk).await;
        let stats = stats.map_err(|error| to_grpc(Status::internal(error)))?;
        Ok(Response::new(StatsResponse::clone(&stats)))
    }
}

impl NodeService {
    fn find(&self, namespace: &str, name: &str, uid: &str) -> Result<Arc<Pod>, Status> {
        let key = api::gvk::NamespacedName::new(namespace, name);
        self.pods.get(&key, uid).ok_or_else(|| Status::not_found("", "pods", name))
    }

    async fn open(
        &self,
        verb: Verb,
        mut requests: Streaming<ContainerInput>,
    ) -> Result<ContainerOutputs, Status> {
        let open = streams::first(&mut requests).await?;
        let pod = self.find(&open.namespace, &open.pod, &open.pod_uid)?;
        streams::open(&*self.runtime, &pod, verb, open, requests, &self.shutdown).await
    }

    async fn forward(&self, mut requests: Streaming<PortForwardRequest>) -> Result<PortOutputs, Status> {
        let open = streams::first_of_port(&mut requests).await?;
        let pod = self.find(&open.namespace, &open.pod, &open.pod_uid)?;
        streams::forward(&*self.runtime, &pod, open.port, requests, &self.shutdown).await
    }
}

/// The id of the container whose log is wanted.
fn container(request: &LogsRequest, runtime: &RuntimePod) -> Result<String, Status> {
    let (name, pod) = (&request.container, &request.pod);
    let record = if request.previous { runtime.previous(name) } else { runtime.latest(name) };
    let missing = || {
        Status::bad_request(if request.previous {
            format!("previous terminated container \"{name}\" in pod \"{pod}\" not found")
        } else {
            format!("container \"{name}\" in pod \"{pod}\" is waiting to start: ContainerCreating")
        })
    };
    record.map(|record| record.id.clone()).ok_or_else(missing)
}

fn options(request: &LogsRequest, now: Timestamp) -> Result<LogOptions, Status> {
    let since = if request.since_time.is_empty() {
        let ago = request.since_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        ago.and_then(|seconds| now.checked_sub(std::time::Duration::from_secs(seconds)).ok())
    } else {
        let time = request.since_time.parse();
        Some(time.map_err(|_| Status::bad_request(format!("sinceTime {} is no time", request.since_time)))?)
    };
    Ok(LogOptions {
        follow: request.follow,
        timestamps: request.timestamps,
        tail: request.tail_lines.and_then(|lines| u64::try_from(lines).ok()),
        since,
        stdout: request.stream != "Stderr",
        stderr: request.stream != "Stdout",
    })
}

type Chunks = BoxStream<'static, Result<Bytes, tonic::Status>>;

/// The same stream, ended after `limit` bytes.
fn limited(chunks: Chunks, limit: Option<usize>) -> Chunks {
    let Some(limit) = limit else { return chunks };
    stream::unfold((chunks, limit), |(mut chunks, left)| async move {
        if left == 0 {
            return None;
        }
        let chunk = chunks.next().await?.map(|mut chunk| {
            chunk.truncate(left);
            chunk
        });
        let taken = chunk.as_ref().map_or(0, Bytes::len);
        Some((chunk, (chunks, left - taken)))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_ends_at_its_limit() {
        let chunks = || stream::iter(["abc", "def", "ghi"].map(|text| Ok(Bytes::from(text)))).boxed();
        let read = async |limit| {
            let parts: Vec<_> = limited(chunks(), limit).map(|chunk| chunk.expect("a chunk")).collect().await;
            parts.concat()
        };
        assert_eq!(read(None).await, b"abcdefghi");
        assert_eq!(read(Some(5)).await, b"abcde");
        assert_eq!(read(Some(0)).await, b"");
        assert_eq!(read(Some(100)).await, b"abcdefghi");
    }

    #[test]
    fn since_is_a_moment_or_an_age() {
        let now: Timestamp = "2026-11-23T00:01:00Z".parse().expect("a time");
        let since =
            |request: LogsRequest| options(&request, now).map(|options| options.since.map(|t| t.to_string()));
        let age = LogsRequest { since_seconds: Some(60), ..LogsRequest::default() };
        assert_eq!(since(age).expect("good").as_deref(), Some("2026-11-23T00:00:00Z"));
        let bad = LogsRequest { since_time: "yesterday".into(), ..LogsRequest::default() };
        assert_eq!(since(bad).expect_err("no time").code, 400);
    }
}
