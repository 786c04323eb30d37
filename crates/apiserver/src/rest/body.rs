//! The bodies of requests: read whole, within a size and a time, and brought into a form that the pipeline reads.
//!
//! A handler is given the body unread, and takes it where it needs it. What is refused before that is still drained
//! ([`drain`]): a client that is in the middle of sending would otherwise find the connection closed under it.

use std::time::Duration;

use api::codec::MediaType;
use api::status::{Reason, Status};
use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

use super::{negotiate, protobuf};
use crate::pipeline::{Body, Target};

/// The most bytes of a body, as in Kubernetes.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// How long a client may take to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The most bytes that are read only to be thrown away, so that the connection can be used again; and for how long.
const MAX_DRAINED: usize = 256 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A body that nobody has read yet.
pub(super) type Unread = Option<Incoming>;

/// Reads what a refused request still sends. Whoever waits to be told to go on sends nothing.
pub(super) async fn drain(head: &Parts, body: Unread) {
    let Some(body) = body.filter(|body| !body.is_end_stream()) else { return };
    if body.size_hint().lower() > MAX_DRAINED as u64 || head.headers.contains_key(http::header::EXPECT) {
        return;
    }
    // However it ends, the request has been answered.
    let _drained = tokio::time::timeout(DRAIN_TIMEOUT, Limited::new(body, MAX_DRAINED).collect()).await;
}

/// Reads the body, an object for `target`.
pub(super) async fn object(head: &Parts, target: &Target, body: &mut Unread) -> Result<Body, Status> {
    let media = match negotiate::content_type(head) {
        "" | "application/json" => Some(MediaType::Json),
        "application/yaml" => Some(MediaType::Yaml),
        protobuf::MEDIA_TYPE => None,
        _ => {
            return Err(negotiate::unsupported(&[
                "application/json",
                "application/yaml",
                protobuf::MEDIA_TYPE,
            ]));
        }
    };
    let bytes = read(body).await?;
    match media {
        Some(media) => Ok(Body { media, bytes }),
        None => protobuf::read(target, &bytes).inspect(|body| crate::audit::sent(&body.bytes)),
    }
}

/// Reads the body.
pub(super) async fn read(body: &mut Unread) -> Result<Bytes, Status> {
    let Some(body) = body.take() else { return Ok(Bytes::new()) };
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Err(Status::failure(Reason::Timeout, "the body of the request did not come in time")),
        Ok(Ok(collected)) => {
            let bytes = collected.to_bytes();
            crate::audit::sent(&bytes);
            Ok(bytes)
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Status::bad_request(format!("the body of the request was cut off: {error}"))),
    }
}

fn too_large() -> Status {
    Status::failure(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {MAX_BODY}"))
}
