//! A server of somebody else's, as webhooks and aggregated APIs are: HTTPS on a free port of loopback, with a
//! certificate of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use component::kubeconfig::Identity;
use component::tls::{self, ClientCertificates};
use component::{Shutdown, spawn};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::pki::{Authority, IssueError, Purpose, Subject};

/// What such a server answers with.
pub type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// A running server. It ends with [`Https::stop`].
pub struct Https {
    /// Where it listens.
    pub address: SocketAddr,
    /// The authority that signed its certificate: base64 of PEM, as a `caBundle`.
    pub authority: String,
    tasks: Shutdown,
}

impl Https {
    /// Starts a server with a certificate for loopback and `names`. `answer` is given each request and the certificate
    /// of who sends it, which comes from the authority `clients` (PEM) where there is one.
    pub async fn start<A, F>(names: &[&str], clients: Option<&[u8]>, answer: A) -> Result<Self, IssueError>
    where
        A: Fn(Request<Incoming>, Option<CertificateDer<'static>>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let now = Timestamp::now();
        let authority = Authority::generate(now)?;
        let subject = Subject {
            common_name: "other".to_owned(),
            organization: None,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: vec![[127, 0, 0, 1].into()],
            purpose: Purpose::Server,
        };
        let identity: Identity = authority.issue(&subject, now)?;
        let clients = clients.unwrap_or(authority.certificate_pem().as_bytes());
        let mut config = tls::server_config(&identity, clients, ClientCertificates::Optional)
            .expect("what was just made is well formed");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let own = Self {
            address: listener.local_addr().expect("a listener has an address"),
            authority: STANDARD.encode(authority.certificate_pem()),
            tasks: Shutdown::new(),
        };
        let tasks = own.tasks.clone();
        spawn(&own.tasks, "https", async move {
            loop {
                let accepted = tokio::select! {
                    () = tasks.triggered() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else { return };
                let (acceptor, answer, stopping) = (acceptor.clone(), answer.clone(), tasks.clone());
                spawn(&tasks, "https-connection", async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let certificates = stream.get_ref().1.peer_certificates();
                    let client = certificates.and_then(|chain| chain.first().cloned());
                    let service = service_fn(move |request| {
                        let answered = answer(request, client.clone());
                        async move { Ok::<_, std::convert::Infallible>(answered.await) }
                    });
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades();
                    tokio::select! {
                        _ = served => {}
                        () = stopping.triggered() => {}
                    }
                });
            }
        });
        Ok(own)
    }

    /// Ends the server and its connections.
    pub fn stop(&self) {
        self.tasks.trigger();
    }
}
