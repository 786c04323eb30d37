//! CSIDriver.

use serde_json::{Value, json};

use super::access::{fill, list, object_mut, set};
use super::{PLAIN, Rules};

pub(super) const DRIVER: Rules = Rules { default, ..PLAIN };

fn default(driver: &mut Value) {
    let Some(spec) = object_mut(driver, "spec") else { return };
    fill(spec, "attachRequired", true);
    for name in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        fill(spec, name, false);
    }
    fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if list(spec, "volumeLifecycleModes").is_empty() {
        set(spec, "volumeLifecycleModes", json!(["Persistent"]));
    }
}
