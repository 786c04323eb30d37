//! What a request to another server is about, as far as its path and method say it: for authorization, fairness and
//! the audit log. Pure.

use http::Method;

use crate::pipeline::{Attributes, UserInfo};
use crate::rest::unescaped;

/// Parts of a namespace itself; what else stands behind its name is in it.
const OF_NAMESPACES: [&str; 2] = ["status", "finalize"];

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) name: String,
    pub(crate) verb: &'static str,
    /// As it was sent.
    path: String,
}

impl Asked {
    /// Reads the path of a request; nothing where it names no group and version, or names things in an odd way.
    pub(crate) fn of(method: &Method, path: &str, query: &str) -> Option<Self> {
        let segments: Vec<String> =
            path.split('/').filter(|segment| !segment.is_empty()).map(unescaped).collect();
        let [apis, group, version, rest @ ..] = segments.as_slice() else { return None };
        // What the other server could read in another way is not passed on to it.
        let is_odd = |segment: &String| segment.contains('/') || matches!(segment.as_str(), "." | "..");
        if apis != "apis" || segments.iter().any(is_odd) {
            return None;
        }
        let mut asked =
            Self { group: group.clone(), version: version.clone(), path: path.to_owned(), ..Self::default() };
        let is_on = |name: &str| {
            query.split('&').any(|pair| {
                let (own, value) = pair.split_once('=').unwrap_or((pair, "true"));
                own == name && !matches!(value, "false" | "0")
            })
        };
        let (is_watch, rest) = match rest {
            [watch, rest @ ..] if watch == "watch" => (true, rest),
            rest => (is_on("watch"), rest),
        };
        let rest = match rest {
            [namespaces, namespace, rest @ ..] if namespaces == "namespaces" => {
                asked.namespace = namespace.clone();
                match rest {
                    [] => &segments[segments.len() - 2..],
                    [part, ..] if OF_NAMESPACES.contains(&part.as_str()) => {
                        &segments[segments.len() - rest.len() - 2..]
                    }
                    rest => rest,
                }
            }
            rest => rest,
        };
        let at = |place: usize| rest.get(place).cloned().unwrap_or_default();
        (asked.resource, asked.name, asked.subresource) = (at(0), at(1), at(2));
        let is_one = !asked.name.is_empty();
        asked.verb = match *method {
            _ if asked.resource.is_empty() => plain(method),
            Method::GET | Method::HEAD if is_watch => "watch",
            Method::GET | Method::HEAD if is_one => "get",
            Method::GET | Method::HEAD => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if is_one => "delete",
            Method::DELETE => "deletecollection",
            _ => "",
        };
        Some(asked)
    }

    /// A path that is no resource, to be read.
    pub(crate) fn document(path: &str) -> Self {
        Self { verb: "get", path: path.to_owned(), ..Self::default() }
    }

    /// The same, of somebody.
    pub(crate) fn attributes<'a>(&'a self, user: &'a UserInfo) -> Attributes<'a> {
        if self.resource.is_empty() {
            return Attributes { verb: self.verb, path: &self.path, ..Attributes::nothing(user) };
        }
        Attributes {
            verb: self.verb,
            group: &self.group,
            version: &self.version,
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            ..Attributes::nothing(user)
        }
    }
}

/// The verb of a path that is no resource.
fn plain(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_is_asked_for() {
        let told = |method: Method, path: &str| {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let asked = Asked::of(&method, path, query)?;
            let Asked { verb, namespace, resource, name, subresource, .. } = &asked;
            Some(format!("{verb} {namespace}/{resource}/{name}/{subresource}"))
        };
        for (method, path, expected) in [
            (Method::GET, "/apis/g/v1", "get ///"),
            (Method::POST, "/apis/g/v1", "post ///"),
            (Method::GET, "/apis/g/v1/nodes", "list /nodes//"),
            (Method::GET, "/apis/g/v1/nodes?watch=1", "watch /nodes//"),
            (Method::GET, "/apis/g/v1/nodes?watch=false", "list /nodes//"),
            (Method::GET, "/apis/g/v1/watch/nodes/a", "watch /nodes/a/"),
            (Method::GET, "/apis/g/v1/namespaces/n/pods/p%3aq", "get n/pods/p:q/"),
            (Method::PUT, "/apis/g/v1/namespaces/n/pods/p/status", "update n/pods/p/status"),
            (Method::POST, "/apis/g/v1/namespaces/n/pods/p/exec/more", "create n/pods/p/exec"),
            (Method::GET, "/apis/g/v1/namespaces/n", "get n/namespaces/n/"),
            (Method::PUT, "/apis/g/v1/namespaces/n/finalize", "update n/namespaces/n/finalize"),
            (Method::DELETE, "/apis/g/v1/namespaces/n/pods", "deletecollection n/pods//"),
            (Method::PATCH, "/apis/g/v1/nodes/a", "patch /nodes/a/"),
        ] {
            assert_eq!(told(method, path).as_deref(), Some(expected), "{path}");
        }
        for path in
            ["/api/v1/pods", "/apis/g/v1/pods/p%2fq", "/apis/g/v1/../v2/pods", "/apis/g/v1/%2e%2e/pods"]
        {
            assert_eq!(told(Method::GET, path), None, "{path}");
        }
        assert_eq!(told(Method::GET, "/apis/g"), None);
    }
}
