//! What each verb does, and what it says when it does not.

use apiserver::pipeline::{
    DeleteOptions, Deleted, ListOptions, Propagation, WatchEventType, WatchOptions, WriteOptions,
};
use serde_json::{Value, json};

use crate::harness::{Server, body};

fn config_map(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": data}})
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    })
}

const MAPS: &str = "v1/configmaps";

#[tokio::test]
async fn a_created_object_is_read_back_and_cannot_be_created_twice() {
    let server = Server::start().await;
    let made = server.create(MAPS, config_map("a", "1")).await.expect("created");
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(made["metadata"]["creationTimestamp"], "2026-11-24T10:00:00Z");
    assert_eq!(server.get(MAPS, "a").await.expect("read"), made);
    let status = server.create(MAPS, config_map("a", "2")).await.unwrap_err();
    assert_eq!((status.code, status.message.as_str()), (409, "configmaps \"a\" already exists"));
    let gone = server.get(MAPS, "b").await.unwrap_err();
    assert_eq!(gone.message, "configmaps \"b\" not found");
}

#[tokio::test]
async fn a_generated_name_has_a_suffix_and_a_dry_run_leaves_no_trace() {
    let server = Server::start().await;
    let mut document = config_map("", "1");
    document["metadata"] = json!({"generateName": "web-"});
    let made = server.create(MAPS, document.clone()).await.expect("created");
    let name = made["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");

    let before = server.pipeline.store().snapshot().revision();
    let options = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let target = server.target(MAPS, None);
    server
        .pipeline
        .create(&server.context, &target, body(&config_map("dry", "1")), &options)
        .await
        .expect("dry");
    assert_eq!(server.pipeline.store().snapshot().revision(), before);
}

#[tokio::test]
async fn an_update_of_an_old_version_conflicts_and_one_that_changes_nothing_is_not_written() {
    let server = Server::start().await;
    let first = server.create(MAPS, config_map("a", "1")).await.expect("created");
    let mut second = first.clone();
    second["data"]["k"] = "2".into();
    let second = server.update(MAPS, &second).await.expect("updated");
    assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);

    let mut stale = first.clone();
    stale["data"]["k"] = "3".into();
    let status = server.update(MAPS, &stale).await.unwrap_err();
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    assert_eq!(server.update(MAPS, &second).await.expect("the same"), second);
    let mut unconditional = second.clone();
    unconditional["metadata"]["resourceVersion"] = Value::Null;
    unconditional["data"]["k"] = "4".into();
    assert_eq!(server.update(MAPS, &unconditional).await.expect("updated")["data"]["k"], "4");
}

#[tokio::test]
async fn finalizers_keep_an_object_until_the_last_is_gone() {
    let server = Server::start().await;
    let mut document = config_map("a", "1");
    document["metadata"]["finalizers"] = json!(["example.com/x"]);
    server.create(MAPS, document).await.expect("created");
    let deleted = server.delete(MAPS, "a", &DeleteOptions::default()).await.expect("deleted");
    assert!(!deleted.is_gone());
    let marked = server.get(MAPS, "a").await.expect("it stays");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = server.delete(MAPS, "a", &DeleteOptions::default()).await.expect("deleted again");
    assert!(!again.is_gone());
    assert_eq!(server.get(MAPS, "a").await.expect("unchanged"), marked);
    server.merge(MAPS, "a", json!({"metadata": {"finalizers": null}})).await.expect("released");
    assert_eq!(server.get(MAPS, "a").await.unwrap_err().code, 404);
}

#[tokio::test]
async fn foreground_deletion_waits_for_the_garbage_collector() {
    let server = Server::start().await;
    server.create(MAPS, config_map("a", "1")).await.expect("created");
    let options = DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
    assert!(!server.delete(MAPS, "a", &options).await.expect("marked").is_gone());
    let marked = server.get(MAPS, "a").await.expect("it stays");
    assert_eq!(marked["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let background = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    let gone = server.delete(MAPS, "a", &background).await.expect("gone");
    assert!(matches!(gone, Deleted::Gone { .. }));
}

#[tokio::test]
async fn a_pod_on_a_node_gets_its_grace_period_and_one_without_a_node_goes_at_once() {
    let server = Server::start().await;
    server.create("v1/pods", pod("free")).await.expect("created");
    let gone = server.delete("v1/pods", "free", &DeleteOptions::default()).await.expect("deleted");
    assert!(matches!(gone, Deleted::GoneWithObject(_)));

    let mut placed = pod("placed");
    placed["spec"]["nodeName"] = "n1".into();
    server.create("v1/pods", placed).await.expect("created");
    assert!(!server.delete("v1/pods", "placed", &DeleteOptions::default()).await.expect("deleted").is_gone());
    let marked = server.get("v1/pods", "placed").await.expect("it stays");
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-11-24T10:00:30Z");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(marked["metadata"]["generation"], 2);
    let longer = DeleteOptions { grace_period_seconds: Some(60), ..DeleteOptions::default() };
    server.delete("v1/pods", "placed", &longer).await.expect("deleted");
    assert_eq!(server.get("v1/pods", "placed").await.expect("unchanged"), marked);
    let shorter = DeleteOptions { grace_period_seconds: Some(5), ..DeleteOptions::default() };
    server.delete("v1/pods", "placed", &shorter).await.expect("deleted");
    let marked = server.get("v1/pods", "placed").await.expect("it stays");
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-11-24T10:00:05Z");
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    assert!(server.delete("v1/pods", "placed", &now).await.expect("deleted").is_gone());
}

#[tokio::test]
async fn a_namespace_waits_for_its_content_and_takes_nothing_new() {
    let server = Server::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}});
    server.create("v1/namespaces", namespace).await.expect("created");
    assert!(
        !server.delete("v1/namespaces", "ns", &DeleteOptions::default()).await.expect("deleted").is_gone()
    );
    let (code, status) = server
        .exchange(
            "POST",
            "/api/v1/namespaces/ns/configmaps",
            "application/json",
            config_map("a", "1").to_string().as_bytes(),
        )
        .await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "configmaps \"a\" is forbidden: unable to create new content in namespace ns because it is being terminated"
    );
    let mut stored = server.get("v1/namespaces", "ns").await.expect("it stays");
    assert_eq!(stored["status"]["phase"], "Terminating");
    stored["spec"]["finalizers"] = json!([]);
    let (code, _) = server
        .exchange("PUT", "/api/v1/namespaces/ns/finalize", "application/json", stored.to_string().as_bytes())
        .await;
    assert_eq!(code, 200);
    assert_eq!(server.get("v1/namespaces", "ns").await.unwrap_err().code, 404);
    let status = server.delete("v1/namespaces", "default", &DeleteOptions::default()).await.unwrap_err();
    assert_eq!(status.message, "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

#[tokio::test]
async fn pages_show_one_snapshot_whatever_is_written_between_them() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.create(MAPS, config_map(name, "1")).await.expect("created");
    }
    let target = server.target(MAPS, None);
    let options = ListOptions { limit: 2, ..ListOptions::default() };
    let first = server.pipeline.list(&server.context, &target, &options).await.expect("a page");
    assert_eq!(first.remaining, Some(3));
    server.delete(MAPS, "c", &DeleteOptions::default()).await.expect("deleted");
    server.create(MAPS, config_map("cc", "1")).await.expect("created");
    let mut names: Vec<String> = first.entries.iter().map(|entry| entry.key.name().to_owned()).collect();
    let mut token = first.continue_token;
    while let Some(continue_token) = token {
        let options = ListOptions { limit: 2, continue_token, ..ListOptions::default() };
        let page = server.pipeline.list(&server.context, &target, &options).await.expect("a page");
        assert_eq!(page.revision, first.revision);
        names.extend(page.entries.iter().map(|entry| entry.key.name().to_owned()));
        token = page.continue_token;
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn selectors_select_by_label_and_field() {
    let server = Server::start().await;
    for (name, app, node) in [("a", "x", ""), ("b", "y", "n1"), ("c", "x", "n1")] {
        let mut document = pod(name);
        document["metadata"]["labels"]["app"] = app.into();
        if !node.is_empty() {
            document["spec"]["nodeName"] = node.into();
        }
        server.create("v1/pods", document).await.expect("created");
    }
    for (labels, fields, names) in [
        ("app=x", "", &["a", "c"][..]),
        ("app!=x", "", &["b"]),
        ("app in (x,y),app", "spec.nodeName=n1", &["b", "c"]),
        ("", "spec.nodeName=n1,metadata.name!=b", &["c"]),
        ("", "spec.nodeName=", &["a"]),
        ("", "metadata.name=b", &["b"]),
        ("app=z", "", &[]),
        ("", "status.phase=Pending", &["a", "b", "c"]),
    ] {
        let options = ListOptions {
            label_selector: labels.to_owned(),
            field_selector: fields.to_owned(),
            ..ListOptions::default()
        };
        assert_eq!(server.names("v1/pods", &options).await.expect("a list"), names, "{labels} {fields}");
    }
}

#[tokio::test]
async fn a_watcher_sees_objects_come_and_go_by_its_selector() {
    let server = Server::start().await;
    let labelled = |value: &str| {
        let mut document = config_map("a", value);
        document["metadata"]["labels"] = json!({"on": value});
        document
    };
    server.create(MAPS, labelled("yes")).await.expect("created");
    let target = server.target(MAPS, None);
    let options = WatchOptions {
        label_selector: "on=yes".to_owned(),
        allow_bookmarks: true,
        send_initial_events: Some(true),
        resource_version_match: "NotOlderThan".to_owned(),
        ..WatchOptions::default()
    };
    let mut watch = server.pipeline.watch(&server.context, &target, &options).expect("a watch");
    for (patch, expected) in [
        (json!({"data": {"k": "2"}}), Some((WatchEventType::Modified, "2"))),
        (json!({"metadata": {"labels": {"on": "no"}}}), Some((WatchEventType::Deleted, "2"))),
        (json!({"data": {"k": "3"}}), None),
        (json!({"metadata": {"labels": {"on": "yes"}}}), Some((WatchEventType::Added, "3"))),
    ] {
        if watch.try_next().is_some() {
            let end = watch.next().await.expect("a bookmark").expect("no error");
            assert!(end.initial_events_end && end.kind == WatchEventType::Bookmark);
        }
        let changed = server.merge(MAPS, "a", patch).await.expect("patched");
        let seen = watch.try_next().map(|item| item.expect("it goes on").expect("no error"));
        assert_eq!(seen.as_ref().map(|item| item.kind), expected.map(|(kind, _)| kind));
        let (Some(seen), Some((_, data))) = (seen, expected) else { continue };
        let object: Value = serde_json::from_slice(&seen.object).expect("an object");
        assert_eq!(object["data"]["k"], data);
        assert_eq!(object["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"]);
    }
    server.delete(MAPS, "a", &DeleteOptions::default()).await.expect("deleted");
    let gone = watch.next().await.expect("it goes on").expect("no error");
    assert_eq!(gone.kind, WatchEventType::Deleted);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_sends_bookmarks_and_ends_in_time() {
    let server = Server::start().await;
    let target = server.target(MAPS, None);
    let revision = server.pipeline.store().snapshot().revision().0;
    let options = WatchOptions {
        resource_version: revision.to_string(),
        allow_bookmarks: true,
        timeout_seconds: 150,
        ..WatchOptions::default()
    };
    let mut watch = server.pipeline.watch(&server.context, &target, &options).expect("a watch");
    server
        .create("v1/secrets", json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}))
        .await
        .expect("created");
    let mut kinds = Vec::new();
    while let Some(item) = watch.next().await {
        let item = item.expect("no error");
        assert!(item.revision > revision, "a bookmark tells of other resources' progress");
        kinds.push(item.kind);
    }
    assert_eq!(kinds, [WatchEventType::Bookmark, WatchEventType::Bookmark]);
}

#[tokio::test]
async fn an_old_deployment_runs_as_it_was_written_then() {
    let server = Server::start().await;
    let document = json!({
        "apiVersion": "extensions/v1beta1", "kind": "Deployment",
        "metadata": {"name": "nginx-deployment", "labels": {"name": "nginx-deployment"}},
        "spec": {"replicas": 2, "template": {
            "metadata": {"labels": {"app": "nginx"}},
            "spec": {"containers": [{"name": "nginx", "image": "nginx", "imagePullPolicy": "Always"}]},
        }},
    });
    let old = server.create("extensions/v1beta1/deployments", document).await.expect("created");
    assert_eq!(old["apiVersion"], "extensions/v1beta1");
    let new = server.get("apps/v1/deployments", "nginx-deployment").await.expect("it is there");
    assert_eq!(new["apiVersion"], "apps/v1");
    assert_eq!(new["spec"]["selector"]["matchLabels"]["app"], "nginx");
    let (code, scale) = server
        .exchange("GET", "/apis/apps/v1/namespaces/default/deployments/nginx-deployment/scale", "", b"")
        .await;
    assert_eq!(
        (code, &scale["spec"]["replicas"], &scale["status"]["selector"]),
        (200, &json!(2), &json!("app=nginx"))
    );
}

#[tokio::test]
async fn a_second_start_makes_nothing_new() {
    let server = Server::start().await;
    let revision = server.pipeline.store().snapshot().revision();
    let again = Server::on(server.pipeline.store().clone()).await;
    assert_eq!(again.pipeline.store().snapshot().revision(), revision);
    let target = server.target("rbac.authorization.k8s.io/v1/clusterroles", None);
    let list = server.pipeline.list(&server.context, &target, &ListOptions::default()).await.expect("a list");
    assert_eq!(list.entries.len(), 71);
}

#[tokio::test]
async fn a_verb_that_the_resource_does_not_have_is_not_allowed() {
    let server = Server::start().await;
    for (method, path, code) in [
        ("PUT", "/api/v1/namespaces/default/bindings/x", 405),
        ("GET", "/apis/authorization.k8s.io/v1/subjectaccessreviews", 405),
        ("DELETE", "/api/v1/namespaces/default/pods/x/status", 405),
        ("GET", "/api/v1/namespaces/default/configmaps/x/status", 404),
        ("GET", "/api/v1/namespaces/default/pods/x/binding", 405),
    ] {
        assert_eq!(server.exchange(method, path, "application/json", b"{}").await.0, code, "{method} {path}");
    }
}
