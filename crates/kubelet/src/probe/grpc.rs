//! The probe of `grpc.health.v1`: one unary call, spoken with the HTTP/2 that is there anyway.
//!
//! A probe is a client without any of what our own gRPC needs (TLS, channels that reconnect, our contract), so it is
//! written out: a frame of five bytes before a message of one field, and a status in the trailers.

use std::net::IpAddr;

use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::run::Verdict;
use crate::pod::GrpcAction;

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u8 = 1;
/// What the other values of that enum are called.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// gRPC's code for a method that a server does not have.
const UNIMPLEMENTED: &str = "12";

/// No answer is longer.
const MAX_ANSWER: usize = 16 * 1024;

/// Asks the health service of a server in the pod.
pub async fn grpc(ip: Option<IpAddr>, action: &GrpcAction) -> Verdict {
    let Some(ip) = ip else { return Verdict::Unknown("the pod has no address".to_owned()) };
    let Ok(port) = u16::try_from(action.port) else {
        return Verdict::Unknown(format!("invalid port number: {}", action.port));
    };
    let address = std::net::SocketAddr::new(ip, port);
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => {
            return Verdict::Failure(format!("error: failed to connect service at \"{address}\": {error}"));
        }
    };
    let service = action.service.as_deref().unwrap_or_default();
    match check(stream, &address.to_string(), service).await {
        Ok(Answer::Status(SERVING)) => Verdict::Success,
        Ok(Answer::Status(status)) => {
            let word = STATUSES.get(usize::from(status)).copied().unwrap_or("UNKNOWN");
            Verdict::Failure(format!("service unhealthy (responded with \"{word}\")"))
        }
        Ok(Answer::Refused { code, message }) if code == UNIMPLEMENTED => Verdict::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        )),
        Ok(Answer::Refused { code, message }) => {
            Verdict::Failure(format!("error: health rpc probe failed: code {code}: {message}"))
        }
        Err(message) => Verdict::Failure(format!("error: health rpc probe failed: {message}")),
    }
}

enum Answer {
    Status(u8),
    Refused { code: String, message: String },
}

async fn check(stream: TcpStream, authority: &str, service: &str) -> Result<Answer, String> {
    let plain = |error: hyper::Error| component::ErrorChain(&error).to_string();
    let connecting = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = connecting.await.map_err(plain)?;
    let request = Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36 grpc-rust/1")
        .body(Full::new(request(service)))
        .map_err(|error| error.to_string())?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(plain)?;
        let (head, body) = response.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(format!("unexpected HTTP status code {}", head.status.as_u16()));
        }
        // A refusal may come with the headers, without a body.
        if let Some(refused) = refused(&head.headers) {
            return Ok(refused);
        }
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(refused(&trailers).unwrap_or_else(|| Answer::Status(status(&body.to_bytes()))))
    };
    tokio::pin!(talk);
    tokio::select! {
        answer = &mut talk => answer,
        ended = connection => {
            ended.map_err(plain)?;
            talk.await
        }
    }
}

/// `HealthCheckRequest`: its only field, in its frame.
fn request(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or(0));
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
    frame.extend_from_slice(&message);
    frame.into()
}

/// `HealthCheckResponse`: its only field, 0 where it is not sent.
fn status(frame: &[u8]) -> u8 {
    match frame.get(5..) {
        Some([0x08, status, ..]) => *status,
        _ => 0,
    }
}

fn refused(headers: &HeaderMap) -> Option<Answer> {
    let text =
        |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let code = text("grpc-status").filter(|code| code != "0")?;
    Some(Answer::Refused { code, message: text("grpc-message").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed() {
        assert_eq!(request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(request("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = "s".repeat(200);
        assert_eq!(request(&long)[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
        assert_eq!(status(&[0, 0, 0, 0, 2, 8, 1]), SERVING);
        assert_eq!(status(&[0, 0, 0, 0, 0]), 0);
    }
}
