//! Ingress and IngressClass.

use serde_json::Value;

use super::access::{at_mut, fill};
use super::{COUNTED, Rules};

pub(super) const RULES: Rules = COUNTED;
pub(super) const CLASS: Rules = Rules { default: default_class, ..COUNTED };

fn default_class(class: &mut Value) {
    if let Some(parameters) = at_mut(class, "spec").and_then(|spec| at_mut(spec, "parameters")) {
        fill(parameters, "scope", "Cluster");
    }
}
