//! The past: read as of a moment over REST and gRPC, who changed what, what differs, and what comes back.

use futures_util::StreamExt as _;
use rpc::v1::history_client::HistoryClient;
use rpc::v1::resources_client::ResourcesClient;
use rpc::v1::{self, GroupVersionResource, UndeleteOutcome, WatchEventType};
use serde_json::json;
use tonic::{Code, Request};

use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn of(group: &str, version: &str, resource: &str) -> Option<GroupVersionResource> {
    Some(GroupVersionResource { group: group.into(), version: version.into(), resource: resource.into() })
}

async fn revision(asker: &Asker) -> String {
    let list = asker.get("/api/v1/nodes").await.json();
    list["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

async fn create(asker: &Asker, path: &str, object: Value) -> Value {
    let made = asker.post(path, &object).await;
    assert_eq!(made.code, 201, "{}", made.text());
    made.json()
}

async fn put(asker: &Asker, name: &str, data: &str) {
    let agent = [("content-type", "application/json"), ("user-agent", "kubectl/v1.36.0")];
    let path = format!("{MAPS}/{name}");
    let put = asker.with(Method::PUT, &path, &agent, &config_map(name, data).to_string()).await;
    assert_eq!(put.code, 200, "{}", put.text());
}

async fn delete(asker: &Asker, path: &str) {
    let gone = asker.with(Method::DELETE, path, &[], "").await;
    assert_eq!(gone.code, 200, "{}", gone.text());
}

#[tokio::test]
async fn a_path_below_a_moment_shows_the_cluster_of_then_and_takes_no_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = TestServer::start_in(dir.path()).await.expect("a server");
    let asker = Asker { server, tasks: Shutdown::new() };
    create(&asker, MAPS, config_map("a", "old")).await;
    create(&asker, MAPS, config_map("b", "old")).await;
    let then = revision(&asker).await;
    put(&asker, "a", "new").await;
    delete(&asker, &format!("{MAPS}/b")).await;
    create(&asker, MAPS, config_map("c", "new")).await;

    let past = format!("/at/r{then}");
    let list = asker.get(&format!("{past}{MAPS}?limit=1")).await.json();
    assert_eq!(list["metadata"]["resourceVersion"], *then);
    assert_eq!(
        (list["items"][0]["metadata"]["name"].as_str(), &list["items"][0]["data"]["k"]),
        (Some("a"), &json!("old"))
    );
    let token = list["metadata"]["continue"].as_str().expect("there is more");
    let rest = asker.get(&format!("{past}{MAPS}?limit=5&continue={token}")).await.json();
    let names: Vec<_> =
        rest["items"].as_array().expect("items").iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["b"]);
    assert_eq!(asker.get(&format!("{past}{MAPS}/b")).await.json()["data"]["k"], "old");
    assert_eq!(asker.get(&format!("{past}{MAPS}/c")).await.code, 404);
    // What kubectl asks for before and beside objects.
    assert_eq!(asker.get(&format!("{past}/api/v1")).await.json()["kind"], "APIResourceList");
    assert_eq!(asker.get(&format!("{past}/version")).await.json()["major"], "1");
    let table = asker.accept(&format!("{past}{MAPS}"), "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!(table.json()["rows"].as_array().map(Vec::len), Some(2));

    for (method, path) in [
        (Method::POST, MAPS.to_owned()),
        (Method::PUT, format!("{MAPS}/a")),
        (Method::PATCH, format!("{MAPS}/a")),
        (Method::DELETE, format!("{MAPS}/a")),
        (Method::DELETE, MAPS.to_owned()),
        (Method::GET, format!("{MAPS}?watch=1")),
        (Method::GET, "/api/v1/namespaces/default/pods/p/log".to_owned()),
        (Method::GET, "/api/v1/namespaces/default/pods/p/proxy/".to_owned()),
    ] {
        let headers = [(
            "content-type",
            if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" },
        )];
        let refused = asker
            .with(method.clone(), &format!("{past}{path}"), &headers, &config_map("a", "x").to_string())
            .await;
        assert_eq!(refused.code, 405, "{method} {path}: {}", refused.text());
    }
    assert_eq!(asker.get(&format!("{MAPS}/a")).await.json()["data"]["k"], "new");

    // Times: before the first write there was nothing; the present is the newest state; the future is not known yet.
    assert_eq!(asker.get(&format!("/at/0s{MAPS}/a")).await.json()["data"]["k"], "new");
    assert_eq!(asker.get(&format!("/at/10m{MAPS}")).await.json()["items"], json!([]));
    assert_eq!(asker.get(&format!("/at/2999-01-01T00:00:00Z{MAPS}")).await.code, 400);
    assert_eq!(asker.get(&format!("/at/soon{MAPS}")).await.code, 400);
    assert_eq!(asker.get(&format!("/at/r999999{MAPS}")).await.code, 504);
    assert_eq!(asker.get(&format!("/at/r0{MAPS}")).await.code, 410);
    let stranger = asker.send(None, request(Method::GET, &format!("{past}{MAPS}"), &[], "")).await;
    assert_eq!(stranger.code, 401);

    // The same over gRPC.
    let mut client = ResourcesClient::new(asker.channel(asker.admin()).await);
    let at = |message: v1::GetRequest| {
        let mut request = Request::new(message);
        request.metadata_mut().insert("coxswain-at", format!("r{then}").parse().expect("a header"));
        request
    };
    let map = v1::GetRequest {
        resource: of("", "v1", "configmaps"),
        namespace: "default".into(),
        name: "b".into(),
        ..Default::default()
    };
    let found = client.get(at(map.clone())).await.expect("it was there").into_inner();
    assert_eq!(found.metadata.expect("metadata").name, "b");
    assert_eq!(client.get(map).await.expect_err("it is gone").code(), Code::NotFound);
    let mut doomed = Request::new(v1::DeleteRequest {
        resource: of("", "v1", "configmaps"),
        namespace: "default".into(),
        name: "a".into(),
        ..Default::default()
    });
    doomed.metadata_mut().insert("coxswain-at", "0s".parse().expect("a header"));
    assert_eq!(client.delete(doomed).await.expect_err("the past").code(), Code::Unimplemented);
    drop(client);
    asker.stop().await;

    // All of it is there after a restart, too.
    let server = TestServer::start_in(dir.path()).await.expect("a server");
    let asker = Asker { server, tasks: Shutdown::new() };
    assert_eq!(asker.get(&format!("{past}{MAPS}/b")).await.json()["data"]["k"], "old");
    asker.stop().await;
}

#[tokio::test]
async fn an_objects_versions_say_who_wrote_them_when_and_with_what() {
    let asker = Asker::start().await;
    create(&asker, MAPS, config_map("a", "one")).await;
    put(&asker, "a", "two").await;
    let mut resources = ResourcesClient::new(asker.channel(asker.admin()).await);
    let patch = v1::PatchRequest {
        resource: of("", "v1", "configmaps"),
        namespace: "default".into(),
        name: "a".into(),
        r#type: v1::PatchType::Merge.into(),
        patch: json!({"data": {"k": "three"}}).to_string().into(),
        options: Some(v1::WriteOptions { field_manager: "cox".into(), ..Default::default() }),
        ..Default::default()
    };
    resources.patch(patch).await.expect("patched");
    delete(&asker, &format!("{MAPS}/a")).await;
    let mut client = HistoryClient::new(asker.channel(asker.admin()).await);
    let wanted = v1::VersionsRequest {
        resource: of("", "v1", "configmaps"),
        namespace: "default".into(),
        name: "a".into(),
    };
    let versions: Vec<_> =
        client.versions(wanted.clone()).await.expect("versions").into_inner().collect().await;
    let told: Vec<_> = versions
        .iter()
        .map(|version| version.as_ref().expect("a version"))
        .map(|version| {
            let object: Value =
                serde_json::from_slice(&version.object.as_ref().expect("it").payload).expect("JSON");
            let data = object["data"]["k"].as_str().unwrap_or_default().to_owned();
            (version.r#type(), data, version.user.as_str(), version.manager.as_str())
        })
        .collect();
    let (admin, deleted) = ("kubernetes-admin", WatchEventType::Deleted);
    assert_eq!(
        told,
        [
            (deleted, "three".to_owned(), admin, ""),
            (WatchEventType::Modified, "three".to_owned(), admin, "cox"),
            (WatchEventType::Modified, "two".to_owned(), admin, "kubectl"),
            (WatchEventType::Added, "one".to_owned(), admin, ""),
        ]
    );
    let times: Vec<jiff::Timestamp> =
        versions.iter().flatten().map(|version| version.time.parse().expect("a time")).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    let never = v1::VersionsRequest { name: "never".into(), ..wanted };
    assert_eq!(client.versions(never).await.expect_err("it never was").code(), Code::NotFound);
    drop((client, resources));
    asker.stop().await;
}

#[tokio::test]
async fn differences_are_told_once_for_each_object_that_differs() {
    let asker = Asker::start().await;
    for name in ["same", "changed", "gone"] {
        create(&asker, MAPS, config_map(name, "old")).await;
    }
    let then = revision(&asker).await;
    put(&asker, "changed", "new").await;
    put(&asker, "changed", "newer").await;
    delete(&asker, &format!("{MAPS}/gone")).await;
    create(&asker, MAPS, config_map("made", "new")).await;
    create(&asker, MAPS, config_map("brief", "x")).await;
    delete(&asker, &format!("{MAPS}/brief")).await;
    create(
        &asker,
        "/api/v1/namespaces",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}),
    )
    .await;
    let mut client = HistoryClient::new(asker.channel(asker.admin()).await);
    let mut ask = async |namespace: &str, resources: Vec<GroupVersionResource>| {
        let wanted = v1::DifferencesRequest {
            since: format!("r{then}"),
            namespace: namespace.into(),
            resources,
            ..Default::default()
        };
        let found: Vec<_> =
            client.differences(wanted).await.expect("differences").into_inner().collect().await;
        let told = found.into_iter().map(|one| one.expect("a difference")).map(|one| {
            let name = |object: &Option<v1::Object>| {
                object.as_ref().and_then(|object| object.metadata.clone()).map(|meta| meta.name)
            };
            (name(&one.before), name(&one.after))
        });
        told.collect::<Vec<_>>()
    };
    let some = |name: &str| Some(name.to_owned());
    let maps = [(some("changed"), some("changed")), (some("gone"), None), (None, some("made"))];
    assert_eq!(ask("default", Vec::new()).await, maps);
    let all = ask("", Vec::new()).await;
    assert!(all.contains(&(None, some("n"))) && all.len() == 4, "{all:?}");
    assert_eq!(ask("", vec![of("", "v1", "namespaces").expect("one")]).await, [(None, some("n"))]);
    drop(client);
    asker.stop().await;
}

#[tokio::test]
async fn a_deleted_object_comes_back_with_what_it_owned() {
    let asker = Asker::start().await;
    let meta = |name: &str, owner: Option<&Value>| match owner {
        None => json!({"name": name}),
        Some(owner) => json!({"name": name, "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap",
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": true}]}),
    };
    let map = |name: &str, owner: Option<&Value>| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(name, owner), "data": {"k": name}});
    let root = create(&asker, MAPS, map("root", None)).await;
    let child = create(&asker, MAPS, map("child", Some(&root))).await;
    create(&asker, MAPS, map("grandchild", Some(&child))).await;
    create(&asker, MAPS, map("other", None)).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta("pod", Some(&root)),
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    create(&asker, "/api/v1/namespaces/default/pods", pod).await;
    for name in ["root", "child", "grandchild"] {
        delete(&asker, &format!("{MAPS}/{name}")).await;
    }
    delete(&asker, "/api/v1/namespaces/default/pods/pod").await;

    let mut client = HistoryClient::new(asker.channel(asker.admin()).await);
    let wanted = |name: &str, dry_run| v1::UndeleteRequest {
        resource: of("", "v1", "configmaps"),
        namespace: "default".into(),
        name: name.into(),
        dry_run,
    };
    let dry = client.undelete(wanted("root", true)).await.expect("told").into_inner();
    assert_eq!(dry.objects.len(), 3);
    assert_eq!(asker.get(&format!("{MAPS}/root")).await.code, 404);
    let done = client.undelete(wanted("root", false)).await.expect("back").into_inner();
    let told: Vec<_> = done.objects.iter().map(|one| (one.name.as_str(), one.outcome())).collect();
    let back = UndeleteOutcome::Restored;
    assert_eq!(
        told,
        [("root", back), ("child", back), ("grandchild", back)],
        "a controller makes its pods itself"
    );
    let root = asker.get(&format!("{MAPS}/root")).await.json();
    let child = asker.get(&format!("{MAPS}/child")).await.json();
    assert_eq!((&root["data"]["k"], &child["data"]["k"]), (&json!("root"), &json!("child")));
    assert_eq!(child["metadata"]["ownerReferences"][0]["uid"], root["metadata"]["uid"], "to the new owner");
    let again = client.undelete(wanted("root", false)).await.expect_err("it is there");
    assert_eq!(again.code(), Code::Aborted);
    assert_eq!(
        client.undelete(wanted("never", false)).await.expect_err("it never was").code(),
        Code::NotFound
    );
    drop(client);
    asker.stop().await;
}

#[tokio::test]
async fn a_deleted_namespace_comes_back_with_what_was_in_it() {
    let asker = Asker::start().await;
    create(
        &asker,
        "/api/v1/namespaces",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}}}),
    )
    .await;
    let inside = "/api/v1/namespaces/shop";
    create(&asker, &format!("{inside}/configmaps"), config_map("a", "kept")).await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    let service = create(&asker, &format!("{inside}/services"), service).await;
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3,
        "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    create(&asker, "/apis/apps/v1/namespaces/shop/deployments", deployment).await;
    // As the namespace controller does it: marked, emptied, finalized.
    let marked = asker.with(Method::DELETE, inside, &[], "").await;
    assert_eq!(marked.code, 200);
    let mut client = HistoryClient::new(asker.channel(asker.admin()).await);
    let wanted = v1::UndeleteRequest {
        resource: of("", "v1", "namespaces"),
        name: "shop".into(),
        ..Default::default()
    };
    assert_eq!(client.undelete(wanted.clone()).await.expect_err("still going").code(), Code::Aborted);
    for path in [
        "/api/v1/namespaces/shop/configmaps/a",
        "/api/v1/namespaces/shop/services/web",
        "/apis/apps/v1/namespaces/shop/deployments/web",
    ] {
        delete(&asker, path).await;
    }
    let mut namespace = asker.get(inside).await.json();
    namespace["spec"]["finalizers"] = json!([]);
    let json_type = [("content-type", "application/json")];
    let finalized =
        asker.with(Method::PUT, &format!("{inside}/finalize"), &json_type, &namespace.to_string()).await;
    assert_eq!(finalized.code, 200, "{}", finalized.text());
    assert_eq!(asker.get(inside).await.code, 404);

    let done = client.undelete(wanted).await.expect("back").into_inner();
    assert!(done.objects.iter().all(|one| one.outcome() == UndeleteOutcome::Restored), "{done:?}");
    let back = asker.get(inside).await.json();
    assert_eq!((&back["metadata"]["labels"]["a"], &back["status"]["phase"]), (&json!("b"), &json!("Active")));
    assert_eq!(asker.get(&format!("{inside}/configmaps/a")).await.json()["data"]["k"], "kept");
    let web = asker.get(&format!("{inside}/services/web")).await.json();
    assert_eq!(web["spec"]["clusterIP"], service["spec"]["clusterIP"], "its address was free");
    let web = asker.get("/apis/apps/v1/namespaces/shop/deployments/web").await.json();
    assert_eq!(web["spec"]["replicas"], 3);
    drop(client);
    asker.stop().await;
}
