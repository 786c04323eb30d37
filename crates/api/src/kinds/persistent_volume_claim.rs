//! PersistentVolumeClaim.

use serde_json::{Value, json};

use super::access::{fill, object_mut, set};
use super::resources::round_list;
use super::{PLAIN, Rules, checks};

pub(super) const RULES: Rules = Rules {
    default,
    create,
    validate: checks::storage::claim,
    validate_update: checks::storage::claim_update,
    ..PLAIN
};

pub(super) fn default(claim: &mut Value) {
    if let Some(spec) = object_mut(claim, "spec") {
        default_spec(spec);
    }
    if let Some(status) = object_mut(claim, "status") {
        fill(status, "phase", "Pending");
        round_list(status, "capacity");
    }
}

pub(super) fn default_spec(spec: &mut Value) {
    fill(spec, "volumeMode", "Filesystem");
    if let Some(resources) = object_mut(spec, "resources") {
        round_list(resources, "limits");
        round_list(resources, "requests");
    }
}

fn create(claim: &mut Value) {
    set(claim, "status", json!({"phase": "Pending"}));
}
