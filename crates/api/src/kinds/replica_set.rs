//! ReplicaSet.

use serde_json::Value;

use super::access::{fill, object_mut};
use super::{COUNTED, Rules, checks, template};

pub(super) const RULES: Rules = Rules {
    default,
    status_keeps_labels: true,
    validate_status: checks::status::replicas,
    validate: checks::workload::replica_set,
    validate_update: checks::workload::selector_stays,
    ..COUNTED
};

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, "spec") {
        fill(spec, "replicas", 1);
        template::default_in(spec);
    }
}
