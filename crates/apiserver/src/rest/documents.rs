//! Everything that is no object: health, version, metrics, discovery and OpenAPI.

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::negotiate::{self, Media};
use super::route::Route;
use super::{Answered, Call, Refusal, answer, openapi};
use crate::authn::ISSUER;
use crate::discovery::{Aggregated, Document};
use crate::serve::{App, Body, full};

/// Whether the server is alive and ready, and its checks one by one.
pub(super) fn health(app: &App, head: &Parts) -> Answered {
    from_endpoints(app, head.uri.path(), head.uri.query())
}

fn from_endpoints(app: &App, path: &str, query: Option<&str>) -> Answered {
    let response = app.endpoints.answer(path, query).ok_or(Refusal::NoSuchPath)?;
    let (parts, body) = response.into_parts();
    use http_body_util::BodyExt as _;
    Ok(Response::from_parts(parts, body.map_err(|never| match never {}).boxed_unsync()))
}

/// What is served, in the words of Kubernetes.
pub(super) fn version(head: &Parts) -> Response<Body> {
    let version = json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": crate::KUBERNETES_VERSION,
        "gitCommit": concat!("coxswain-", env!("CARGO_PKG_VERSION")),
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": "linux/amd64",
    });
    answer::json(head, Media::Json, StatusCode::OK, version.to_string().into())
}

/// Answers with a document; the user may see it.
pub(super) async fn answer(call: &Call<'_>, route: &Route) -> Answered {
    let discovery = call.app.discovery.of(&call.app.pipeline.registry(), &call.app.aggregator.remotes());
    match route {
        Route::Root => Ok(paths(call)),
        Route::Metrics => from_endpoints(call.app, "/metrics", None),
        Route::Api | Route::Apis => {
            let core = *route == Route::Api;
            Ok(match negotiate::aggregated(call.head) {
                Some(form) => aggregated(call, discovery.aggregated(core, form), form),
                None => legacy(call, discovery.legacy(core))?,
            })
        }
        Route::Group(name) => legacy(call, discovery.group(name).ok_or(Refusal::NoSuchPath)?),
        Route::Resources { group, version } => {
            legacy(call, discovery.resources(group, version).ok_or(Refusal::NoSuchPath)?)
        }
        Route::OpenApiV2 => openapi::v2(call).await,
        Route::OpenApiV3 => openapi::v3(call).await,
        Route::OpenApiV3Part(path) => openapi::v3_part(call, path).await,
        Route::OpenIdConfiguration => Ok(openid("application/json", &discovery_of(call))),
        Route::OpenIdKeys => {
            Ok(openid("application/jwk-set+json", &call.app.pipeline.authenticator().key().key_set()))
        }
        Route::Health | Route::Version | Route::Resource(_) | Route::Unknown => Err(Refusal::NoSuchPath),
    }
}

/// A document with its ETag, or the news that the client has it already.
fn tagged(
    head: &Parts,
    document: &Document,
    content_type: &'static str,
    vary: &'static str,
) -> Response<Body> {
    let mut response = if answer::is_known(head, &document.etag) {
        answer::not_modified()
    } else {
        let response = answer::with(StatusCode::OK, content_type, Default::default());
        answer::compressed(head, response, document.bytes.clone())
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&document.etag) {
        headers.insert(header::ETAG, tag);
    }
    headers.append(header::VARY, HeaderValue::from_static(vary));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

fn aggregated(call: &Call<'_>, document: &Document, form: Aggregated) -> Response<Body> {
    let content_type = match form {
        Aggregated::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Aggregated::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    tagged(call.head, document, content_type, "Accept")
}

fn legacy(call: &Call<'_>, document: &Document) -> Answered {
    let media = negotiate::object(call.head)?.media;
    Ok(answer::json(call.head, media, StatusCode::OK, document.bytes.clone()))
}

/// Where others find the keys that verify the tokens of service accounts.
fn discovery_of(call: &Call<'_>) -> Value {
    json!({
        "issuer": ISSUER,
        "jwks_uri": format!("https://{}/openid/v1/jwks", call.app.address),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

fn openid(content_type: &'static str, document: &Value) -> Response<Body> {
    let mut response = answer::with(StatusCode::OK, content_type, document.to_string().into());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

/// Where else to look.
fn paths(call: &Call<'_>) -> Response<Body> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for own in call.app.pipeline.registry().group_versions() {
        if own.group.is_empty() {
            continue;
        }
        let group = format!("/apis/{}", own.group);
        if !paths.contains(&group) {
            paths.push(group);
        }
        paths.push(format!("/apis/{own}"));
    }
    let others = [
        "/.well-known/openid-configuration",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    paths.extend(others.map(str::to_owned));
    for remote in call.app.aggregator.remotes().all() {
        paths.push(format!("/apis/{}", remote.spec.group));
        paths.push(format!("/apis/{}/{}", remote.spec.group, remote.spec.version));
    }
    paths.sort();
    paths.dedup();
    let bytes = json!({"paths": paths}).to_string();
    let response = answer::with(StatusCode::OK, "application/json", Default::default());
    response.map(|_| full(bytes))
}
