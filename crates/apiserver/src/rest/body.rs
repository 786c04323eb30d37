//! The bodies of requests: read whole, within a size and a time, and brought into a form that the pipeline reads.

use std::time::Duration;

use api::codec::MediaType;
use api::protobuf;
use api::registry::{Registry, ResourceDef};
use api::schema::{self, TypeRef};
use api::status::{Reason, Status};
use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

use super::negotiate;
use crate::pipeline::{Body, Target};

/// The most bytes of a body, as in Kubernetes.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// How long a client may take to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The encoding that typed Go clients send.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Reads the body, an object for `target`.
pub(super) async fn object(
    registry: &Registry,
    head: &Parts,
    target: &Target,
    body: Incoming,
) -> Result<Body, Status> {
    let media = match negotiate::content_type(head) {
        "" | "application/json" => Some(MediaType::Json),
        "application/yaml" => Some(MediaType::Yaml),
        PROTOBUF => None,
        _ => return Err(negotiate::unsupported(&["application/json", "application/yaml", PROTOBUF])),
    };
    let bytes = read(body).await?;
    match media {
        Some(media) => Ok(Body { media, bytes }),
        None => from_protobuf(registry, target, &bytes),
    }
}

/// The same document as JSON.
fn from_protobuf(registry: &Registry, target: &Target, bytes: &[u8]) -> Result<Body, Status> {
    if bytes.is_empty() {
        return Ok(Body::json(Bytes::new()));
    }
    let (own, _) = protobuf::open(bytes)?;
    let ty = type_of(registry, target, &own.api_version, &own.kind);
    let document = protobuf::decode(&ty, bytes)?;
    Ok(Body::json(document.to_string()))
}

/// The type that an envelope names; that of the target where there is no such type, which is then refused by name.
fn type_of(registry: &Registry, target: &Target, api_version: &str, kind: &str) -> TypeRef {
    let own = api::gvk::GroupVersion::parse(api_version);
    let part = |def: &ResourceDef| {
        let name = target.subresource?.as_str();
        def.subresource(name).filter(|part| part.kind == kind)?.schema.clone()
    };
    let options = || (kind == "DeleteOptions").then(|| schema::builtin("meta.v1.DeleteOptions")).flatten();
    part(&target.def)
        .or_else(options)
        .or_else(|| registry.kind(&own.group, &own.version, kind).map(|def| def.schema.clone()))
        .unwrap_or_else(|| target.def.schema.clone())
}

/// Reads the body.
pub(super) async fn read(body: Incoming) -> Result<Bytes, Status> {
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Err(Status::failure(Reason::Timeout, "the body of the request did not come in time")),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Status::bad_request(format!("the body of the request was cut off: {error}"))),
    }
}

fn too_large() -> Status {
    Status::failure(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {MAX_BODY}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pipeline::Subresource;

    #[test]
    fn protobuf_bodies_are_read_by_the_kind_that_they_name() {
        let registry = api::registry::registry();
        let pods = registry.resource("", "v1", "pods").unwrap();
        let target = Target::object(pods, Some("default"), "a");
        for (target, ty, document) in [
            (
                target.clone(),
                "core.v1.Pod",
                json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {"nodeName": "n"}}),
            ),
            (
                Target { subresource: Some(Subresource::Eviction), ..target.clone() },
                "policy.v1.Eviction",
                json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "a"}}),
            ),
            (
                target.clone(),
                "meta.v1.DeleteOptions",
                json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}),
            ),
            (target, "core.v1.Node", json!({"kind": "Node", "apiVersion": "v1", "spec": {"podCIDR": "c"}})),
        ] {
            let bytes = protobuf::encode(&schema::builtin(ty).unwrap(), &document).unwrap();
            let body = from_protobuf(registry, &target, &bytes).unwrap();
            let read: serde_json::Value = serde_json::from_slice(&body.bytes).unwrap();
            assert_eq!(read["kind"], document["kind"]);
            for (field, value) in document.as_object().unwrap() {
                if field != "metadata" {
                    assert_eq!(&read[field], value, "{ty} {field}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_protobuf_is_refused() {
        let registry = api::registry::registry();
        let pods = registry.resource("", "v1", "pods").unwrap();
        let target = Target::collection(pods, Some("default"));
        assert_eq!(from_protobuf(registry, &target, b"nonsense").unwrap_err().code, 400);
    }
}
