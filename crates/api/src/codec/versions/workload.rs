//! Workloads of the days before `apps/v1`: the selector comes from the template, and other limits were the default.

use serde_json::{Value, json};

use super::fill;

/// The defaults of a version of Deployment.
pub(super) struct DeploymentDefaults {
    max_unavailable: &'static str,
    max_surge: &'static str,
    revision_history_limit: i32,
    progress_deadline_seconds: i32,
}

/// `extensions/v1beta1` kept every revision and waited forever.
pub(super) const EXTENSIONS: DeploymentDefaults = DeploymentDefaults {
    max_unavailable: "1",
    max_surge: "1",
    revision_history_limit: i32::MAX,
    progress_deadline_seconds: i32::MAX,
};

/// `apps/v1beta1` kept two.
pub(super) const APPS_V1BETA1: DeploymentDefaults = DeploymentDefaults {
    max_unavailable: "25%",
    max_surge: "25%",
    revision_history_limit: 2,
    progress_deadline_seconds: 600,
};

fn int_or_percent(text: &str) -> Value {
    text.parse::<i32>().map_or_else(|_| text.into(), Value::from)
}

/// The selector and the labels of an object that has none are those of its template.
pub(super) fn selector_from_template(object: &mut Value) {
    let labels = &object["spec"]["template"]["metadata"]["labels"];
    if labels.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    let labels = labels.clone();
    if object["spec"]["selector"].is_null() {
        object["spec"]["selector"] = json!({"matchLabels": labels.clone()});
    }
    if object["metadata"]["labels"].as_object().is_none_or(serde_json::Map::is_empty) {
        object["metadata"]["labels"] = labels;
    }
}

pub(super) fn deployment(object: &mut Value, defaults: &DeploymentDefaults) {
    selector_from_template(object);
    let Some(spec) = object["spec"].as_object_mut() else { return };
    // A rollback was an order, not a state: the rollback subresource carries it out.
    spec.shift_remove("rollbackTo");
    fill(spec, "revisionHistoryLimit", defaults.revision_history_limit);
    fill(spec, "progressDeadlineSeconds", defaults.progress_deadline_seconds);
    fill(spec, "strategy", json!({}));
    let Some(strategy) = spec["strategy"].as_object_mut() else { return };
    fill(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        fill(strategy, "rollingUpdate", json!({}));
        if let Some(rolling) = strategy["rollingUpdate"].as_object_mut() {
            fill(rolling, "maxUnavailable", int_or_percent(defaults.max_unavailable));
            fill(rolling, "maxSurge", int_or_percent(defaults.max_surge));
        }
    }
}

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// `extensions/v1beta1` daemon pods were replaced only when someone deleted them.
pub(super) fn daemon_set(object: &mut Value) {
    selector_from_template(object);
    let Some(spec) = object["spec"].as_object_mut() else { return };
    let generation = spec.shift_remove("templateGeneration");
    fill(spec, "updateStrategy", json!({}));
    if let Some(strategy) = spec["updateStrategy"].as_object_mut() {
        fill(strategy, "type", "OnDelete");
    }
    if let Some(generation) = generation.as_ref().and_then(Value::as_i64) {
        object["metadata"]["annotations"][TEMPLATE_GENERATION] = generation.to_string().into();
    }
}

/// The generation of the template was a field once.
pub(super) fn template_generation(object: &mut Value) {
    let generation = object["metadata"]["annotations"][TEMPLATE_GENERATION].as_str();
    if let Some(generation) = generation.and_then(|text| text.parse::<i64>().ok()) {
        object["spec"]["templateGeneration"] = generation.into();
    }
}

/// `apps/v1beta1` stateful pods were replaced only when someone deleted them.
pub(super) fn stateful_set(object: &mut Value) {
    selector_from_template(object);
    let Some(spec) = object["spec"].as_object_mut() else { return };
    fill(spec, "updateStrategy", json!({}));
    if let Some(strategy) = spec["updateStrategy"].as_object_mut() {
        fill(strategy, "type", "OnDelete");
    }
}
