//! StatefulSet: its claims are whole objects within its spec.

use serde_json::{Value, json};

use super::access::{fill, list_mut, object_mut, text};
use super::{COUNTED, Rules, checks, persistent_volume_claim, template};

pub(super) const RULES: Rules = Rules {
    default,
    status_keeps_labels: true,
    validate_status: checks::status::stateful_set,
    validate: checks::workload::stateful_set,
    validate_update: checks::workload::stateful_set_update,
    ..COUNTED
};

fn default(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    fill(spec, "replicas", 1);
    fill(spec, "podManagementPolicy", "OrderedReady");
    fill(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = object_mut(spec, "updateStrategy") {
        fill(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate" {
            fill(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = object_mut(strategy, "rollingUpdate") {
                fill(rolling, "partition", 0);
            }
        }
    }
    if let Some(policy) = object_mut(spec, "persistentVolumeClaimRetentionPolicy") {
        fill(policy, "whenDeleted", "Retain");
        fill(policy, "whenScaled", "Retain");
    }
    for claim in list_mut(spec, "volumeClaimTemplates") {
        fill(claim, "kind", "PersistentVolumeClaim");
        fill(claim, "apiVersion", "v1");
        persistent_volume_claim::default(claim);
    }
    template::default_in(spec);
}
