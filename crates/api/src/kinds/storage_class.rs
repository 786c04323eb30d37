//! StorageClass.

use serde_json::Value;

use super::access::fill;
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules { default, ..PLAIN };

fn default(class: &mut Value) {
    fill(class, "reclaimPolicy", "Delete");
    fill(class, "volumeBindingMode", "Immediate");
}
