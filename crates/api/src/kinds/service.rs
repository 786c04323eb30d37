//! Service: ports, traffic policies and session affinity.

use serde_json::{Value, json};

use super::access::{at, at_mut, fill, has, int, list_mut, object_mut, remove, set, text};
use super::metadata::NameRule;
use super::{PLAIN, Rules, checks};

pub(super) const RULES: Rules = Rules {
    default,
    name: NameRule::Label1035,
    validate: checks::service::validate,
    validate_update: checks::service::update,
    validate_status: checks::status::load_balancer,
    ..PLAIN
};

/// How long a client stays with an endpoint: three hours.
const AFFINITY_SECONDS: i64 = 10_800;

fn default(service: &mut Value) {
    let Some(spec) = object_mut(service, "spec") else { return };
    fill(spec, "sessionAffinity", "None");
    if text(spec, "sessionAffinity") == "None" {
        remove(spec, "sessionAffinityConfig");
    } else if text(spec, "sessionAffinity") == "ClientIP"
        && !has(at(at(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds")
    {
        set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}));
    }
    fill(spec, "type", "ClusterIP");
    for port in list_mut(spec, "ports") {
        fill(port, "protocol", "TCP");
        let is_unset = matches!(at(port, "targetPort"), Value::Null)
            || port["targetPort"] == 0
            || port["targetPort"] == "";
        if is_unset {
            let number = int(port, "port").unwrap_or_default();
            set(port, "targetPort", number);
        }
    }
    let kind = text(spec, "type").to_owned();
    let is_external = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && at(spec, "externalIPs").as_array().is_some_and(|ips| !ips.is_empty()));
    if is_external {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        fill(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
        if let Some(balancer) = at_mut(service, "status").and_then(|status| at_mut(status, "loadBalancer")) {
            for address in list_mut(balancer, "ingress").filter(|address| !text(address, "ip").is_empty()) {
                fill(address, "ipMode", "VIP");
            }
        }
    }
}
