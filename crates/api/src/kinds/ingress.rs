//! Ingress and IngressClass.

use serde_json::Value;

use super::access::{at_mut, fill};
use super::{COUNTED, Rules, checks};

pub(super) const RULES: Rules =
    Rules { validate: checks::network::ingress, validate_status: checks::status::load_balancer, ..COUNTED };
pub(super) const CLASS: Rules = Rules {
    default: default_class,
    validate: checks::network::ingress_class,
    validate_update: checks::network::ingress_class_update,
    ..COUNTED
};

fn default_class(class: &mut Value) {
    if let Some(parameters) = at_mut(class, "spec").and_then(|spec| at_mut(spec, "parameters")) {
        fill(parameters, "scope", "Cluster");
    }
}
