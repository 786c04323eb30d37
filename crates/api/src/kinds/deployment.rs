//! Deployment: rolls over by a quarter at a time unless told otherwise.

use serde_json::{Value, json};

use super::access::{fill, object_mut, text};
use super::{PLAIN, Rules, checks, template};

pub(super) const RULES: Rules = Rules {
    default,
    // A change of annotations counts too: tools record there why they changed what.
    generation: &["spec", "metadata.annotations"],
    status_keeps_labels: true,
    validate_status: checks::status::deployment,
    validate: checks::workload::deployment,
    validate_update: checks::workload::selector_stays,
    ..PLAIN
};

fn default(deployment: &mut Value) {
    let Some(spec) = object_mut(deployment, "spec") else { return };
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = object_mut(spec, "strategy") {
        fill(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate" {
            fill(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = object_mut(strategy, "rollingUpdate") {
                fill(rolling, "maxUnavailable", "25%");
                fill(rolling, "maxSurge", "25%");
            }
        }
    }
    template::default_in(spec);
}
