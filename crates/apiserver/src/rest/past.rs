//! The past over REST: a path below `/at/MOMENT` is the same path as of then, to be read only.
//!
//! So a kubeconfig whose server is `https://10.0.0.1:6443/at/2026-11-23T03:12:00Z` shows plain kubectl the cluster of
//! that time. Read on: [`crate::pipeline::Past`] for what a moment is.

use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;

use super::query::decode;

/// Takes the moment out of the request's path.
pub(super) fn split(head: &mut Parts) -> Option<String> {
    let whole = head.uri.path_and_query()?.as_str();
    let rest = whole.strip_prefix("/at/")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (moment, path) = rest.split_at(end);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let moment = decode(moment);
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = Some(path.parse::<PathAndQuery>().ok()?);
    head.uri = Uri::from_parts(parts).ok()?;
    Some(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_a_moment_is_that_path() {
        for (uri, expected) in [
            ("/at/10m/api/v1/pods?limit=5", Some(("10m", "/api/v1/pods?limit=5"))),
            ("/at/2026-11-23T03%3A12:00Z/version", Some(("2026-11-23T03:12:00Z", "/version"))),
            ("/at/r7", Some(("r7", "/"))),
            ("/at/r7?x=1", Some(("r7", "/?x=1"))),
            ("/api/v1/at/x", None),
            ("/atlas", None),
        ] {
            let (mut head, ()) = http::Request::get(uri).body(()).expect("a request").into_parts();
            let moment = split(&mut head);
            let path = head.uri.path_and_query().expect("a path").as_str();
            match expected {
                Some((expected, rest)) => assert_eq!((moment.as_deref(), path), (Some(expected), rest)),
                None => assert_eq!((moment, path), (None, uri)),
            }
        }
    }
}
