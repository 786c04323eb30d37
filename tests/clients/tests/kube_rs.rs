//! The kube crate at work: typed, dynamic, watching, applying.

use std::collections::BTreeMap;

use clients::Served;
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::metadata::PartialObjectMeta;
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::json;

async fn client(served: &Served) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(&served.kubeconfig()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"app": "test"}}, "data": {"k": value},
    }))
    .expect("a config map")
}

fn value(map: &ConfigMap) -> &str {
    map.data.as_ref().and_then(|data| data.get("k")).map(String::as_str).unwrap_or_default()
}

#[track_caller]
fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result.expect_err("it is refused") {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_made_changed_paged_and_deleted() {
    let served = Served::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(client(&served).await, "default");
    let made = maps.create(&PostParams::default(), &map("a", "1")).await.expect("created");
    assert!(!made.uid().unwrap_or_default().is_empty());
    assert_eq!(code(maps.create(&PostParams::default(), &map("a", "1")).await), 409);

    let merged = maps
        .patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}})))
        .await
        .expect("merged");
    assert_eq!(value(&merged), "2");
    let mut stale = made.clone();
    stale.data = Some(BTreeMap::from([("k".to_owned(), "3".to_owned())]));
    assert_eq!(code(maps.replace("a", &PostParams::default(), &stale).await), 409);
    stale.metadata.resource_version = merged.resource_version();
    assert_eq!(value(&maps.replace("a", &PostParams::default(), &stale).await.expect("replaced")), "3");

    for name in ["b", "c", "d", "e"] {
        maps.create(&PostParams::default(), &map(name, "1")).await.expect("created");
    }
    let mut names = Vec::new();
    let mut page = ListParams::default().labels("app=test").limit(2);
    loop {
        let list = maps.list(&page).await.expect("a page");
        names.extend(list.items.iter().map(ConfigMap::name_any));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);

    let metadata = maps.get_metadata("a").await.expect("its metadata");
    assert_eq!(metadata.labels().get("app").map(String::as_str), Some("test"));
    maps.delete("a", &DeleteParams::default()).await.expect("deleted");
    assert!(maps.get_opt("a").await.expect("an answer").is_none());
    let selected = ListParams::default().labels("app=test");
    maps.delete_collection(&DeleteParams::default(), &selected).await.expect("deleted");
    assert_eq!(maps.list(&selected).await.expect("a list").items.len(), 0);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appliers_own_what_they_apply() {
    let served = Served::start().await;
    let deployments: Api<Deployment> = Api::namespaced(client(&served).await, "default");
    let manifest = |replicas: i32| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": "nginx"}]},
                },
            },
        })
    };
    let apply = |manager: &str, replicas: i32| {
        let (parameters, patch) = (PatchParams::apply(manager), Patch::Apply(manifest(replicas)));
        let deployments = deployments.clone();
        async move { deployments.patch("web", &parameters, &patch).await }
    };
    apply("one", 1).await.expect("applied");
    assert_eq!(code(apply("two", 2).await), 409);
    let forced = deployments
        .patch("web", &PatchParams::apply("two").force(), &Patch::Apply(manifest(2)))
        .await
        .expect("taken over");
    assert_eq!(forced.spec.and_then(|spec| spec.replicas), Some(2));
    assert_eq!(code(apply("one", 1).await), 409);

    let scale = deployments.get_scale("web").await.expect("a scale");
    assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(2));
    let patch = Patch::Merge(json!({"spec": {"replicas": 5}}));
    deployments.patch_scale("web", &PatchParams::default(), &patch).await.expect("scaled");
    let status = Patch::Merge(json!({"status": {"replicas": 5}, "spec": {"replicas": 9}}));
    let patched = deployments.patch_status("web", &PatchParams::default(), &status).await.expect("a status");
    assert_eq!(patched.status.and_then(|status| status.replicas), Some(5));
    assert_eq!(patched.spec.and_then(|spec| spec.replicas), Some(5));
    served.stop().await;
}

/// Both ways to begin: a list in pages and then a watch, and a watch that begins with what there is.
#[tokio::test(flavor = "multi_thread")]
async fn an_informer_keeps_up() {
    let served = Served::start().await;
    let client = client(&served).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    for (round, config) in
        [watcher::Config::default().page_size(2), watcher::Config::default().streaming_lists()]
            .into_iter()
            .enumerate()
    {
        let label = format!("round={round}");
        let named = |name: &str, text: &str| {
            let mut map = map(&format!("{name}{round}"), text);
            map.labels_mut().insert("round".to_owned(), round.to_string());
            map
        };
        for name in ["a", "b", "c"] {
            maps.create(&PostParams::default(), &named(name, "1")).await.expect("created");
        }
        let (store, writer) = reflector::store();
        let changes = reflector::reflector(writer, watcher::watcher(maps.clone(), config.labels(&label)));
        let mut changes = std::pin::pin!(changes);
        let mut next = async || changes.next().await.expect("it goes on").expect("no error");
        while !matches!(next().await, Event::InitDone) {}
        assert_eq!(store.state().len(), 3);

        maps.create(&PostParams::default(), &named("d", "1")).await.expect("created");
        assert!(matches!(next().await, Event::Apply(map) if map.name_any().starts_with('d')));
        let patch = Patch::Merge(json!({"data": {"k": "2"}}));
        maps.patch(&format!("a{round}"), &PatchParams::default(), &patch).await.expect("patched");
        assert!(matches!(next().await, Event::Apply(map) if value(&map) == "2"));
        // It no longer matches: for this watcher it is gone.
        let patch = Patch::Merge(json!({"metadata": {"labels": {"round": "none"}}}));
        maps.patch(&format!("b{round}"), &PatchParams::default(), &patch).await.expect("patched");
        assert!(matches!(next().await, Event::Delete(map) if map.name_any().starts_with('b')));
        maps.delete(&format!("c{round}"), &DeleteParams::default()).await.expect("deleted");
        assert!(matches!(next().await, Event::Delete(map) if map.name_any().starts_with('c')));
        let mut names: Vec<String> = store.state().iter().map(|map| map.name_any()).collect();
        names.sort();
        assert_eq!(names, [format!("a{round}"), format!("d{round}")]);
        assert!(store.get(&ObjectRef::new(&format!("a{round}")).within("default")).is_some());
    }
    let metadata: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client, "default");
    let seen: Vec<PartialObjectMeta<ConfigMap>> =
        watcher::watcher(metadata, watcher::Config::default().streaming_lists().labels("app=test"))
            .try_take_while(|event| std::future::ready(Ok(!matches!(event, Event::InitDone))))
            .try_filter_map(|event| {
                std::future::ready(Ok(match event {
                    Event::InitApply(object) => Some(object),
                    _ => None,
                }))
            })
            .try_collect()
            .await
            .expect("no error");
    assert_eq!(seen.len(), 6);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discovered_can_be_used_without_types() {
    let served = Served::start().await;
    let client = client(&served).await;
    let discovery = Discovery::new(client.clone()).run_aggregated().await.expect("discovered");
    let mut listed = 0;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if capabilities.supports_operation(verbs::LIST) {
                let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
                let list = api.list(&ListParams::default().limit(1)).await;
                list.unwrap_or_else(|error| panic!("{} {}: {error}", resource.api_version, resource.plural));
                listed += 1;
            }
            assert!(matches!(capabilities.scope, Scope::Cluster | Scope::Namespaced));
        }
    }
    assert!(listed > 50, "{listed}");

    let definitions = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
    ));
    let definitions: Api<DynamicObject> = Api::all_with(client.clone(), &definitions);
    let definition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.sea.example"},
        "spec": {
            "group": "sea.example", "scope": "Namespaced",
            "names": {"plural": "boats", "kind": "Boat"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "rowers": {"type": "integer", "minimum": 1},
                }}},
            }}}],
        },
    }))
    .expect("a definition");
    definitions.create(&PostParams::default(), &definition).await.expect("defined");
    let boats = ApiResource::from_gvk(&GroupVersionKind::gvk("sea.example", "v1", "Boat"));
    let all: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &boats);
    let boat = |rowers: i64| DynamicObject::new("eight", &boats).data(json!({"spec": {"rowers": rowers}}));
    assert_eq!(code(all.create(&PostParams::default(), &boat(0)).await), 422);
    let made = all.create(&PostParams::default(), &boat(8)).await.expect("created");
    assert_eq!(made.data["spec"]["rowers"], 8);

    let namespaces: Api<Namespace> = Api::all(client);
    assert!(namespaces.get("default").await.is_ok());
    served.stop().await;
}
