//! RuntimeClass: a pod gets the overhead of its class, and goes to the nodes that have it.

use api::status::Status;
use serde_json::{Value, json};

use super::{Operation, Request, items, list_mut, read, text};

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

/// The class that the pod names.
fn class(request: &Request<'_>, pod: &Value) -> Result<Option<Value>, Status> {
    let name = text(&pod["spec"], "runtimeClassName");
    if name.is_empty() {
        return Ok(None);
    }
    match request.find("runtimeclasses.node.k8s.io", "", name).and_then(read) {
        Some(class) => Ok(Some(class)),
        None => Err(request
            .forbid(Some(pod), format_args!("pod rejected: RuntimeClass {} not found", super::quoted(name)))),
    }
}

pub(super) fn fill_in(request: &Request<'_>, pod: &mut Value) -> Result<(), Status> {
    let Some(class) = class(request, pod)? else { return Ok(()) };
    let overhead = &class["overhead"]["podFixed"];
    if overhead.is_object() {
        let own = &pod["spec"]["overhead"];
        if own.as_object().is_some_and(|own| !own.is_empty()) && own != overhead {
            return Err(request.forbid(Some(pod), MISMATCH));
        }
        pod["spec"]["overhead"] = overhead.clone();
    }
    let scheduling = &class["scheduling"];
    for (key, value) in scheduling["nodeSelector"].as_object().into_iter().flatten() {
        let own = pod["spec"]["nodeSelector"].get(key);
        if let Some(own) = own.filter(|own| *own != value) {
            return Err(request.forbid(
                Some(pod),
                format_args!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    value.as_str().unwrap_or_default(),
                    own.as_str().unwrap_or_default()
                ),
            ));
        }
        if !pod["spec"]["nodeSelector"].is_object() {
            pod["spec"]["nodeSelector"] = json!({});
        }
        pod["spec"]["nodeSelector"][key] = value.clone();
    }
    let more: Vec<Value> = items(scheduling, "tolerations").cloned().collect();
    if !more.is_empty()
        && let Some(own) = list_mut(&mut pod["spec"], "tolerations")
    {
        for toleration in more {
            if !own.contains(&toleration) {
                own.push(toleration);
            }
        }
    }
    Ok(())
}

pub(super) fn check(request: &Request<'_>, pod: &Value) -> Result<(), Status> {
    if request.operation != Operation::Create || !request.is_about("pods") {
        return Ok(());
    }
    let own = &pod["spec"]["overhead"];
    let has = own.as_object().is_some_and(|own| !own.is_empty());
    let fixed = class(request, pod)?.map(|mut class| class["overhead"]["podFixed"].take());
    match fixed.filter(Value::is_object) {
        Some(fixed) if *own != fixed => Err(request.forbid(Some(pod), MISMATCH)),
        None if has => Err(request.forbid(
            Some(pod),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        )),
        _ => Ok(()),
    }
}
