//! Ingress of `v1beta1` named a backend by `serviceName` and `servicePort`.

use serde_json::{Map, Value, json};

use super::{fill, rename};

pub(super) fn to_v1(object: &mut Value) {
    let Some(spec) = object["spec"].as_object_mut() else { return };
    rename(spec, "backend", "defaultBackend");
    if let Some(backend) = spec.get_mut("defaultBackend") {
        backend_to_v1(backend);
    }
    each_path(spec, |path| {
        fill(path, "pathType", "ImplementationSpecific");
        if let Some(backend) = path.get_mut("backend") {
            backend_to_v1(backend);
        }
    });
}

pub(super) fn from_v1(object: &mut Value) {
    let Some(spec) = object["spec"].as_object_mut() else { return };
    rename(spec, "defaultBackend", "backend");
    if let Some(backend) = spec.get_mut("backend") {
        backend_from_v1(backend);
    }
    each_path(spec, |path| {
        if let Some(backend) = path.get_mut("backend") {
            backend_from_v1(backend);
        }
    });
}

fn each_path(spec: &mut Map<String, Value>, mut act: impl FnMut(&mut Map<String, Value>)) {
    let rules = spec.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten();
    for rule in rules {
        let paths = rule.pointer_mut("/http/paths").and_then(Value::as_array_mut).into_iter().flatten();
        paths.filter_map(Value::as_object_mut).for_each(&mut act);
    }
}

fn backend_to_v1(backend: &mut Value) {
    let Some(fields) = backend.as_object_mut() else { return };
    let name = fields.shift_remove("serviceName");
    let port = fields.shift_remove("servicePort");
    if name.is_none() && port.is_none() {
        return;
    }
    let port = match port {
        Some(Value::String(name)) => json!({"name": name}),
        Some(number) => json!({"number": number}),
        None => json!({}),
    };
    fields.insert("service".to_owned(), json!({"name": name.unwrap_or_else(|| "".into()), "port": port}));
}

fn backend_from_v1(backend: &mut Value) {
    let Some(fields) = backend.as_object_mut() else { return };
    let Some(mut service) = fields.shift_remove("service") else { return };
    fields.insert("serviceName".to_owned(), service["name"].take());
    let port = &service["port"];
    let port = if port["name"].is_string() { &port["name"] } else { &port["number"] };
    if !port.is_null() {
        fields.insert("servicePort".to_owned(), port.clone());
    }
}
