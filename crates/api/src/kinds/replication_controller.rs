//! ReplicationController: its selector and labels are those of its template unless it has its own.

use serde_json::Value;

use super::access::{fill, map, object_mut, set};
use super::{COUNTED, Rules, checks, template};

pub(super) const RULES: Rules = Rules {
    default,
    status_keeps_labels: true,
    validate_status: checks::status::replicas,
    validate: checks::workload::replication_controller,
    ..COUNTED
};

fn default(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    fill(spec, "replicas", 1);
    template::default_in(spec);
    let Some(labels) = template::labels_of(spec) else { return };
    if map(spec, "selector").next().is_none() {
        set(spec, "selector", labels.clone());
    }
    if let Some(metadata) = object_mut(object, "metadata")
        && map(metadata, "labels").next().is_none()
    {
        set(metadata, "labels", labels);
    }
}
