//! A node that falls silent, seen on a clock that the test moves.

use std::time::Duration;

use cluster::manifests::{deployment, service};
use cluster::objects::Node;
use cluster::{Observer, Options, TestCluster, Time};

use client::PatchType;
use serde_json::json;

/// Makes the controllers look at a node: delays run on real time, and nobody waits forty seconds here.
async fn touch(cluster: &TestCluster, node: &str, mark: &str) {
    let label = json!({"metadata": {"labels": {"touched": mark}}});
    cluster.client.api::<Node>().patch("", node, PatchType::Merge, &label).await.expect("label a node");
}

#[tokio::test]
async fn a_silent_node_loses_its_pods_after_five_minutes_and_comes_back() {
    let mut cluster = TestCluster::start_with(Options { time: Time::Test, ..Options::default() }).await;
    let clock = cluster.clock.clone().unwrap();
    cluster.apply(&service("web", "web")).await;
    cluster.apply(&deployment("web", 4)).await;
    cluster.settled("web", 4).await;
    let observer = &cluster.observer;
    observer.wait_for("four endpoints", |o| (o.ready_addresses("web").len() == 4).then_some(())).await;

    cluster.nodes[0].silence().await;
    clock.advance(Duration::from_secs(41));
    cluster.nodes[1].renew().await;
    touch(&cluster, "node-1", "once").await;
    let unreachable = |o: &Observer| {
        let node = o.node("node-1")?;
        let wanted =
            ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"];
        let ready = node.status.conditions.iter().find(|condition| condition.r#type == "Ready")?;
        let tainted = wanted.iter().all(|taint| node.taints().iter().any(|found| found == taint));
        (tainted && ready.status == "Unknown" && ready.reason == "NodeStatusUnknown").then_some(())
    };
    let observer = &cluster.observer;
    observer.wait_for("the silent node to be found out", unreachable).await;
    let halved = |o: &Observer| (o.ready_addresses("web").len() == 2).then_some(());
    observer.wait_for("its pods to leave the Service", halved).await;
    assert!(observer.node("node-2").unwrap().is_ready(), "the other one is well");
    let pods = observer.pods_of("web");
    assert!(pods.iter().all(|pod| !pod.metadata.is_being_deleted()), "they have five minutes");

    clock.advance(Duration::from_secs(301));
    cluster.nodes[1].renew().await;
    touch(&cluster, "node-1", "twice").await;
    let moved = |o: &Observer| {
        let pods = o.pods_of("web");
        let there = pods.iter().filter(|pod| pod.spec.node_name == "node-2" && pod.is_available()).count();
        let leaving = pods
            .iter()
            .filter(|pod| pod.spec.node_name == "node-1" && pod.metadata.is_being_deleted())
            .count();
        (there == 4 && leaving == 2).then_some(())
    };
    let observer = &cluster.observer;
    observer.wait_for("others in their place; nobody confirms that they ended", moved).await;
    observer.wait_for("four endpoints again", |o| (o.ready_addresses("web").len() == 4).then_some(())).await;

    cluster.nodes[0].wake().await;
    let back = |o: &Observer| {
        let node = o.node("node-1")?;
        (node.is_ready() && node.taints().is_empty() && o.pods_of("web").len() == 4).then_some(())
    };
    cluster.observer.wait_for("the node to be well, without the pods of before", back).await;
    cluster.stop().await;
}

#[tokio::test]
async fn every_node_gets_a_pod_network_of_its_own() {
    let cluster = TestCluster::start_with(Options { nodes: 3, ..Options::default() }).await;
    let networks = |o: &Observer| {
        let mut found: Vec<String> = o.nodes.list().iter().map(|node| node.spec.pod_cidr.clone()).collect();
        found.sort();
        found.dedup();
        (found.len() == 3 && found.iter().all(|cidr| cidr.starts_with("10.244.") && cidr.ends_with(".0/24")))
            .then_some(())
    };
    cluster.observer.wait_for("three different networks", networks).await;
    cluster.stop().await;
}
