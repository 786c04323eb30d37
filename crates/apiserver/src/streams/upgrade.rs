//! From HTTP to a stream: which protocol a client and the server have in common, and what the server answers. Pure.

use api::status::{Reason, Status};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::channels::Version;
use crate::serve::{Body, empty};

/// Where clients of SPDY say which protocols they speak, and the server which one it takes.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// The name of the only protocol of port-forward.
const PORT_FORWARD: &str = "portforward.k8s.io";

/// The same, with SPDY's frames inside of a WebSocket.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// What a key is extended with before it is hashed: prescribed.
const WEBSOCKET_ID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How frames are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// One WebSocket.
    WebSocket,
    /// SPDY on the bare connection.
    Spdy,
}

/// What a client and the server have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Agreed<T> {
    /// How frames are sent.
    pub(super) transport: Transport,
    /// What they mean.
    pub(super) protocol: T,
    /// Its name; empty where the client named none.
    name: String,
    /// The answer to a WebSocket's key.
    accept: String,
}

/// Agrees with a client on how to speak of a process.
pub(super) fn process(head: &Parts) -> Result<Agreed<Version>, Status> {
    agree(head, |transport, name| match transport {
        Transport::WebSocket => Version::of_websocket(name),
        Transport::Spdy => Version::of_spdy(name),
    })
}

/// Agrees with a client on how to speak of ports.
pub(super) fn ports(head: &Parts) -> Result<Agreed<()>, Status> {
    agree(head, |transport, name| match transport {
        Transport::WebSocket => (name == TUNNEL).then_some(()),
        Transport::Spdy => matches!(name, "" | PORT_FORWARD).then_some(()),
    })
}

/// Agrees with a client on a WebSocket that only the server speaks on: its protocol has no meaning.
pub(super) fn one_way(head: &Parts) -> Result<Agreed<()>, Status> {
    // Browsers cannot send headers: one of their protocols may be a token.
    agree(head, |transport, name| {
        (transport == Transport::WebSocket && !name.starts_with("base64url.bearer.")).then_some(())
    })
}

/// Whether a client wants a WebSocket.
pub(crate) fn wants_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, &header::CONNECTION, "upgrade") && has_token(headers, &header::UPGRADE, "websocket")
}

/// Agrees on a WebSocket with one of the protocols, the first that the client names.
fn agree<T>(head: &Parts, known: impl Fn(Transport, &str) -> Option<T>) -> Result<Agreed<T>, Status> {
    let headers = &head.headers;
    if wants_websocket(headers) {
        let accept = accept(headers)?;
        let names = tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL);
        let (name, protocol) = choose(&names, |name| known(Transport::WebSocket, name))?;
        return Ok(Agreed { transport: Transport::WebSocket, protocol, name, accept });
    }
    if has_token(headers, &header::CONNECTION, "upgrade") && has_token(headers, &header::UPGRADE, "spdy/3.1")
    {
        let names = tokens(headers, &STREAM_PROTOCOL);
        let (name, protocol) = choose(&names, |name| known(Transport::Spdy, name))?;
        return Ok(Agreed { transport: Transport::Spdy, protocol, name, accept: String::new() });
    }
    Err(Status::bad_request("Upgrade request required"))
}

/// Every value of a header that is a list.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty()).collect()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).iter().any(|token| token.eq_ignore_ascii_case(wanted))
}

fn choose<T>(names: &[&str], known: impl Fn(&str) -> Option<T>) -> Result<(String, T), Status> {
    let chosen = if names.is_empty() {
        known("").map(|protocol| (String::new(), protocol))
    } else {
        names.iter().find_map(|name| Some(((*name).to_owned(), known(name)?)))
    };
    chosen.ok_or_else(|| {
        let why = format!("unable to upgrade: unable to negotiate protocol: client supports {names:?}");
        Status::failure(Reason::Forbidden, why)
    })
}

/// The answer to the key of a WebSocket's client.
fn accept(headers: &HeaderMap) -> Result<String, Status> {
    if !has_token(headers, &header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Status::bad_request("only version 13 of WebSocket is served"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).unwrap_or_default();
    if !STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) {
        return Err(Status::bad_request("the key of the WebSocket is no key"));
    }
    let mut text = key.to_owned();
    text.push_str(WEBSOCKET_ID);
    // No secret: it only shows that the server knows what a WebSocket is.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    Ok(STANDARD.encode(digest.as_ref()))
}

impl<T> Agreed<T> {
    /// The answer after which the connection is no longer HTTP.
    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        let upgrade = match self.transport {
            Transport::WebSocket => "websocket",
            Transport::Spdy => "SPDY/3.1",
        };
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
        let mut add = |name: HeaderName, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text)
                && !text.is_empty()
            {
                headers.insert(name, value);
            }
        };
        match self.transport {
            Transport::WebSocket => {
                add(header::SEC_WEBSOCKET_ACCEPT, &self.accept);
                add(header::SEC_WEBSOCKET_PROTOCOL, &self.name);
            }
            Transport::Spdy => add(STREAM_PROTOCOL, &self.name),
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const WEBSOCKET: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        KEY,
    ];

    #[test]
    fn a_websocket_is_answered_as_prescribed() {
        let mut headers = WEBSOCKET.to_vec();
        headers.push(("sec-websocket-protocol", "v6.channel.k8s.io, v5.channel.k8s.io, v4.channel.k8s.io"));
        let response = process(&head(&headers)).expect("agreed").response();
        let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(response.status(), 101);
        assert_eq!(header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(header("sec-websocket-protocol"), "v5.channel.k8s.io");
        assert_eq!(header("upgrade"), "websocket");
    }

    #[test]
    fn spdy_is_agreed_on_by_a_header_of_kubernetes() {
        let spdy = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
        for (names, chosen, version) in [
            (&["v4.channel.k8s.io", "channel.k8s.io"][..], "v4.channel.k8s.io", 4),
            (&["v9.channel.k8s.io, v2.channel.k8s.io"], "v2.channel.k8s.io", 2),
            (&[], "", 1),
        ] {
            let mut headers = spdy.to_vec();
            headers.extend(names.iter().map(|name| ("x-stream-protocol-version", *name)));
            let agreed = process(&head(&headers)).expect("agreed");
            assert_eq!((agreed.protocol.status, agreed.protocol.resize), (version >= 4, version >= 3));
            let told = agreed.response().headers().get("x-stream-protocol-version").cloned();
            assert_eq!(told.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default(), chosen);
        }
        let mut headers = spdy.to_vec();
        headers.push(("x-stream-protocol-version", "portforward.k8s.io"));
        assert_eq!(ports(&head(&headers)).expect("agreed").transport, Transport::Spdy);
        assert_eq!(process(&head(&headers)).expect_err("refused").code, 403);
    }

    #[test]
    fn a_tunnel_is_a_websocket() {
        let mut headers = WEBSOCKET.to_vec();
        headers.push(("sec-websocket-protocol", TUNNEL));
        assert_eq!(ports(&head(&headers)).expect("agreed").transport, Transport::WebSocket);
    }

    #[test]
    fn what_is_no_upgrade_is_refused() {
        for (headers, code) in [
            (vec![], 400),
            (vec![("upgrade", "websocket")], 400),
            (vec![("connection", "upgrade"), ("upgrade", "h2c")], 400),
            (WEBSOCKET[..3].to_vec(), 400),
            (vec![WEBSOCKET[0], WEBSOCKET[1], KEY], 400),
            (vec![WEBSOCKET[0], WEBSOCKET[1], WEBSOCKET[2], KEY, ("sec-websocket-protocol", "chat")], 403),
        ] {
            assert_eq!(process(&head(&headers)).expect_err("refused").code, code, "{headers:?}");
        }
    }
}
