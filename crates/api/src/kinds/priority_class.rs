//! PriorityClass.

use serde_json::Value;

use super::access::fill;
use super::{PLAIN, Rules};

pub(super) const RULES: Rules =
    Rules { default, generation: &["value", "globalDefault", "preemptionPolicy"], ..PLAIN };

fn default(class: &mut Value) {
    fill(class, "preemptionPolicy", "PreemptLowerPriority");
}
