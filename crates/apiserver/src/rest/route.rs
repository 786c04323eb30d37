//! What a path names. The router knows the forms of paths only; whether there is such a resource the registry says.

use super::query::decode;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`
    Root,
    /// `/healthz`, `/livez`, `/readyz` and single checks below them.
    Health,
    /// `/version`
    Version,
    /// `/metrics`
    Metrics,
    /// `/api`
    Api,
    /// `/apis`
    Apis,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`
    Resources {
        /// Empty for the core group.
        group: String,
        /// As `v1`.
        version: String,
    },
    /// `/openapi/v2`
    OpenApiV2,
    /// `/openapi/v3`
    OpenApiV3,
    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/GROUP/VERSION`, `/openapi/v3/version` …
    OpenApiV3Part(String),
    /// `/.well-known/openid-configuration`
    OpenIdConfiguration,
    /// `/openid/v1/jwks`
    OpenIdKeys,
    /// Objects.
    Resource(ResourcePath),
    /// Nothing.
    Unknown,
}

/// A path to objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ResourcePath {
    /// Empty for the core group.
    pub(super) group: String,
    /// As `v1`.
    pub(super) version: String,
    /// Where it has one.
    pub(super) namespace: Option<String>,
    /// As `pods`.
    pub(super) resource: String,
    /// The object.
    pub(super) name: Option<String>,
    /// The part of the object.
    pub(super) subresource: Option<String>,
    /// What stands behind a proxy, as it was sent: empty, or with a slash first.
    pub(super) rest: String,
    /// The old form of a watch, `/api/v1/watch/pods`.
    pub(super) watch: bool,
}

/// Reads a path.
pub(super) fn parse(path: &str) -> Route {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        [] => Route::Root,
        ["healthz" | "livez" | "readyz", ..] => Route::Health,
        ["version"] => Route::Version,
        ["metrics"] => Route::Metrics,
        ["api"] => Route::Api,
        ["apis"] => Route::Apis,
        [".well-known", "openid-configuration"] => Route::OpenIdConfiguration,
        ["openid", "v1", "jwks"] => Route::OpenIdKeys,
        ["api", version] => Route::Resources { group: String::new(), version: decode(version) },
        ["apis", group] => Route::Group(decode(group)),
        ["apis", group, version] => Route::Resources { group: decode(group), version: decode(version) },
        ["openapi", "v2"] => Route::OpenApiV2,
        ["openapi", "v3"] => Route::OpenApiV3,
        ["openapi", "v3", rest @ ..] => Route::OpenApiV3Part(rest.join("/")),
        ["api", version, rest @ ..] => resource(path, "", version, rest),
        ["apis", group, version, rest @ ..] => resource(path, group, version, rest),
        _ => Route::Unknown,
    }
}

fn resource(whole: &str, group: &str, version: &str, segments: &[&str]) -> Route {
    let (watch, segments) = match segments {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        all => (false, all),
    };
    // A namespace is an object too: below it stand its own parts and the objects in it.
    let (namespace, segments) = match segments {
        ["namespaces", _, "status" | "finalize"] => (None, segments),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(decode(namespace)), rest),
        all => (None, all),
    };
    let mut path = ResourcePath {
        group: decode(group),
        version: decode(version),
        namespace,
        watch,
        ..ResourcePath::default()
    };
    if let [_, _, proxy @ "proxy", ..] = segments {
        // A piece of the whole path: how far from its beginning says how much is left behind it.
        let end = proxy.as_ptr().addr() - whole.as_ptr().addr() + proxy.len();
        path.rest = whole[end..].to_owned();
    }
    match segments {
        [resource] => path.resource = decode(resource),
        [resource, name] => {
            path.resource = decode(resource);
            path.name = Some(decode(name));
        }
        [resource, name, part] => {
            path.resource = decode(resource);
            path.name = Some(decode(name));
            path.subresource = Some(decode(part));
        }
        // Only a proxy has more.
        [resource, name, part @ "proxy", ..] => {
            path.resource = decode(resource);
            path.name = Some(decode(name));
            path.subresource = Some(decode(part));
        }
        _ => return Route::Unknown,
    }
    Route::Resource(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `group|version|namespace|resource|name|subresource`, and `w` for a watch.
    fn told(path: &str) -> String {
        match parse(path) {
            Route::Resource(path) => {
                let ResourcePath { group, version, namespace, resource, name, subresource, rest, watch } =
                    path;
                let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let watch = if watch { "|w" } else { "" };
                let (namespace, name, part) = (or(namespace), or(name), or(subresource));
                format!("{group}|{version}|{namespace}|{resource}|{name}|{part}{rest}{watch}")
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn paths_name_what_they_name_in_kubernetes() {
        for (path, expected) in [
            ("/api/v1/pods", "|v1|-|pods|-|-"),
            ("/api/v1/namespaces", "|v1|-|namespaces|-|-"),
            ("/api/v1/namespaces/a", "|v1|-|namespaces|a|-"),
            ("/api/v1/namespaces/a/status", "|v1|-|namespaces|a|status"),
            ("/api/v1/namespaces/a/finalize", "|v1|-|namespaces|a|finalize"),
            ("/api/v1/namespaces/a/pods", "|v1|a|pods|-|-"),
            ("/api/v1/namespaces/a/pods/b/", "|v1|a|pods|b|-"),
            ("/api/v1/namespaces/a/pods/b/log", "|v1|a|pods|b|log"),
            ("/apis/apps/v1/namespaces/a/deployments/b/scale", "apps|v1|a|deployments|b|scale"),
            ("/api/v1/watch/namespaces/a/pods", "|v1|a|pods|-|-|w"),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                "rbac.authorization.k8s.io|v1|-|clusterroles|system:node|-",
            ),
            ("/", "Root"),
            ("/healthz/ping", "Health"),
            ("/apis/apps", "Group(\"apps\")"),
            ("/api/v1", "Resources { group: \"\", version: \"v1\" }"),
            ("/openapi/v3/apis/apps/v1", "OpenApiV3Part(\"apis/apps/v1\")"),
            ("/nonsense", "Unknown"),
            ("/api/v1/namespaces/a/pods/b/log/x", "Unknown"),
            ("/api/v1/namespaces/a/pods/b/proxy", "|v1|a|pods|b|proxy"),
            ("/api/v1/namespaces/a/pods/b/proxy/", "|v1|a|pods|b|proxy/"),
            (
                "/api/v1/namespaces/a/services/http:b:80/proxy//x/%2e/y/",
                "|v1|a|services|http:b:80|proxy//x/%2e/y/",
            ),
        ] {
            assert_eq!(told(path), expected, "{path}");
        }
    }
}
