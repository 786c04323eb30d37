//! APIService.

use serde_json::{Value, json};

use super::access::{at_mut, fill, set};
use super::{PLAIN, Rules, admission_webhook};

pub(super) const RULES: Rules = Rules { default, create, ..PLAIN };

fn default(service: &mut Value) {
    if let Some(spec) = at_mut(service, "spec") {
        admission_webhook::default_service(spec);
        if spec.get("service").is_none() {
            fill(spec, "service", Value::Null);
        }
    }
}

fn create(service: &mut Value) {
    set(service, "status", json!({}));
}
