//! What is wrong with a Service. That its address and ports can be had is the server's to say.

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
    if list(spec, "ports").is_empty() && !is_headless(spec) && kind != "ExternalName" {
        errors.push(FieldError::required(SPEC.field("ports"), ""));
    }
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(SPEC.field("clusterIPs").index(0), "None", why));
        }
        "ExternalName" => external_name(spec, errors),
        _ => {}
    }
    ports(spec, errors);
    metadata::labels(at(spec, "selector"), &SPEC.field("selector"), errors);
    one_of(spec, "sessionAffinity", &["ClientIP", "None"], &SPEC, errors);
    affinity(spec, errors);
    if kind != "ExternalName" {
        addresses(spec, errors);
    }
    external_addresses(spec, errors);
    one_of(spec, "type", &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], &SPEC, errors);
    load_balancer(spec, errors);
    policies(spec, errors);
}

/// A Service without an address of its own.
fn is_headless(spec: &Value) -> bool {
    match list(spec, "clusterIPs") {
        [] => text(spec, "clusterIP") == "None",
        [only] => only == "None",
        _ => false,
    }
}

fn external_name(spec: &Value, errors: &mut Vec<FieldError>) {
    const WHY: &str = "may not be set for ExternalName services";
    for name in ["clusterIPs", "ipFamilies"] {
        if !list(spec, name).is_empty() || name == "clusterIPs" && !text(spec, "clusterIP").is_empty() {
            errors.push(FieldError::forbidden(SPEC.field(name), WHY));
        }
    }
    if has(spec, "ipFamilyPolicy") {
        errors.push(FieldError::forbidden(SPEC.field("ipFamilyPolicy"), WHY));
    }
    // A name with a dot at its end is the same name.
    let written = text(spec, "externalName");
    let name = written.strip_suffix('.').unwrap_or(written);
    if name.is_empty() {
        errors.push(FieldError::required(SPEC.field("externalName"), ""));
    } else {
        all_wrong(names::dns_subdomain(name), name, SPEC.field("externalName"), errors);
    }
}

/// The addresses within the cluster, and their families.
fn addresses(spec: &Value, errors: &mut Vec<FieldError>) {
    let field = SPEC.field("clusterIPs");
    let first = text(spec, "clusterIP");
    let written = at(spec, "clusterIPs");
    let all: Vec<&str> = match list(spec, "clusterIPs") {
        [] if first.is_empty() => Vec::new(),
        [] => vec![first],
        several => several.iter().filter_map(Value::as_str).collect(),
    };
    let families: Vec<&str> = list(spec, "ipFamilies").iter().filter_map(Value::as_str).collect();
    if !all.is_empty() && first.is_empty() {
        let why = "must be empty when `clusterIP` is not specified";
        errors.push(FieldError::invalid(field, written.clone(), why));
    } else if all.first().is_some_and(|own| *own != first) {
        errors.push(FieldError::invalid(field, written.clone(), "first value must match `clusterIP`"));
    }
    let family_field = SPEC.field("ipFamilies");
    for (index, family) in families.iter().enumerate() {
        if !matches!(*family, "IPv4" | "IPv6") {
            errors.push(FieldError::not_supported(family_field.index(index), *family, &["IPv4", "IPv6"]));
        }
        if families[..index].contains(family) {
            errors.push(FieldError::duplicate(family_field.index(index), *family));
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    one_of(spec, "ipFamilyPolicy", &policies, &SPEC, errors);
    let before = errors.len();
    for (index, address) in all.iter().enumerate() {
        if index == 0 && *address == "None" {
            if all.len() > 1 {
                let why = "'None' must be the first and only value";
                errors.push(FieldError::invalid(field, written.clone(), why));
            }
        } else if let Some(why) = names::ip(address) {
            errors.push(FieldError::invalid(field.index(index), *address, why));
        }
    }
    let is_valid = errors.len() == before;
    if all.len() > 2 {
        errors.push(FieldError::invalid(field, written.clone(), "may only hold up to 2 values"));
    }
    if !is_valid {
        return;
    }
    if all.len() > 1 && !super::security::is_dual(&all) {
        let why = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(field, written.clone(), why));
    }
    for (index, (address, family)) in
        all.iter().zip(&families).enumerate().filter(|(_, (own, _))| **own != "None")
    {
        let is_new = address.contains(':');
        if matches!(*family, "IPv4" | "IPv6") && is_new != (*family == "IPv6") {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            errors.push(FieldError::invalid(field.index(index), *address, why));
        }
    }
}

/// What only a balancer outside of the cluster knows.
fn load_balancer(spec: &Value, errors: &mut Vec<FieldError>) {
    const WHY: &str = "may only be used when `type` is 'LoadBalancer'";
    let is_balanced = text(spec, "type") == "LoadBalancer";
    let ranges = list(spec, "loadBalancerSourceRanges");
    let field = SPEC.field("LoadBalancerSourceRanges");
    if !ranges.is_empty() && !is_balanced {
        errors.push(FieldError::forbidden(field, WHY));
    }
    for (index, range) in ranges.iter().filter_map(Value::as_str).enumerate() {
        if let Some(why) = names::cidr(range.trim()) {
            errors.push(FieldError::invalid(field.index(index), range.trim(), why));
        }
    }
    for name in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if has(spec, name) && !is_balanced {
            errors.push(FieldError::forbidden(SPEC.field(name), WHY));
        }
    }
    if is_balanced && has(spec, "loadBalancerClass") {
        let class = text(spec, "loadBalancerClass");
        all_wrong(names::qualified(class), class, SPEC.field("loadBalancerClass"), errors);
    }
}

/// How traffic finds its endpoints.
fn policies(spec: &Value, errors: &mut Vec<FieldError>) {
    let kind = text(spec, "type");
    let is_external = matches!(kind, "NodePort" | "LoadBalancer")
        || kind == "ClusterIP" && !list(spec, "externalIPs").is_empty();
    let policy = text(spec, "externalTrafficPolicy");
    let field = SPEC.field("externalTrafficPolicy");
    if !policy.is_empty() && !is_external {
        let why = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(field, policy, why));
    } else if is_external {
        one_of(spec, "externalTrafficPolicy", &["Cluster", "Local"], &SPEC, errors);
    }
    let port = int(spec, "healthCheckNodePort").unwrap_or_default();
    let field = SPEC.field("healthCheckNodePort");
    if port != 0 && (kind != "LoadBalancer" || policy != "Local") {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid(field, port, why));
    } else if let Some(why) = names::port_number(port).filter(|_| port != 0) {
        errors.push(FieldError::invalid(field, port, why));
    }
    one_of(spec, "internalTrafficPolicy", &["Cluster", "Local"], &SPEC, errors);
    let supported = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    one_of(spec, "trafficDistribution", &supported, &SPEC, errors);
}

fn ports(spec: &Value, errors: &mut Vec<FieldError>) {
    let all = list(spec, "ports");
    let kind = text(spec, "type");
    let field = SPEC.field("ports");
    let mut seen: Vec<&str> = Vec::new();
    let mut used: Vec<(i64, &str)> = Vec::new();
    let mut nodes: Vec<(i64, &str)> = Vec::new();
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
        if node_port != 0 && kind == "ClusterIP" {
            let why = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(path.field("nodePort"), why));
        }
        if node_port != 0 && nodes.contains(&(node_port, protocol)) {
            errors.push(FieldError::duplicate(path.field("nodePort"), node_port));
        }
        nodes.push((node_port, protocol));
    }
}

fn affinity(spec: &Value, errors: &mut Vec<FieldError>) {
    /// A day.
    const LONGEST: i64 = 86_400;
    let path = SPEC.field("sessionAffinityConfig");
    if text(spec, "sessionAffinity") == "None" && has(spec, "sessionAffinityConfig") {
        errors.push(FieldError::forbidden(path, "must not be set when session affinity is None"));
        return;
    }
    let client = at(at(spec, "sessionAffinityConfig"), "clientIP");
    if let Some(seconds) = int(client, "timeoutSeconds")
        && !(1..=LONGEST).contains(&seconds)
    {
        let path = path.field("clientIP");
        let why = format!("must be greater than 0 and less than {LONGEST}");
        errors.push(FieldError::invalid(path.field("timeoutSeconds"), seconds, why));
    }
}

/// Addresses outside of the cluster that it is to answer on.
fn external_addresses(spec: &Value, errors: &mut Vec<FieldError>) {
    let field = SPEC.field("externalIPs");
    for (index, address) in list(spec, "externalIPs").iter().filter_map(Value::as_str).enumerate() {
        let path = field.index(index);
        match names::ip(address) {
            Some(why) => errors.push(FieldError::invalid(path, address, why)),
            None => super::network::special_address(address, &path, errors),
        }
    }
}

/// A Service keeps its addresses while it has some, and who balances it.
pub(in crate::kinds) fn update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    let balancer = |spec| (text(spec, "type") == "LoadBalancer").then(|| at(spec, "loadBalancerClass"));
    if let (Some(now), Some(before)) = (balancer(new), balancer(old))
        && now != before
    {
        let why = "may not change once set";
        errors.push(FieldError::invalid(SPEC.field("loadBalancerClass"), now.clone(), why));
    }
    let health = |spec| {
        let is_checked =
            text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local";
        is_checked.then(|| int(spec, "healthCheckNodePort").unwrap_or_default())
    };
    if let (Some(now), Some(before)) = (health(new), health(old))
        && now != before
    {
        errors.push(FieldError::forbidden(SPEC.field("healthCheckNodePort"), "field is immutable"));
    }
    if text(new, "type") == "ExternalName" || text(old, "type") == "ExternalName" {
        return;
    }
    if !(is_headless(new) && is_headless(old)) {
        kept(new, old, "clusterIPs", ("clusterIP", "primary clusterIP can not be unset"), errors);
    }
    if !is_headless(new) && !is_headless(old) {
        kept(new, old, "ipFamilies", ("ipFamily", "primary ipFamily can not be unset"), errors);
    }
}

/// The first stays, the second may come and go.
fn kept(new: &Value, old: &Value, name: &str, (one, unset): (&str, &str), errors: &mut Vec<FieldError>) {
    const WHY: &str = "may not change once set";
    let field = SPEC.field(name);
    let (now, before) = (list(new, name), list(old, name));
    let shown = if now.is_empty() { Value::Null } else { now.to_vec().into() };
    match (now.first(), before.first()) {
        (None, Some(_)) => errors.push(FieldError::invalid(field.index(0), shown.clone(), unset)),
        (Some(first), Some(own)) if first != own => {
            errors.push(FieldError::invalid(field.index(0), shown.clone(), WHY));
        }
        _ => {}
    }
    if let ([_, second], [_, own]) = (now, before)
        && second != own
    {
        let index = if name == "clusterIPs" { 1 } else { 0 };
        errors.push(FieldError::invalid(field.index(index), shown, WHY));
    }
    if now.len() == 1 && before.len() > 1 && text(new, "ipFamilyPolicy") != "SingleStack" {
        let why = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        let policy = at(new, "ipFamilyPolicy").clone();
        errors.push(FieldError::invalid(SPEC.field("ipFamilyPolicy"), policy, why));
    }
}
