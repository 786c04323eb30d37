//! What a kind needs beyond its schema: what may be set on create, what may change, what is valid.

use serde_json::Value;

pub use crate::field::{FieldError, invalid};
use crate::registry::ResourceDef;

/// Makes a new object ready: its status is the server's to write, its generation starts at 1.
pub fn prepare_for_create(def: &ResourceDef, object: &mut Value) {
    if def.has_status()
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    object["metadata"]["generation"] = 1.into();
}

/// Makes a changed object ready: keeps the status, counts a change of the desired state.
pub fn prepare_for_update(def: &ResourceDef, new: &mut Value, old: &Value) {
    if def.has_status() {
        new["status"] = old["status"].clone();
    }
    let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
    let bump = i64::from(new["spec"] != old["spec"]);
    new["metadata"]["generation"] = (generation + bump).into();
}

/// Makes a changed status ready: keeps everything else.
pub fn prepare_for_status_update(_def: &ResourceDef, new: &mut Value, old: &Value) {
    let status = new["status"].take();
    *new = old.clone();
    new["status"] = status;
}

/// What is wrong with a new object.
pub fn validate(_def: &ResourceDef, _object: &Value) -> Vec<FieldError> {
    Vec::new()
}

/// What is wrong with a change.
pub fn validate_update(_def: &ResourceDef, _new: &Value, _old: &Value) -> Vec<FieldError> {
    Vec::new()
}
