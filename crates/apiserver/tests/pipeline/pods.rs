//! Bindings, evictions, scales and the life of events.

use apiserver::pipeline::{Binding, DeleteOptions, PatchType, Subresource, WatchOptions, WriteOptions};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::harness::{Server, body, json_of};

const PODS: &str = "v1/pods";

fn pod(name: &str, spec: Value) -> Value {
    let mut document = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        document["spec"][field] = value.clone();
    }
    document
}

fn binding(pod: &str, node: &str) -> Binding {
    Binding {
        namespace: "default".to_owned(),
        pod: pod.to_owned(),
        node: node.to_owned(),
        ..Binding::default()
    }
}

#[tokio::test]
async fn each_binding_of_many_succeeds_or_fails_by_itself() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        server.create(PODS, pod(name, json!({}))).await.expect("created");
    }
    let wrong = Binding { uid: "other".to_owned(), ..binding("b", "n") };
    let results = server
        .pipeline
        .bind(&server.context, vec![binding("a", "n1"), binding("none", "n1"), wrong, binding("b", "n2")])
        .await;
    let codes: Vec<_> =
        results.iter().map(|result| result.as_ref().err().map(|status| status.code)).collect();
    assert_eq!(codes, [None, Some(404), Some(409), None]);
    let bound = server.get(PODS, "a").await.expect("read");
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let again = server.pipeline.bind(&server.context, vec![binding("a", "n2")]).await;
    assert_eq!(
        again[0].as_ref().unwrap_err().message,
        "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"n1\""
    );
}

#[tokio::test]
async fn an_eviction_asks_the_budget_once_for_each_pod() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        server.create(PODS, pod(name, json!({"nodeName": "n1"}))).await.expect("created");
        let target = server.target(PODS, Some(name)).part(Subresource::Status);
        let mut running = server.get(PODS, name).await.expect("read");
        running["status"]["phase"] = "Running".into();
        server
            .pipeline
            .update(&server.context, &target, body(&running), &WriteOptions::default())
            .await
            .expect("running");
    }
    let budgets = "policy/v1/poddisruptionbudgets";
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "p"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    server.create(budgets, budget).await.expect("created");
    let allow = json!({"status": {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    let target = server.target(budgets, Some("p")).part(Subresource::Status);
    let merge = PatchType::Merge;
    server
        .pipeline
        .patch(&server.context, &target, merge, body(&allow), &WriteOptions::default())
        .await
        .expect("allowed");
    let evict = |name: &'static str| {
        let target = server.target(PODS, Some(name)).part(Subresource::Eviction);
        let document = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
        let server = &server;
        async move {
            server.pipeline.create(&server.context, &target, body(&document), &WriteOptions::default()).await
        }
    };
    evict("a").await.expect("evicted");
    let status = evict("b").await.unwrap_err();
    assert_eq!(
        (status.code, status.message.as_str()),
        (429, "Cannot evict pod as it would violate the pod's disruption budget.")
    );
    assert!(server.get(PODS, "b").await.expect("it stays")["metadata"].get("deletionTimestamp").is_none());
    assert!(server.get(PODS, "a").await.expect("it ends")["metadata"].get("deletionTimestamp").is_some());
}

#[tokio::test]
async fn a_scale_changes_the_replicas_and_nothing_else() {
    let server = Server::start().await;
    let document = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}},
    });
    let before = server.create("apps/v1/deployments", document).await.expect("created");
    let target = server.target("apps/v1/deployments", Some("d")).part(Subresource::Scale);
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 7}});
    server
        .pipeline
        .update(&server.context, &target, body(&scale), &WriteOptions::default())
        .await
        .expect("scaled");
    let mut after = server.get("apps/v1/deployments", "d").await.expect("read");
    assert_eq!((&after["spec"]["replicas"], &after["metadata"]["generation"]), (&json!(7), &json!(2)));
    after["spec"]["replicas"] = 1.into();
    assert_eq!(after["spec"], before["spec"]);

    let owner = WriteOptions { field_manager: "m".to_owned(), ..WriteOptions::default() };
    let applied = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 7}});
    let applied = server
        .pipeline
        .patch(&server.context, &target, PatchType::Apply, body(&applied), &owner)
        .await
        .expect("applied");
    assert_eq!(
        (applied.object.kind.as_str(), &json_of(&applied.object)["spec"]["replicas"]),
        ("Scale", &json!(7))
    );
    let stored = server.get("apps/v1/deployments", "d").await.expect("read");
    let managers = stored["metadata"]["managedFields"].as_array().expect("managers");
    assert!(
        managers.iter().any(|entry| entry["manager"] == "m"
            && entry["subresource"] == "scale"
            && entry["fieldsV1"] == json!({"f:spec": {"f:replicas": {}}})),
        "{managers:?}"
    );

    let mut stale = scale.clone();
    stale["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
    let status = server
        .pipeline
        .update(&server.context, &target, body(&stale), &WriteOptions::default())
        .await
        .unwrap_err();
    assert!(status.is_conflict(), "{status}");
    let mut negative = scale;
    negative["spec"]["replicas"] = (-1).into();
    let status = server
        .pipeline
        .update(&server.context, &target, body(&negative), &WriteOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        status.message,
        "Scale.autoscaling \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
}

#[tokio::test]
async fn events_live_an_hour() {
    let server = Server::start().await;
    let event = |name: &str, last: Option<&str>| {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "lastTimestamp": last,
            "involvedObject": {"kind": "Pod", "name": "x", "namespace": "default"}, "reason": "R", "type": "Normal"})
    };
    server.create("v1/events", event("old", None)).await.expect("created");
    server.create("v1/events", event("repeated", Some("2026-11-24T10:30:00Z"))).await.expect("created");
    let after = |minutes: i64| server.context.now + SignedDuration::from_mins(minutes);
    assert_eq!(server.pipeline.expire_events(after(60)).await, Ok(0));
    assert_eq!(server.pipeline.expire_events(after(61)).await, Ok(1));
    server.get("v1/events", "repeated").await.expect("it was seen again");
    assert_eq!(server.pipeline.expire_events(after(91)).await, Ok(1));
}

#[tokio::test]
async fn a_pod_is_found_at_the_kubelet_of_its_node() {
    let server = Server::start().await;
    server.create(PODS, pod("a", json!({}))).await.expect("created");
    let target = server.target(PODS, Some("a")).part(Subresource::Log);
    let status = server.pipeline.pod_host(&server.context, "get", &target).unwrap_err();
    assert_eq!((status.code, status.message.as_str()), (400, "pod a does not have a host assigned"));
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "192.0.2.7"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10255}}}});
    server.create("v1/nodes", node).await.expect("created");
    server.pipeline.bind(&server.context, vec![binding("a", "n1")]).await.remove(0).expect("bound");
    let host = server.pipeline.pod_host(&server.context, "get", &target).expect("a host");
    assert_eq!((host.address.as_str(), host.port, host.node.as_str()), ("192.0.2.7", 10255, "n1"));
    server.delete("v1/nodes", "n1", &DeleteOptions::default()).await.expect("deleted");
    assert_eq!(server.pipeline.pod_host(&server.context, "get", &target).unwrap_err().code, 404);
}

#[tokio::test]
async fn a_kubelet_sees_its_pods_come_and_go() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        server.create(PODS, pod(name, json!({}))).await.expect("created");
    }
    let target = server.target(PODS, None);
    let options = WatchOptions { field_selector: "spec.nodeName=n1".to_owned(), ..WatchOptions::default() };
    let mut watch = server.pipeline.watch(&server.context, &target, &options).expect("a watch");
    assert!(watch.try_next().is_none(), "nothing is bound yet");
    for result in server.pipeline.bind(&server.context, vec![binding("b", "n2"), binding("a", "n1")]).await {
        result.expect("bound");
    }
    server.delete(PODS, "a", &DeleteOptions::default()).await.expect("marked");
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    server.delete(PODS, "a", &now).await.expect("gone");
    let mut seen = Vec::new();
    while let Some(item) = watch.try_next() {
        let item = item.expect("it goes on").expect("no error");
        seen.push((item.kind.as_str(), item.entry.expect("an entry").key.name().to_owned()));
    }
    assert_eq!(
        seen,
        [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")].map(|(kind, name)| (kind, name.to_owned()))
    );
}

#[tokio::test]
async fn a_running_pod_gets_ephemeral_containers_and_other_resources_through_their_own_doors() {
    let server = Server::start().await;
    let asks = json!({"nodeName": "n1", "containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "500m"}}}]});
    let made = server.create(PODS, pod("a", asks)).await.expect("created");
    for (subresource, patch, changed) in [
        (
            Subresource::EphemeralContainers,
            json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}], "hostNetwork": true}}),
            "/spec/ephemeralContainers/0/name",
        ),
        (
            Subresource::Resize,
            json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}}),
            "/spec/containers/0/resources/requests/cpu",
        ),
    ] {
        let target = server.target(PODS, Some("a")).part(subresource);
        let options = WriteOptions::default();
        let strategic = PatchType::StrategicMerge;
        server
            .pipeline
            .patch(&server.context, &target, strategic, body(&patch), &options)
            .await
            .expect("patched");
        let stored = server.get(PODS, "a").await.expect("read");
        assert!(stored.pointer(changed).is_some(), "{stored}");
        assert_eq!(stored["spec"].get("hostNetwork"), made["spec"].get("hostNetwork"));
    }
    let stored = server.get(PODS, "a").await.expect("read");
    assert_eq!(stored["metadata"]["generation"], 3);
    let status = server.merge(PODS, "a", json!({"spec": {"ephemeralContainers": []}})).await.unwrap_err();
    assert_eq!(status.code, 422);
}

#[tokio::test]
async fn a_pods_manifest_can_be_sent_again_with_another_image() {
    let server = Server::start().await;
    // A volume that was filled in cannot be left out again, as in Kubernetes.
    let mut manifest = pod("a", json!({"automountServiceAccountToken": false}));
    let made = server.create(PODS, manifest.clone()).await.expect("created");
    assert_eq!(server.update(PODS, &manifest).await.expect("the same"), made);
    manifest["spec"]["containers"][0]["image"] = "other".into();
    let changed = server.update(PODS, &manifest).await.expect("updated");
    assert_eq!(changed["spec"]["priority"], made["spec"]["priority"]);
    manifest["spec"]["hostNetwork"] = true.into();
    assert_eq!(server.update(PODS, &manifest).await.unwrap_err().code, 422);
}
