//! PodTemplate, and the template within every workload.

use serde_json::Value;

use super::access::{at, object_mut};
use super::path::Path;
use super::{PLAIN, Rules, checks, pod_spec};
use crate::field::FieldError;

pub(super) const RULES: Rules = Rules { default, generation: &["template"], validate, ..PLAIN };

fn default(object: &mut Value) {
    default_in(object);
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    checks::pod_spec::template(at(object, "template"), &Path::Root("template"), errors);
}

/// Fills in the defaults of the template of `owner`, the object that has a `template`.
pub(super) fn default_in(owner: &mut Value) {
    if at(owner, "template").is_null() {
        return;
    }
    if let Some(spec) = object_mut(owner, "template").and_then(|template| object_mut(template, "spec")) {
        pod_spec::default(spec);
    }
}

/// The labels of the template of `owner`, where it has some.
pub(super) fn labels_of(owner: &Value) -> Option<Value> {
    let labels = at(at(at(owner, "template"), "metadata"), "labels");
    labels.as_object().filter(|labels| !labels.is_empty()).map(|_| labels.clone())
}
