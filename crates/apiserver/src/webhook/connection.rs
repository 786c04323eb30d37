//! Connections to webhooks: made when first needed, kept open, and made again when they break.
//!
//! A connection has no task of its own. It is driven by whoever asks over it, and lies still in between; one that has
//! broken while it lay is found out by the next who takes it, and another is made.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use component::kubeconfig::Identity;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::networks::Allowed;
use super::place::{self, Place};

/// The largest answer that is read.
const MAX_ANSWER: usize = 4 << 20;

/// How many connections to one webhook lie still at most.
const MAX_IDLE: usize = 64;

/// Whom to trust where a webhook does not say it: what the machine trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

type Stream = TokioIo<TlsStream<TcpStream>>;

struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<Connection<Stream, Full<Bytes>>>>,
}

/// Where a connection leads, and whom it trusts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Peer {
    host: String,
    port: u16,
    address: Option<SocketAddr>,
    trust: Option<String>,
}

/// All connections that lie still.
#[derive(Default)]
pub(super) struct Connections {
    idle: Mutex<HashMap<Peer, Vec<Open>>>,
    /// By the certificates that are trusted; making one reads them.
    tls: Mutex<HashMap<Option<String>, Arc<ClientConfig>>>,
}

/// What was answered.
pub(super) struct Answer {
    pub code: u16,
    pub body: Bytes,
}

impl Connections {
    /// Sends a body to a place and gives what is answered. Errors are texts for the user.
    pub(super) async fn post(
        &self,
        place: &Place,
        seconds: u64,
        trust: Option<&str>,
        body: Bytes,
        allowed: &Allowed,
    ) -> Result<Answer, String> {
        let trust = trust.filter(|text| !text.is_empty()).map(str::to_owned);
        let peer = Peer { host: place.host.clone(), port: place.port, address: place.address, trust };
        loop {
            let kept = self.take(&peer);
            let is_kept = kept.is_some();
            let mut open = match kept {
                Some(open) => open,
                None => self.connect(&peer, allowed).await?,
            };
            match open.ask(place, seconds, body.clone()).await {
                Ok(answer) => {
                    self.keep(peer, open);
                    return Ok(answer);
                }
                // It broke while it lay: whoever was there did not get the question.
                Err(error) if is_kept && !error.is_answered => {}
                Err(error) => return Err(error.why),
            }
        }
    }

    fn take(&self, peer: &Peer) -> Option<Open> {
        let mut idle = self.idle.lock();
        let open = idle.get_mut(peer)?;
        std::iter::from_fn(|| open.pop()).find(|open| !open.sender.is_closed())
    }

    fn keep(&self, peer: Peer, open: Open) {
        if open.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock();
        let all = idle.entry(peer).or_default();
        if all.len() < MAX_IDLE {
            all.push(open);
        }
    }

    /// Forgets connections and certificates: what was configured has changed.
    pub(super) fn forget(&self) {
        self.idle.lock().clear();
        self.tls.lock().clear();
    }

    fn tls(&self, trust: &Option<String>) -> Result<Arc<ClientConfig>, String> {
        if let Some(made) = self.tls.lock().get(trust) {
            return Ok(made.clone());
        }
        let mut config = trusting(trust.as_deref(), None)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        self.tls.lock().insert(trust.clone(), config.clone());
        Ok(config)
    }

    async fn connect(&self, peer: &Peer, allowed: &Allowed) -> Result<Open, String> {
        let tls = self.tls(&peer.trust)?;
        let stream = connect(peer, allowed).await?;
        let name = ServerName::try_from(peer.host.clone()).map_err(|error| error.to_string())?;
        let stream =
            TlsConnector::from(tls).connect(name, stream).await.map_err(|error| tls_failure(&error))?;
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        Ok(Open { sender, driver: Box::pin(driver) })
    }
}

/// TLS with somebody whose certificate `trust` (base64 of PEM) has signed, or whom this machine trusts, and who is shown
/// `identity`.
pub(crate) fn trusting(trust: Option<&str>, identity: Option<&Identity>) -> Result<ClientConfig, String> {
    let certificates = match trust {
        Some(text) => {
            STANDARD.decode(text).map_err(|error| format!("unable to load root certificates: {error}"))?
        }
        None => std::fs::read(SYSTEM_ROOTS).map_err(|_| {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
        })?,
    };
    component::tls::client_config(&certificates, identity)
        .map_err(|error| format!("unable to load root certificates: {}", component::ErrorChain(&error)))
}

async fn connect(peer: &Peer, allowed: &Allowed) -> Result<TcpStream, String> {
    let addresses: Vec<SocketAddr> = match peer.address {
        Some(address) => vec![address],
        None => tokio::net::lookup_host((peer.host.as_str(), peer.port))
            .await
            .map_err(|_| format!("dial tcp: lookup {}: no such host", peer.host))?
            .collect(),
    };
    let mut why = format!("dial tcp: lookup {}: no such host", peer.host);
    // The very addresses that were found are judged and connected to: a name cannot change in between.
    for address in addresses {
        if !allowed.allows(address.ip()) {
            why = place::refused(address.ip());
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A question is small and waited for.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => {
                let text = match error.kind() {
                    std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                    std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
                    std::io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
                    _ => error.to_string(),
                };
                why = format!("dial tcp {address}: connect: {text}");
            }
        }
    }
    Err(why)
}

/// What users know of certificates that are not trusted.
fn tls_failure(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => {
            let why = match why {
                rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature => {
                    "certificate signed by unknown authority".to_owned()
                }
                rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. } => {
                    "certificate has expired or is not yet valid".to_owned()
                }
                other => other.to_string(),
            };
            format!("tls: failed to verify certificate: x509: {why}")
        }
        _ => error.to_string(),
    }
}

struct AskError {
    why: String,
    is_answered: bool,
}

impl Open {
    async fn ask(&mut self, place: &Place, seconds: u64, body: Bytes) -> Result<Answer, AskError> {
        let query = if place.path.contains('?') { "&" } else { "?" };
        let request = Request::post(format!("{}{query}timeout={seconds}s", place.path))
            .header(header::HOST, place.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "kube-apiserver-admission")
            .body(Full::new(body))
            .map_err(|error| AskError { why: error.to_string(), is_answered: true })?;
        let Self { sender, driver } = self;
        let broken = |error: hyper::Error| {
            let cut = error.is_incomplete_message() || error.is_closed();
            let why = if cut { "EOF".to_owned() } else { error.to_string() };
            AskError { why, is_answered: false }
        };
        let answer = async {
            sender.ready().await.map_err(broken)?;
            let answer = sender.send_request(request).await.map_err(broken)?;
            let code = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| AskError { why: error.to_string(), is_answered: true })?;
            Ok(Answer { code, body: body.to_bytes() })
        };
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // The connection has ended; what it has read by then is still answered.
            _ = driver => answer.await,
        }
    }
}
