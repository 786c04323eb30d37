//! CustomResourceDefinition: its own names, and the version that is stored.

use serde_json::{Value, json};

use super::access::{at_mut, fill, flag, list, object_mut, set, text};
use super::{COUNTED, Rules, admission_webhook, checks};

pub(super) const RULES: Rules = Rules {
    default,
    create,
    validate: checks::cluster::custom_resource_definition,
    validate_update: checks::cluster::definition_update,
    ..COUNTED
};

fn default(definition: &mut Value) {
    let Some(spec) = object_mut(definition, "spec") else { return };
    if let Some(names) = object_mut(spec, "names") {
        let kind = text(names, "kind").to_owned();
        fill(names, "singular", kind.to_lowercase());
        if !kind.is_empty() {
            fill(names, "listKind", format!("{kind}List"));
        }
    }
    if let Some(conversion) = object_mut(spec, "conversion") {
        fill(conversion, "strategy", "None");
        if let Some(config) = at_mut(conversion, "webhook").and_then(|hook| at_mut(hook, "clientConfig")) {
            admission_webhook::default_service(config);
        }
    }
}

fn create(definition: &mut Value) {
    let versions = list(super::access::at(definition, "spec"), "versions");
    let stored: Vec<Value> = versions
        .iter()
        .filter(|version| flag(version, "storage"))
        .map(|version| text(version, "name").into())
        .collect();
    let stored = if stored.is_empty() { Value::Null } else { stored.into() };
    set(definition, "status", json!({"storedVersions": stored}));
}
