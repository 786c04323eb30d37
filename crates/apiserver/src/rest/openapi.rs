//! `/openapi/v2` and `/openapi/v3`: which document, in which encoding, and how long a client may keep it.

use api::gvk::GroupVersion;
use api::openapi::{PROTOBUF_MEDIA_TYPE, fingerprint};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{Answered, Call, Refusal, answer, negotiate};
use crate::openapi::{Compressed, Which};
use crate::serve::{empty, full};

const JSON: &str = "application/json";

/// The same encoding under the name that it has had since.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// For a document whose address has its fingerprint in it.
const FOREVER: &str = "public, immutable";

/// Everything in version 2.
pub(super) async fn v2(call: &Call<'_>) -> Answered {
    let media = negotiate::one_of(call.head, &[JSON, PROTOBUF, PROTOBUF_MEDIA_TYPE])?;
    let which = if media == JSON { Which::V2Json } else { Which::V2Protobuf };
    document(call, which, if media == JSON { JSON } else { PROTOBUF }, "public").await
}

/// Which documents of version 3 there are.
pub(super) async fn v3(call: &Call<'_>) -> Answered {
    negotiate::one_of(call.head, &[JSON])?;
    document(call, Which::V3Index, JSON, "no-cache, private").await
}

/// One document of version 3.
pub(super) async fn v3_part(call: &Call<'_>, path: &str) -> Answered {
    let version = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => GroupVersion { group: String::new(), version: (*version).to_owned() },
        ["apis", group, version] => {
            GroupVersion { group: (*group).to_owned(), version: (*version).to_owned() }
        }
        _ => return Err(Refusal::NoSuchPath),
    };
    negotiate::one_of(call.head, &[JSON])?;
    let registry = call.app.pipeline.registry();
    if registry.resources(&version.group, &version.version).is_empty() {
        return Err(Refusal::NoSuchPath);
    }
    let known = call.query.get("hash");
    let present = fingerprint(&registry, &version);
    if !known.is_empty() && known != present {
        return Ok(moved(&format!("/openapi/v3/{path}?hash={present}")));
    }
    let cache = if known.is_empty() { "no-cache, private" } else { FOREVER };
    document(call, Which::V3(version), JSON, cache).await
}

/// The document has another address now.
fn moved(place: &str) -> Response<crate::serve::Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

async fn document(
    call: &Call<'_>,
    which: Which,
    content_type: &'static str,
    cache: &'static str,
) -> Answered {
    let found =
        call.app.openapi.document(&call.app.pipeline.registry(), &call.app.aggregator.remotes(), which).await;
    let found = found.ok_or(Refusal::NoSuchPath)?;
    let mut response = if answer::is_known(call.head, &found.etag) {
        answer::not_modified()
    } else {
        sent(call, &found, content_type)
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&found.etag) {
        headers.insert(header::ETAG, tag);
    }
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}

fn sent(call: &Call<'_>, found: &Compressed, content_type: &'static str) -> Response<crate::serve::Body> {
    let response = answer::with(StatusCode::OK, content_type, Bytes::new());
    if answer::takes_gzip(call.head) {
        answer::as_gzip(response).map(|_| full(found.gzip()))
    } else {
        response.map(|_| full(found.plain()))
    }
}
