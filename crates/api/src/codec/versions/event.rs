//! Events are stored as `v1`; `events.k8s.io/v1` has other names for the same fields.

use serde_json::Value;

use super::rename;

/// `events.k8s.io` name, `v1` name.
const NAMES: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

pub(super) fn to_core(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        NAMES.iter().for_each(|(new, core)| rename(fields, new, core));
    }
}

pub(super) fn from_core(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        NAMES.iter().for_each(|(new, core)| rename(fields, core, new));
    }
}
