//! `autoscaling/v1` knew one metric, the processor; other metrics of the stored `v2` travel in an annotation.

use serde_json::{Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

pub(super) fn to_v2(object: &mut Value) {
    let mut metrics = Vec::new();
    if let Some(spec) = object["spec"].as_object_mut()
        && let Some(target) = spec.shift_remove("targetCPUUtilizationPercentage")
    {
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": target}}}));
    }
    if let Some(others) = take_annotation(object, METRICS).and_then(into_list) {
        metrics.extend(others);
    }
    if !metrics.is_empty() {
        object["spec"]["metrics"] = metrics.into();
    }
    if let Some(behavior) = take_annotation(object, BEHAVIOR) {
        object["spec"]["behavior"] = behavior;
    }
    if let Some(conditions) = take_annotation(object, CONDITIONS) {
        object["status"]["conditions"] = conditions;
    }
    let mut current = take_annotation(object, CURRENT_METRICS).and_then(into_list).unwrap_or_default();
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        if let Some(cpu) = status.shift_remove("currentCPUUtilizationPercentage") {
            current.insert(
                0,
                json!({"type": "Resource", "resource": {"name": "cpu",
                "current": {"averageUtilization": cpu}}}),
            );
        }
        if !current.is_empty() {
            status.insert("currentMetrics".to_owned(), current.into());
        }
    }
}

pub(super) fn from_v2(object: &mut Value) {
    if let Some(spec) = object["spec"].as_object_mut() {
        let metrics = spec.shift_remove("metrics").and_then(into_list).unwrap_or_default();
        let is_cpu = |metric: &Value| {
            metric["resource"]["name"] == "cpu" && metric["resource"]["target"]["type"] == "Utilization"
        };
        let (cpu, others): (Vec<Value>, Vec<Value>) = metrics.into_iter().partition(is_cpu);
        if let Some(cpu) = cpu.first() {
            let target = cpu["resource"]["target"]["averageUtilization"].clone();
            spec.insert("targetCPUUtilizationPercentage".to_owned(), target);
        }
        let behavior = spec.shift_remove("behavior");
        annotate(object, METRICS, (!others.is_empty()).then(|| others.into()));
        annotate(object, BEHAVIOR, behavior);
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let conditions = status.shift_remove("conditions");
        let current = status.shift_remove("currentMetrics").and_then(into_list).unwrap_or_default();
        let cpu = current.iter().find(|metric| metric["resource"]["name"] == "cpu");
        if let Some(cpu) = cpu.map(|metric| &metric["resource"]["current"]["averageUtilization"]) {
            status.insert("currentCPUUtilizationPercentage".to_owned(), cpu.clone());
        }
        annotate(object, CONDITIONS, conditions);
        annotate(object, CURRENT_METRICS, (!current.is_empty()).then(|| current.into()));
    }
}

fn into_list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn take_annotation(object: &mut Value, name: &str) -> Option<Value> {
    let annotations = object.pointer_mut("/metadata/annotations")?.as_object_mut()?;
    let text = annotations.shift_remove(name)?;
    serde_json::from_str(text.as_str()?).ok()
}

fn annotate(object: &mut Value, name: &str, value: Option<Value>) {
    if let Some(value) = value
        && !value.is_null()
    {
        object["metadata"]["annotations"][name] = value.to_string().into();
    }
}
