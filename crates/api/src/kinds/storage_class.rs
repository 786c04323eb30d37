//! StorageClass.

use serde_json::Value;

use super::access::fill;
use super::{PLAIN, Rules, checks};

pub(super) const RULES: Rules = Rules {
    default,
    validate: checks::cluster::storage_class,
    validate_update: checks::cluster::storage_class_update,
    ..PLAIN
};

fn default(class: &mut Value) {
    fill(class, "reclaimPolicy", "Delete");
    fill(class, "volumeBindingMode", "Immediate");
}
