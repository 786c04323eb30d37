//! Pods that fit nowhere, and many pods at once.

use std::collections::BTreeMap;

use cluster::manifests::{NAMESPACE, deployment, pod};
use cluster::{Observer, Options, TestCluster};

use api::gvk::NamespacedName;
use api::quantity::Quantity;
use serde_json::json;

fn why_pending(observer: &Observer, pod: &str) -> Option<String> {
    let events = observer.events.list();
    let failed =
        events.iter().find(|event| event.involved_object.name == pod && event.reason == "FailedScheduling");
    failed.map(|event| event.message.clone())
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_says_why_and_starts_when_a_node_appears() {
    let mut cluster = TestCluster::start().await;
    cluster.apply(&pod("large", "20")).await;
    let message = cluster.observer.wait_for("a reason", |o| why_pending(o, "large")).await;
    assert!(message.starts_with("0/2 nodes are available: 2 Insufficient cpu."), "{message}");
    let key = NamespacedName::new(NAMESPACE, "large");
    let said = |o: &Observer| {
        let pod = o.pods.get(&key)?;
        let condition = pod.status.conditions.iter().find(|condition| condition.r#type == "PodScheduled")?;
        let is = (&*condition.status, &*condition.reason) == ("False", "Unschedulable");
        is.then(|| condition.message.clone())
    };
    let told = cluster.observer.wait_for("the condition PodScheduled", said).await;
    assert!(told.contains("Insufficient cpu"), "{told}");

    let name = cluster.add_node_of("32").await;
    let runs = |o: &Observer| o.pods.get(&key).filter(|pod| pod.is_running());
    let pod = cluster.observer.wait_for("the pod to run", runs).await;
    assert_eq!(pod.spec.node_name, name);
    cluster.stop().await;
}

#[tokio::test]
async fn a_cordoned_node_takes_no_pods_and_a_selector_is_obeyed() {
    let mut cluster = TestCluster::start().await;
    let nodes = cluster.client.api::<cluster::objects::Node>();
    let cordon = json!({"spec": {"unschedulable": true}});
    nodes.patch("", "node-1", client::PatchType::Merge, &cordon).await.unwrap();
    let tainted = |o: &Observer| o.node("node-1").filter(|node| !node.taints().is_empty()).map(drop);
    cluster.observer.wait_for("the taint of a cordoned node", tainted).await;
    cluster.apply(&deployment("web", 4)).await;
    cluster.settled("web", 4).await;
    assert!(cluster.observer.pods_of("web").iter().all(|pod| pod.spec.node_name == "node-2"));

    let mut picky = pod("picky", "10m");
    picky["spec"]["nodeSelector"] = json!({"disk": "fast"});
    cluster.apply(&picky).await;
    let message = cluster.observer.wait_for("a reason", |o| why_pending(o, "picky")).await;
    assert!(message.contains("node(s) didn't match Pod's node affinity/selector"), "{message}");
    assert!(message.contains("node(s) were unschedulable"), "{message}");
    let name = cluster.add_node().await;
    let label = json!({"metadata": {"labels": {"disk": "fast"}}});
    nodes.patch("", &name, client::PatchType::Merge, &label).await.unwrap();
    let key = NamespacedName::new(NAMESPACE, "picky");
    let runs = |o: &Observer| o.pods.get(&key).filter(|pod| pod.is_running());
    let pod = cluster.observer.wait_for("the pod to run", runs).await;
    assert_eq!(pod.spec.node_name, name);
    cluster.stop().await;
}

#[tokio::test]
async fn a_thousand_pods_on_twenty_nodes_are_scheduled_without_overcommit() {
    let cluster = TestCluster::start_with(Options { nodes: 20, ..Options::default() }).await;
    let mut manifest = deployment("many", 1000);
    // 53 fit on a node of 8 CPUs: 1,060 on all.
    manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "150m"}});
    cluster.apply(&manifest).await;
    cluster.settled("many", 1000).await;

    let mut used = BTreeMap::<String, i128>::new();
    for change in cluster.observer.pod_history() {
        let cpu = |pod: &cluster::objects::Pod| -> i128 {
            let requests = pod.spec.containers.iter().filter_map(|c| c.resources.requests.get("cpu"));
            requests.map(|text| i128::from(text.parse::<Quantity>().unwrap().milli_value())).sum()
        };
        if let Some(old) = &change.old {
            *used.entry(old.spec.node_name.clone()).or_default() -= cpu(old);
        }
        if let Some(new) = &change.new {
            *used.entry(new.spec.node_name.clone()).or_default() += cpu(new);
        }
        let over = used.iter().find(|(node, cpu)| !node.is_empty() && **cpu > 8000);
        assert_eq!(over, None, "a node gave more than it has");
    }
    used.retain(|node, cpu| !node.is_empty() && *cpu > 0);
    assert_eq!(used.len(), 20);
    assert_eq!(used.values().sum::<i128>(), 150_000);
    let (least, most) = (used.values().min().unwrap(), used.values().max().unwrap());
    assert!(most - least <= 5 * 150, "spread evenly: from {least}m to {most}m");
    cluster.stop().await;
}
