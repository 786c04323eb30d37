//! HorizontalPodAutoscaler: keeps the processor at 80 % unless told otherwise.

use serde_json::{Value, json};

use super::access::{at_mut, fill, list, object_mut, set};
use super::{PLAIN, Rules, checks};

pub(super) const RULES: Rules = Rules {
    default,
    validate: checks::autoscaler::validate,
    validate_status: checks::status::autoscaler,
    ..PLAIN
};

fn default(scaler: &mut Value) {
    let Some(spec) = object_mut(scaler, "spec") else { return };
    fill(spec, "minReplicas", 1);
    if list(spec, "metrics").is_empty() {
        set(
            spec,
            "metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}]),
        );
    }
    let Some(behavior) = at_mut(spec, "behavior") else { return };
    let up = json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15}]);
    let down = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
    for (name, policies, window) in [("scaleUp", up, Some(0)), ("scaleDown", down, None)] {
        if let Some(rules) = object_mut(behavior, name) {
            if let Some(window) = window {
                fill(rules, "stabilizationWindowSeconds", window);
            }
            fill(rules, "selectPolicy", "Max");
            if list(rules, "policies").is_empty() {
                set(rules, "policies", policies);
            }
        }
    }
}
