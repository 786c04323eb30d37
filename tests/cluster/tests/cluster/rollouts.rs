//! New templates of a Deployment: how they roll out, stop, wait and go back, seen at every moment of the watch.

use std::collections::BTreeMap;

use cluster::manifests::{NAMESPACE, deployment, image};
use cluster::objects::ReplicaSet;
use cluster::{Change, Observer, TestCluster};

use serde_json::{Value, json};

/// The pods of `web` at one moment: how many there are to stay, and how many of them take traffic.
#[derive(Debug, Clone, Default)]
struct Moment {
    active: usize,
    available: usize,
    images: BTreeMap<String, usize>,
}

/// Every moment that the watch of pods showed, in order.
fn moments(history: &[Change]) -> Vec<Moment> {
    let mut pods = BTreeMap::new();
    history
        .iter()
        .map(|change| {
            if let Some(pod) = change.old.as_ref().or(change.new.as_ref()) {
                pods.remove(&pod.metadata.uid);
            }
            if let Some(pod) = &change.new {
                pods.insert(pod.metadata.uid.clone(), pod.clone());
            }
            let active = pods.values().filter(|pod| !pod.metadata.is_being_deleted());
            let mut moment = Moment::default();
            for pod in active {
                moment.active += 1;
                moment.available += usize::from(pod.is_available());
                *moment.images.entry(pod.image().to_owned()).or_default() += 1;
            }
            moment
        })
        .collect()
}

fn sets(observer: &Observer) -> Vec<std::sync::Arc<ReplicaSet>> {
    let mut sets = observer.replica_sets.list();
    sets.sort_by_key(|set| revision(&set.metadata.annotations));
    sets
}

fn revision(annotations: &BTreeMap<String, String>) -> i64 {
    annotations.get("deployment.kubernetes.io/revision").and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// What `kubectl rollout undo` sends: the template of an older ReplicaSet, without the label that is its own.
fn undo(set: &ReplicaSet) -> Value {
    let mut template = set.spec.template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    json!({"spec": {"template": template}})
}

#[tokio::test]
async fn a_rolling_update_keeps_enough_pods_available_at_every_moment() {
    let cluster = TestCluster::start().await;
    cluster.apply(&deployment("web", 4)).await;
    cluster.settled("web", 4).await;
    let before = cluster.observer.pod_history().len();

    cluster.patch_deployment("web", "", &image("nginx:1.26")).await;
    cluster.settled("web", 4).await;
    let gone = |o: &Observer| (o.pods_of("web").len() == 4).then_some(());
    cluster.observer.wait_for("old pods to go", gone).await;

    // A quarter of four may be missing, and a quarter may be too many.
    let moments = moments(&cluster.observer.pod_history());
    let during = &moments[before..];
    assert!(during.len() > 8, "four pods came and four went");
    for (step, moment) in during.iter().enumerate() {
        assert!(moment.available >= 3, "step {step}: {moment:?}");
        assert!(moment.active <= 5, "step {step}: {moment:?}");
    }
    assert_eq!(during.last().unwrap().images, BTreeMap::from([("nginx:1.26".to_owned(), 4)]));
    let sets = sets(&cluster.observer);
    assert_eq!(
        sets.iter().map(|set| set.spec.replicas).collect::<Vec<_>>(),
        [0, 4],
        "the old set is kept, empty"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn recreate_never_shows_two_templates_at_once() {
    let cluster = TestCluster::start().await;
    let mut manifest = deployment("web", 3);
    manifest["spec"]["strategy"] = json!({"type": "Recreate"});
    cluster.apply(&manifest).await;
    cluster.settled("web", 3).await;
    cluster.patch_deployment("web", "", &image("nginx:1.26")).await;
    let replaced = |o: &Observer| {
        let pods = o.pods_of("web");
        (pods.len() == 3 && pods.iter().all(|pod| pod.image() == "nginx:1.26" && pod.is_available()))
            .then_some(())
    };
    cluster.observer.wait_for("three new pods", replaced).await;
    cluster.settled("web", 3).await;
    for moment in moments(&cluster.observer.pod_history()) {
        assert!(moment.images.len() <= 1, "{moment:?}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_template_that_never_gets_ready_stops_halfway_and_is_taken_back() {
    let cluster = TestCluster::start().await;
    cluster.apply(&deployment("web", 4)).await;
    cluster.settled("web", 4).await;
    let before = cluster.observer.pod_history().len();

    cluster.patch_deployment("web", "", &image("unready:1")).await;
    let stuck = |o: &Observer| {
        let status = &o.deployment("web")?.status;
        (status.updated_replicas == 2 && status.available_replicas == 3 && status.replicas == 5).then_some(())
    };
    cluster.observer.wait_for("the rollout to stop halfway", stuck).await;

    let good = sets(&cluster.observer).into_iter().find(|set| set.spec.image() == "nginx:1.25").unwrap();
    cluster.patch_deployment("web", "", &undo(&good)).await;
    cluster.settled("web", 4).await;
    for moment in &moments(&cluster.observer.pod_history())[before..] {
        assert!(moment.available >= 3 && moment.active <= 5, "{moment:?}");
    }
    let deployed = cluster.observer.deployment("web").unwrap();
    assert_eq!(deployed.spec.image(), "nginx:1.25");
    assert_eq!(revision(&deployed.metadata.annotations), 3, "the way back is a revision too");
    let after = sets(&cluster.observer);
    assert_eq!(after.len(), 2, "the old ReplicaSet is used again");
    assert_eq!((after[1].spec.image(), after[1].metadata.uid == good.metadata.uid), ("nginx:1.25", true));
    cluster.stop().await;
}

#[tokio::test]
async fn a_paused_deployment_scales_but_waits_with_its_template() {
    let cluster = TestCluster::start().await;
    cluster.apply(&deployment("web", 2)).await;
    cluster.settled("web", 2).await;

    cluster.patch_deployment("web", "", &json!({"spec": {"paused": true}})).await;
    cluster.patch_deployment("web", "", &image("nginx:1.26")).await;
    cluster.scale("web", 3).await;
    let scaled = |o: &Observer| {
        let deployment = o.deployment("web")?;
        let status = &deployment.status;
        (status.observed_generation >= deployment.metadata.generation && status.available_replicas == 3)
            .then_some(())
    };
    cluster.observer.wait_for("three pods of the old template", scaled).await;
    assert!(cluster.observer.pods_of("web").iter().all(|pod| pod.image() == "nginx:1.25"));
    assert_eq!(sets(&cluster.observer).len(), 1);

    cluster.patch_deployment("web", "", &json!({"spec": {"paused": false}})).await;
    cluster.settled("web", 3).await;
    let replaced = |o: &Observer| {
        let pods = o.pods_of("web");
        (pods.len() == 3 && pods.iter().all(|pod| pod.image() == "nginx:1.26")).then_some(())
    };
    cluster.observer.wait_for("three pods of the new template", replaced).await;
    cluster.stop().await;
}

#[tokio::test]
async fn only_so_many_old_replica_sets_are_kept() {
    let cluster = TestCluster::start().await;
    let mut manifest = deployment("web", 1);
    manifest["spec"]["revisionHistoryLimit"] = json!(1);
    cluster.apply(&manifest).await;
    cluster.settled("web", 1).await;
    for tag in ["nginx:2", "nginx:3", "nginx:4"] {
        cluster.patch_deployment("web", "", &image(tag)).await;
        cluster.settled("web", 1).await;
    }
    let pruned = |o: &Observer| {
        let images: Vec<String> = sets(o).iter().map(|set| set.spec.image().to_owned()).collect();
        (images == ["nginx:3", "nginx:4"]).then_some(())
    };
    cluster.observer.wait_for("old ReplicaSets to go", pruned).await;
    let list =
        cluster.client.api::<ReplicaSet>().list(NAMESPACE, &client::ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), 2);
    cluster.stop().await;
}
