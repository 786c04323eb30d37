//! `/healthz`, `/livez`, `/readyz` and `/metrics`: what they answer, and a small plain-HTTP server for them.
//!
//! The apiserver serves the same [`Endpoints`] on its TLS port; the other daemons use [`serve`].

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tracing::{debug, warn};

use crate::{ErrorChain, Health, Metrics, Shutdown, spawn};

/// How long a client may take to send its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers for health and metrics. Clones share them.
#[derive(Clone, Default)]
pub struct Endpoints {
    /// The health checks.
    pub health: Health,
    /// The metrics.
    pub metrics: Metrics,
}

impl Endpoints {
    /// The answer for a path, or `None` where the path is not one of ours.
    pub fn answer(&self, path: &str, query: Option<&str>) -> Option<Response<Full<Bytes>>> {
        if path == "/metrics" {
            return Some(text(StatusCode::OK, crate::metrics::CONTENT_TYPE, self.metrics.encode()));
        }
        let (code, body) = self.health.answer(path, query)?;
        Some(text(code, "text/plain; charset=utf-8", body))
    }
}

fn text(code: StatusCode, media: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// Serves the endpoints over plain HTTP until shutdown.
pub fn serve(listener: TcpListener, endpoints: Endpoints, shutdown: &Shutdown) {
    let tasks = shutdown.clone();
    spawn(shutdown, "endpoints", async move {
        loop {
            let stream = tokio::select! {
                () = tasks.triggered() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of file descriptors, most likely: accepting again at once would spin.
                        warn!(error = %ErrorChain(&error), "accept on the metrics address");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let endpoints = endpoints.clone();
            let stopping = tasks.clone();
            spawn(&tasks, "endpoints-connection", async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let endpoints = endpoints.clone();
                    async move { Ok::<_, Infallible>(respond(&endpoints, &request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    () = stopping.triggered() => {}
                    ended = connection => if let Err(error) = ended {
                        debug!(error = %ErrorChain(&error), "metrics connection");
                    },
                }
            });
        }
    });
}

async fn respond(endpoints: &Endpoints, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "405 method not allowed\n".to_owned());
    }
    if let Some(page) = endpoints.metrics.page(request.uri().path()) {
        let (media, body) = page.await;
        return text(StatusCode::OK, media, body);
    }
    endpoints
        .answer(request.uri().path(), request.uri().query())
        .unwrap_or_else(|| text(StatusCode::NOT_FOUND, "text/plain", "404 page not found\n".to_owned()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn health_and_metrics_are_served_until_shutdown() {
        let shutdown = Shutdown::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let endpoints = Endpoints::default();
        endpoints.metrics.serve_page("/more", || Box::pin(async { ("text/plain", "one more".to_owned()) }));
        serve(listener, endpoints, &shutdown);
        for (path, expected) in [
            ("/healthz", "200 OK"),
            ("/metrics", "process_cpu_seconds_total"),
            ("/more", "one more"),
            ("/other", "404 Not Found"),
        ] {
            let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            assert!(answer.contains(expected), "{path}: {answer}");
        }
        shutdown.trigger();
        assert!(shutdown.drain(Duration::from_secs(5)).await);
    }
}
