//! Passing a request on to another server, and its answer back: streams, watches and other protocols too.

use api::status::Status;
use component::{ErrorChain, spawn};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::Remote;
use crate::pipeline::UserInfo;
use crate::serve::{App, Body, full};
use crate::streams::{proxied_headers, without_hops};

/// A request to pass on.
pub(crate) struct Passed<'a> {
    pub(crate) user: &'a UserInfo,
    pub(crate) head: &'a Parts,
    pub(crate) body: Incoming,
}

/// Says who asks. A server that is asked by us believes these headers.
pub(super) fn tell_user(headers: &mut HeaderMap, user: &UserInfo) {
    let mut add = |name: HeaderName, value: &str| {
        // What fits in no header has not come in one either.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(name, value);
        }
    };
    add(HeaderName::from_static("x-remote-user"), &user.name);
    if !user.uid.is_empty() {
        add(HeaderName::from_static("x-remote-uid"), &user.uid);
    }
    for group in &user.groups {
        add(HeaderName::from_static("x-remote-group"), group);
    }
    for (key, values) in &user.extra {
        let Ok(name) = format!("x-remote-extra-{}", escaped(key)).parse::<HeaderName>() else { continue };
        for value in values {
            add(name.clone(), value);
        }
    }
}

/// A key as part of a header's name: what no such name can have is percent-encoded.
fn escaped(key: &str) -> String {
    use std::fmt::Write as _;
    key.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            text.push(byte.to_ascii_lowercase().into());
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
        text
    })
}

/// What cannot be passed on is told as Kubernetes' aggregator tells it: as text.
fn unavailable(why: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{why}\n")));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The protocol that the client wants to go on in.
fn wanted_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let connection = headers.get_all(header::CONNECTION).iter();
    let upgrades = connection
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| upgrades).cloned()
}

/// Passes a request on, and its answer back. Redirects are the client's to follow.
pub(crate) async fn pass(app: &App, remote: &Remote, request: Passed<'_>) -> Result<Response<Body>, Status> {
    let Passed { user, head, body } = request;
    if !remote.is_available() {
        return Ok(unavailable("service unavailable"));
    }
    let protocol = wanted_protocol(&head.headers);
    let mut sent = Request::new(body.map_err(Into::into).boxed_unsync());
    *sent.method_mut() = head.method.clone();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    *sent.uri_mut() = path.parse().map_err(|_| Status::bad_request("the path is none"))?;
    let mut headers = proxied_headers(&head.headers, remote.outlet.authority(), head.uri.path());
    tell_user(&mut headers, user);
    if let Some(protocol) = &protocol {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    *sent.headers_mut() = headers;
    let mut answer = match remote.outlet.send(sent).await {
        Ok(answer) => answer,
        Err(why) => return Ok(unavailable(&format!("error trying to reach service: {why}"))),
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let ours = head.extensions.get::<OnUpgrade>().cloned();
        let (Some(ours), Some(_)) = (ours, protocol) else {
            return Ok(unavailable(
                "error trying to reach service: it speaks a protocol that nobody asked for",
            ));
        };
        return Ok(joined(app, ours, answer));
    }
    without_hops(answer.headers_mut());
    let going = app.requests.begin_stream();
    Ok(answer.map(|body| {
        body.map_frame(move |frame| {
            // The request counts as open for as long as its frames come.
            let _open = &going;
            frame
        })
        .map_err(Into::into)
        .boxed_unsync()
    }))
}

/// Lets client and server talk to each other in whatever they have agreed on.
fn joined(app: &App, ours: OnUpgrade, mut answer: Response<Incoming>) -> Response<Body> {
    let theirs = hyper::upgrade::on(&mut answer);
    let (stopping, going) = (app.shutdown.clone(), app.requests.begin_stream());
    spawn(&app.shutdown, "apiservice-stream", async move {
        let both = async { Ok::<_, hyper::Error>((ours.await?, theirs.await?)) };
        let (ours, theirs) = tokio::select! {
            () = stopping.triggered() => return,
            both = both => match both {
                Ok(both) => both,
                Err(error) => return debug!(error = %ErrorChain(&error), "upgrade a connection"),
            },
        };
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        tokio::select! {
            () = stopping.triggered() => {}
            _ended = tokio::io::copy_bidirectional(&mut ours, &mut theirs) => {}
        }
        drop(going);
    });
    let protocol = answer.headers().get(header::UPGRADE).cloned();
    without_hops(answer.headers_mut());
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Some(protocol) = protocol {
        answer.headers_mut().insert(header::UPGRADE, protocol);
    }
    answer.map(|_| crate::serve::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_told_who_asks() {
        let user = UserInfo {
            name: "ann".to_owned(),
            uid: "7".to_owned(),
            groups: vec!["a".to_owned(), "b".to_owned()],
            extra: [("authentication.kubernetes.io/x y".to_owned(), vec!["1".to_owned()])].into(),
        };
        let mut headers = HeaderMap::new();
        tell_user(&mut headers, &user);
        let told: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap_or_default()))
            .collect();
        assert_eq!(
            told,
            [
                "x-remote-user=ann",
                "x-remote-uid=7",
                "x-remote-group=a",
                "x-remote-group=b",
                "x-remote-extra-authentication.kubernetes.io%2fx%20y=1",
            ]
        );
    }
}
