//! Where a webhook is: the host that its URL names, or a ready endpoint of its Service.

use std::net::{IpAddr, SocketAddr};

use store::{Bucket, Key, Snapshot};

use super::networks::Allowed;
use super::{ClientConfig, ServiceReference};
use crate::endpoints::{Service, Slice};

const SLICES: &str = "endpointslices.discovery.k8s.io";
const OF_SERVICE: &str = "kubernetes.io/service-name";

/// Where to connect to, and what to say there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Who is expected to be there, as its certificate says.
    pub host: String,
    /// The port, of the URL or of the Service.
    pub port: u16,
    /// Path and query, without the timeout.
    pub path: String,
    /// Where an endpoint is; a host without is to be looked up.
    pub address: Option<SocketAddr>,
}

impl Place {
    /// As in an error message.
    pub(super) fn url(&self, seconds: u64) -> String {
        let (host, port) = (bracketed(&self.host), self.port);
        let query = if self.path.contains('?') { "&" } else { "?" };
        match (self.address.is_none(), port) {
            (true, 443) => format!("https://{host}{}{query}timeout={seconds}s", self.path),
            _ => format!("https://{host}:{port}{}{query}timeout={seconds}s", self.path),
        }
    }

    /// As the Host header has it.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Finds it. What is wrong is told as text, for the error that the user sees.
pub(super) fn find(config: &ClientConfig, snapshot: &Snapshot, allowed: &Allowed) -> Result<Place, String> {
    match (&config.url, &config.service) {
        (Some(url), None) => of_url(url),
        (None, Some(service)) => of_service(service, snapshot, allowed),
        _ => Err("webhook configuration must have either service or URL".to_owned()),
    }
}

fn of_url(url: &str) -> Result<Place, String> {
    let parsed: http::Uri = url.parse().map_err(|error| format!("Unparsable webhook URL: {error}"))?;
    if parsed.scheme_str() != Some("https") {
        return Err(format!("webhook URL {url:?} is not https"));
    }
    let host = parsed.host().unwrap_or_default();
    Ok(Place {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: parsed.port_u16().unwrap_or(443),
        path: parsed.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        address: None,
    })
}

/// A Service is one of its ready endpoints: this server need not stand where Service addresses lead anywhere.
pub(crate) fn of_service(
    reference: &ServiceReference,
    snapshot: &Snapshot,
    allowed: &Allowed,
) -> Result<Place, String> {
    let ServiceReference { namespace, name, path, port } = reference;
    let port = port.unwrap_or(443);
    let host = format!("{name}.{namespace}.svc");
    let entry = snapshot
        .get(&Key::new(&Bucket::from("services"), namespace, name))
        .ok_or_else(|| format!("service {name:?} not found"))?;
    let service: Service = serde_json::from_slice(&entry.value).unwrap_or_default();
    let port_name =
        service.name_of(port).ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let mut addresses = Vec::new();
    for entry in snapshot.list(&Bucket::from(SLICES), Some(namespace.as_str()), None) {
        if crate::pipeline::header(entry).labels.get(OF_SERVICE) != Some(name) {
            continue;
        }
        let slice: Slice = serde_json::from_slice(&entry.value).unwrap_or_default();
        for (endpoint, target) in slice.ready(port_name) {
            let all = endpoint.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok());
            addresses.extend(all.map(|address| SocketAddr::new(address, target)));
        }
    }
    if addresses.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    // Always the first: its connections are kept open, and the others are there for when it is gone.
    addresses.sort();
    let address = *addresses
        .iter()
        .find(|address| allowed.allows(address.ip()))
        .ok_or_else(|| refused(addresses[0].ip()))?;
    let path = path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Place { host, port, path, address: Some(address) })
}

/// Why an address is not connected to.
pub(super) fn refused(address: IpAddr) -> String {
    format!("webhooks may not be at the address {address} (see --webhook-allow-network)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_as_users_know_them() {
        for (url, shown) in [
            ("https://a.example/x", Ok("https://a.example/x?timeout=5s")),
            ("https://a.example:8443", Ok("https://a.example:8443/?timeout=5s")),
            ("https://[::1]:8443/x?y=z", Ok("https://[::1]:8443/x?y=z&timeout=5s")),
            ("http://a.example/x", Err(())),
            ("a b", Err(())),
        ] {
            let place = of_url(url).map_err(drop);
            assert_eq!(place.map(|place| place.url(5)), shown.map(str::to_owned), "{url}");
        }
    }
}
