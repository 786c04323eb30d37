//! Deployments from manifest to pods with endpoints, and what keeps them at their number.

use cluster::TestCluster;
use cluster::manifests::{NAMESPACE, deployment, old_deployment, replication_controller, service};
use cluster::objects::{Pod, ReplicationController};

use api::gvk::NamespacedName;
use client::{DeleteOptions, PatchType};
use serde_json::json;

#[tokio::test]
async fn a_deployment_of_ten_years_ago_becomes_running_pods_with_endpoints() {
    let cluster = TestCluster::start().await;
    cluster.apply(&service("web", "nginx")).await;
    let created = cluster.apply(&old_deployment("nginx-deployment", 2)).await;
    assert_eq!(created["apiVersion"], "extensions/v1beta1", "the version that was asked for");
    assert_eq!(created["spec"]["selector"]["matchLabels"], json!({"app": "nginx"}), "from the template");

    cluster.settled("nginx-deployment", 2).await;
    let pods = cluster.observer.pods_of("nginx");
    assert!(pods.iter().all(|pod| pod.is_running() && pod.is_available()), "{pods:#?}");
    let mut addresses: Vec<String> = pods.iter().map(|pod| pod.status.pod_ip.clone()).collect();
    addresses.sort();
    assert_eq!(addresses.len(), 2);
    assert_ne!(addresses[0], addresses[1]);
    let mut nodes: Vec<&str> = pods.iter().map(|pod| &*pod.spec.node_name).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["node-1", "node-2"], "spread over the nodes");

    let observer = &cluster.observer;
    observer.wait_for("endpoint slices", |o| (o.ready_addresses("web") == addresses).then_some(())).await;
    let of_old = |o: &cluster::Observer| {
        let endpoints = o.endpoints.get(&NamespacedName::new(NAMESPACE, "web"))?;
        let ready = endpoints.subsets.iter().flat_map(|subset| &subset.addresses);
        let mut found: Vec<String> = ready.map(|address| address.ip.clone()).collect();
        found.sort();
        (found == addresses).then_some(())
    };
    observer.wait_for("endpoints", of_old).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_deployment_scales_to_five_and_back() {
    let cluster = TestCluster::start().await;
    cluster.apply(&service("web", "web")).await;
    cluster.apply(&deployment("web", 2)).await;
    cluster.settled("web", 2).await;
    let first: Vec<String> =
        cluster.observer.pods_of("web").iter().map(|pod| pod.metadata.name.clone()).collect();

    cluster.scale("web", 5).await;
    cluster.settled("web", 5).await;
    let observer = &cluster.observer;
    observer.wait_for("five endpoints", |o| (o.ready_addresses("web").len() == 5).then_some(())).await;
    // Each controller tells what it did under its own name.
    for (reason, component) in
        [("ScalingReplicaSet", "deployment-controller"), ("SuccessfulCreate", "replicaset-controller")]
    {
        let told = |o: &cluster::Observer| {
            o.events.list().iter().find(|event| event.reason == reason).map(|e| e.source.component.clone())
        };
        assert_eq!(observer.wait_for("an event", told).await, component);
    }
    let five = observer.pods_of("web");
    assert!(
        first.iter().all(|name| five.iter().any(|pod| pod.metadata.name == *name)),
        "the first ones stay"
    );

    cluster.scale("web", 2).await;
    cluster.settled("web", 2).await;
    observer.wait_for("the others to go", |o| (o.pods_of("web").len() == 2).then_some(())).await;
    observer.wait_for("two endpoints", |o| (o.ready_addresses("web").len() == 2).then_some(())).await;

    cluster.scale("web", 0).await;
    observer.wait_for("all to go", |o| o.pods_of("web").is_empty().then_some(())).await;
    observer.wait_for("no endpoints", |o| o.ready_addresses("web").is_empty().then_some(())).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_deleted_pod_is_replaced() {
    let cluster = TestCluster::start().await;
    cluster.apply(&deployment("web", 2)).await;
    cluster.settled("web", 2).await;
    let victim = cluster.observer.pods_of("web").remove(0);
    let pods = cluster.client.api::<Pod>();
    pods.delete(NAMESPACE, &victim.metadata.name, &DeleteOptions::default()).await.unwrap();
    let replaced = |o: &cluster::Observer| {
        let pods = o.pods_of("web");
        let gone = pods.iter().all(|pod| pod.metadata.uid != victim.metadata.uid);
        (gone && pods.len() == 2 && pods.iter().all(|pod| pod.is_available())).then_some(())
    };
    cluster.observer.wait_for("another pod in its place", replaced).await;
    cluster.settled("web", 2).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_replication_controller_works_as_in_the_old_days() {
    let cluster = TestCluster::start().await;
    cluster.apply(&replication_controller("old", 3)).await;
    let ready = |wanted: i64| {
        move |o: &cluster::Observer| {
            let found = o.replication_controllers.get(&NamespacedName::new(NAMESPACE, "old"))?;
            let status = &found.status;
            let pods = o.pods_of("old");
            let counts = (status.replicas, status.ready_replicas, status.available_replicas);
            (counts == (wanted, wanted, wanted) && i64::try_from(pods.len()) == Ok(wanted)).then_some(())
        }
    };
    cluster.observer.wait_for("three pods", ready(3)).await;
    let owner = cluster.observer.pods_of("old")[0].metadata.controller().cloned().unwrap();
    assert_eq!((&*owner.api_version, &*owner.kind, &*owner.name), ("v1", "ReplicationController", "old"));

    let api = cluster.client.api::<ReplicationController>();
    api.patch(NAMESPACE, "old", PatchType::Merge, &json!({"spec": {"replicas": 1}})).await.unwrap();
    cluster.observer.wait_for("one pod", ready(1)).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_without_a_controller_that_fits_the_selector_is_adopted() {
    let cluster = TestCluster::start().await;
    let mut orphan = cluster::manifests::pod("stray", "10m");
    orphan["metadata"]["labels"] = json!({"app": "old"});
    cluster.apply(&orphan).await;
    cluster.apply(&replication_controller("old", 2)).await;
    let adopted = |o: &cluster::Observer| {
        let pods = o.pods_of("old");
        let owned = pods.iter().all(|pod| pod.metadata.controller().is_some_and(|c| c.name == "old"));
        (pods.len() == 2 && owned && pods.iter().any(|pod| pod.metadata.name == "stray")).then_some(())
    };
    cluster.observer.wait_for("the stray pod to be one of two", adopted).await;
    cluster.stop().await;
}
