//! Connections to another server: to one of the ready endpoints of its Service, over TLS, kept open between requests.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use component::kubeconfig::Identity;
use component::{Shutdown, spawn};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use store::Store;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Spec;
use crate::serve::Body;
use crate::webhook::{Allowed, ServiceReference, place_of_service, trusting};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a connection lies still at most.
const IDLE: Duration = Duration::from_secs(90);

/// Sends requests to another server.
pub(super) struct Outlet {
    authority: String,
    client: Result<Client<Connector, Body>, String>,
}

impl Outlet {
    pub(super) fn new(
        spec: &Spec,
        store: &Store,
        allowed: &Allowed,
        identity: &Identity,
        shutdown: &Shutdown,
    ) -> Self {
        let ServiceReference { namespace, name, port, .. } = &spec.service;
        let host = format!("{name}.{namespace}.svc");
        let tls = match spec.trusts_anybody {
            true => component::tls::unverified_client_config(Some(identity))
                .map_err(|error| component::ErrorChain(&error).to_string()),
            false => trusting(spec.trust.as_deref(), Some(identity)),
        };
        let client = tls.map(|mut tls| {
            // One request at a time, so that each may become another protocol.
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            let connector = Connector(Arc::new(Way {
                service: spec.service.clone(),
                host: host.clone(),
                store: store.clone(),
                allowed: allowed.clone(),
                tls: TlsConnector::from(Arc::new(tls)),
            }));
            Client::builder(Executor(shutdown.clone()))
                .pool_idle_timeout(IDLE)
                .pool_timer(TokioTimer::new())
                .pool_max_idle_per_host(16)
                .build(connector)
        });
        Self { authority: format!("{host}:{}", port.unwrap_or(443)), client }
    }

    /// As in a Host header.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Sends a request whose URI is a path. What goes wrong is told as text.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, String> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let whole = format!("https://{}{path}", self.authority).parse::<Uri>();
        *request.uri_mut() = whole.map_err(|error| error.to_string())?;
        client.request(request).await.map_err(|error| innermost(&error))
    }
}

/// The cause of causes: the others say only that there was one.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Drives connections as tracked tasks, which end with the server.
#[derive(Clone)]
struct Executor(Shutdown);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let stopping = self.0.clone();
        spawn(&self.0, "apiservice-connection", async move {
            tokio::select! {
                _ = future => {}
                () = stopping.triggered() => {}
            }
        });
    }
}

/// Finds an endpoint and connects to it.
#[derive(Clone)]
struct Connector(Arc<Way>);

struct Way {
    service: ServiceReference,
    host: String,
    store: Store,
    allowed: Allowed,
    tls: TlsConnector,
}

impl Way {
    async fn connect(&self) -> Result<Io, io::Error> {
        let place = place_of_service(&self.service, &self.store.snapshot(), &self.allowed);
        let place = place.map_err(io::Error::other)?;
        let address = place.address.ok_or_else(|| io::Error::other("the service has no address"))?;
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("dial tcp {address}: connect: {error}")))?;
        // What is asked is waited for.
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let stream = self.tls.connect(name, stream).await?;
        Ok(Io(TokioIo::new(stream)))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Io;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Io, io::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let way = self.0.clone();
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT, way.connect()).await;
            connected.unwrap_or_else(|_| Err(io::Error::other("context deadline exceeded")))
        })
    }
}

/// A connection.
struct Io(TokioIo<TlsStream<TcpStream>>);

impl Connection for Io {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
