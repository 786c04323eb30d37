//! Custom resources whose versions a webhook converts: a server of the test's own that splits one field into two, and
//! one that hangs, breaks objects, or is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apiserver::pipeline::{
    DeleteOptions, ListOptions, PatchType, WatchEventType, WatchOptions, WriteOptions, render,
};
use apiserver::testing::https::{Answer, Https};
use apiserver::webhook::Allowed;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::{Server, body};

const DEFINITIONS: &str = "apiextensions.k8s.io/v1/customresourcedefinitions";
const V1: &str = "example.com/v1/ports";
const V2: &str = "example.com/v2/ports";

/// What the webhook does now.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Renames,
    Loses,
    Fails,
}

struct Hook {
    https: Https,
    asked: Arc<AtomicUsize>,
    mood: Arc<Mutex<Mood>>,
}

/// `v1` has `spec.hostPort: "h:1"`, `v2` has `spec.host` and `spec.port`.
fn converted(mut object: Value, desired: &str) -> Value {
    let spec = object["spec"].take();
    object["apiVersion"] = desired.into();
    object["spec"] = match desired {
        "example.com/v2" => {
            let (host, port) =
                spec["hostPort"].as_str().and_then(|text| text.split_once(':')).unwrap_or_default();
            json!({"host": host, "port": port})
        }
        _ => json!({"hostPort": format!("{}:{}", spec["host"].as_str().unwrap_or_default(),
            spec["port"].as_str().unwrap_or_default())}),
    };
    object["metadata"]["annotations"]["converted"] = desired.into();
    object
}

async fn answer(request: Request<Incoming>, mood: Mood, version: &'static str) -> Answer {
    let question = request.collect().await.expect("a body").to_bytes();
    let question: Value = serde_json::from_slice(&question).expect("a question");
    assert_eq!(question["apiVersion"], format!("apiextensions.k8s.io/{version}"));
    let request = &question["request"];
    let desired = request["desiredAPIVersion"].as_str().expect("a version");
    let mut objects: Vec<Value> = request["objects"]
        .as_array()
        .expect("objects")
        .iter()
        .map(|object| converted(object.clone(), desired))
        .collect();
    let mut result = json!({"status": "Success"});
    match mood {
        Mood::Well => {}
        Mood::Renames => objects[0]["metadata"]["name"] = "other".into(),
        Mood::Loses => objects.clear(),
        Mood::Fails => result = json!({"status": "Failure", "message": "not today"}),
    }
    let review = json!({"kind": "ConversionReview", "apiVersion": question["apiVersion"],
        "response": {"uid": request["uid"], "result": result, "convertedObjects": objects}});
    let body = Full::new(Bytes::from(review.to_string())).map_err(|never| match never {});
    Response::new(body.boxed_unsync())
}

impl Hook {
    async fn start(version: &'static str) -> Self {
        let (asked, mood) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Mood::Well)));
        let (counted, now) = (asked.clone(), mood.clone());
        let https = Https::start(&[], None, move |request, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            let mood = *now.lock();
            answer(request, mood, version)
        });
        Self { https: https.await.expect("a server"), asked, mood }
    }

    fn definition(&self, version: &str) -> Value {
        let text = json!({"type": "string"});
        let served = |name: &str, is_stored: bool, properties: Value, selectable: &str| {
            let spec = json!({"type": "object", "properties": properties});
            let schema = json!({"type": "object", "properties": {"spec": spec}});
            json!({"name": name, "served": true, "storage": is_stored, "schema": {"openAPIV3Schema": schema},
                "selectableFields": [{"jsonPath": selectable}]})
        };
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "ports.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": "ports", "kind": "Port", "listKind": "PortList", "singular": "port"},
                "versions": [
                    served("v1", true, json!({"hostPort": text}), ".spec.hostPort"),
                    served("v2", false, json!({"host": text, "port": text}), ".spec.host"),
                ],
                "conversion": {"strategy": "Webhook", "webhook": {
                    "conversionReviewVersions": [version],
                    "clientConfig": {"url": format!("https://{}/convert", self.https.address),
                        "caBundle": self.https.authority},
                }},
            },
        })
    }
}

async fn served(version: &'static str) -> (Server, Hook) {
    let (server, hook) = (Server::bare().await, Hook::start(version).await);
    server.pipeline.allow_webhooks(Allowed { loopback: true, networks: Vec::new() });
    server.create(DEFINITIONS, hook.definition(version)).await.expect("defined");
    (server, hook)
}

fn port(version: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Port", "metadata": {"name": name}, "spec": spec})
}

fn stored(server: &Server, name: &str) -> Value {
    let snapshot = server.pipeline.store().snapshot();
    let key = store::Key::new(&store::Bucket::from("ports.example.com"), "default", name);
    serde_json::from_slice(&snapshot.get(&key).expect("stored").value).expect("JSON")
}

#[tokio::test]
async fn every_verb_speaks_the_version_that_it_is_asked_in() {
    for version in ["v1", "v1beta1"] {
        let (server, hook) = served(version).await;
        let made = server.create(V2, port("v2", "a", json!({"host": "h", "port": "1"}))).await.expect("made");
        assert_eq!(made["spec"], json!({"host": "h", "port": "1"}));
        assert_eq!(made["apiVersion"], "example.com/v2");
        assert_eq!(stored(&server, "a")["spec"], json!({"hostPort": "h:1"}));
        assert_eq!(stored(&server, "a")["apiVersion"], "example.com/v1");
        let before = hook.asked.load(Ordering::Relaxed);
        let read = server.get(V1, "a").await.expect("read");
        assert_eq!(read["spec"]["hostPort"], "h:1");
        assert_eq!(hook.asked.load(Ordering::Relaxed), before, "what is stored so is not converted");
        assert_eq!(server.get(V2, "a").await.expect("read")["spec"]["port"], "1");

        let patched = server.merge(V2, "a", json!({"spec": {"port": "2"}})).await.expect("patched");
        assert_eq!(patched["spec"], json!({"host": "h", "port": "2"}));
        assert_eq!(patched["metadata"]["generation"], 2);
        assert_eq!(stored(&server, "a")["spec"]["hostPort"], "h:2");
        let mut changed = server.get(V2, "a").await.expect("read");
        changed["spec"]["host"] = "g".into();
        assert_eq!(server.update(V2, &changed).await.expect("updated")["spec"]["host"], "g");
        assert_eq!(stored(&server, "a")["spec"]["hostPort"], "g:2");

        let target = server.target(V2, Some("b"));
        let options = WriteOptions { field_manager: "me".to_owned(), ..WriteOptions::default() };
        let document = body(&port("v2", "b", json!({"host": "x", "port": "9"})));
        let applied =
            server.pipeline.patch(&server.context, &target, PatchType::Apply, document, &options).await;
        assert!(applied.expect("applied").created);
        assert_eq!(stored(&server, "b")["spec"]["hostPort"], "x:9");
        server.delete(V2, "b", &DeleteOptions::default()).await.expect("deleted");
        assert_eq!(server.names(V2, &ListOptions::default()).await.expect("names"), ["a"]);
        hook.https.stop();
    }
}

#[tokio::test]
async fn a_list_is_one_question_and_selects_by_what_it_shows() {
    let (server, hook) = served("v1").await;
    for (name, place) in [("a", "h:1"), ("b", "g:2"), ("c", "h:3")] {
        server.create(V1, port("v1", name, json!({"hostPort": place}))).await.expect("made");
    }
    assert_eq!(hook.asked.load(Ordering::Relaxed), 0);
    let target = server.target(V2, None);
    let list = server.pipeline.list(&server.context, &target, &ListOptions::default()).await.expect("a list");
    let shown: Vec<Value> = list
        .entries
        .iter()
        .map(|entry| serde_json::from_slice(&render(&list.def, entry)).expect("JSON"))
        .collect();
    assert_eq!(shown[1]["spec"], json!({"host": "g", "port": "2"}));
    assert_eq!(shown[1]["metadata"]["annotations"]["converted"], "example.com/v2");
    assert_eq!(hook.asked.load(Ordering::Relaxed), 1);
    let options = ListOptions { field_selector: "spec.host=h".to_owned(), ..ListOptions::default() };
    assert_eq!(server.names(V2, &options).await.expect("names"), ["a", "c"]);
    let page = ListOptions { limit: 1, ..options };
    let first = server.pipeline.list(&server.context, &target, &page).await.expect("a page");
    assert_eq!((first.entries.len(), first.remaining), (1, None));
    let rest = ListOptions { continue_token: first.continue_token.expect("more"), ..page };
    assert_eq!(server.names(V2, &rest).await.expect("names"), ["c"]);
    hook.https.stop();
}

#[tokio::test]
async fn watchers_see_their_own_version() {
    let (server, hook) = served("v1").await;
    server.create(V1, port("v1", "a", json!({"hostPort": "h:1"}))).await.expect("made");
    let options = WatchOptions { field_selector: "spec.host=h".to_owned(), ..WatchOptions::default() };
    let target = server.target(V2, None);
    let mut watch = server.pipeline.watch(&server.context, &target, &options).expect("a watch");
    for (change, expected) in [
        (None, (WatchEventType::Added, json!({"host": "h", "port": "1"}))),
        (Some("h:2"), (WatchEventType::Modified, json!({"host": "h", "port": "2"}))),
        (Some("g:2"), (WatchEventType::Deleted, json!({"host": "h", "port": "2"}))),
        (Some("h:3"), (WatchEventType::Added, json!({"host": "h", "port": "3"}))),
    ] {
        if let Some(place) = change {
            server.merge(V1, "a", json!({"spec": {"hostPort": place}})).await.expect("patched");
        }
        let item = watch.next().await.expect("an item").expect("an event");
        let object: Value = serde_json::from_slice(&item.object).expect("JSON");
        assert_eq!((item.kind, object["spec"].clone()), expected);
        assert_eq!(object["apiVersion"], "example.com/v2");
    }
    *hook.mood.lock() = Mood::Fails;
    server.merge(V1, "a", json!({"spec": {"hostPort": "h:4"}})).await.expect("patched");
    let status = watch.next().await.expect("an item").expect_err("an error");
    assert!(status.message.ends_with("not today"), "{}", status.message);
    assert!(watch.next().await.is_none());
    hook.https.stop();
}

#[tokio::test]
async fn what_a_webhook_breaks_is_told_and_not_stored() {
    let (server, hook) = served("v1").await;
    server.create(V1, port("v1", "a", json!({"hostPort": "h:1"}))).await.expect("made");
    let one = "conversion for example.com/v1, Kind=Port";
    for (mood, told) in [
        (
            Mood::Renames,
            format!(
                "{one} returned invalid converted object at index 0: must have the same name: a != other"
            ),
        ),
        (Mood::Loses, format!("{one} returned 0 objects, expected 1")),
        (Mood::Fails, format!("{one} failed: conversion webhook for /, Kind= failed: not today")),
    ] {
        *hook.mood.lock() = mood;
        let status = server.get(V2, "a").await.expect_err("an error");
        assert_eq!((status.message, status.code, status.reason), (told, 500, None));
        let patch = server.merge(V2, "a", json!({"spec": {"port": "7"}})).await;
        assert_eq!(patch.expect_err("an error").code, 500);
    }
    let created = server.create(V2, port("v2", "b", json!({"host": "h", "port": "1"}))).await;
    assert!(
        created.expect_err("an error").message.contains("conversion for example.com/v2, Kind=Port failed")
    );
    assert_eq!(server.names(V1, &ListOptions::default()).await.expect("names"), ["a"]);
    assert_eq!(stored(&server, "a")["spec"]["hostPort"], "h:1");
    hook.https.stop();
    let status = server.get(V2, "a").await.expect_err("an error");
    assert!(status.message.contains("/convert?timeout=30s\": "), "{}", status.message);
}

#[tokio::test]
async fn objects_of_an_earlier_storage_version_are_converted_too() {
    let (server, hook) = served("v1").await;
    server.create(V1, port("v1", "a", json!({"hostPort": "h:1"}))).await.expect("made");
    let mut definition = server.get(DEFINITIONS, "ports.example.com").await.expect("the definition");
    definition["spec"]["versions"][0]["storage"] = false.into();
    definition["spec"]["versions"][1]["storage"] = true.into();
    server.update(DEFINITIONS, &definition).await.expect("updated");
    assert_eq!(stored(&server, "a")["apiVersion"], "example.com/v1");
    assert_eq!(server.get(V2, "a").await.expect("read")["spec"], json!({"host": "h", "port": "1"}));
    assert_eq!(server.get(V1, "a").await.expect("read")["spec"]["hostPort"], "h:1");
    server.merge(V1, "a", json!({"spec": {"hostPort": "h:2"}})).await.expect("patched");
    assert_eq!(stored(&server, "a")["spec"], json!({"host": "h", "port": "2"}));
    hook.https.stop();
}
