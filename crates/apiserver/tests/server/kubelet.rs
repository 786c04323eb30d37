//! A kubelet that is a fake, behind real TLS: what it serves tells what it was asked.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use rpc::v1::cluster_client::ClusterClient;
use rpc::v1::container_input::Message as In;
use rpc::v1::container_output::Message as Out;
use rpc::v1::node_server::{Node, NodeServer};
use rpc::v1::port_forward_request::Message as Sent;
use rpc::v1::{
    ContainerInput, ContainerOutput, ContainerStats, CpuStats, JoinRequest, LogsChunk, LogsRequest,
    MemoryStats, NodeStats, PodStats, PortForwardData, PortForwardRequest, StatsRequest, StatsResponse,
};
use serde_json::json;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Server, ServerTlsConfig};

use super::*;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;

struct FakeKubelet;

#[tonic::async_trait]
impl Node for FakeKubelet {
    type LogsStream = Answers<LogsChunk>;

    async fn logs(
        &self,
        request: tonic::Request<LogsRequest>,
    ) -> Result<tonic::Response<Self::LogsStream>, tonic::Status> {
        let request = request.into_inner();
        if request.previous {
            let status = api::status::Status::bad_request("previous terminated container not found");
            return Err(rpc::status::to_grpc(status));
        }
        let line = format!("{} {:?}\n", request.container, request.tail_lines);
        let chunk = |text: String| Ok(LogsChunk { data: text.into() });
        Ok(tonic::Response::new(Box::pin(stream::iter([chunk(line), chunk("two\n".into())]))))
    }

    type ExecStream = Answers<ContainerOutput>;
    type AttachStream = Answers<ContainerOutput>;
    type PortForwardStream = Answers<PortForwardData>;

    /// Says which command it is, repeats its input, and ends with the number of pieces that it was.
    async fn exec(
        &self,
        request: tonic::Request<tonic::Streaming<ContainerInput>>,
    ) -> Result<tonic::Response<Answers<ContainerOutput>>, tonic::Status> {
        let mut requests = request.into_inner();
        let Some(ContainerInput { message: Some(In::Open(open)) }) = requests.message().await? else {
            return Err(tonic::Status::invalid_argument("nothing is opened"));
        };
        if open.command == ["none"] {
            let why = format!("container not found (\"{}\")", open.container);
            return Err(rpc::status::to_grpc(api::status::Status::internal(why)));
        }
        let told = |message| Ok(ContainerOutput { message: Some(message) });
        let first = format!("{} {} {}\n", open.pod, open.container, open.command.join(","));
        let echo = stream::unfold((requests, 0), move |(mut requests, count)| async move {
            if count < 0 {
                return None;
            }
            match requests.message().await {
                Ok(Some(ContainerInput { message: Some(In::Stdin(data)) })) => {
                    Some((told(Out::Stderr(data)), (requests, count + 1)))
                }
                Ok(None) => Some((told(Out::ExitCode(count)), (requests, -1))),
                _ => None,
            }
        });
        let first = stream::iter([told(Out::Stdout(first.into()))]);
        Ok(tonic::Response::new(Box::pin(first.chain(echo))))
    }

    async fn attach(
        &self,
        _: tonic::Request<tonic::Streaming<ContainerInput>>,
    ) -> Result<tonic::Response<Answers<ContainerOutput>>, tonic::Status> {
        let words = ContainerOutput { message: Some(Out::Stdout("attached".into())) };
        Ok(tonic::Response::new(Box::pin(stream::iter([Ok(words)]))))
    }

    /// Answers with the number of the port and what it is sent first, by HTTP where that is HTTP.
    async fn port_forward(
        &self,
        request: tonic::Request<tonic::Streaming<PortForwardRequest>>,
    ) -> Result<tonic::Response<Answers<PortForwardData>>, tonic::Status> {
        let mut requests = request.into_inner();
        let Some(PortForwardRequest { message: Some(Sent::Open(open)) }) = requests.message().await? else {
            return Err(tonic::Status::invalid_argument("nothing is opened"));
        };
        // The answer begins before anything is sent, as that of a real one.
        let answer = async move {
            let Some(PortForwardRequest { message: Some(Sent::Data(data)) }) = requests.message().await?
            else {
                return Err(tonic::Status::invalid_argument("nothing is sent"));
            };
            let mut text = format!("{} {}", open.port, String::from_utf8_lossy(&data));
            if text.contains(" HTTP/1.1\r\n") {
                let head = "HTTP/1.1 201 Created\r\nLocation: /there\r\nConnection: close, X-Hop\r\nX-Hop: 1";
                text = format!("{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            }
            Ok(PortForwardData { data: text.into() })
        };
        Ok(tonic::Response::new(Box::pin(stream::once(answer))))
    }

    /// A node that uses a core and a half, and a pod in each of two namespaces.
    async fn stats(
        &self,
        _: tonic::Request<StatsRequest>,
    ) -> Result<tonic::Response<StatsResponse>, tonic::Status> {
        let cpu = |nano_cores| CpuStats {
            time: 1_795_521_600_000_000_000,
            nano_cores: Some(nano_cores),
            window: 1_000_000_000,
            ..CpuStats::default()
        };
        let memory = |working_set| MemoryStats { working_set, ..MemoryStats::default() };
        let container = |name: &str| ContainerStats {
            name: name.into(),
            cpu: Some(cpu(250_000_000)),
            memory: Some(memory(64 << 20)),
            ..ContainerStats::default()
        };
        let pod = |namespace: &str, name: &str| PodStats {
            namespace: namespace.into(),
            name: name.into(),
            containers: vec![container("a"), container("b")],
            ..PodStats::default()
        };
        let node = NodeStats {
            cpu: Some(cpu(1_500_000_000)),
            memory: Some(memory(1 << 30)),
            ..NodeStats::default()
        };
        let pods = vec![pod("default", "web"), pod("default", "db"), pod("kube-system", "web")];
        Ok(tonic::Response::new(StatsResponse { node: Some(node), pods }))
    }
}

/// Gets its certificate and serves on a free port, which it gives.
pub(super) async fn kubelet(asker: &Asker) -> u16 {
    let key = rcgen::KeyPair::generate().expect("a key");
    let csr = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
    let mut cluster = ClusterClient::new(asker.channel(asker.admin()).await);
    let joined = cluster
        .join(JoinRequest {
            node_name: "n1".into(),
            addresses: vec!["127.0.0.1".into()],
            kubelet_serving_csr: csr.pem().expect("PEM"),
            ..Default::default()
        })
        .await
        .expect("joined")
        .into_inner();
    let identity =
        tonic::transport::Identity::from_pem(joined.kubelet_serving_certificate, key.serialize_pem());
    let tls = ServerTlsConfig::new()
        .identity(identity)
        .client_ca_root(Certificate::from_pem(joined.ca_certificate));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut server = Server::builder().tls_config(tls).expect("TLS");
    let stopping = asker.tasks.clone();
    spawn(&asker.tasks, "fake-kubelet", async move {
        let served = server.add_service(NodeServer::new(FakeKubelet));
        let until = async move { stopping.triggered().await };
        served.serve_with_incoming_shutdown(TcpListenerStream::new(listener), until).await.expect("served");
    });
    port
}

/// Makes a node whose kubelet listens on that port, and what pods need.
pub(super) async fn join(asker: &Asker, name: &str, port: u16) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    assert_eq!(asker.post("/api/v1/nodes", &node).await.code, 201);
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let merge = ("content-type", "application/merge-patch+json");
    let path = format!("/api/v1/nodes/{name}/status");
    let told = asker.with(Method::PATCH, &path, &[merge], &status.to_string()).await;
    assert_eq!(told.code.as_u16(), 200, "{}", told.text());
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    asker.post("/api/v1/namespaces/default/serviceaccounts", &account).await;
}
