//! What is wrong with a Service. That its address and ports can be had is the server's to say.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{all_wrong, formed, one_of, port};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, text};
use crate::kinds::metadata;
use crate::kinds::path::Path;
use crate::names;

const SPEC: Path<'static> = Path::Root("spec");

pub(in crate::kinds) fn validate(service: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(service, "spec");
    let kind = text(spec, "type");
    let address = text(spec, "clusterIP");
    if list(spec, "ports").is_empty() && address != "None" && kind != "ExternalName" {
        errors.push(FieldError::required(SPEC.field("ports"), ""));
    }
    match kind {
        "LoadBalancer" | "NodePort" if address == "None" => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(SPEC.field("clusterIPs").index(0), "None", why));
        }
        "ExternalName" => {
            if !address.is_empty() {
                let why = "may not be set for ExternalName services";
                errors.push(FieldError::forbidden(SPEC.field("clusterIPs"), why));
            }
            // A name with a dot at its end is the same name.
            let name = text(spec, "externalName").trim_end_matches('.');
            if name.is_empty() {
                errors.push(FieldError::required(SPEC.field("externalName"), ""));
            } else {
                all_wrong(names::dns_subdomain(name), name, SPEC.field("externalName"), errors);
            }
        }
        _ => {}
    }
    if !matches!(address, "" | "None")
        && let Some(why) = names::ip(address)
    {
        errors.push(FieldError::invalid(SPEC.field("clusterIPs").index(0), address, why));
    }
    ports(spec, errors);
    metadata::labels(at(spec, "selector"), &SPEC.field("selector"), errors);
    one_of(spec, "type", &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], &SPEC, errors);
    one_of(spec, "sessionAffinity", &["ClientIP", "None"], &SPEC, errors);
    one_of(spec, "externalTrafficPolicy", &["Cluster", "Local"], &SPEC, errors);
    one_of(spec, "internalTrafficPolicy", &["Cluster", "Local"], &SPEC, errors);
    affinity(spec, errors);
    let is_external = matches!(kind, "NodePort" | "LoadBalancer") || !list(spec, "externalIPs").is_empty();
    if !text(spec, "externalTrafficPolicy").is_empty() && !is_external {
        let why = "may only be set for externally-accessible services";
        let policy = text(spec, "externalTrafficPolicy");
        errors.push(FieldError::invalid(SPEC.field("externalTrafficPolicy"), policy, why));
    }
    external_addresses(spec, errors);
}

fn ports(spec: &Value, errors: &mut Vec<FieldError>) {
    let all = list(spec, "ports");
    let kind = text(spec, "type");
    let field = SPEC.field("ports");
    let mut seen: Vec<&str> = Vec::new();
    let mut used: Vec<(i64, &str)> = Vec::new();
    for (index, entry) in all.iter().enumerate() {
        let path = field.index(index);
        let name = text(entry, "name");
        if name.is_empty() {
            if all.len() > 1 {
                errors.push(FieldError::required(path.field("name"), ""));
            }
        } else {
            all_wrong(names::dns_label(name), name, path.field("name"), errors);
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
            seen.push(name);
        }
        let number = int(entry, "port").unwrap_or_default();
        if let Some(why) = names::port_number(number) {
            errors.push(FieldError::invalid(path.field("port"), number, why));
        }
        let protocol = text(entry, "protocol");
        if protocol.is_empty() {
            errors.push(FieldError::required(path.field("protocol"), ""));
        } else {
            one_of(entry, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
        }
        if has(entry, "targetPort") {
            port(at(entry, "targetPort"), path.field("targetPort"), errors);
        }
        formed(entry, "appProtocol", names::qualified, &path, errors);
        if used.contains(&(number, protocol)) {
            let shown = json!({"Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number,
                "TargetPort": 0, "NodePort": 0});
            errors.push(FieldError::duplicate(path, shown));
        }
        used.push((number, protocol));
        let node_port = int(entry, "nodePort").unwrap_or_default();
        if node_port != 0 && matches!(kind, "ClusterIP" | "ExternalName") {
            let why = format!("may not be used when `type` is '{kind}'");
            errors.push(FieldError::forbidden(path.field("nodePort"), why));
        }
    }
}

fn affinity(spec: &Value, errors: &mut Vec<FieldError>) {
    /// A day.
    const LONGEST: i64 = 86_400;
    let path = SPEC.field("sessionAffinityConfig");
    let client = at(at(spec, "sessionAffinityConfig"), "clientIP");
    if let Some(seconds) = int(client, "timeoutSeconds")
        && !(1..=LONGEST).contains(&seconds)
    {
        let path = path.field("clientIP");
        let why = format!("must be greater than 0 and less than {LONGEST}");
        errors.push(FieldError::invalid(path.field("timeoutSeconds"), seconds, why));
    }
}

/// Addresses outside of the cluster that it is to answer on: none of this machine's own, none of many.
fn external_addresses(spec: &Value, errors: &mut Vec<FieldError>) {
    let field = SPEC.field("externalIPs");
    for (index, address) in list(spec, "externalIPs").iter().filter_map(Value::as_str).enumerate() {
        let path = field.index(index);
        if let Some(why) = names::ip(address) {
            errors.push(FieldError::invalid(path, address, why));
            continue;
        }
        let Ok(parsed) = address.parse::<IpAddr>() else { continue };
        let why = if parsed.is_unspecified() {
            format!("may not be unspecified ({address})")
        } else if parsed.is_loopback() {
            "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()
        } else if parsed.is_multicast() {
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()
        } else if matches!(parsed, IpAddr::V4(address) if address.is_link_local()) {
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()
        } else {
            continue;
        };
        errors.push(FieldError::invalid(path, address, why));
    }
}

/// A Service keeps its address while it has one.
pub(in crate::kinds) fn update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    if text(new, "type") == "ExternalName" || text(old, "type") == "ExternalName" {
        return;
    }
    let before = text(old, "clusterIP");
    if !before.is_empty() && text(new, "clusterIP") != before {
        let value = at(new, "clusterIPs").clone();
        errors.push(FieldError::invalid(SPEC.field("clusterIPs").index(0), value, "may not change once set"));
    }
}
