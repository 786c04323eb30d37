//! Logs, from a kubelet that is a fake behind real TLS.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use rpc::v1::cluster_client::ClusterClient;
use rpc::v1::node_client::NodeClient;
use rpc::v1::node_server::{Node, NodeServer};
use rpc::v1::{JoinRequest, LogsChunk, LogsRequest};
use serde_json::json;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Server, ServerTlsConfig};

use super::*;

struct FakeKubelet;

#[tonic::async_trait]
impl Node for FakeKubelet {
    type LogsStream = Pin<Box<dyn Stream<Item = Result<LogsChunk, tonic::Status>> + Send>>;

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
}

/// Joins as a node and serves logs on a free port, which it gives.
async fn kubelet(asker: &Asker) -> u16 {
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

#[tokio::test]
async fn a_log_comes_from_the_kubelet_of_the_pods_node() {
    let asker = Asker::start().await;
    let port = kubelet(&asker).await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    assert_eq!(asker.post("/api/v1/nodes", &node).await.code, 201);
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let merge = ("content-type", "application/merge-patch+json");
    let told = asker.with(Method::PATCH, "/api/v1/nodes/n1/status", &[merge], &status.to_string()).await;
    assert_eq!(told.code.as_u16(), 200, "{}", told.text());
    let pods = "/api/v1/namespaces/default/pods";
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    asker.post("/api/v1/namespaces/default/serviceaccounts", &account).await;
    for (name, node, containers) in [("p", "n1", &["a"][..]), ("two", "n1", &["a", "b"]), ("new", "", &["a"])]
    {
        let containers: Vec<_> = containers.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers}});
        if !node.is_empty() {
            pod["spec"]["nodeName"] = node.into();
        }
        let created = asker.post(pods, &pod).await;
        assert_eq!(created.code.as_u16(), 201, "{}", created.text());
    }
    for (path, code, text) in [
        ("p/log?tailLines=3", 200, "a Some(3)\ntwo\n"),
        ("two/log?container=b", 200, "b None\ntwo\n"),
        ("new/log", 200, ""),
        ("two/log", 400, "choose one of: [a b]"),
        ("p/log?container=x", 400, "container x is not valid for pod p"),
        ("p/log?previous=true", 400, "previous terminated container not found"),
        ("p/log?tailLines=-1", 422, "must be greater than or equal to 0"),
        ("none/log", 404, "pods \\\"none\\\" not found"),
    ] {
        let answer = asker.get(&format!("{pods}/{path}")).await;
        assert_eq!(answer.code.as_u16(), code, "{path}: {}", answer.text());
        assert!(answer.text().contains(text), "{path}: {}", answer.text());
        if code == 200 {
            assert_eq!((answer.text().as_str(), answer.header("content-type")), (text, "text/plain"));
        }
    }

    let mut passed_on = NodeClient::new(asker.channel(asker.admin()).await);
    let request = LogsRequest { namespace: "default".into(), pod: "p".into(), ..Default::default() };
    let chunks: Vec<_> = passed_on.logs(request).await.expect("a log").into_inner().collect().await;
    assert_eq!(chunks.len(), 2);
    asker.stop().await;
}

#[tokio::test]
async fn a_kubelet_that_is_not_there_is_an_error_that_names_it() {
    let asker = Asker::start().await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gone"}});
    asker.post("/api/v1/nodes", &node).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let merge = ("content-type", "application/merge-patch+json");
    asker.with(Method::PATCH, "/api/v1/nodes/gone/status", &[merge], &status.to_string()).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    asker.post("/api/v1/namespaces/default/serviceaccounts", &account).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "gone", "containers": [{"name": "a", "image": "i"}]}});
    asker.post("/api/v1/namespaces/default/pods", &pod).await;
    let answer = asker.get("/api/v1/namespaces/default/pods/p/log").await;
    assert_eq!(answer.code, 500);
    assert!(answer.text().contains("the kubelet of node gone"), "{}", answer.text());
    asker.stop().await;
}
