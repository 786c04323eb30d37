//! A whole server, asked over real TLS: what REST and gRPC promise beside what the pipeline does.

mod aggregate;
mod audit;
mod auth;
mod certificates;
mod custom;
mod etcd;
mod grpc;
mod history;
mod kubelet;
mod logs;
mod metrics;
mod rest;
mod storage;
mod streams;
mod tls;
mod watch;

use apiserver::testing::TestServer;
use bytes::Bytes;
use component::kubeconfig::Identity;
use component::{Shutdown, spawn};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// An answer.
struct Answer {
    code: StatusCode,
    headers: HeaderMap,
    bytes: Bytes,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A server and somebody who asks it.
struct Asker {
    server: TestServer,
    tasks: Shutdown,
}

impl Asker {
    async fn start() -> Self {
        Self { server: TestServer::start().await.expect("a server"), tasks: Shutdown::new() }
    }

    async fn stop(self) {
        self.tasks.trigger();
        assert!(self.server.stop().await, "every task ends");
    }

    /// A connection that speaks HTTP/1.1.
    async fn connect(&self, identity: Option<&Identity>) -> TlsStream<TcpStream> {
        let mut config = component::tls::client_config(&self.server.admin().certificate_authority, identity)
            .expect("a configuration");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let stream = TcpStream::connect(self.server.address()).await.expect("a connection");
        let name = "kubernetes.default.svc".try_into().expect("a name");
        let connector = TlsConnector::from(std::sync::Arc::new(config));
        connector.connect(name, stream).await.expect("TLS")
    }

    /// Sends a request on a connection of its own.
    async fn open(&self, identity: Option<&Identity>, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let stream = self.connect(identity).await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        spawn(&self.tasks, "client", async move {
            let _ended = connection.with_upgrades().await;
        });
        sender.send_request(request).await.expect("an answer")
    }

    async fn send(&self, identity: Option<&Identity>, request: Request<Full<Bytes>>) -> Answer {
        let (parts, body) = self.open(identity, request).await.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Answer { code: parts.status, headers: parts.headers, bytes }
    }

    fn admin(&self) -> Option<&Identity> {
        self.server.admin().identity.as_ref()
    }

    async fn with(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(self.admin(), request(method, path, headers, body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.with(Method::GET, path, &[], "").await
    }

    async fn accept(&self, path: &str, accept: &str) -> Answer {
        self.with(Method::GET, path, &[("accept", accept)], "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let json = ("content-type", "application/json");
        self.with(Method::POST, path, &[json], &body.to_string()).await
    }

    async fn channel(&self, identity: Option<&Identity>) -> Channel {
        let admin = self.server.admin();
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&admin.certificate_authority))
            .domain_name("localhost");
        if let Some(identity) = identity {
            let identity = tonic::transport::Identity::from_pem(&identity.certificate, &identity.key);
            tls = tls.identity(identity);
        }
        let endpoint = Endpoint::from_shared(self.server.url().to_owned()).expect("a URL");
        endpoint.tls_config(tls).expect("TLS").connect().await.expect("a channel")
    }
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request")
}

/// A config map.
fn config_map(name: &str, data: &str) -> Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": data},
    })
}
