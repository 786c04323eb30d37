//! PriorityClass.

use serde_json::Value;

use super::access::fill;
use super::{PLAIN, Rules, checks};

pub(super) const RULES: Rules = Rules {
    default,
    generation: &["value", "globalDefault", "preemptionPolicy"],
    validate: checks::cluster::priority_class,
    validate_update: checks::cluster::priority_class_update,
    ..PLAIN
};

fn default(class: &mut Value) {
    fill(class, "preemptionPolicy", "PreemptLowerPriority");
}
