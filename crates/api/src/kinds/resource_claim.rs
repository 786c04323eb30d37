//! ResourceClaim and its template.

use serde_json::Value;

use super::access::{at_mut, fill, int, list_mut, object_mut, set, text};
use super::{PLAIN, Rules};

pub(super) const CLAIM: Rules = Rules { default: default_claim, ..PLAIN };
pub(super) const TEMPLATE: Rules = Rules { default: default_template, ..PLAIN };

fn default_claim(claim: &mut Value) {
    if let Some(spec) = object_mut(claim, "spec") {
        default_spec(spec);
    }
}

fn default_template(template: &mut Value) {
    if let Some(spec) = object_mut(template, "spec").and_then(|spec| object_mut(spec, "spec")) {
        default_spec(spec);
    }
}

fn default_spec(spec: &mut Value) {
    let Some(devices) = at_mut(spec, "devices") else { return };
    for request in list_mut(devices, "requests") {
        if let Some(exactly) = at_mut(request, "exactly") {
            default_request(exactly);
        }
        list_mut(request, "firstAvailable").for_each(default_request);
    }
}

fn default_request(request: &mut Value) {
    fill(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" && int(request, "count").unwrap_or_default() == 0 {
        set(request, "count", 1);
    }
}
