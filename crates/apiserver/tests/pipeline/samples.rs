//! Every kind with every field set goes through the pipeline: no field is unknown, nothing is lost, nothing fails.
//!
//! The samples are not part of this repository: without them the test says so and passes.

use apiserver::pipeline::{PatchType, WriteOptions};
use serde_json::Value;

use crate::harness::{Server, body, json_of};
use crate::recorded::reference;

/// The paths of `left` that `right` does not have.
fn lost(path: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            for (name, value) in left {
                match right.get(name) {
                    Some(other) => lost(&format!("{path}.{name}"), value, other, found),
                    None => found.push(format!("{path}.{name}")),
                }
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                lost(&format!("{path}[{index}]"), left, right, found);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_kind_with_every_field_is_taken_or_refused_with_reasons() {
    let Some(folder) = reference("encodings") else {
        println!("skipped: the samples are not here (set COXSWAIN_REFERENCE)");
        return;
    };
    let server = Server::bare().await;
    let mut taken = 0;
    let mut refused = 0;
    for file in std::fs::read_dir(folder).expect("the samples").flatten() {
        let path = file.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let mut document: Value =
            serde_json::from_slice(&std::fs::read(&path).expect("a sample")).expect("JSON");
        let api_version = document["apiVersion"].as_str().unwrap_or_default().to_owned();
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let kind = document["kind"].as_str().unwrap_or_default().to_owned();
        let Some(def) = server.pipeline.registry().kind(group, version, &kind) else { continue };
        if !def.has_verb("create") || !def.has_verb("get") {
            continue;
        }
        let metadata = document["metadata"].as_object_mut().expect("metadata");
        metadata.retain(|name, _| matches!(name.as_str(), "labels" | "annotations"));
        metadata.insert("name".to_owned(), "sample".into());
        let target = server.target(&format!("{api_version}/{}", def.plural), None);
        let options = WriteOptions { dry_run: true, ..WriteOptions::default() };
        match server.pipeline.create(&server.context, &target, body(&document), &options).await {
            Ok(made) => {
                taken += 1;
                assert_eq!(made.object.warnings, [""; 0], "{api_version} {kind}");
                let mut missing: Vec<String> = Vec::new();
                let answer = json_of(&made.object);
                document.as_object_mut().expect("an object").remove("status");
                lost("", &document, &answer, &mut missing);
                // Text for writing only.
                missing.retain(|path| path != ".stringData");
                assert_eq!(missing, [""; 0], "{api_version} {kind}");
            }
            Err(status) => {
                refused += 1;
                assert!(status.code < 500, "{api_version} {kind}: {status}");
            }
        }
        let one = apiserver::pipeline::Target { name: Some("sample".to_owned()), ..target };
        let options = WriteOptions { field_manager: "test".to_owned(), ..options };
        let applied =
            server.pipeline.patch(&server.context, &one, PatchType::Apply, body(&document), &options).await;
        if let Err(status) = applied {
            assert!(status.code < 500, "{api_version} {kind}: {status}");
        }
    }
    println!("taken {taken}, refused {refused}");
    assert!(taken > 0);
}
