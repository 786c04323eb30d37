//! Replays what a real server answered: decode, default, prepare, validate, and compare.
//!
//! Needs the recorded exchanges beside the repository (`../shared/reference/recorded.jsonl`, or the folder that
//! `COXSWAIN_REFERENCE` names); where they are not, it says so and passes. Exchanges that need a store, admission or
//! another crate are told apart by what they are, and counted.

use std::path::PathBuf;

use api::codec::{self, FieldValidation, MediaType};
use api::kinds;
use api::registry::{ResourceDef, registry};
use api::status::Status;
use serde_json::{Value, json};

fn reference() -> Option<PathBuf> {
    let folder = match std::env::var_os("COXSWAIN_REFERENCE") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
            let is_there = |folder: &PathBuf| folder.join("recorded.jsonl").is_file();
            here.ancestors().map(|folder| folder.join("shared/reference")).find(is_there)?
        }
    };
    folder.is_dir().then_some(folder)
}

struct Exchange {
    title: String,
    path: String,
    body: String,
    code: u64,
    answer: Value,
}

fn exchanges() -> Option<Vec<Exchange>> {
    let text =
        std::fs::read_to_string(reference()?.join("recorded.jsonl")).expect("the exchanges can be read");
    let read = |line: &str| -> Exchange {
        let line: Value = serde_json::from_str(line).expect("an exchange is JSON");
        let request = &line["request"];
        let body = match &request["body"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        Exchange {
            title: line["title"].as_str().expect("a title").to_owned(),
            path: format!(
                "{} {}",
                request["method"].as_str().unwrap_or_default(),
                request["path"].as_str().unwrap_or_default()
            ),
            body,
            code: line["response"]["code"].as_u64().expect("a code"),
            answer: line["response"]["body"].clone(),
        }
    };
    Some(text.lines().map(read).collect())
}

/// The resource that a `POST` creates.
fn created(path: &str) -> Option<(std::sync::Arc<ResourceDef>, FieldValidation)> {
    let path = path.strip_prefix("POST /")?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let steps: Vec<&str> = path.split('/').collect();
    let (group, version, rest) = match steps.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let plural = match rest {
        ["namespaces", _, plural] | [plural] => plural,
        _ => return None,
    };
    let validation = match query {
        "fieldValidation=Strict" => FieldValidation::Strict,
        "" | "fieldValidation=Warn" => FieldValidation::Warn,
        _ => return None,
    };
    Some((registry().resource(group, version, plural)?, validation))
}

/// What a create leads to, as far as this crate decides it.
fn create(def: &ResourceDef, body: &str, validation: FieldValidation) -> Result<Value, Status> {
    let mut object = codec::decode(def, MediaType::Json, body.as_bytes(), validation)?.object;
    if def.namespaced {
        object["metadata"]["namespace"] = "rec".into();
    }
    codec::to_storage(def, &mut object);
    kinds::prepare_for_create(def, &mut object);
    // Whose a pod is, admission says, before anything is checked.
    let mut admitted = object.clone();
    if &*def.kind == "Pod" && admitted["spec"].get("serviceAccountName").is_none() {
        admitted["spec"]["serviceAccountName"] = "default".into();
    }
    let errors = kinds::validate(def, &admitted);
    if errors.is_empty() {
        codec::from_storage(def, &mut object);
        Ok(object)
    } else {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Err(kinds::invalid(def, &name, errors))
    }
}

/// Removes what the server's clock, store, allocators and admission add.
fn simplify(value: &mut Value) {
    const REMOVED: &[&str] = &[
        "/metadata/creationTimestamp",
        "/metadata/resourceVersion",
        "/metadata/uid",
        "/metadata/namespace",
        "/metadata/finalizers",
        "/metadata/annotations/kubernetes.io~1limit-ranger",
        "/spec/clusterIP",
        "/spec/clusterIPs",
        "/spec/ipFamilies",
        "/spec/ipFamilyPolicy",
        "/spec/preemptionPolicy",
        "/spec/priority",
        "/spec/serviceAccount",
        "/spec/serviceAccountName",
        "/status/lastPhaseTransitionTime",
        "/spec/matchConstraints/nonResourceRules",
    ];
    for pointer in REMOVED {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        if let Some(parent) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.remove(&name.replace("~1", "/"));
        }
    }
    if value["metadata"]["annotations"] == json!({}) {
        value["metadata"].as_object_mut().expect("metadata").remove("annotations");
    }
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    if kind == "Pod" {
        simplify_pod(&mut value["spec"]);
    }
    if kind == "Job" {
        for pointer in ["/metadata/labels", "/spec/selector", "/spec/template/metadata"] {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            value.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(name);
        }
    }
    for port in value.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        port.as_object_mut().expect("a port").remove("nodePort");
    }
}

fn simplify_pod(spec: &mut Value) {
    let fields = spec.as_object_mut().expect("a spec");
    fields.remove("tolerations");
    let is_token = |value: &Value| value["name"] == "kube-api-access-xxxxx";
    if let Some(volumes) = fields.get_mut("volumes").and_then(Value::as_array_mut) {
        volumes.retain(|volume| !is_token(volume));
        if volumes.is_empty() {
            fields.remove("volumes");
        }
    }
    for name in ["containers", "initContainers"] {
        for container in spec[name].as_array_mut().into_iter().flatten() {
            let container = container.as_object_mut().expect("a container");
            if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                mounts.retain(|mount| !is_token(mount));
                if mounts.is_empty() {
                    container.remove("volumeMounts");
                }
            }
            // The recorder took amounts like 500m for ages.
            for list in ["limits", "requests"] {
                for (_, amount) in container["resources"][list].as_object_mut().into_iter().flatten() {
                    if *amount == "500m" {
                        *amount = "<age>".into();
                    }
                }
            }
        }
    }
    if spec["initContainers"].is_null() {
        spec.as_object_mut().expect("a spec").remove("initContainers");
    }
}

/// Exchanges whose answers come from elsewhere: other crates, or objects that were there before.
const ELSEWHERE: &[&str] = &[
    "invalid: wrong namespace",
    "invalid: already exists",
    "invalid: namespace not found",
    "invalid: service nodeport out of range",
    "invalid: service clusterIP out of range",
    "invalid: unknown field, warn",
    "415",
    "self subject access review",
    "self subject rules review",
    "self subject review",
];

#[test]
fn creates_are_answered_as_recorded() {
    let Some(exchanges) = exchanges() else {
        eprintln!("skipped: no recorded exchanges beside the repository");
        return;
    };
    let (mut same, mut different) = (0, Vec::new());
    for exchange in exchanges {
        let Some((def, validation)) = created(&exchange.path) else { continue };
        if ELSEWHERE.contains(&exchange.title.as_str()) || exchange.path.contains("/example.com/") {
            continue;
        }
        let mut expected = exchange.answer.clone();
        let mut found = match create(&def, &exchange.body, validation) {
            Ok(object) => object,
            Err(status) => serde_json::to_value(status).expect("a status"),
        };
        if exchange.code == 201 {
            simplify(&mut expected);
            if found["kind"] != "Status" {
                simplify(&mut found);
            }
        } else {
            simplify_status(&mut expected);
            simplify_status(&mut found);
        }
        if found == expected {
            same += 1;
        } else {
            different.push(format!("{}\n  expected {expected}\n  found    {found}", exchange.title));
        }
    }
    assert!(different.is_empty(), "{same} as recorded, {} not:\n{}", different.len(), different.join("\n"));
    assert!(same > 75, "only {same} exchanges were compared");
}

/// The recorder left out the message where there are several causes, and ordered the causes.
fn simplify_status(status: &mut Value) {
    if let Some(causes) = status.pointer_mut("/details/causes").and_then(Value::as_array_mut) {
        causes.sort_by_key(|cause| (cause["field"].to_string(), cause["message"].to_string()));
        if causes.len() > 1 {
            status["message"] = "<several causes>".into();
        }
    }
}
