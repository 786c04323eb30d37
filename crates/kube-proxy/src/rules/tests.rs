//! What is served where, case by case.

use serde_json::json;

use super::*;
use crate::testing::{service, slice, slice_of};

const WEB: &str = "10.96.0.20";

/// What a RuleSet does, one line for each address, port and chain.
fn told(rules: &RuleSet) -> Vec<String> {
    let frontend = |f: &Frontend| format!("{}:{}/{}", f.address, f.port, f.protocol);
    let mut lines = Vec::new();
    for (key, chain) in &rules.frontends {
        lines.push(format!("{} -> {chain}", frontend(key)));
    }
    for (key, chain) in &rules.node_ports {
        lines.push(format!("node:{}/{} -> {chain}", key.port, key.protocol));
    }
    lines.extend(rules.refused.iter().map(|key| format!("{} refused", frontend(key))));
    lines.extend(
        rules.refused_node_ports.iter().map(|key| format!("node:{}/{} refused", key.port, key.protocol)),
    );
    for (name, chain) in &rules.chains {
        let text = match chain {
            Chain::Spread { endpoints, .. } => {
                endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
            Chain::Stick { endpoints } => format!("stick to {} endpoints", endpoints.len()),
            Chain::Remember { endpoint, clients, .. } => format!("{endpoint} remembered in {clients}"),
            Chain::Masquerade { next } => format!("masquerade, then {next}"),
            Chain::Local { cluster, local } => {
                format!("inside {cluster}, outside {}", local.as_deref().unwrap_or("dropped"))
            }
            Chain::Drop => "drop".to_owned(),
        };
        lines.push(format!("{name}: {text}"));
    }
    lines
}

#[track_caller]
fn check(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], expected: &[&str]) {
    let rules = compute(services, slices, "n1");
    assert_eq!(told(&rules), expected);
    let mut backwards: Vec<_> = services.to_vec();
    backwards.reverse();
    assert_eq!(compute(&backwards, slices, "n1"), rules, "the order of the inputs does not matter");
}

#[test]
fn a_cluster_address_leads_to_the_ready_endpoints() {
    check(
        &[service("web", WEB, json!({}))],
        &[slice(
            "web",
            &[
                "10.244.0.6:8080 on n1",
                "10.244.1.5:8080 on n2",
                "10.244.0.7:8080 on n1 not-ready",
                "10.244.0.8:8080 on n1 terminating",
            ],
        )],
        &[
            "10.96.0.20:80/tcp -> cluster/default/web/http",
            "cluster/default/web/http: 10.244.0.6:8080 10.244.1.5:8080",
        ],
    );
}

#[test]
fn when_all_are_terminating_those_that_still_serve_are_used() {
    check(
        &[service("web", WEB, json!({}))],
        &[slice("web", &["10.244.0.6:8080 on n1 terminating", "10.244.0.7:8080 on n1 gone"])],
        &["10.96.0.20:80/tcp -> cluster/default/web/http", "cluster/default/web/http: 10.244.0.6:8080"],
    );
}

#[test]
fn a_service_without_endpoints_is_served_nowhere_and_refused_where_it_has_other_addresses() {
    let spec = json!({
        "type": "NodePort",
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
        "externalIPs": ["203.0.113.5"],
    });
    check(
        &[service("web", WEB, spec)],
        &[slice("web", &["10.244.0.6:8080 on n1 not-ready"])],
        &["203.0.113.5:80/tcp refused", "node:30080/tcp refused"],
    );
}

#[test]
fn what_is_not_a_proxys_business_is_left_alone() {
    let headless = service("headless", "None", json!({}));
    let external = service("external", "", json!({"type": "ExternalName"}));
    let six = service("six", "fd00::5", json!({}));
    let sctp = service("sctp", WEB, json!({"ports": [{"name": "http", "protocol": "SCTP", "port": 80}]}));
    let mut other = service("other", "10.96.0.30", json!({}));
    Arc::make_mut(&mut other).metadata.labels.insert(SERVICE_PROXY_NAME.to_owned(), "x".to_owned());
    let names = ["headless", "external", "six", "sctp", "other"];
    let slices: Vec<_> = names.iter().map(|name| slice(name, &["10.244.0.6:8080 on n1"])).collect();
    check(&[headless, external, six, sctp, other], &slices, &[]);
}

#[test]
fn a_node_port_is_masqueraded_and_reaches_all_endpoints() {
    let spec = json!({"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    check(
        &[service("web", WEB, spec)],
        &[slice("web", &["10.244.1.5:8080 on n2"])],
        &[
            "10.96.0.20:80/tcp -> cluster/default/web/http",
            "node:30080/tcp -> external/default/web/http",
            "cluster/default/web/http: 10.244.1.5:8080",
            "external/default/web/http: masquerade, then cluster/default/web/http",
        ],
    );
}

#[test]
fn an_external_policy_of_local_keeps_to_this_node_for_those_outside() {
    let spec = json!({
        "type": "LoadBalancer",
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
        "externalTrafficPolicy": "Local",
    });
    let mut balanced = service("web", WEB, spec);
    Arc::make_mut(&mut balanced).status =
        serde_json::from_value(json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}})).expect("one");
    check(
        &[Arc::clone(&balanced)],
        &[slice("web", &["10.244.1.5:8080 on n2", "10.244.0.5:8080 on n1"])],
        &[
            "10.96.0.20:80/tcp -> cluster/default/web/http",
            "203.0.113.9:80/tcp -> external/default/web/http",
            "node:30080/tcp -> external/default/web/http",
            "cluster/default/web/http: 10.244.0.5:8080 10.244.1.5:8080",
            "external/default/web/http: inside cluster/default/web/http, outside local/default/web/http",
            "local/default/web/http: 10.244.0.5:8080",
        ],
    );
    check(
        &[balanced],
        &[slice("web", &["10.244.1.5:8080 on n2"])],
        &[
            "10.96.0.20:80/tcp -> cluster/default/web/http",
            "203.0.113.9:80/tcp -> external/default/web/http",
            "node:30080/tcp -> external/default/web/http",
            "cluster/default/web/http: 10.244.1.5:8080",
            "external/default/web/http: inside cluster/default/web/http, outside dropped",
        ],
    );
}

#[test]
fn an_internal_policy_of_local_keeps_to_this_node_for_all() {
    let services = [service("web", WEB, json!({"internalTrafficPolicy": "Local"}))];
    check(
        &services,
        &[slice("web", &["10.244.1.5:8080 on n2", "10.244.0.5:8080 on n1"])],
        &[
            "10.96.0.20:80/tcp -> local/default/web/http",
            "cluster/default/web/http: 10.244.0.5:8080 10.244.1.5:8080",
            "local/default/web/http: 10.244.0.5:8080",
        ],
    );
    check(
        &services,
        &[slice("web", &["10.244.1.5:8080 on n2"])],
        &[
            "10.96.0.20:80/tcp -> local/default/web/http",
            "cluster/default/web/http: 10.244.1.5:8080",
            "local/default/web/http: drop",
        ],
    );
    check(&services, &[slice("web", &[])], &[]);
}

#[test]
fn affinity_remembers_clients_at_each_endpoint_for_its_time() {
    let spec = json!({
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
    });
    let services = [service("web", WEB, spec)];
    let slices = [slice("web", &["10.244.0.5:8080 on n1", "10.244.0.6:8080 on n1"])];
    check(
        &services,
        &slices,
        &[
            "10.96.0.20:80/tcp -> cluster/default/web/http",
            "cluster/default/web/http: stick to 2 endpoints",
            "endpoint/default/web/http/10.244.0.5/8080: 10.244.0.5:8080 remembered in clients/default/web/http/10.244.0.5/8080/60",
            "endpoint/default/web/http/10.244.0.6/8080: 10.244.0.6:8080 remembered in clients/default/web/http/10.244.0.6/8080/60",
        ],
    );
    let rules = compute(&services, &slices, "n1");
    assert_eq!(rules.client_sets.values().copied().collect::<Vec<_>>(), [60, 60]);
}

#[test]
fn ports_are_told_apart_by_name_and_protocol() {
    let spec = json!({"ports": [
        {"name": "dns", "protocol": "UDP", "port": 53},
        {"name": "dns-tcp", "protocol": "TCP", "port": 53},
    ]});
    check(
        &[service("dns", "10.96.0.10", spec)],
        &[
            slice_of("dns", "dns", "UDP", &["10.244.0.5:5353 on n1"]),
            slice_of("dns", "dns-tcp", "TCP", &["10.244.0.6:5353 on n1"]),
            slice_of("dns", "dns", "TCP", &["10.244.0.7:5353 on n1"]),
        ],
        &[
            "10.96.0.10:53/tcp -> cluster/default/dns/dns-tcp",
            "10.96.0.10:53/udp -> cluster/default/dns/dns",
            "cluster/default/dns/dns: 10.244.0.5:5353",
            "cluster/default/dns/dns-tcp: 10.244.0.6:5353",
        ],
    );
}

#[test]
fn an_endpoint_in_two_slices_counts_once_and_at_its_best() {
    check(
        &[service("web", WEB, json!({}))],
        &[slice("web", &["10.244.0.5:8080 on n1"]), slice("web", &["10.244.0.5:8080 on n1 not-ready"])],
        &["10.96.0.20:80/tcp -> cluster/default/web/http", "cluster/default/web/http: 10.244.0.5:8080"],
    );
}

#[test]
fn nonsense_in_an_endpoint_is_passed_over() {
    let mut odd = slice("web", &["10.244.0.5:8080 on n1", "10.244.0.6:8080 on n1"]);
    let endpoints = Arc::make_mut(&mut odd).endpoints.as_mut().expect("endpoints");
    endpoints[0].addresses = vec!["not an address; flush ruleset".into()];
    check(
        &[service("web", WEB, json!({}))],
        &[odd],
        &["10.96.0.20:80/tcp -> cluster/default/web/http", "cluster/default/web/http: 10.244.0.6:8080"],
    );
}
