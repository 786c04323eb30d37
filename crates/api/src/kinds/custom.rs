//! Custom resources: what the server does to every one of them, whatever its schema.

use serde_json::Value;

use super::access::{at, int, remove, set};
use super::metadata::{self, NameRule};
use super::{FieldError, keep};
use crate::registry::ResourceDef;
use crate::structural::{self, Custom};

/// A new object: no status where that is a subresource, and the first generation.
pub(super) fn create(def: &ResourceDef, object: &mut Value) {
    if def.has_status() {
        remove(object, "status");
    }
    if let Some(metadata) = object.get_mut("metadata") {
        set(metadata, "generation", 1);
    }
    structural::prune::present_metadata(object);
}

/// A changed object: whatever changes outside of metadata, and of a status of its own, counts.
pub(super) fn update(def: &ResourceDef, new: &mut Value, old: &Value) {
    if def.has_status() {
        keep(new, old, "status");
    }
    structural::prune::present_metadata(new);
    let is_changed = !same_but_metadata(new, old);
    let generation = int(at(old, "metadata"), "generation").unwrap_or_default();
    if let Some(metadata) = new.get_mut("metadata") {
        set(metadata, "generation", generation + i64::from(is_changed));
    }
}

fn same_but_metadata(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return new == old };
    let counted = |name: &&String| !matches!(name.as_str(), "metadata" | "apiVersion");
    new.keys().filter(counted).all(|name| new.get(name) == old.get(name))
        && old.keys().filter(counted).all(|name| new.contains_key(name))
}

/// A changed status: all else stays as it was, but for who owns what.
pub(super) fn update_status(new: &mut Value, old: &Value) {
    let status = remove(new, "status");
    let managers = at(at(new, "metadata"), "managedFields").clone();
    let api_version = at(new, "apiVersion").clone();
    *new = old.clone();
    set(new, "apiVersion", api_version);
    match status {
        Some(status) => set(new, "status", status),
        None => drop(remove(new, "status")),
    }
    if let Some(metadata) = new.get_mut("metadata") {
        remove(metadata, "resourceVersion");
        if !managers.is_null() {
            set(metadata, "managedFields", managers);
        }
    }
}

/// What is wrong with an object; with `old` where it is an update.
pub(super) fn validate(def: &ResourceDef, own: &Custom, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    metadata::validate(def, new, NameRule::Subdomain, &mut errors);
    if let Some(old) = old {
        metadata::validate_update(new, old, &mut errors);
    }
    errors.extend(structural::validate::object(def, own, new, old));
    errors
}
