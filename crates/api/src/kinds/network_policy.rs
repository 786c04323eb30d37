//! NetworkPolicy.

use serde_json::{Value, json};

use super::access::{fill, list, list_mut, object_mut, set};
use super::{COUNTED, Rules, checks};

pub(super) const RULES: Rules = Rules { default, validate: checks::network::network_policy, ..COUNTED };

fn default(policy: &mut Value) {
    let Some(spec) = object_mut(policy, "spec") else { return };
    for direction in ["ingress", "egress"] {
        for port in list_mut(spec, direction).flat_map(|rule| list_mut(rule, "ports")) {
            fill(port, "protocol", "TCP");
        }
    }
    if list(spec, "policyTypes").is_empty() {
        let has_egress = !list(spec, "egress").is_empty();
        set(spec, "policyTypes", if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
}
