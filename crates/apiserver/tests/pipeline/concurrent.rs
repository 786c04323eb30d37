//! Many at once: nothing is lost, nothing is handed out twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::Server;

const MAPS: &str = "v1/configmaps";

/// Runs `work` for 0..count in tasks of their own.
async fn all<F, Fut, T>(count: usize, work: F) -> Vec<T>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut tasks = JoinSet::new();
    for index in 0..count {
        tasks.spawn(work(index));
    }
    tasks.join_all().await
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_patch_is_in_the_end_state() {
    let server = Arc::new(Server::bare().await);
    server.create(MAPS, config_map("a")).await.expect("created");
    let codes = all(8, |index| {
        let server = server.clone();
        async move {
            for step in 0..10 {
                let patch = json!({"data": {format!("k{index}-{step}"): "x"}});
                server.merge(MAPS, "a", patch).await.expect("a patch without a version does not conflict");
            }
        }
    });
    codes.await;
    let stored = server.get(MAPS, "a").await.expect("read");
    assert_eq!(stored["data"].as_object().map(serde_json::Map::len), Some(80));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_creates_of_one_name_one_succeeds() {
    let server = Arc::new(Server::bare().await);
    let made = all(16, |_| {
        let server = server.clone();
        async move { server.create(MAPS, config_map("a")).await.is_ok() }
    });
    assert_eq!(made.await.into_iter().filter(|made| *made).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_updates_from_one_version_one_succeeds() {
    let server = Arc::new(Server::bare().await);
    let first = server.create(MAPS, config_map("a")).await.expect("created");
    let done = all(16, |index| {
        let (server, mut changed) = (server.clone(), first.clone());
        changed["data"] = json!({"k": index.to_string()});
        async move { server.update(MAPS, &changed).await.map_err(|status| status.code) }
    });
    let done = done.await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1);
    assert!(done.iter().all(|done| matches!(done, Ok(_) | Err(409))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_address_or_port_is_given_to_two_services() {
    let server = Arc::new(Server::bare().await);
    let taken = all(64, |index| {
        let server = server.clone();
        async move {
            let document = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{index}")},
                "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
            let made = server.create("v1/services", document).await.expect("created");
            (made["spec"]["clusterIP"].to_string(), made["spec"]["ports"][0]["nodePort"].to_string())
        }
    });
    let (addresses, ports): (BTreeSet<_>, BTreeSet<_>) = taken.await.into_iter().unzip();
    assert_eq!((addresses.len(), ports.len()), (64, 64));
}
