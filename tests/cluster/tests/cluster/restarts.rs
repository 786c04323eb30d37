//! Daemons that end and come back at awkward moments: nothing acknowledged is lost, nothing is done twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cluster::logs::Logs;
use cluster::manifests::{NAMESPACE, deployment, image, service};
use cluster::objects::{ConfigMap, Pod};
use cluster::{Observer, Options, TestCluster};

use apiserver::config::StoreKind;
use apiserver::testing::TestServer;
use client::{Client, ListParams};
use component::Context;
use serde_json::json;

const ON_DISK: Options = Options { nodes: 2, cpu: "8", on_disk: true, time: cluster::Time::Real };

fn expect_absence(logs: &mut Logs) {
    logs.expect("watch failed, trying on", "the apiserver is away");
    logs.expect("reconcile failed", "the apiserver is away");
}

async fn versions(cluster: &TestCluster) -> BTreeMap<String, String> {
    let pods = cluster.client.api::<Pod>().list(NAMESPACE, &ListParams::default()).await.expect("list");
    pods.items.into_iter().map(|pod| (pod.metadata.uid, pod.metadata.resource_version)).collect()
}

fn exactly(pods: usize) -> impl Fn(&Observer) -> Option<()> {
    move |o| {
        let found = o.pods_of("web");
        (found.len() == pods && found.iter().all(|pod| pod.is_available())).then_some(())
    }
}

#[tokio::test]
async fn an_apiserver_that_comes_back_has_everything_and_daemons_catch_up() {
    let mut cluster = TestCluster::start_with(ON_DISK).await;
    expect_absence(&mut cluster.logs);
    cluster.apply(&service("web", "web")).await;
    cluster.apply(&deployment("web", 3)).await;
    cluster.settled("web", 3).await;
    let before = versions(&cluster).await;
    assert_eq!(before.len(), 3);
    let seen = cluster.observer.pod_history().len();

    cluster.stop_server().await;
    cluster.start_server().await;
    assert_eq!(versions(&cluster).await, before, "the same pods, not one written again");

    cluster.scale("web", 5).await;
    cluster.settled("web", 5).await;
    cluster.observer.wait_for("five pods", exactly(5)).await;
    let observer = &cluster.observer;
    observer.wait_for("five endpoints", |o| (o.ready_addresses("web").len() == 5).then_some(())).await;
    // A watch that goes on where it was shows what is new, and nothing twice.
    let since = &observer.pod_history()[seen..];
    let again = since.iter().filter_map(|change| change.new.as_ref()).filter(|pod| {
        before.get(&pod.metadata.uid).is_some_and(|version| *version == pod.metadata.resource_version)
    });
    assert_eq!(again.count(), 0);
    assert!(since.iter().all(|change| change.new.is_some()), "no pod went");
    cluster.stop().await;
}

#[tokio::test]
async fn an_apiserver_that_goes_in_the_middle_of_a_rollout_loses_nothing_of_it() {
    let mut cluster = TestCluster::start_with(ON_DISK).await;
    expect_absence(&mut cluster.logs);
    cluster.logs.expect("not bound", "the apiserver is away");
    cluster.logs.expect("bind pods", "the apiserver is away");
    cluster.logs.expect("event given up", "the apiserver is away");
    cluster.apply(&deployment("web", 6)).await;
    cluster.settled("web", 6).await;
    for tag in ["nginx:2", "nginx:3"] {
        cluster.patch_deployment("web", "", &image(tag)).await;
        let begun = |o: &Observer| o.pods_of("web").iter().any(|pod| pod.image() == tag).then_some(());
        cluster.observer.wait_for("the first new pod", begun).await;
        cluster.stop_server().await;
        cluster.start_server().await;
    }
    cluster.settled("web", 6).await;
    cluster.observer.wait_for("six pods", exactly(6)).await;
    assert!(cluster.observer.pods_of("web").iter().all(|pod| pod.image() == "nginx:3"));
    cluster.stop().await;
}

#[tokio::test]
async fn controllers_and_scheduler_that_restart_while_it_scales_end_with_the_right_pods() {
    let mut cluster = TestCluster::start_with(Options { nodes: 3, ..Options::default() }).await;
    cluster.apply(&deployment("web", 1)).await;
    cluster.settled("web", 1).await;

    cluster.scale("web", 20).await;
    let some = |o: &Observer| (o.pods_of("web").len() >= 5).then_some(());
    cluster.observer.wait_for("some pods", some).await;
    cluster.stop_controllers().await;
    cluster.stop_scheduler().await;
    cluster.start_controllers().await;
    cluster.start_scheduler().await;
    cluster.settled("web", 20).await;
    cluster.observer.wait_for("twenty pods", exactly(20)).await;

    cluster.scale("web", 3).await;
    let fewer = |o: &Observer| (o.pods_of("web").len() < 20).then_some(());
    cluster.observer.wait_for("the first to go", fewer).await;
    cluster.stop_controllers().await;
    // While nobody looks, the wish changes once more.
    cluster.scale("web", 4).await;
    cluster.start_controllers().await;
    cluster.settled("web", 4).await;
    cluster.observer.wait_for("four pods", exactly(4)).await;
    cluster.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_image_of_a_disk_taken_at_any_moment() {
    let logs = {
        let mut logs = Logs::listen();
        logs.expect("cutting off writes", "the image is taken while a write is under way");
        logs.expect(
            "index of the log",
            "the image is taken file by file, so the index may be older or newer",
        );
        logs
    };
    let directory = tempfile::TempDir::new().unwrap();
    let server = TestServer::start_in(directory.path()).await.unwrap();
    let client = Client::connect(server.admin()).unwrap();
    let maps = client.api::<ConfigMap>();
    let map = |n: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{n}")}, "data": {"n": n.to_string()}});
    let mut acknowledged = 0;
    for image in 0..5 {
        for _ in 0..20 {
            maps.create(NAMESPACE, &map(acknowledged)).await.unwrap();
            acknowledged += 1;
        }
        let sure = acknowledged;
        let copy = tempfile::TempDir::new().unwrap();
        let (from, to) = (directory.path().to_owned(), copy.path().to_owned());
        let copying = tokio::task::spawn_blocking(move || copy_all(&from, &to));
        // Writes go on while the image is taken.
        while !copying.is_finished() {
            maps.create(NAMESPACE, &map(acknowledged)).await.unwrap();
            acknowledged += 1;
        }
        copying.await.unwrap();

        let store = StoreKind::Local(copy.path().join("store"));
        let config = apiserver::testing::config(store, Some(copy.path()));
        let revived = TestServer::start_with(config, Context::for_tests()).await.unwrap();
        let found = Client::connect(revived.admin()).unwrap().api::<ConfigMap>();
        for n in 0..sure {
            let map = found.get(NAMESPACE, &format!("m{n}")).await;
            assert_eq!(map.unwrap().data["n"], n.to_string(), "image {image}");
        }
        found.create(NAMESPACE, &map(usize::MAX)).await.unwrap();
        assert!(revived.stop().await);
    }
    assert!(server.stop().await);
    assert_eq!(logs.unexpected(), [""; 0]);
}

fn copy_all(from: &Path, to: &Path) {
    let mut folders: Vec<(PathBuf, PathBuf)> = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        std::fs::create_dir_all(&to).expect("copy a folder");
        for entry in std::fs::read_dir(&from).expect("copy a folder") {
            let entry = entry.expect("copy a folder");
            let target = to.join(entry.file_name());
            if entry.file_type().expect("copy a folder").is_dir() {
                folders.push((entry.path(), target));
            } else if let Err(error) = std::fs::copy(entry.path(), &target) {
                // Files of the index come and go.
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
            }
        }
    }
}
