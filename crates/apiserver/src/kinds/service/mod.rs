//! Service: its cluster address and its node ports are taken when it is stored and given back when it is gone.
//!
//! Here is what follows from the type of a Service, without taking anything; [`taken`] and [`claim`] do that.

mod claim;
mod taken;

use std::collections::BTreeSet;

use serde_json::{Value, json};

pub(super) use self::taken::{Reservation, Services};

/// Fills in what follows from the type, before validation.
pub(super) fn admit_create(service: &mut Value) {
    if !service["spec"].is_object() {
        return;
    }
    sync_addresses(service);
    families(service);
    if !service["status"].is_object() {
        service["status"] = json!({"loadBalancer": {}});
    }
}

/// Carries over what the server gave the Service and the client left out, and drops what its new type has not.
pub(super) fn admit_update(new: &mut Value, old: &Value) {
    if !new["spec"].is_object() {
        return;
    }
    let (was_external, is_external) = (is_external_name(old), is_external_name(new));
    if !was_external && !is_external && text(&new["spec"]["clusterIP"]).is_empty() {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = old["spec"].get(field) {
                new["spec"][field] = value.clone();
            }
        }
    }
    if !was_external && is_external {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            drop_unchanged(&mut new["spec"], &old["spec"], field);
        }
    }
    carry_ports(new, old);
    if has_health_check(old) && !needs_health_check(new) {
        drop_unchanged(&mut new["spec"], &old["spec"], "healthCheckNodePort");
    } else if has_health_check(old) && new["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0) == 0 {
        new["spec"]["healthCheckNodePort"] = old["spec"]["healthCheckNodePort"].clone();
    }
    if text(&old["spec"]["type"]) == "LoadBalancer" && text(&new["spec"]["type"]) != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            drop_unchanged(&mut new["spec"], &old["spec"], field);
        }
    }
    if is_external_or_internal(new) && !is_external_or_internal(old) {
        drop_unchanged(&mut new["spec"], &old["spec"], "externalTrafficPolicy");
    }
    sync_addresses(new);
    families(new);
}

fn carry_ports(new: &mut Value, old: &Value) {
    let (had, has) = (has_node_ports(old), has_node_ports(new));
    let before: Vec<Value> = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let mut used: BTreeSet<i64> = new["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|port| port["nodePort"].as_i64().filter(|port| *port != 0))
        .collect();
    for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let same = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        let kept = before.iter().find(same).and_then(|other| other["nodePort"].as_i64());
        let now = port["nodePort"].as_i64().unwrap_or(0);
        if had && has && now == 0 {
            if let Some(kept) = kept.filter(|kept| used.insert(*kept)) {
                port["nodePort"] = kept.into();
            }
        } else if had
            && !has
            && now != 0
            && before.iter().any(|other| other["nodePort"].as_i64() == Some(now))
            && let Some(fields) = port.as_object_mut()
        {
            fields.shift_remove("nodePort");
        }
    }
}

fn drop_unchanged(new: &mut Value, old: &Value, field: &str) {
    if new.get(field) == old.get(field)
        && let Some(fields) = new.as_object_mut()
    {
        fields.shift_remove(field);
    }
}

/// `clusterIP` is the first of `clusterIPs`; a client of old sets only the one.
fn sync_addresses(service: &mut Value) {
    let spec = &mut service["spec"];
    let first = text(&spec["clusterIPs"][0]).to_owned();
    let single = text(&spec["clusterIP"]).to_owned();
    if single.is_empty() && !first.is_empty() {
        spec["clusterIP"] = first.into();
    } else if !single.is_empty() && first.is_empty() {
        spec["clusterIPs"] = json!([single]);
    }
}

/// This cluster has one address family; a headless Service without a selector is promised both.
fn families(service: &mut Value) {
    if is_external_name(service) {
        return;
    }
    let selectors = service["spec"]["selector"].as_object().is_some_and(|selector| !selector.is_empty());
    let bare = text(&service["spec"]["clusterIP"]) == "None" && !selectors;
    let spec = &mut service["spec"];
    if text(&spec["ipFamilyPolicy"]).is_empty() {
        spec["ipFamilyPolicy"] = if bare { "RequireDualStack" } else { "SingleStack" }.into();
    }
    if spec["ipFamilies"].as_array().is_none_or(Vec::is_empty) {
        spec["ipFamilies"] = if bare { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) };
    }
}
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_external_name(service: &Value) -> bool {
    text(&service["spec"]["type"]) == "ExternalName"
}

fn is_external_or_internal(service: &Value) -> bool {
    matches!(text(&service["spec"]["type"]), "ClusterIP" | "ExternalName" | "")
}

fn has_node_ports(service: &Value) -> bool {
    match text(&service["spec"]["type"]) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"].as_bool().unwrap_or(true),
        _ => false,
    }
}

fn needs_health_check(service: &Value) -> bool {
    text(&service["spec"]["type"]) == "LoadBalancer"
        && text(&service["spec"]["externalTrafficPolicy"]) == "Local"
}

fn has_health_check(service: &Value) -> bool {
    needs_health_check(service) && service["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0) != 0
}
