//! Quotas: what does not fit is refused, also where many come at once.

use std::sync::Arc;

use apiserver::pipeline::{DeleteOptions, WriteOptions};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Server, body};

const PODS: &str = "v1/pods";

async fn server(hard: Value) -> Server {
    let server = Server::bare().await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}});
    server.create("v1/resourcequotas", quota).await.expect("a quota");
    server
}

fn pod(name: &str, cpu: Option<&str>) -> Value {
    let resources = cpu.map_or(json!({}), |cpu| json!({"requests": {"cpu": cpu}}));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

#[tokio::test]
async fn what_does_not_fit_is_refused_until_something_goes() {
    let server = server(json!({"pods": "2", "requests.cpu": "1"})).await;
    server.create(PODS, pod("a", Some("600m"))).await.expect("it fits");
    for (name, cpu, why) in [
        (
            "b",
            Some("500m"),
            "exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1",
        ),
        ("b", None, "failed quota: q: must specify requests.cpu for: c"),
    ] {
        let status = server.create(PODS, pod(name, cpu)).await.expect_err("refused");
        assert_eq!((status.code, status.message), (403, format!("pods \"b\" is forbidden: {why}")));
    }
    server.create(PODS, pod("b", Some("400m"))).await.expect("it fits");
    let status = server.create(PODS, pod("c", Some("0"))).await.expect_err("refused");
    assert_eq!(
        status.message,
        "pods \"c\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    );
    server.delete(PODS, "a", &DeleteOptions::default()).await.expect("deleted");
    server.create(PODS, pod("c", Some("600m"))).await.expect("it fits again");
}

#[tokio::test]
async fn objects_of_any_kind_are_counted_and_changes_that_use_more() {
    let server = server(json!({"count/configmaps": "1", "services.nodeports": "1"})).await;
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    server.create("v1/configmaps", map("a")).await.expect("it fits");
    let status = server.create("v1/configmaps", map("b")).await.expect_err("refused");
    assert_eq!(
        status.message,
        "configmaps \"b\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1"
    );
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}});
    server.create("v1/services", service).await.expect("it fits");
    let status =
        server.merge("v1/services", "s", json!({"spec": {"type": "NodePort"}})).await.expect_err("refused");
    assert_eq!(
        status.message,
        "services \"s\" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn as_many_fit_as_may_however_many_come_at_once() {
    let server = Arc::new(server(json!({"pods": "7"})).await);
    let mut tasks = JoinSet::new();
    for index in 0..40 {
        let server = server.clone();
        tasks.spawn(async move {
            let target = server.target(PODS, None);
            let document = body(&pod(&format!("p{index}"), None));
            server.pipeline.create(&server.context, &target, document, &WriteOptions::default()).await.is_ok()
        });
    }
    let made = tasks.join_all().await.into_iter().filter(|made| *made).count();
    assert_eq!(made, 7);
}
