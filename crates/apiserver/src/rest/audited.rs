//! A request and the audit log: what is recorded of the one before and after it is answered.

use std::sync::Arc;

use api::status::Status;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use http_body_util::BodyExt as _;

use crate::audit::{Audit, Outcome, Record, Shared};
use crate::serve::{App, Body, Peer, full};

/// The longest answer that is recorded; of a longer one only its code is.
const LONGEST: usize = 16 * 1024 * 1024;

/// Begins the record of a request, where there is an audit log.
pub(super) fn begin(app: &App, peer: &Peer, head: &mut Parts, id: &HeaderValue) -> Option<Shared> {
    let audit = app.audit.as_ref()?;
    if audit.wants_answers() {
        // What is recorded must be readable.
        head.headers.remove(header::ACCEPT_ENCODING);
    }
    let verb = match head.method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    };
    let agent = super::text(&head.headers, &header::USER_AGENT).to_owned();
    let id = id.to_str().unwrap_or_default().to_owned();
    // Over HTTP/2 the URI names the server too.
    let uri = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    Some(Arc::new(Record::new(id, uri, verb, peer.address, agent, app.clock.now())))
}

/// Ends it. The answer is as before, but in one piece where it is recorded.
pub(super) async fn end(
    audit: &Arc<Audit>,
    record: Shared,
    response: Response<Body>,
    streams: bool,
) -> Response<Body> {
    let code = response.status().as_u16();
    let mut outcome = Outcome { code, ..Outcome::default() };
    if streams && code < 400 {
        let ended = audit.started(record, outcome);
        return response.map(|body| {
            body.map_frame(move |frame| {
                // It lives as long as the body.
                let _until_then = &ended;
                frame
            })
            .boxed_unsync()
        });
    }
    if code < 400 && !audit.wants_answer(&record) {
        audit.complete(&record, &outcome);
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let answer = if bytes.len() <= LONGEST { serde_json::from_slice(&bytes).ok() } else { None };
    if code >= 400 {
        outcome.status = serde_json::from_slice::<Status>(&bytes).ok();
    }
    outcome.answer = answer;
    audit.complete(&record, &outcome);
    Response::from_parts(parts, full(bytes))
}
