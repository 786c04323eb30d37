//! Custom resources over REST, from their definition to their end.

use http::Method;
use serde_json::json;

use super::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {
            "type": "object", "required": ["size"],
            "x-kubernetes-validations": [
                {"rule": "!has(self.replicas) || self.replicas <= 10", "message": "too many"},
                {"rule": "self.size == oldSelf.size", "message": "is for ever"},
            ],
            "properties": {
                "size": {"type": "string", "enum": ["s", "m"], "default": "m"},
                "replicas": {"type": "integer", "minimum": 0},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            },
        },
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
    }})
}

fn definition() -> Value {
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    let column = json!({"name": "Size", "type": "string", "jsonPath": ".spec.size"});
    let names = json!({"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]});
    let version = |name: &str, is_first: bool| {
        json!({
            "name": name, "served": true, "storage": is_first, "deprecated": !is_first,
            "schema": {"openAPIV3Schema": schema()}, "subresources": {"status": {}, "scale": scale},
            "additionalPrinterColumns": [column], "selectableFields": [{"jsonPath": ".spec.size"}],
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "names": names, "scope": "Namespaced",
            "versions": [version("v1", true), version("v1alpha1", false)]},
    })
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

async fn defined() -> Asker {
    let asker = Asker::start().await;
    let created = asker.post(DEFINITIONS, &definition()).await;
    assert_eq!(created.code, 201, "{}", created.text());
    asker
}

#[tokio::test]
async fn a_definition_is_served_at_once() {
    let asker = Asker::start().await;
    assert_eq!(asker.get(WIDGETS).await.text(), "404 page not found\n");
    let created = asker.post(DEFINITIONS, &definition()).await.json();
    assert_eq!(created["status"]["storedVersions"], json!(["v1"]));
    let stored = asker.get(&format!("{DEFINITIONS}/widgets.example.com")).await.json();
    let conditions = stored["status"]["conditions"].as_array().expect("conditions");
    for ty in ["NamesAccepted", "Established"] {
        assert!(conditions.iter().any(|own| own["type"] == ty && own["status"] == "True"), "{conditions:?}");
    }
    let resources = asker.get("/apis/example.com/v1").await.json();
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wd"]));
    assert_eq!(resources["resources"].as_array().map(Vec::len), Some(3));
    let groups = asker.get("/apis").await.json();
    let groups = groups["groups"].as_array().expect("groups");
    let own = groups.iter().find(|group| group["name"] == "example.com").expect("the group");
    assert_eq!(own["preferredVersion"]["version"], "v1");
    let document = asker.get("/openapi/v3/apis/example.com/v1").await.json();
    let widget = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(widget["properties"]["spec"]["properties"]["size"]["default"], "m");
    let patch = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"];
    let content = patch["requestBody"]["content"].as_object().expect("media types");
    assert!(!content.contains_key("application/strategic-merge-patch+json"), "{content:?}");
    asker.stop().await;
}

#[tokio::test]
async fn objects_are_pruned_filled_in_and_validated() {
    let asker = defined().await;
    let created = asker.post(WIDGETS, &widget("a", json!({"bogus": 1, "tags": ["x"]}))).await;
    assert_eq!(created.json()["spec"], json!({"tags": ["x"], "size": "m"}), "{}", created.text());
    assert!(
        created.header("warning").contains("unknown field \\\"spec.bogus\\\""),
        "{}",
        created.header("warning")
    );
    for (spec, told) in [
        (json!({"replicas": 50}), "spec: Invalid value: \"object\": too many"),
        (json!({"size": "xl"}), "spec.size: Unsupported value: \"xl\": supported values: \"s\", \"m\""),
        (json!({"tags": ["a", "a"]}), "spec.tags[1]: Duplicate value: \"a\""),
    ] {
        let refused = asker.post(WIDGETS, &widget("b", spec)).await;
        assert_eq!(refused.code, 422);
        assert!(refused.text().contains(&told.replace('"', "\\\"")), "{}", refused.text());
    }
    let changed = |patch: &'static str| {
        asker.with(Method::PATCH, "/apis/example.com/v1/namespaces/default/widgets/a", &[MERGE], patch)
    };
    assert!(changed(r#"{"spec":{"size":"s"}}"#).await.text().contains("is for ever"));
    let updated = changed(r#"{"spec":{"replicas":2},"status":{"replicas":9}}"#).await.json();
    assert_eq!((&updated["metadata"]["generation"], updated.get("status")), (&json!(2), None));
    asker.stop().await;
}

#[tokio::test]
async fn objects_are_shown_selected_and_scaled_by_their_definition() {
    let asker = defined().await;
    for (name, size) in [("a", "s"), ("b", "m")] {
        asker.post(WIDGETS, &widget(name, json!({"size": size, "replicas": 1}))).await;
    }
    let table = asker.accept(WIDGETS, "application/json;as=Table;v=v1;g=meta.k8s.io").await.json();
    assert_eq!(
        (&table["columnDefinitions"][1]["name"], &table["rows"][0]["cells"]),
        (&json!("Size"), &json!(["a", "s"]))
    );
    let selected = asker.get(&format!("{WIDGETS}?fieldSelector=spec.size%3Dm")).await.json();
    assert_eq!(
        (selected["items"].as_array().map(Vec::len), &selected["items"][0]["metadata"]["name"]),
        (Some(1), &json!("b"))
    );
    assert_eq!(asker.get(&format!("{WIDGETS}?fieldSelector=spec.bogus%3Dm")).await.code, 400);
    let scale = format!("{WIDGETS}/a/scale");
    let scaled = asker.with(Method::PATCH, &scale, &[MERGE], r#"{"spec":{"replicas":7}}"#).await;
    assert_eq!(scaled.json()["spec"]["replicas"], 7, "{}", scaled.text());
    let status = asker
        .with(
            Method::PATCH,
            &format!("{WIDGETS}/a/status"),
            &[MERGE],
            r#"{"status":{"replicas":3},"spec":{"replicas":0}}"#,
        )
        .await;
    assert_eq!(
        (&status.json()["spec"]["replicas"], &status.json()["status"]["replicas"]),
        (&json!(7), &json!(3))
    );
    let old = asker.get("/apis/example.com/v1alpha1/namespaces/default/widgets/a").await;
    assert_eq!(old.json()["apiVersion"], "example.com/v1alpha1");
    assert!(
        old.header("warning")
            .contains("example.com/v1alpha1 Widget is deprecated; use example.com/v1 Widget")
    );
    asker.stop().await;
}

#[tokio::test]
async fn a_definition_that_goes_takes_its_objects_along() {
    let asker = defined().await;
    let mut kept = widget("kept", json!({}));
    kept["metadata"]["finalizers"] = json!(["example.com/wait"]);
    asker.post(WIDGETS, &kept).await;
    asker.post(WIDGETS, &widget("a", json!({}))).await;
    let place = format!("{DEFINITIONS}/widgets.example.com");
    let deleted = asker.with(Method::DELETE, &place, &[], "").await.json();
    assert_eq!(deleted["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(asker.get(&format!("{WIDGETS}/a")).await.code, 404);
    let refused = asker.post(WIDGETS, &widget("b", json!({}))).await;
    assert_eq!(
        (refused.code.as_u16(), &refused.json()["message"]),
        (405, &json!("create not permitted while CustomResourceDefinition is terminating"))
    );
    let freed = asker
        .with(Method::PATCH, &format!("{WIDGETS}/kept"), &[MERGE], r#"{"metadata":{"finalizers":null}}"#)
        .await;
    assert_eq!(freed.code, 200, "{}", freed.text());
    assert_eq!(asker.get(&place).await.code, 404);
    assert_eq!(asker.get(WIDGETS).await.text(), "404 page not found\n");
    asker.stop().await;
}

#[tokio::test]
async fn a_watch_ends_with_the_definition_of_what_it_shows() {
    let asker = defined().await;
    asker.post(WIDGETS, &widget("a", json!({}))).await;
    let watched = request(Method::GET, &format!("{WIDGETS}?watch=true"), &[], "");
    let mut body = asker.open(asker.admin(), watched).await.into_body();
    let first = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
    assert!(String::from_utf8_lossy(&first).contains("ADDED"));
    // What is said of the definition does not concern those who watch its objects; that it goes, does.
    let place = format!("{DEFINITIONS}/widgets.example.com");
    asker.with(Method::PATCH, &place, &[MERGE], r#"{"metadata":{"labels":{"a":"b"}}}"#).await;
    asker.with(Method::DELETE, &place, &[], "").await;
    let rest = body.collect().await.expect("the end").to_bytes();
    assert!(String::from_utf8_lossy(&rest).contains("DELETED"));
    asker.stop().await;
}

#[tokio::test]
async fn where_the_webhook_cannot_be_asked_only_the_stored_version_is_served() {
    let asker = Asker::start().await;
    let mut definition = definition();
    // Services have no endpoints here.
    let config = json!({"service": {"namespace": "default", "name": "convert"}});
    definition["spec"]["conversion"] = json!({"strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": config}});
    assert_eq!(asker.post(DEFINITIONS, &definition).await.code, 201);
    assert_eq!(asker.post(WIDGETS, &widget("a", json!({}))).await.code, 201);
    let other = asker.get("/apis/example.com/v1alpha1/namespaces/default/widgets/a").await;
    assert_eq!(other.code, 500);
    assert_eq!(
        other.json()["message"],
        "conversion for example.com/v1, Kind=Widget failed: conversion webhook for /, Kind= failed: service \"convert\" not found"
    );
    let stored = asker.get("/apis/example.com/v1/namespaces/default/widgets/a").await;
    assert_eq!(stored.json()["spec"]["size"], "m", "{}", stored.text());
    asker.stop().await;
}

#[tokio::test]
async fn a_definition_that_makes_no_sense_is_refused() {
    let asker = Asker::start().await;
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    for (change, told) in [
        (json!({"x-kubernetes-validations": [{"rule": "self.none > 1"}]}), "undefined field 'none'"),
        (
            json!({"properties": {"a": {}}}),
            "properties[a].type: Required value: must not be empty for specified object fields",
        ),
    ] {
        let mut definition = definition();
        let place = definition.pointer_mut(schema).and_then(Value::as_object_mut).expect("the schema");
        place.extend(change.as_object().cloned().expect("an object"));
        let refused = asker.post(DEFINITIONS, &definition).await;
        assert_eq!(refused.code, 422);
        assert!(refused.text().contains(told), "{}", refused.text());
    }
    asker.stop().await;
}
