//! What one probe does: a command in the container, a request, a connection. Also serves the hooks of a container.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Watched;
use super::grpc::grpc;
use crate::pod::{Container, ExecAction, HttpGetAction, Port, Probe, TcpSocketAction};
use crate::runtime::Runtime;

/// No more of an answer than this is read.
const MAX_BODY: usize = 10 * 1024;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Success,
    /// It failed, and how.
    Failure(String),
    /// It could not be asked.
    Unknown(String),
}

/// How a container is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeContext {
    /// The address of its pod.
    pub ip: Option<IpAddr>,
}

/// Runs probes. A trait, so that the prober can be tested without containers.
pub trait Runner: Send + Sync + 'static {
    /// Runs one, within its timeout.
    fn run<'a>(&'a self, watched: &'a Watched, probe: &'a Probe) -> BoxFuture<'a, Verdict>;
}

/// The real one.
pub struct RealRunner {
    /// Where commands run.
    pub runtime: Arc<dyn Runtime>,
}

impl Runner for RealRunner {
    fn run<'a>(&'a self, watched: &'a Watched, probe: &'a Probe) -> BoxFuture<'a, Verdict> {
        let timeout = Duration::from_secs(probe.timeout_seconds().into());
        let (container, ip) = (&watched.container, watched.context.ip);
        Box::pin(async move {
            if let Some(action) = &probe.exec {
                return exec(&*self.runtime, &watched.id, action, timeout).await;
            }
            let asked = async {
                if let Some(action) = &probe.http_get {
                    http_get(container, ip, action).await
                } else if let Some(action) = &probe.tcp_socket {
                    tcp_socket(container, ip, action).await
                } else if let Some(action) = &probe.grpc {
                    grpc(ip, action).await
                } else {
                    Verdict::Unknown("missing probe handler".to_owned())
                }
            };
            let late = if probe.grpc.is_some() {
                format!("timeout: health rpc did not complete within {}s", timeout.as_secs())
            } else {
                "context deadline exceeded (no answer within the timeout)".to_owned()
            };
            tokio::time::timeout(timeout, asked).await.unwrap_or(Verdict::Failure(late))
        })
    }
}

/// Runs a command; any exit code but 0 is a failure.
pub async fn exec(runtime: &dyn Runtime, id: &str, action: &ExecAction, timeout: Duration) -> Verdict {
    // The runtime's own bound comes second: it cannot end a command, only stop waiting for it.
    let ran = tokio::time::timeout(timeout, runtime.exec(id, &action.command, timeout)).await;
    match ran {
        Ok(Ok(output)) if output.exit_code == 0 => Verdict::Success,
        Ok(Ok(output)) => Verdict::Failure(String::from_utf8_lossy(&output.output).trim_end().to_owned()),
        Ok(Err(error)) if error.is_down() => Verdict::Unknown(error.to_string()),
        Ok(Err(error)) => Verdict::Failure(error.to_string()),
        Err(_) => Verdict::Failure(format!("command timed out after {}s", timeout.as_secs())),
    }
}

/// The number of a port that may be named.
fn port(container: &Container, port: &Port) -> Option<u16> {
    match port {
        Port::Int(number) => u16::try_from(*number).ok(),
        Port::String(name) => {
            let named =
                container.ports.iter().find(|port| port.name == *name).map(|port| port.container_port);
            named.or_else(|| name.parse().ok())
        }
    }
}

/// Asks for a page; 200 to 399 is a success.
pub async fn http_get(container: &Container, ip: Option<IpAddr>, action: &HttpGetAction) -> Verdict {
    if port(container, &action.port).is_none() {
        return Verdict::Unknown(format!("couldn't find port: {}", action.port));
    }
    match http_request(container, ip, action).await {
        Ok(code) if (200..400).contains(&code) => Verdict::Success,
        Ok(code) => Verdict::Failure(format!("HTTP probe failed with statuscode: {code}")),
        Err(why) => Verdict::Failure(why),
    }
}

/// Asks for a page; says the status code of the answer.
pub async fn http_request(
    container: &Container,
    ip: Option<IpAddr>,
    action: &HttpGetAction,
) -> Result<u16, String> {
    let port = port(container, &action.port).ok_or_else(|| format!("couldn't find port: {}", action.port))?;
    let host = if action.host.is_empty() {
        ip.map(|ip| ip.to_string()).unwrap_or_default()
    } else {
        action.host.clone()
    };
    let path = if action.path.starts_with('/') { action.path.clone() } else { format!("/{}", action.path) };
    let scheme = if action.scheme.eq_ignore_ascii_case("https") { "https" } else { "http" };
    let url = format!("{scheme}://{host}:{port}{path}");
    ask(&host, port, &path, action).await.map_err(|why| format!("Get \"{url}\": {why}"))
}

async fn ask(host: &str, port: u16, path: &str, action: &HttpGetAction) -> Result<u16, String> {
    let stream = connect(host, port).await?;
    let mut request = http::Request::get(path);
    let mut named_host = false;
    for header in &action.http_headers {
        named_host |= header.name.eq_ignore_ascii_case("host");
        request = request.header(&header.name, &header.value);
    }
    if !named_host {
        request = request.header("host", format!("{host}:{port}"));
    }
    let request = request
        .header("user-agent", "kube-probe/1.36")
        .header("accept", "*/*")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    if action.scheme.eq_ignore_ascii_case("https") {
        let stream = insecure_tls(host, stream).await?;
        return answer(TokioIo::new(stream), request).await;
    }
    answer(TokioIo::new(stream), request).await
}

async fn answer<S>(stream: TokioIo<S>, request: http::Request<Empty<Bytes>>) -> Result<u16, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let plain = |error: hyper::Error| component::ErrorChain(&error).to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(plain)?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(plain)?;
        let code = response.status().as_u16();
        // Read to its end, so that the server does not see a broken connection at every probe.
        let _too_long_or_broken = Limited::new(response.into_body(), MAX_BODY).collect().await;
        Ok(code)
    };
    tokio::pin!(talk);
    tokio::select! {
        code = &mut talk => code,
        ended = connection => {
            ended.map_err(plain)?;
            talk.await
        }
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let plain = |error: std::io::Error| format!("dial tcp {host}:{port}: connect: {error}");
    TcpStream::connect((host, port)).await.map_err(plain)
}

/// A probe asks whether the server answers, not who it is: certificates are not verified, as in Kubernetes.
async fn insecure_tls(
    host: &str,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let name = rustls_pki_types::ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let config = super::insecure::config().map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map_err(|error| error.to_string())
}

/// Opens a connection.
pub async fn tcp_socket(container: &Container, ip: Option<IpAddr>, action: &TcpSocketAction) -> Verdict {
    let Some(port) = port(container, &action.port) else {
        return Verdict::Unknown(format!("couldn't find port: {}", action.port));
    };
    let host = if action.host.is_empty() {
        ip.map(|ip| ip.to_string()).unwrap_or_default()
    } else {
        action.host.clone()
    };
    match connect(&host, port).await {
        Ok(_) => Verdict::Success,
        Err(why) => Verdict::Failure(why),
    }
}
