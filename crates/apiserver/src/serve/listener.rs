//! Connections: accepted, encrypted, given to REST or gRPC, and ended.
//!
//! One port for everything: ALPN or the preface says whether a client speaks HTTP/1.1 or HTTP/2, and the content
//! type says whether a request is gRPC. A client that sends nothing, or too slowly, is cut off; a client that does
//! not read holds only its own buffers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::{ErrorChain, Shutdown, spawn};
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, warn};

use super::App;
use crate::authn::{Came, Certificates};
use crate::{grpc, rest};

/// How many connections may be open. A node has two, a daemon or a user one or two.
const MAX_CONNECTIONS: usize = 8192;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a client may take to send the head of a request, and how long an HTTP/1.1 connection may be idle: hyper
/// has one clock for both, and clients that keep connections expect a minute.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// The most bytes of a request's head.
const MAX_HEAD: usize = 256 * 1024;

/// How many requests one HTTP/2 connection may have open: an informer is a watch, which is one.
const MAX_STREAMS: u32 = 1000;

/// How often a silent HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// After an accept that failed for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The body of every response.
pub(crate) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A body with nothing in it.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is all there.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Who it is by its certificate, where it has one.
    pub(crate) came: Option<Came>,
    /// Where it connects from.
    pub(crate) address: Option<SocketAddr>,
}

/// The open connections, as permits: all of them are back when none is open.
pub(crate) struct Connections(Arc<Semaphore>);

impl Connections {
    /// Waits until no connection is open. Only after shutdown.
    pub(crate) async fn finished(&self) {
        let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
        let _closed = self.0.acquire_many(all).await;
    }
}

/// Runs the streams of HTTP/2 connections as tracked tasks.
#[derive(Clone)]
struct Executor(Shutdown);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        // A body that panics while it is made costs its stream, not the server.
        let guarded = AssertUnwindSafe(future).catch_unwind();
        spawn(&self.0, "http2-stream", async move {
            if guarded.await.is_err() {
                error!("the task of an HTTP/2 stream panicked");
            }
        });
    }
}

/// What is shown to new connections: replaced when the certificate is renewed.
#[derive(Clone)]
pub(super) struct Tls {
    shown: Arc<Mutex<Arc<ServerConfig>>>,
    certificates: Certificates,
}

impl Tls {
    pub(super) fn new(config: ServerConfig, certificates: Certificates) -> Self {
        Self { shown: Arc::new(Mutex::new(Arc::new(config))), certificates }
    }

    /// Connections that come from now on are shown this.
    pub(super) fn renew(&self, config: ServerConfig) {
        *self.shown.lock() = Arc::new(config);
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.shown.lock().clone())
    }
}

/// Starts to accept connections, until shutdown.
pub(super) fn serve(listener: TcpListener, tls: Tls, app: App, shutdown: &Shutdown) -> Connections {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = Connections(permits.clone());
    let tasks = shutdown.clone();
    spawn(shutdown, "accept", async move {
        loop {
            let accepted = tokio::select! {
                () = tasks.triggered() => return,
                accepted = accept(&listener, &permits) => accepted,
            };
            let Some((stream, permit)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (acceptor, certificates) = (tls.acceptor(), tls.certificates.clone());
            let connection = Connection { acceptor, certificates, app: app.clone(), permit };
            let stopping = tasks.clone();
            spawn(&tasks, "connection", async move {
                let run = AssertUnwindSafe(connection.run(stream, &stopping)).catch_unwind();
                if run.await.is_err() {
                    error!("the task of a connection panicked");
                }
            });
        }
    });
    connections
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            warn!(error = %ErrorChain(&error), "accept a connection");
            None
        }
    }
}

struct Connection {
    acceptor: TlsAcceptor,
    certificates: Certificates,
    app: App,
    permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, stopping: &Shutdown) {
        let Self { acceptor, certificates, app, permit } = self;
        let address = stream.peer_addr().ok();
        // Small answers must not wait for each other; where it does not work they are only slower.
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(error = %ErrorChain(&error), "TLS handshake"),
            Err(_) => return debug!("TLS handshake timed out"),
        };
        let chain = stream.get_ref().1.peer_certificates();
        let came = chain.and_then(|chain| certificates.of(chain, app.clock.now()));
        let peer = Peer { came, address };
        let service = service_fn(move |request: Request<Incoming>| {
            let (app, peer) = (app.clone(), peer.clone());
            async move { Ok::<_, Infallible>(answer(app, peer, request).await) }
        });
        let mut builder = auto::Builder::new(Executor(stopping.clone()));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .half_close(false);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD as u32)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = stopping.triggered() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(error = %ErrorChain(error.as_ref()), "connection");
        }
        drop(permit);
    }
}

/// Answers one request. A handler that panics costs its request, not the server.
async fn answer(app: App, peer: Peer, request: Request<Incoming>) -> Response<Body> {
    let grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let handled = async {
        if grpc { grpc::handle(&app, &peer, request).await } else { rest::handle(&app, &peer, request).await }
    };
    AssertUnwindSafe(handled).catch_unwind().await.unwrap_or_else(|_| {
        error!("a request's handler panicked");
        let mut response = Response::new(full("This request caused apiserver to panic. Look in the logs.\n"));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
