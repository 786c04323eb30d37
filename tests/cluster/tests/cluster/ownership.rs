//! What becomes of the things that a deleted object owned.

use cluster::manifests::{NAMESPACE, deployment};
use cluster::objects::{Pod, ReplicaSet};
use cluster::{Observer, TestCluster};

use client::ListParams;

async fn left(cluster: &TestCluster) -> (usize, usize) {
    let sets =
        cluster.client.api::<ReplicaSet>().list(NAMESPACE, &ListParams::default()).await.expect("list");
    let pods = cluster.client.api::<Pod>().list(NAMESPACE, &ListParams::default()).await.expect("list");
    (sets.items.len(), pods.items.len())
}

async fn deployed() -> TestCluster {
    let cluster = TestCluster::start().await;
    cluster.apply(&deployment("web", 3)).await;
    cluster.settled("web", 3).await;
    cluster
}

#[tokio::test]
async fn in_the_background_all_that_it_owned_follows() {
    let cluster = deployed().await;
    cluster.delete_deployment("web", "Background").await;
    let gone = |o: &Observer| {
        (o.deployment("web").is_none() && o.replica_sets.is_empty() && o.pods.is_empty()).then_some(())
    };
    cluster.observer.wait_for("everything to go", gone).await;
    assert_eq!(left(&cluster).await, (0, 0));
    cluster.stop().await;
}

#[tokio::test]
async fn in_the_foreground_it_goes_last() {
    let cluster = deployed().await;
    cluster.delete_deployment("web", "Foreground").await;
    cluster.observer.wait_for("the Deployment to go", |o| o.deployment("web").is_none().then_some(())).await;
    assert_eq!(left(&cluster).await, (0, 0), "when the owner is gone, all that it owned is");
    cluster.stop().await;
}

#[tokio::test]
async fn orphans_stay_and_a_new_deployment_takes_them_over() {
    let cluster = deployed().await;
    let names = |o: &Observer| {
        let mut names: Vec<String> = o.pods.list().iter().map(|pod| pod.metadata.name.clone()).collect();
        names.sort();
        names
    };
    let pods = names(&cluster.observer);
    cluster.delete_deployment("web", "Orphan").await;
    let alone = |o: &Observer| {
        let sets = o.replica_sets.list();
        (o.deployment("web").is_none() && sets[0].metadata.owner_references.is_empty()).then_some(())
    };
    cluster.observer.wait_for("the ReplicaSet to be alone", alone).await;

    cluster.apply(&deployment("web", 3)).await;
    cluster.settled("web", 3).await;
    assert_eq!(names(&cluster.observer), pods, "not a pod was touched");
    assert_eq!(left(&cluster).await, (1, 3));
    cluster.stop().await;
}
