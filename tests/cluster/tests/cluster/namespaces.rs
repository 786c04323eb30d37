//! What a namespace begins with, and how it ends.

use cluster::manifests::{deployment, service};
use cluster::objects::{ConfigMap, Namespace, Pod};
use cluster::{Observer, TestCluster};

use api::gvk::NamespacedName;
use client::{DeleteOptions, GroupVersionResource, ListParams, PatchType};
use serde_json::json;

fn namespace(name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

async fn count(cluster: &TestCluster, group: &str, version: &str, resource: &str) -> usize {
    let api = cluster.client.dynamic(GroupVersionResource::new(group, version, resource));
    api.list("team", &ListParams::default()).await.expect("list").items.len()
}

#[tokio::test]
async fn a_deleted_namespace_takes_its_content_along() {
    let cluster = TestCluster::start().await;
    cluster.create("", &namespace("team")).await.unwrap();
    cluster.create("team", &deployment("web", 2)).await.unwrap();
    cluster.create("team", &service("web", "web")).await.unwrap();
    let other = cluster.apply(&deployment("other", 1)).await;
    assert_eq!(other["metadata"]["namespace"], "default");
    cluster.settled("other", 1).await;
    let running = |o: &Observer| (o.ready_addresses("web").len() == 2).then_some(());
    cluster.observer.wait_for("two pods with endpoints", running).await;

    cluster.client.api::<Namespace>().delete("", "team", &DeleteOptions::default()).await.unwrap();
    let gone = |o: &Observer| o.namespaces.get(&NamespacedName::cluster("team")).is_none().then_some(());
    cluster.observer.wait_for("the namespace to go", gone).await;
    for (group, version, resource) in [
        ("apps", "v1", "deployments"),
        ("apps", "v1", "replicasets"),
        ("", "v1", "pods"),
        ("", "v1", "services"),
        ("", "v1", "endpoints"),
        ("", "v1", "serviceaccounts"),
        ("", "v1", "configmaps"),
        ("", "v1", "events"),
        ("discovery.k8s.io", "v1", "endpointslices"),
    ] {
        assert_eq!(count(&cluster, group, version, resource).await, 0, "{resource}");
    }
    assert_eq!(cluster.observer.pods_of("other").len(), 1, "its neighbours stay");
    cluster.stop().await;
}

#[tokio::test]
async fn a_finalizer_holds_the_namespace_until_it_is_taken_off() {
    let cluster = TestCluster::start_with(cluster::Options { nodes: 0, ..Default::default() }).await;
    cluster.create("", &namespace("team")).await.unwrap();
    let held = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "finalizers": ["example.com/hold"]},
    });
    cluster.create("team", &held).await.unwrap();
    cluster.client.api::<Namespace>().delete("", "team", &DeleteOptions::default()).await.unwrap();
    let configmaps = cluster.client.api::<ConfigMap>();
    let mut held = configmaps.get("team", "held").await.unwrap();
    let terminating = |o: &Observer| {
        let namespace = o.namespaces.get(&NamespacedName::cluster("team"))?;
        let remaining = namespace.status.conditions.iter();
        remaining
            .filter(|condition| {
                condition.r#type == "NamespaceFinalizersRemaining" && condition.status == "True"
            })
            .map(|condition| condition.message.clone())
            .next()
    };
    let message = cluster.observer.wait_for("the namespace to say what holds it", terminating).await;
    assert!(message.contains("example.com/hold"), "{message}");
    let refused = cluster.create("team", &service("late", "web")).await.unwrap_err();
    assert_eq!(refused.to_status().code, 403, "{refused}");

    held = configmaps.get("team", &held.metadata.name).await.unwrap();
    assert!(held.metadata.is_being_deleted());
    let free = json!({"metadata": {"finalizers": null}});
    configmaps.patch("team", "held", PatchType::Merge, &free).await.unwrap();
    let gone = |o: &Observer| o.namespaces.get(&NamespacedName::cluster("team")).is_none().then_some(());
    cluster.observer.wait_for("the namespace to go", gone).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_new_namespace_has_a_service_account_and_the_root_certificate() {
    let cluster = TestCluster::start_with(cluster::Options { nodes: 0, ..Default::default() }).await;
    cluster.create("", &namespace("team")).await.unwrap();
    // Pods may be made as soon as the account is there, so that is what a user waits for.
    let accounts = cluster.client.dynamic(GroupVersionResource::new("", "v1", "serviceaccounts"));
    let maps = cluster.client.dynamic(GroupVersionResource::new("", "v1", "configmaps"));
    for (api, name) in [(accounts, "default"), (maps, "kube-root-ca.crt")] {
        let shown = cluster::until_shown(&api, "team", name);
        tokio::time::timeout(std::time::Duration::from_secs(60), shown).await.expect(name).unwrap();
    }
    let pods = cluster.client.api::<Pod>();
    let made = pods.create("team", &cluster::manifests::pod("p", "10m")).await.unwrap();
    assert_eq!(made.metadata.namespace, "team");
    cluster.stop().await;
}
