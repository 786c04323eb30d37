//! What is wrong with Ingress, NetworkPolicy, EndpointSlice and Endpoints.

use std::net::IpAddr;

use serde_json::Value;

use super::workload::label_selector;
use super::{all_wrong, formed, one_of, required};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, text};
use crate::kinds::metadata;
use crate::kinds::path::Path;
use crate::names;

const SPEC: Path<'static> = Path::Root("spec");
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(in crate::kinds) fn ingress(ingress: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(ingress, "spec");
    if list(spec, "rules").is_empty() && !has(spec, "defaultBackend") {
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(SPEC, Value::Null, why));
    }
    let field = SPEC.field("tls");
    for (index, tls) in list(spec, "tls").iter().enumerate() {
        let path = field.index(index);
        let hosts = path.field("hosts");
        for (index, host) in list(tls, "hosts").iter().filter_map(Value::as_str).enumerate() {
            host_name(host, &hosts.index(index), errors);
        }
        formed(tls, "secretName", names::dns_subdomain, &path, errors);
    }
    if has(spec, "defaultBackend") {
        backend(at(spec, "defaultBackend"), &SPEC.field("defaultBackend"), errors);
    }
    formed(spec, "ingressClassName", names::dns_subdomain, &SPEC, errors);
    let field = SPEC.field("rules");
    for (index, rule) in list(spec, "rules").iter().enumerate() {
        let path = field.index(index);
        let host = text(rule, "host");
        if host.parse::<IpAddr>().is_ok() {
            let why = "must be a DNS name, not an IP address";
            errors.push(FieldError::invalid(path.field("host"), host, why));
        } else if !host.is_empty() {
            host_name(host, &path.field("host"), errors);
        }
        if has(rule, "http") {
            ingress_paths(at(rule, "http"), &path.field("http"), errors);
        }
    }
}

fn host_name(host: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let wrong = if host.contains('*') { names::wildcard_subdomain(host) } else { names::dns_subdomain(host) };
    all_wrong(wrong, host, path, errors);
}

fn ingress_paths(http: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const NEVER_WITHIN: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
    let field = path.field("paths");
    if list(http, "paths").is_empty() {
        errors.push(FieldError::required(field, ""));
    }
    for (index, entry) in list(http, "paths").iter().enumerate() {
        let path = field.index(index);
        let place = text(entry, "path");
        match text(entry, "pathType") {
            "" => errors.push(FieldError::required(path.field("pathType"), "pathType must be specified")),
            "Exact" | "Prefix" => {
                if !place.starts_with('/') {
                    errors.push(FieldError::invalid(path.field("path"), place, "must be an absolute path"));
                }
                if let Some(bad) = NEVER_WITHIN.iter().find(|bad| place.contains(**bad)) {
                    let why = format!("must not contain '{bad}'");
                    errors.push(FieldError::invalid(path.field("path"), place, why));
                }
                if let Some(bad) = ["/..", "/."].iter().find(|bad| place.ends_with(**bad)) {
                    let why = format!("cannot end with '{bad}'");
                    errors.push(FieldError::invalid(path.field("path"), place, why));
                }
            }
            "ImplementationSpecific" => {
                if !place.is_empty() && !place.starts_with('/') {
                    errors.push(FieldError::invalid(path.field("path"), place, "must be an absolute path"));
                }
            }
            other => {
                let supported = ["Exact", "ImplementationSpecific", "Prefix"];
                errors.push(FieldError::not_supported(path.field("pathType"), other, &supported));
            }
        }
        backend(at(entry, "backend"), &path.field("backend"), errors);
    }
}

fn backend(backend: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (service, resource) = (at(backend, "service"), at(backend, "resource"));
    match (service.is_null(), resource.is_null()) {
        (false, false) => {
            let why = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(path, "", why));
        }
        (true, true) => errors.push(FieldError::invalid(path, "", "resource or service backend is required")),
        (true, false) => {
            let field = path.field("resource");
            required(resource, "kind", &field, errors);
            required(resource, "name", &field, errors);
            formed(resource, "name", names::path_segment, &field, errors);
        }
        (false, true) => {
            let field = path.field("service");
            required(service, "name", &field, errors);
            formed(service, "name", names::dns_label, &field, errors);
            let port = at(service, "port");
            let number = int(port, "number").unwrap_or_default();
            let field = field.field("port");
            match (text(port, "name"), number) {
                ("", 0) => errors.push(FieldError::required(path, "port name or number is required")),
                ("", number) => {
                    if let Some(why) = names::port_number(number) {
                        errors.push(FieldError::invalid(field.field("number"), number, why));
                    }
                }
                (name, 0) => all_wrong(names::port_name(name), name, field.field("name"), errors),
                _ => {
                    let why = "cannot set both port name & port number";
                    errors.push(FieldError::invalid(path, "", why));
                }
            }
        }
    }
}

pub(in crate::kinds) fn ingress_class(class: &Value, errors: &mut Vec<FieldError>) {
    let controller = text(at(class, "spec"), "controller");
    if controller.is_empty() {
        errors.push(FieldError::required(SPEC.field("controller"), ""));
    } else if !controller.contains('/') {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(FieldError::invalid(SPEC.field("controller"), controller, why));
    }
}

pub(in crate::kinds) fn ingress_class_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (at(at(new, "spec"), "controller"), at(at(old, "spec"), "controller"));
    if new != old {
        errors.push(FieldError::immutable(SPEC.field("controller"), new));
    }
}

pub(in crate::kinds) fn network_policy(policy: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(policy, "spec");
    label_selector(at(spec, "podSelector"), &SPEC.field("podSelector"), errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let field = SPEC.field(direction);
        for (index, rule) in list(spec, direction).iter().enumerate() {
            let path = field.index(index);
            let ports = path.field("ports");
            for (index, port) in list(rule, "ports").iter().enumerate() {
                policy_port(port, &ports.index(index), errors);
            }
            let field = path.field(peers);
            for (index, peer) in list(rule, peers).iter().enumerate() {
                policy_peer(peer, &field.index(index), errors);
            }
        }
    }
    let field = SPEC.field("policyTypes");
    let types = list(spec, "policyTypes");
    if types.len() > 2 {
        let why = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid(field, types.to_vec(), why));
        return;
    }
    for (index, ty) in types.iter().filter_map(Value::as_str).enumerate() {
        if !matches!(ty, "Ingress" | "Egress") {
            errors.push(FieldError::not_supported(field.index(index), ty, &["Ingress", "Egress"]));
        }
    }
}

fn policy_port(port: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    one_of(port, "protocol", &["TCP", "UDP", "SCTP"], path, errors);
    let value = at(port, "port");
    if !value.is_null() {
        super::port(value, path.field("port"), errors);
    }
    let Some(end) = int(port, "endPort") else { return };
    let why = match value {
        Value::Null => Some("may not be specified when `port` is not specified".to_owned()),
        Value::String(_) => Some("may not be specified when `port` is non-numeric".to_owned()),
        number if end < number.as_i64().unwrap_or_default() => {
            Some("must be greater than or equal to `port`".to_owned())
        }
        _ => names::port_number(end),
    };
    if let Some(why) = why {
        errors.push(FieldError::invalid(path.field("endPort"), end, why));
    }
}

fn policy_peer(peer: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let selectors: Vec<&str> =
        ["podSelector", "namespaceSelector"].into_iter().filter(|name| has(peer, name)).collect();
    for name in &selectors {
        label_selector(at(peer, name), &path.field(name), errors);
    }
    let block = at(peer, "ipBlock");
    if block.is_null() {
        if selectors.is_empty() {
            errors.push(FieldError::required(path, "must specify a peer"));
        }
        return;
    }
    if !selectors.is_empty() {
        errors.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
    }
    let field = path.field("ipBlock");
    let network = text(block, "cidr");
    if network.is_empty() {
        errors.push(FieldError::required(field.field("cidr"), ""));
    } else if let Some(why) = names::cidr(network) {
        errors.push(FieldError::invalid(field.field("cidr"), network, why));
    }
    let except = field.field("except");
    for (index, part) in list(block, "except").iter().filter_map(Value::as_str).enumerate() {
        if let Some(why) = names::cidr(part) {
            errors.push(FieldError::invalid(except.index(index), part, why));
        } else if names::cidr(network).is_none() && !is_within(part, network) {
            let why = "must be a strict subset of `cidr`";
            errors.push(FieldError::invalid(except.index(index), part, why));
        }
    }
}

/// Whether a network is a part of another, and not all of it.
fn is_within(part: &str, whole: &str) -> bool {
    let read = |text: &str| {
        let (address, length) = text.split_once('/')?;
        let bits = match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        Some((bits.0, bits.1, length.parse::<u32>().ok()?))
    };
    let (Some((part, part_size, part_length)), Some((whole, size, length))) = (read(part), read(whole))
    else {
        return false;
    };
    let prefix = |address: u128| if length == 0 { 0 } else { address >> (size - length) };
    part_size == size && part_length > length && prefix(part) == prefix(whole)
}

pub(in crate::kinds) fn endpoint_slice(slice: &Value, errors: &mut Vec<FieldError>) {
    const MOST_ENDPOINTS: usize = 1000;
    const MOST_ADDRESSES: usize = 100;
    let family = text(slice, "addressType");
    match family {
        "" => errors.push(FieldError::required("addressType", "")),
        "IPv4" | "IPv6" | "FQDN" => {}
        other => {
            errors.push(FieldError::not_supported("addressType", other, &["FQDN", "IPv4", "IPv6"]));
        }
    }
    let field = Path::Root("endpoints");
    let endpoints = list(slice, "endpoints");
    if endpoints.len() > MOST_ENDPOINTS {
        errors.push(FieldError::too_many(field, endpoints.len(), MOST_ENDPOINTS));
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = field.index(index);
        let addresses = path.field("addresses");
        let all = list(endpoint, "addresses");
        if all.is_empty() {
            errors.push(FieldError::required(addresses, "must contain at least 1 address"));
        } else if all.len() > MOST_ADDRESSES {
            errors.push(FieldError::too_many(addresses, all.len(), MOST_ADDRESSES));
        }
        for (index, address) in all.iter().filter_map(Value::as_str).enumerate() {
            endpoint_address(address, family, &addresses.index(index), errors);
        }
        formed(endpoint, "nodeName", names::dns_subdomain, &path, errors);
        formed(endpoint, "hostname", names::dns_label, &path, errors);
        let topology = at(endpoint, "deprecatedTopology");
        metadata::labels(topology, &path.field("deprecatedTopology"), errors);
        hints(endpoint, &path.field("hints"), errors);
    }
    slice_ports(slice, errors);
}

/// For whom an endpoint is meant.
fn hints(endpoint: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MOST: usize = 8;
    for name in ["forZones", "forNodes"] {
        let field = path.field(name);
        let all = list(at(endpoint, "hints"), name);
        if all.len() > MOST {
            errors.push(FieldError::too_many(field, all.len(), MOST));
            continue;
        }
        for (index, hint) in all.iter().enumerate() {
            let path = field.index(index);
            let own = text(hint, "name");
            if all[..index].iter().any(|other| text(other, "name") == own) {
                errors.push(FieldError::duplicate(path.field("name"), own));
            }
            let rule = if name == "forZones" { names::label_value } else { names::dns_subdomain };
            all_wrong(rule(own), own, path.field("name"), errors);
        }
    }
}

fn endpoint_address(address: &str, family: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let why = match (family, address.parse::<IpAddr>()) {
        ("FQDN", _) => return all_wrong(names::dns_subdomain(address), address, path, errors),
        ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => None,
        ("IPv4", Ok(IpAddr::V6(_))) => Some("must be a valid IPv4 address"),
        ("IPv6", Ok(IpAddr::V4(_))) => Some("must be a valid IPv6 address"),
        (_, Ok(_)) => None,
        (_, Err(_)) => names::ip(address),
    };
    if let Some(why) = why {
        errors.push(FieldError::invalid(path, address, why));
    } else {
        special_address(address, path, errors);
    }
}

/// Traffic is never sent to addresses that mean the node itself or no one.
pub(super) fn special_address(address: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Ok(parsed) = address.parse::<IpAddr>() else { return };
    let is_link_local = match parsed {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    // Of the addresses of many, those that stay on the link.
    let is_link_multicast = match parsed {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    };
    let why = if parsed.is_unspecified() {
        format!("may not be unspecified ({address})")
    } else if parsed.is_loopback() {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()
    } else if is_link_local {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()
    } else if is_link_multicast {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()
    } else {
        return;
    };
    errors.push(FieldError::invalid(path, address, why));
}

fn slice_ports(slice: &Value, errors: &mut Vec<FieldError>) {
    const MOST_PORTS: usize = 100;
    let field = Path::Root("ports");
    let mut seen: Vec<&str> = Vec::new();
    if list(slice, "ports").len() > MOST_PORTS {
        errors.push(FieldError::too_many(field, list(slice, "ports").len(), MOST_PORTS));
        return;
    }
    for (index, port) in list(slice, "ports").iter().enumerate() {
        let path = field.index(index);
        let name = text(port, "name");
        formed(port, "name", names::dns_label, &path, errors);
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(path.field("name"), name));
        }
        seen.push(name);
        one_of(port, "protocol", &PROTOCOLS, &path, errors);
        formed(port, "appProtocol", names::qualified, &path, errors);
    }
}

pub(in crate::kinds) fn endpoint_slice_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if at(new, "addressType") != at(old, "addressType") {
        errors.push(FieldError::immutable("addressType", at(new, "addressType")));
    }
}

pub(in crate::kinds) fn endpoints(endpoints: &Value, errors: &mut Vec<FieldError>) {
    let field = Path::Root("subsets");
    for (index, subset) in list(endpoints, "subsets").iter().enumerate() {
        let path = field.index(index);
        if list(subset, "addresses").is_empty() && list(subset, "notReadyAddresses").is_empty() {
            let why = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(path, why));
        }
        for name in ["addresses", "notReadyAddresses"] {
            let field = path.field(name);
            for (index, address) in list(subset, name).iter().enumerate() {
                let path = field.index(index);
                let ip = text(address, "ip");
                match names::ip(ip) {
                    Some(why) => errors.push(FieldError::invalid(path.field("ip"), ip, why)),
                    None => special_address(ip, &path.field("ip"), errors),
                }
                formed(address, "hostname", names::dns_label, &path, errors);
                formed(address, "nodeName", names::dns_subdomain, &path, errors);
            }
        }
        let field = path.field("ports");
        let ports = list(subset, "ports");
        for (index, port) in ports.iter().enumerate() {
            let path = field.index(index);
            if text(port, "name").is_empty() && ports.len() > 1 {
                errors.push(FieldError::required(path.field("name"), ""));
            }
            formed(port, "name", names::dns_label, &path, errors);
            let number = int(port, "port").unwrap_or_default();
            if let Some(why) = names::port_number(number) {
                errors.push(FieldError::invalid(path.field("port"), number, why));
            }
            required(port, "protocol", &path, errors);
            one_of(port, "protocol", &PROTOCOLS, &path, errors);
            formed(port, "appProtocol", names::qualified, &path, errors);
        }
    }
}
