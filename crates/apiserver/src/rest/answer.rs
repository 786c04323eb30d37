//! Responses: headers, pretty printing, compression, warnings.

use std::io::Write as _;

use api::status::Status;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::negotiate::{self, Media};
use super::protobuf;
use super::query::Query;
use crate::serve::{Body, empty, full};

/// Answers that are smaller are not worth the time of compressing.
pub(super) const COMPRESS_FROM: usize = 128 * 1024;

/// The most bytes of warnings in one answer, so that a client's limit on headers is not met.
const MAX_WARNINGS: usize = 4096;

/// A text.
pub(super) fn plain(code: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = with(code, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// Bytes of some type.
pub(super) fn with(code: StatusCode, content_type: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Whether the client has a document of that tag already.
pub(super) fn is_known(head: &Parts, etag: &str) -> bool {
    let known = super::text(&head.headers, &header::IF_NONE_MATCH);
    known.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*")
}

/// The client has it already.
pub(super) fn not_modified() -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// A failure, in the encoding that the client accepts.
pub(super) fn status(head: &Parts, status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let bytes = serde_json::to_vec(status).unwrap_or_default();
    let mut response = json(head, negotiate::status(head), code, bytes.into());
    if let Some(seconds) = status.details.as_ref().map(|details| details.retry_after_seconds)
        && seconds > 0
    {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A JSON document, in the encoding that the client accepts, readable where a person asks.
pub(super) fn json(head: &Parts, media: Media, code: StatusCode, bytes: Bytes) -> Response<Body> {
    let (media, bytes) = match media {
        Media::Json if is_pretty(head) => (media, pretty(&bytes).unwrap_or(bytes)),
        Media::Json => (media, bytes),
        Media::Yaml => (media, yaml(&bytes).unwrap_or(bytes)),
        Media::Protobuf => match protobuf::write(&bytes) {
            Some(bytes) => (media, bytes),
            // What has no protobuf form is better told in another one than not at all.
            None => (Media::Json, bytes),
        },
    };
    compressed(head, with(code, media.content_type(), Bytes::new()), bytes)
}

/// Puts the bytes into the response, compressed where that pays and the client takes it.
pub(super) fn compressed(head: &Parts, response: Response<Body>, bytes: Bytes) -> Response<Body> {
    if bytes.len() < COMPRESS_FROM || !takes_gzip(head) {
        return response.map(|_| full(bytes));
    }
    match gzip(&bytes) {
        Some(small) => as_gzip(response).map(|_| full(small)),
        None => response.map(|_| full(bytes)),
    }
}

/// Marks the response as compressed.
pub(super) fn as_gzip(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// Compresses bytes, quickly rather than well.
pub(super) fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Whether the client takes compressed answers.
pub(super) fn takes_gzip(head: &Parts) -> bool {
    let header = super::text(&head.headers, &header::ACCEPT_ENCODING);
    header.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|part| matches!(part, "q=0" | "q=0.0"))
    })
}

/// Whether a person reads the answer: as asked for, or because of the tool that asks.
pub(super) fn is_pretty(head: &Parts) -> bool {
    let query = Query::parse(head.uri.query().unwrap_or_default());
    query.switch("pretty").unwrap_or_else(|| {
        let agent = super::text(&head.headers, &header::USER_AGENT);
        agent.starts_with("curl") || agent.starts_with("Wget")
    })
}

fn pretty(bytes: &[u8]) -> Option<Bytes> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    serde_json::to_vec_pretty(&value).ok().map(Bytes::from)
}

fn yaml(bytes: &[u8]) -> Option<Bytes> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    serde_saphyr::to_string(&value).ok().map(Bytes::from)
}

/// Adds warnings for the user.
pub(super) fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    let mut left = MAX_WARNINGS;
    for warning in warnings {
        let mut text = String::with_capacity(warning.len() + 16);
        text.push_str("299 - \"");
        for character in warning.chars() {
            match character {
                '"' | '\\' => text.extend(['\\', character]),
                control if control.is_control() => text.push(' '),
                other => text.push(other),
            }
        }
        text.push('"');
        if text.len() > left {
            return;
        }
        left -= text.len();
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            headers.append(header::WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_and_bounded() {
        let mut headers = HeaderMap::new();
        warn(&mut headers, &["unknown field \"a\\b\"\nnext".to_owned(), "ä".to_owned()]);
        let all: Vec<_> = headers.get_all(header::WARNING).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(all[0], br#"299 - "unknown field \"a\\b\" next""#);
        assert_eq!(all[1], "299 - \"ä\"".as_bytes());
        let mut headers = HeaderMap::new();
        warn(&mut headers, &vec!["x".repeat(1000); 10]);
        assert_eq!(headers.get_all(header::WARNING).iter().count(), 4);
    }

    fn head(accept_encoding: &str, path: &str, agent: &str) -> Parts {
        let request = http::Request::builder()
            .uri(path)
            .header(header::ACCEPT_ENCODING, accept_encoding)
            .header(header::USER_AGENT, agent);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_clients_that_take_it_get_compressed_answers() {
        for (header, takes) in
            [("gzip", true), ("deflate, gzip;q=0.5", true), ("gzip;q=0", false), ("", false)]
        {
            assert_eq!(takes_gzip(&head(header, "/", "x")), takes, "{header}");
        }
        for (size, encoded) in [(1000, false), (200_000, true)] {
            let response = with(StatusCode::OK, "application/json", Bytes::new());
            let response = compressed(&head("gzip", "/", "x"), response, vec![b' '; size].into());
            assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), encoded);
        }
    }

    #[test]
    fn people_get_lines_and_programs_do_not() {
        for (path, agent, readable) in [
            ("/x?pretty=true", "kubectl/v1", true),
            ("/x", "curl/7.88", true),
            ("/x?pretty=false", "curl/7.88", false),
            ("/x", "kubectl/v1", false),
        ] {
            assert_eq!(is_pretty(&head("", path, agent)), readable, "{path} {agent}");
        }
    }
}
