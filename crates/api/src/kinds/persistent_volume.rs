//! PersistentVolume.

use serde_json::{Value, json};

use super::access::{at, fill, object_mut, set};
use super::resources::round_list;
use super::{PLAIN, Rules, checks, pod_spec};

pub(super) const RULES: Rules = Rules {
    default,
    create,
    validate: checks::storage::volume,
    validate_update: checks::storage::volume_update,
    ..PLAIN
};

fn default(volume: &mut Value) {
    if let Some(status) = object_mut(volume, "status") {
        fill(status, "phase", "Pending");
    }
    let Some(spec) = object_mut(volume, "spec") else { return };
    fill(spec, "persistentVolumeReclaimPolicy", "Retain");
    fill(spec, "volumeMode", "Filesystem");
    round_list(spec, "capacity");
    pod_spec::volume_source(spec);
}

fn create(volume: &mut Value) {
    let mut status = json!({"phase": "Pending"});
    // It has been in its first phase for as long as it exists.
    let created = at(at(volume, "metadata"), "creationTimestamp");
    if !created.is_null() {
        set(&mut status, "lastPhaseTransitionTime", created.clone());
    }
    set(volume, "status", status);
}
