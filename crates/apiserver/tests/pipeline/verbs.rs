//! What each verb does, and what it says when it does not.

use apiserver::bootstrap::Bootstrap;
use apiserver::pipeline::{
    DeleteOptions, Deleted, ListOptions, PatchType, Propagation, WatchEventType, WatchOptions, WriteOptions,
    extract,
};
use serde_json::{Value, json};
use store::{Backend, Options, Store, Window};

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
    assert_eq!(list.entries.len(), 73);
}

#[tokio::test]
async fn the_service_of_the_api_comes_back() {
    let server = Server::start().await;
    server.delete("v1/services", "kubernetes", &DeleteOptions::default()).await.expect("deleted");
    let bootstrap = Bootstrap { address: [192, 0, 2, 10].into(), port: 6443, now: server.context.now };
    bootstrap.announce(&server.pipeline).await.expect("announced");
    let service = server.get("v1/services", "kubernetes").await.expect("it is back");
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
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

#[tokio::test]
async fn what_is_no_longer_kept_has_expired() {
    let mut options = Options::new(Backend::Memory, extract());
    options.window = Window { events: 50, bytes: 1 << 20 };
    let server = Server::on(Store::open(options).expect("a store in memory opens")).await;
    for name in ["a", "b", "c"] {
        server.create(MAPS, config_map(name, "1")).await.expect("created");
    }
    let target = server.target(MAPS, None);
    let options = ListOptions { limit: 1, ..ListOptions::default() };
    let first = server.pipeline.list(&server.context, &target, &options).await.expect("a page");
    for count in 0..200 {
        server.merge(MAPS, "c", json!({"data": {"k": count.to_string()}})).await.expect("patched");
    }
    let continue_token = first.continue_token.expect("there is more");
    let options = ListOptions { limit: 1, continue_token, ..ListOptions::default() };
    let status = server.pipeline.list(&server.context, &target, &options).await.unwrap_err();
    assert!(
        status.code == 410 && status.message.starts_with("The provided continue parameter is too old"),
        "{status}"
    );
    // The list may go on, though not consistently.
    let options = ListOptions { continue_token: status.metadata.continue_token, ..ListOptions::default() };
    assert_eq!(server.names(MAPS, &options).await.expect("the rest"), ["b", "c"]);

    let exact = ListOptions {
        resource_version: first.revision.to_string(),
        resource_version_match: "Exact".to_owned(),
        ..ListOptions::default()
    };
    let status = server.names(MAPS, &exact).await.unwrap_err();
    assert_eq!(status.message, "The resourceVersion for the provided list is too old.");
    let old = WatchOptions { resource_version: first.revision.to_string(), ..WatchOptions::default() };
    let mut watch = server.pipeline.watch(&server.context, &target, &old).expect("the stream tells it");
    let status = watch.next().await.expect("an answer").unwrap_err();
    assert!(status.code == 410 && status.message.starts_with("too old resource version: "), "{status}");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn options_that_contradict_each_other_are_refused() {
    let server = Server::start().await;
    for (path, code, message) in [
        (
            "?resourceVersionMatch=Exact",
            422,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        ("?resourceVersion=1&resourceVersionMatch=Any", 422, "supported values: \"Exact\", \"NotOlderThan\""),
        ("?resourceVersion=0&resourceVersionMatch=Exact", 422, "forbidden for resourceVersion \"0\""),
        ("?resourceVersion=999999", 504, "Too large resource version: 999999, current: "),
        ("?limit=1&resourceVersion=999999", 504, "Too large resource version: 999999, current: "),
        ("?watch=1&sendInitialEvents=true", 422, "sendInitialEvents requires setting resourceVersionMatch"),
        ("?watch=1&resourceVersionMatch=NotOlderThan", 422, "unless sendInitialEvents is provided"),
        ("?watch=1&resourceVersion=999999", 504, "Too large resource version: 999999, current: "),
        ("?fieldSelector=spec.x%3Dy", 400, "field label not supported"),
    ] {
        let path = format!("/api/v1/namespaces/default/configmaps{path}");
        let (got, status) = server.exchange("GET", &path, "", b"").await;
        let text = status["message"].as_str().unwrap_or_default();
        assert!(got == code && text.contains(message), "{path}: {got} {text}");
    }
}

#[tokio::test]
async fn applied_fields_have_owners_and_conflicts_name_them() {
    let server = Server::start().await;
    let target = server.target(MAPS, Some("a"));
    let apply = |manager: &'static str, force: bool, document: Value| {
        let options = WriteOptions { field_manager: manager.to_owned(), force, ..WriteOptions::default() };
        let (server, target) = (&server, &target);
        async move {
            let body = body(&document);
            server.pipeline.patch(&server.context, target, PatchType::Apply, body, &options).await
        }
    };
    let made = apply("one", false, config_map("a", "1")).await.expect("made");
    assert!(made.created);
    assert!(!apply("one", false, config_map("a", "1")).await.expect("the same").created);
    let status = apply("two", false, config_map("a", "2")).await.unwrap_err();
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"one\": .data.k");
    apply("two", true, config_map("a", "2")).await.expect("taken over");
    let stored = server.get(MAPS, "a").await.expect("read");
    assert_eq!(stored["data"]["k"], "2");
    let status = apply("", false, config_map("a", "1")).await.unwrap_err();
    assert_eq!(status.code, 422);
}

#[tokio::test]
async fn deletecollection_deletes_what_is_selected() {
    let server = Server::start().await;
    for (name, keep) in [("a", "no"), ("b", "yes"), ("c", "no")] {
        let mut document = config_map(name, "1");
        document["metadata"]["labels"] = json!({"keep": keep});
        server.create(MAPS, document).await.expect("created");
    }
    let target = server.target(MAPS, None);
    let selected = ListOptions { label_selector: "keep!=yes".to_owned(), ..ListOptions::default() };
    let dry = DeleteOptions { dry_run: true, ..DeleteOptions::default() };
    for options in [dry, DeleteOptions::default()] {
        let deleted = server
            .pipeline
            .delete_collection(&server.context, &target, &selected, &options)
            .await
            .expect("deleted");
        assert_eq!(deleted.entries.len(), 2);
    }
    assert_eq!(server.names(MAPS, &ListOptions::default()).await.expect("a list"), ["b"]);
}
