//! Requests, many at a time, and how long they took.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use client::{Client, Encoding, GroupVersionResource, WriteOptions};
use component::{Kubeconfig, Shutdown};
use futures_util::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How fast a number of requests went.
pub(crate) struct Speed {
    /// Requests in a second.
    pub(crate) per_second: f64,
    /// Half of the requests took at most this long.
    pub(crate) median: Duration,
}

/// Makes `count` requests with `in_flight` at a time: `request` gets the number of each.
pub(crate) async fn run<F: Future<Output = Result<()>>>(
    count: usize,
    in_flight: usize,
    request: impl Fn(usize) -> F,
) -> Result<Speed> {
    let next = AtomicUsize::new(0);
    let worker = || async {
        let mut times = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return anyhow::Ok(times);
            }
            let begun = Instant::now();
            request(number).await?;
            times.push(begun.elapsed());
        }
    };
    let begun = Instant::now();
    let mut times = try_join_all((0..in_flight).map(|_| worker())).await?.concat();
    let elapsed = begun.elapsed();
    times.sort_unstable();
    let median = *times.get(times.len() / 2).context("at least one request")?;
    Ok(Speed { per_second: count as f64 / elapsed.as_secs_f64(), median })
}

/// A pod as users write it. No node has the label that it asks for, so it stays pending where there is a scheduler.
pub(crate) fn pod(name: &str) -> Bytes {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web", "tier": "front"}, "annotations": {"owner": "team-a"}},
        "spec": {
            "nodeSelector": {"measure": "nowhere"},
            "containers": [{
                "name": "nginx",
                "image": "nginx:1.27",
                "ports": [{"containerPort": 80}],
                "env": [{"name": "MODE", "value": "production"}, {"name": "LOG_LEVEL", "value": "info"}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5},
            }],
        },
    });
    pod.to_string().into()
}

/// Creates pods over gRPC.
pub(crate) async fn create_over_grpc(
    config: &Kubeconfig,
    prefix: &str,
    count: usize,
    in_flight: usize,
) -> Result<Speed> {
    let pods = Client::connect(config)?.dynamic(GroupVersionResource::new("", "v1", "pods"));
    run(count, in_flight, async |number| {
        let (body, options) = (pod(&format!("{prefix}-{number}")), WriteOptions::default());
        pods.create_encoded("default", "", "", Encoding::Json, body, &options).await?;
        Ok(())
    })
    .await
}

/// The REST API over one connection, HTTP/2 as Kubernetes' own clients use it.
#[derive(Clone)]
pub(crate) struct Rest {
    sender: SendRequest<Full<Bytes>>,
    authority: Arc<str>,
}

impl Rest {
    /// Connects.
    pub(crate) async fn connect(config: &Kubeconfig) -> Result<Self> {
        let authority = config.server.strip_prefix("https://").context("a server with TLS")?;
        let (host, _port) = authority.rsplit_once(':').context("a server with a port")?;
        let tls = component::tls::client_config(&config.certificate_authority, config.identity.as_ref())?;
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let name = rustls_pki_types::ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let tasks = Shutdown::new();
        component::spawn(&tasks, "connection", async move {
            // Whoever asks next sees that it has failed.
            let _ended = connection.await;
        });
        Ok(Self { sender, authority: authority.into() })
    }

    /// Asks, and reads the whole answer, which must be a success. Its length in bytes.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<usize> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.authority))
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let mut answer = self.sender.clone().send_request(request).await?;
        let status = answer.status();
        let mut length = 0;
        while let Some(frame) = answer.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        ensure!(status.is_success(), "{path}: {status}");
        Ok(length)
    }

    /// Creates pods.
    pub(crate) async fn create(&self, prefix: &str, count: usize, in_flight: usize) -> Result<Speed> {
        run(count, in_flight, async |number| {
            let body = pod(&format!("{prefix}-{number}"));
            self.ask(Method::POST, "/api/v1/namespaces/default/pods", body).await.map(drop)
        })
        .await
    }
}
