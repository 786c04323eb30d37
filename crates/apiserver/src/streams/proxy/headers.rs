//! The headers of a proxied request and its answer: what is between the client and us stays there, and so does who the
//! client is. Pure.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Of one connection only.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What a server behind a proxy believes about its clients is for the proxy to say.
const PRIVATE: [&str; 4] = ["impersonate-", "x-remote-", "x-forwarded-", "forwarded"];

/// Takes away what is of one connection only, and what it says that is.
pub(crate) fn without_hops(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The headers that the pod is sent.
pub(crate) fn of_request(client: &HeaderMap, host: &str, path: &str) -> HeaderMap {
    let mut headers = client.clone();
    without_hops(&mut headers);
    // How long the body is, the connection to the pod says itself.
    for name in [header::AUTHORIZATION, header::HOST, header::CONTENT_LENGTH, header::EXPECT] {
        headers.remove(name);
    }
    let private: Vec<HeaderName> = headers
        .keys()
        .filter(|name| PRIVATE.iter().any(|prefix| name.as_str().starts_with(prefix)))
        .cloned()
        .collect();
    for name in private {
        headers.remove(name);
    }
    let mut add = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    let asked = client.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    add(HeaderName::from_static("x-forwarded-host"), asked);
    add(HeaderName::from_static("x-forwarded-proto"), "https");
    add(HeaderName::from_static("x-forwarded-uri"), path);
    add(header::HOST, host);
    headers
}

/// The headers that the client is sent. A path that the pod sends the client to is one below `prefix`.
pub(super) fn of_answer(headers: &mut HeaderMap, prefix: &str) {
    without_hops(headers);
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    if let Some(path) = location.filter(|path| path.starts_with('/') && !path.starts_with("//"))
        && let Ok(value) = HeaderValue::from_str(&format!("{prefix}{path}"))
    {
        headers.insert(header::LOCATION, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn the_pod_learns_nothing_that_is_not_for_it() {
        let sent = of_request(
            &map(&[
                ("host", "api:6443"),
                ("authorization", "Bearer secret"),
                ("connection", "keep-alive, X-Smuggled"),
                ("x-smuggled", "1"),
                ("transfer-encoding", "chunked"),
                ("content-length", "7"),
                ("upgrade", "h2c"),
                ("impersonate-user", "bob"),
                ("x-remote-user", "bob"),
                ("x-forwarded-for", "1.2.3.4"),
                ("accept", "text/html"),
                ("cookie", "a=b"),
            ]),
            "p:80",
            "/api/v1/x/proxy/",
        );
        let expected = map(&[
            ("accept", "text/html"),
            ("cookie", "a=b"),
            ("x-forwarded-host", "api:6443"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-uri", "/api/v1/x/proxy/"),
            ("host", "p:80"),
        ]);
        assert_eq!(sent, expected);
    }

    #[test]
    fn the_client_is_sent_to_where_it_can_go() {
        for (location, expected) in [
            ("/login", "/pre/login"),
            ("//evil.example/", "//evil.example/"),
            ("https://other.example/", "https://other.example/"),
            ("relative", "relative"),
        ] {
            let mut headers = map(&[("location", location), ("connection", "close"), ("trailer", "x")]);
            of_answer(&mut headers, "/pre");
            assert_eq!(headers, map(&[("location", expected)]));
        }
    }
}
