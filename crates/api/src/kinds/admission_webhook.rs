//! Webhook configurations.

use serde_json::{Value, json};

use super::access::{at_mut, fill, list_mut};
use super::{PLAIN, Rules, checks};

pub(super) const VALIDATING: Rules =
    Rules { default, generation: &["webhooks"], validate: checks::webhook::validate, ..PLAIN };
pub(super) const MUTATING: Rules = Rules {
    default: default_mutating,
    generation: &["webhooks"],
    validate: checks::webhook::validate,
    ..PLAIN
};

fn default(configuration: &mut Value) {
    for webhook in list_mut(configuration, "webhooks") {
        fill(webhook, "failurePolicy", "Fail");
        fill(webhook, "matchPolicy", "Equivalent");
        fill(webhook, "namespaceSelector", json!({}));
        fill(webhook, "objectSelector", json!({}));
        fill(webhook, "timeoutSeconds", 10);
        if let Some(config) = at_mut(webhook, "clientConfig") {
            default_service(config);
        }
        for rule in list_mut(webhook, "rules") {
            fill(rule, "scope", "*");
        }
    }
}

/// The port of the service of a webhook.
pub(super) fn default_service(config: &mut Value) {
    if let Some(service) = at_mut(config, "service") {
        fill(service, "port", 443);
    }
}

fn default_mutating(configuration: &mut Value) {
    default(configuration);
    for webhook in list_mut(configuration, "webhooks") {
        fill(webhook, "reinvocationPolicy", "Never");
    }
}
