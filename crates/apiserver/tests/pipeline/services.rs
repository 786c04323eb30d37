//! Services take addresses and ports, and give them back.

use std::collections::BTreeSet;

use apiserver::pipeline::{DeleteOptions, WriteOptions};
use serde_json::{Value, json};

use crate::harness::{Server, body};

const SERVICES: &str = "v1/services";

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

fn ports(spec: &Value) -> Vec<i64> {
    spec["ports"].as_array().expect("ports").iter().filter_map(|port| port["nodePort"].as_i64()).collect()
}

#[tokio::test]
async fn every_service_gets_an_address_of_its_own() {
    let server = Server::start().await;
    let mut seen = BTreeSet::from(["10.96.0.1".to_owned()]);
    for index in 0..20 {
        let made = server
            .create(SERVICES, service(&format!("s{index}"), json!({"ports": [{"port": 80}]})))
            .await
            .expect("created");
        let address = made["spec"]["clusterIP"].as_str().expect("an address").to_owned();
        assert_eq!(made["spec"]["clusterIPs"], json!([address]));
        assert!(seen.insert(address.clone()), "{address} twice");
    }
}

#[tokio::test]
async fn what_is_taken_is_refused_until_it_is_given_back() {
    let server = Server::start().await;
    let asked =
        json!({"type": "NodePort", "clusterIP": "10.96.7.7", "ports": [{"port": 80, "nodePort": 30080}]});
    server.create(SERVICES, service("a", asked.clone())).await.expect("created");
    let status = server.create(SERVICES, service("b", asked.clone())).await.unwrap_err();
    assert_eq!(
        status.message,
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.7.7\"]: failed to allocate IP 10.96.7.7: provided IP is already allocated"
    );
    let mut other = asked.clone();
    other["clusterIP"] = "10.96.7.8".into();
    let status = server.create(SERVICES, service("b", other.clone())).await.unwrap_err();
    assert_eq!(
        status.message,
        "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
    );
    // What the failed attempt had taken is free again.
    other["ports"] = json!([{"port": 80, "nodePort": 30081}]);
    server.create(SERVICES, service("b", other)).await.expect("created");

    let target = server.target(SERVICES, Some("a"));
    let dry = DeleteOptions { dry_run: true, ..DeleteOptions::default() };
    server.pipeline.delete(&server.context, &target, &dry).await.expect("dry");
    server.create(SERVICES, service("c", asked.clone())).await.unwrap_err();
    server.delete(SERVICES, "a", &DeleteOptions::default()).await.expect("deleted");
    server.create(SERVICES, service("c", asked)).await.expect("free again");
}

#[tokio::test]
async fn a_dry_run_takes_nothing() {
    let server = Server::start().await;
    let document = service("a", json!({"clusterIP": "10.96.7.7", "ports": [{"port": 80}]}));
    let target = server.target(SERVICES, None);
    let dry = WriteOptions { dry_run: true, ..WriteOptions::default() };
    for _ in 0..2 {
        server.pipeline.create(&server.context, &target, body(&document), &dry).await.expect("dry");
    }
    server.create(SERVICES, document).await.expect("created");
}

#[tokio::test]
async fn a_service_keeps_what_it_has_while_its_type_needs_it() {
    let server = Server::start().await;
    let two = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    let first = server
        .create(SERVICES, service("s", json!({"type": "NodePort", "ports": two, "selector": {"x": "y"}})))
        .await
        .expect("created");
    // A client that writes its manifest anew leaves out what the server gave.
    let manifest = service("s", json!({"type": "NodePort", "ports": two, "selector": {"x": "z"}}));
    let again = server.update(SERVICES, &manifest).await.expect("updated");
    assert_eq!(again["spec"]["clusterIP"], first["spec"]["clusterIP"]);
    assert_eq!(ports(&again["spec"]), ports(&first["spec"]));

    let inner = server.merge(SERVICES, "s", json!({"spec": {"type": "ClusterIP"}})).await.expect("patched");
    assert_eq!(inner["spec"]["clusterIP"], first["spec"]["clusterIP"]);
    assert_eq!(ports(&inner["spec"]), [0_i64; 0]);
    assert!(inner["spec"].get("externalTrafficPolicy").is_none());
    // The ports are free for others now.
    let port = ports(&first["spec"])[0];
    server
        .create(SERVICES, service("t", json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": port}]})))
        .await
        .expect("the port is free");

    let name = json!({"spec": {"type": "ExternalName", "externalName": "a.example", "selector": null}});
    let name = server.merge(SERVICES, "s", name).await.expect("patched");
    assert!(name["spec"].get("clusterIP").is_none(), "{name}");
    server
        .create(
            SERVICES,
            service("u", json!({"clusterIP": first["spec"]["clusterIP"], "ports": [{"port": 1}]})),
        )
        .await
        .expect("the address is free");
}

#[tokio::test]
async fn the_same_port_over_two_protocols_shares_its_node_port() {
    let server = Server::start().await;
    let spec = json!({"type": "NodePort", "ports": [
        {"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]});
    let made = server.create(SERVICES, service("dns", spec)).await.expect("created");
    let ports = ports(&made["spec"]);
    assert_eq!(ports[0], ports[1]);
}

#[tokio::test]
async fn what_is_taken_is_known_again_after_a_restart() {
    let server = Server::start().await;
    let asked =
        json!({"type": "NodePort", "clusterIP": "10.96.7.7", "ports": [{"port": 80, "nodePort": 30080}]});
    server.create(SERVICES, service("a", asked.clone())).await.expect("created");
    let again = Server::on(server.pipeline.store().clone()).await;
    again.create(SERVICES, service("b", asked)).await.unwrap_err();
}
