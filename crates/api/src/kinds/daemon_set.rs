//! DaemonSet: replaces one pod at a time unless told otherwise.

use serde_json::{Value, json};

use super::access::{at, fill, object_mut, set, text};
use super::{COUNTED, Rules, checks, template};

pub(super) const RULES: Rules = Rules {
    default,
    create,
    update,
    status_keeps_labels: true,
    validate_status: checks::status::daemon_set,
    validate: checks::workload::daemon_set,
    validate_update: checks::workload::selector_stays,
    ..COUNTED
};

/// Counts the changes of the template, for controllers of old.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn default(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    fill(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = object_mut(spec, "updateStrategy") {
        fill(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate" {
            fill(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = object_mut(strategy, "rollingUpdate") {
                fill(rolling, "maxUnavailable", 1);
                fill(rolling, "maxSurge", 0);
            }
        }
    }
    template::default_in(spec);
}

fn set_generation(object: &mut Value, generation: i64) {
    let metadata = object_mut(object, "metadata");
    if let Some(annotations) = metadata.and_then(|metadata| object_mut(metadata, "annotations")) {
        set(annotations, TEMPLATE_GENERATION, generation.to_string());
    }
}

fn create(object: &mut Value) {
    set_generation(object, 1);
}

fn update(new: &mut Value, old: &Value) {
    let annotations = at(at(old, "metadata"), "annotations");
    let generation: i64 = text(annotations, TEMPLATE_GENERATION).parse().unwrap_or(1);
    let template = |object: &Value| at(at(object, "spec"), "template").clone();
    let bump = i64::from(template(new) != template(old));
    set_generation(new, generation + bump);
}
