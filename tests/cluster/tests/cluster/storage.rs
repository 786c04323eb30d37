//! Claims, volumes, and the pods that use them.

use cluster::manifests::{NAMESPACE, pod, stateful_set};
use cluster::objects::Claim;
use cluster::{Observer, TestCluster};

use client::{DeleteOptions, GroupVersionResource, PatchOptions, PatchType};
use serde_json::json;

async fn delete(cluster: &TestCluster, group: &str, plural: &str, name: &str) {
    let api = cluster.client.dynamic(GroupVersionResource::new(group, "v1", plural));
    let options = DeleteOptions { propagation_policy: "Background".to_owned(), ..DeleteOptions::default() };
    api.delete(NAMESPACE, name, &options).await.expect("delete an object");
}

/// The phase of each claim and volume, sorted.
fn phases(o: &Observer) -> (Vec<String>, Vec<String>) {
    let claims = o.claims.list();
    let mut claims: Vec<_> =
        claims.iter().map(|claim| format!("{} {}", claim.metadata.name, claim.status.phase)).collect();
    let mut volumes: Vec<_> = o.volumes.list().iter().map(|volume| volume.status.phase.clone()).collect();
    claims.sort();
    volumes.sort();
    (claims, volumes)
}

#[tokio::test]
async fn each_pod_of_a_stateful_set_has_a_volume_that_outlives_it_but_not_its_claim() {
    let cluster = TestCluster::start().await;
    cluster.apply(&stateful_set("db", 2)).await;
    let runs = |o: &Observer| {
        let pods = o.pods_of("db");
        let running = pods.iter().filter(|pod| pod.status.phase == "Running").count() == 2;
        let bound =
            (vec!["data-db-0 Bound".to_owned(), "data-db-1 Bound".to_owned()], vec!["Bound".to_owned(); 2]);
        (running && phases(o) == bound).then_some(())
    };
    cluster.observer.wait_for("two pods with a volume each", runs).await;
    for claim in cluster.observer.claims.list() {
        assert_eq!(claim.spec.storage_class_name.as_deref(), Some("standard"));
        assert_eq!(claim.status.capacity.get("storage").map(String::as_str), Some("1Gi"));
    }

    // It grows where its user says so.
    let grown = json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}});
    let claims = cluster.client.api::<Claim>();
    claims.patch(NAMESPACE, "data-db-0", PatchType::Merge, &grown).await.expect("grow a claim");
    let is_grown = |o: &Observer| {
        let claims = o.claims.list();
        let grown = claims.iter().find(|claim| claim.metadata.name == "data-db-0")?;
        (grown.status.capacity.get("storage")? == "3Gi").then_some(())
    };
    cluster.observer.wait_for("the claim to be larger", is_grown).await;

    // A claim in use waits; one that is not goes with its volume.
    delete(&cluster, "", "persistentvolumeclaims", "data-db-1").await;
    let waits = |o: &Observer| {
        let claims = o.claims.list();
        let going = claims.iter().find(|claim| claim.metadata.name == "data-db-1")?;
        (going.metadata.is_being_deleted() && going.status.phase == "Bound").then_some(())
    };
    cluster.observer.wait_for("the claim to wait for its pod", waits).await;
    delete(&cluster, "apps", "statefulsets", "db").await;
    let left = |o: &Observer| {
        let left = (vec!["data-db-0 Bound".to_owned()], vec!["Bound".to_owned()]);
        (o.pods.is_empty() && phases(o) == left).then_some(())
    };
    cluster.observer.wait_for("the claim that nobody deleted to be left", left).await;
    delete(&cluster, "", "persistentvolumeclaims", "data-db-0").await;
    let gone = |o: &Observer| (phases(o) == (vec![], vec![])).then_some(());
    cluster.observer.wait_for("everything to go", gone).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_volume_of_a_pods_own_goes_with_the_pod() {
    let cluster = TestCluster::start().await;
    let mut scratch = pod("scratch", "100m");
    scratch["spec"]["volumes"] = json!([{"name": "tmp", "ephemeral": {"volumeClaimTemplate": {"spec": {
        "accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "1Gi"}},
    }}}}]);
    cluster.apply(&scratch).await;
    let runs = |o: &Observer| {
        let pods = o.pods.list();
        let running = pods.iter().any(|pod| pod.status.phase == "Running");
        (running && phases(o) == (vec!["scratch-tmp Bound".to_owned()], vec!["Bound".to_owned()]))
            .then_some(())
    };
    cluster.observer.wait_for("the pod to run with its volume", runs).await;
    delete(&cluster, "", "pods", "scratch").await;
    let gone = |o: &Observer| (o.pods.is_empty() && phases(o) == (vec![], vec![])).then_some(());
    cluster.observer.wait_for("its volume to go", gone).await;
    cluster.stop().await;
}

#[tokio::test]
async fn claims_go_with_what_the_retention_policy_names() {
    let cluster = TestCluster::start().await;
    let mut set = stateful_set("db", 2);
    set["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    cluster.apply(&set).await;
    let bound = |o: &Observer| phases(o).1 == vec!["Bound".to_owned(); 2];
    let both = |o: &Observer| (bound(o) && o.pods_of("db").len() == 2).then_some(());
    cluster.observer.wait_for("two pods with a volume each", both).await;
    let sets = cluster.client.dynamic(GroupVersionResource::new("apps", "v1", "statefulsets"));
    let fewer = json!({"spec": {"replicas": 1}}).to_string().into();
    let options = PatchOptions::default();
    sets.patch(NAMESPACE, "db", "", (PatchType::Merge, fewer), &options).await.expect("scale down");
    let one = |o: &Observer| {
        let left = (vec!["data-db-0 Bound".to_owned()], vec!["Bound".to_owned()]);
        (o.pods_of("db").len() == 1 && phases(o) == left).then_some(())
    };
    cluster.observer.wait_for("the claim of the pod that is gone to go", one).await;
    delete(&cluster, "apps", "statefulsets", "db").await;
    let gone = |o: &Observer| (o.pods.is_empty() && phases(o) == (vec![], vec![])).then_some(());
    cluster.observer.wait_for("everything to go", gone).await;
    cluster.stop().await;
}
