//! The documents beside those of a real server: equal for every resource that both have.

use std::path::PathBuf;

use serde_json::Value;

use super::*;

fn discovery() -> Discovery {
    Discovery::new(api::registry::registry(), &Remotes::default(), "127.0.0.1:6443".parse().unwrap())
}

fn value(document: &Document) -> Value {
    serde_json::from_slice(&document.bytes).unwrap()
}

/// The reference, where this machine has it.
fn reference(file: &str) -> Option<Value> {
    let root = std::env::var_os("COXSWAIN_REFERENCE")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference"));
    match std::fs::read(root.join("discovery").join(file)) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(_) => {
            eprintln!("skipped: no reference at {}", root.display());
            None
        }
    }
}

#[test]
fn resources_are_described_as_in_the_reference() {
    let discovery = discovery();
    for own in api::registry::registry().group_versions() {
        let file = if own.group.is_empty() {
            "api__v1.json".to_owned()
        } else {
            format!("apis__{}__{}.json", own.group, own.version)
        };
        let Some(expected) = reference(&file) else { continue };
        let own = value(discovery.resources(&own.group, &own.version).expect("a document"));
        for resource in own["resources"].as_array().expect("resources") {
            let theirs = expected["resources"].as_array().expect("resources");
            if let Some(theirs) = theirs.iter().find(|theirs| theirs["name"] == resource["name"]) {
                assert_eq!(resource, theirs);
            }
        }
        assert_eq!(own["apiVersion"], expected["apiVersion"], "{file}");
    }
}

#[test]
fn the_aggregated_document_is_as_in_the_reference() {
    let Some(expected) = reference("aggregated_v2.json") else { return };
    let own = value(discovery().aggregated(false, Aggregated::V2));
    let mut compared = 0;
    for group in expected["items"].as_array().expect("items") {
        for version in group["versions"].as_array().expect("versions") {
            let own = own["items"].as_array().expect("items").iter();
            let versions = own
                .filter(|own| own["metadata"]["name"] == group["metadata"]["name"])
                .filter_map(|own| own["versions"].as_array())
                .flatten();
            let Some(own) = versions.into_iter().find(|own| own["version"] == version["version"]) else {
                continue;
            };
            for resource in own["resources"].as_array().expect("resources") {
                let theirs = version["resources"].as_array().expect("resources").iter();
                for theirs in theirs.filter(|theirs| theirs["resource"] == resource["resource"]) {
                    assert_eq!(resource, theirs);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 40, "{compared}");
}

#[test]
fn the_preferred_version_of_a_group_is_never_a_deprecated_one() {
    let groups = value(discovery().legacy(false));
    let mut found = false;
    for group in groups["groups"].as_array().expect("groups") {
        if group["name"] == "apps" {
            found = true;
            assert_eq!(group["preferredVersion"]["groupVersion"], "apps/v1");
            assert_eq!(group["versions"].as_array().map(Vec::len), Some(3));
        }
    }
    assert!(found);
    assert_eq!(value(discovery().legacy(true))["versions"], serde_json::json!(["v1"]));
    assert!(discovery().group("apps").is_some() && discovery().group("nope").is_none());
}

#[test]
fn documents_that_differ_have_etags_that_differ() {
    let discovery = discovery();
    let v2 = discovery.aggregated(true, Aggregated::V2);
    assert_ne!(v2.etag, discovery.aggregated(true, Aggregated::V2Beta1).etag);
    assert_eq!(v2.etag.len(), 66);
}
