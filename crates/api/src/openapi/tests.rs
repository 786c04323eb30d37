//! What clients look for in the documents.

use serde_json::json;

use super::*;
use crate::registry::registry;

fn v3(group: &str, version: &str) -> Value {
    let group_version = GroupVersion { group: group.to_owned(), version: version.to_owned() };
    document_v3(registry(), &group_version).expect("a document")
}

/// Every reference of a document leads to a definition.
fn dangling(document: &Value, root: &Value) -> Vec<String> {
    let mut open = vec![document];
    let mut lost = Vec::new();
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref")
                    && root.pointer(target.trim_start_matches('#')).is_none()
                {
                    lost.push(target.clone());
                }
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    lost
}

#[test]
fn every_reference_leads_somewhere() {
    for group_version in registry().group_versions() {
        let document = document_v3(registry(), &group_version).expect("a document");
        assert_eq!(dangling(&document, &document), Vec::<String>::new(), "{group_version}");
    }
    let document = document_v2(registry());
    assert_eq!(dangling(&document, &document), Vec::<String>::new());
}

#[test]
fn a_patch_tells_its_kind_and_its_parameters() {
    let document = v3("apps", "v1");
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    let names: Vec<&str> = patch["parameters"]
        .as_array()
        .expect("parameters")
        .iter()
        .filter_map(|p| p["name"].as_str())
        .collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
}

#[test]
fn a_field_tells_how_it_merges() {
    let document = v3("", "v1");
    let spec = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"];
    assert_eq!(spec["required"], json!(["containers"]));
    let containers = &spec["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(spec["properties"]["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
}

#[test]
fn the_index_names_every_document() {
    let index = index_v3(registry());
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("an address");
    assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="), "{url}");
    assert!(index["paths"]["api/v1"].is_object());
}

#[test]
fn the_protobuf_form_holds_names_and_extensions() {
    let document = json!({"swagger": "2.0", "info": {"title": "K"}, "paths": {},
        "definitions": {"a.B": {"type": "object", "x-kind": [1]}}});
    let bytes = to_protobuf(&document);
    let expected: &[u8] = b"\x0a\x032.0\x12\x03\x0a\x01K\x42\x00\x4a\x26\x0a\x24\x0a\x03a.B\x12\x1d\xb2\x01\x08\x0a\x06object\xfa\x01\x0f\x0a\x06x-kind\x12\x05\x12\x03[1]";
    assert_eq!(bytes, expected);
    assert!(to_protobuf(&document_v2(registry())).len() > 100_000);
}

#[test]
fn types_and_fields_are_described() {
    let schemas = &v3("", "v1")["components"]["schemas"];
    let text = |value: &Value| value["description"].as_str().unwrap_or_default().to_owned();
    let pod = &schemas["io.k8s.api.core.v1.Pod"];
    let spec = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
    for (value, part) in [
        (pod, "collection of containers"),
        (&pod["properties"]["apiVersion"], "group and version"),
        (&spec["containers"], "containers belonging to the pod"),
        (&schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["clusterIP"], "IP address"),
        (&schemas["io.k8s.apimachinery.pkg.apis.meta.v1.Time"], "time"),
    ] {
        assert!(text(value).contains(part), "{value}");
    }
    let old = v3("extensions", "v1beta1");
    let old = &old["components"]["schemas"]["io.k8s.api.extensions.v1beta1.DeploymentSpec"]["properties"];
    assert!(text(&old["replicas"]).contains("pods"), "{old}");
    assert!(!text(&schemas["io.k8s.apimachinery.pkg.apis.meta.v1.Status"]["properties"]["code"]).is_empty());
    let two = document_v2(registry());
    assert_eq!(
        text(&two["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]),
        text(&spec["containers"])
    );
}

/// As `kubectl explain --recursive` walks: every kind that can be had is found by its group, version and kind, and so
/// is everything below it.
#[test]
fn every_kind_can_be_explained() {
    let mut silent = Vec::new();
    for group_version in registry().group_versions() {
        let document = document_v3(registry(), &group_version).expect("a document");
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        for def in registry().resources(&group_version.group, &group_version.version) {
            let wanted = json!({"group": def.group, "version": def.version, "kind": def.kind});
            let is_it = |schema: &&Value| {
                schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|all| all.contains(&wanted))
            };
            let mut found = schemas.values().filter(is_it);
            let schema = found.next().unwrap_or_else(|| panic!("{wanted}"));
            assert!(found.next().is_none(), "{wanted} is said of two");
            assert_eq!(schema["type"], "object", "{wanted}");
            let properties = schema["properties"].as_object().expect("properties");
            silent.extend(
                properties
                    .iter()
                    .filter(|(_, property)| property.get("description").is_none())
                    .map(|(name, _)| format!("{}.{name}", def.qualified())),
            );
        }
        for (name, schema) in schemas {
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                let forms = ["type", "$ref", "allOf", "oneOf", "anyOf"];
                let has_form = forms.iter().any(|form| property.get(form).is_some());
                let is_any = property.as_object().is_some_and(|all| all.is_empty());
                assert!(has_form || is_any, "{name}.{field}: {property}");
                assert_eq!(property["type"] == "array", property.get("items").is_some(), "{name}.{field}");
            }
        }
    }
    assert_eq!(silent, Vec::<String>::new());
}
