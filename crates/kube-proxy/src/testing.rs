//! Objects for tests, written as a user would think of them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::objects::{EndpointSlice, Service};
use crate::{Cidr, Network};

/// The networks of a cluster that nobody has configured.
pub fn network() -> Network {
    let cidr = |text: &str| text.parse::<Cidr>().expect("a network");
    Network {
        cluster: cidr("10.244.0.0/16"),
        services: cidr("10.96.0.0/16"),
        node_port_addresses: Vec::new(),
    }
}

/// A Service in the namespace `default` with a port `http`, 80 of TCP; `spec` is merged over that.
pub fn service(name: &str, cluster_ip: &str, spec: Value) -> Arc<Service> {
    let mut document = json!({
        "metadata": {"namespace": "default", "name": name, "uid": name, "resourceVersion": "1"},
        "spec": {
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "type": "ClusterIP",
            "ports": [{"name": "http", "protocol": "TCP", "port": 80}],
        },
    });
    merge(&mut document["spec"], spec);
    Arc::new(serde_json::from_value(document).expect("a Service"))
}

/// The endpoints of a Service's port `http`: "10.244.0.5:8080 on n1", with " not-ready", " terminating" or
/// " gone" behind it.
pub fn slice(service: &str, endpoints: &[&str]) -> Arc<EndpointSlice> {
    slice_of(service, "http", "TCP", endpoints)
}

/// The same for another port.
pub fn slice_of(service: &str, port: &str, protocol: &str, endpoints: &[&str]) -> Arc<EndpointSlice> {
    let parsed: Vec<Vec<&str>> = endpoints.iter().map(|endpoint| endpoint.split(' ').collect()).collect();
    let number = parsed.first().map_or("8080", |words| words[0].split(':').nth(1).expect("a port"));
    let endpoints = parsed.iter().map(|words| {
        let conditions = match words.get(3) {
            None => json!({"ready": true, "serving": true, "terminating": false}),
            Some(&"not-ready") => json!({"ready": false, "serving": false, "terminating": false}),
            Some(&"terminating") => json!({"ready": false, "serving": true, "terminating": true}),
            Some(&"gone") => json!({"ready": false, "serving": false, "terminating": true}),
            Some(other) => panic!("{other}?"),
        };
        let address = words[0].split(':').next().expect("an address");
        json!({"addresses": [address], "conditions": conditions, "nodeName": words[2]})
    });
    let document = json!({
        "metadata": {
            "namespace": "default",
            "name": format!("{service}-{port}-1"),
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": endpoints.collect::<Vec<_>>(),
        "ports": [{"name": port, "protocol": protocol, "port": number.parse::<u16>().expect("a number")}],
    });
    Arc::new(serde_json::from_value(document).expect("an EndpointSlice"))
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                into.insert(key, value);
            }
        }
        (into, from) => *into = from,
    }
}
