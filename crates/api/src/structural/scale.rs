//! Where the scale subresource finds its numbers in a custom resource.

use serde_json::{Map, Value};

use crate::field::FieldError;
use crate::kinds::access::text;

/// The three paths, as their author wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// As `.spec.replicas`.
    pub spec_replicas: String,
    /// As `.status.replicas`.
    pub status_replicas: String,
    /// As `.status.selector`; empty where there is none.
    pub selector: String,
}

impl Scale {
    /// Reads the paths of `subresources.scale`.
    pub fn parse(scale: &Value) -> Self {
        Self {
            spec_replicas: text(scale, "specReplicasPath").to_owned(),
            status_replicas: text(scale, "statusReplicasPath").to_owned(),
            selector: text(scale, "labelSelectorPath").to_owned(),
        }
    }

    /// What is wrong with the numbers of an object.
    pub(super) fn validate(&self, object: &Value, errors: &mut Vec<FieldError>) {
        for path in [&self.spec_replicas, &self.status_replicas] {
            let Some(found) = find(object, path) else { continue };
            let Some(number) = found.as_i64() else {
                let why = format!(
                    "{path} accessor error: {found} is of the type {}, expected int64",
                    go_type(found)
                );
                errors.push(FieldError::invalid(path, 0, why));
                continue;
            };
            if number < 0 {
                errors.push(FieldError::invalid(path, number, "should be a non-negative integer"));
            } else if number > i64::from(i32::MAX) {
                let why = format!("should be less than or equal to {}", i32::MAX);
                errors.push(FieldError::invalid(path, number, why));
            }
        }
        if let Some(found) = find(object, &self.selector).filter(|found| !found.is_string()) {
            let path = &self.selector;
            let why =
                format!("{path} accessor error: {found} is of the type {}, expected string", go_type(found));
            errors.push(FieldError::invalid(path, "", why));
        }
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.trim_start_matches('.').split('.').filter(|step| !step.is_empty())
}

/// The value at a path of plain fields.
pub fn find<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return None;
    }
    steps(path).try_fold(object, |value, step| value.get(step))
}

/// Sets the value at a path of plain fields; objects on the way are made. `false` where something else stands there.
pub fn set(object: &mut Value, path: &str, value: Value) -> bool {
    let mut at = object;
    for step in steps(path) {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        let Some(fields) = at.as_object_mut() else { return false };
        at = fields.entry(step).or_insert(Value::Null);
    }
    *at = value;
    true
}
