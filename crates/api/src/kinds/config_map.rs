//! ConfigMap, and what it shares with Secret: keys, size, and that an immutable one stays as it is.

use serde_json::Value;

use super::access::{at, flag, has, map};
use super::path::Path;
use super::{PLAIN, Rules};
use crate::field::FieldError;
use crate::names;

pub(super) const RULES: Rules = Rules { validate, validate_update, ..PLAIN };

/// All the data of a ConfigMap or Secret together, in bytes.
pub(super) const MAX_SIZE: usize = 1024 * 1024;

fn validate(config: &Value, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in map(config, "data") {
        let path = Path::Root("data");
        if at(config, "binaryData").get(key).is_some() {
            let why = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(path.key(key), &**key, why));
        }
        check_key(key, &path, errors);
        size += value.as_str().unwrap_or_default().len();
    }
    for (key, value) in map(config, "binaryData") {
        check_key(key, &Path::Root("binaryData"), errors);
        size += value.as_str().unwrap_or_default().len() / 4 * 3;
    }
    if size > MAX_SIZE {
        errors.push(FieldError::too_long("", MAX_SIZE));
    }
}

pub(super) fn check_key(key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let wrong = names::config_map_key(key);
    errors.extend(wrong.into_iter().map(|why| FieldError::invalid(path.key(key), key, why)));
}

fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    stays_immutable(new, old, &["data", "binaryData"], errors);
}

/// Once immutable, neither that nor the data can change.
pub(super) fn stays_immutable(new: &Value, old: &Value, data: &[&str], errors: &mut Vec<FieldError>) {
    const WHY: &str = "field is immutable when `immutable` is set";
    if !flag(old, "immutable") {
        return;
    }
    if !has(new, "immutable") || !flag(new, "immutable") {
        errors.push(FieldError::forbidden("immutable", WHY));
    }
    for name in data {
        if at(new, name) != at(old, name) {
            errors.push(FieldError::forbidden(name, WHY));
        }
    }
}
