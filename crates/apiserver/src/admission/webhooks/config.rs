//! The configurations of webhooks, as they are stored.

use api::selector::LabelSelector;
use serde::Deserialize;

use crate::admission::expressions::{Conditions, Named};
use crate::admission::matching::{Rule, Scope};
use crate::webhook::ClientConfig;

/// The fields of a configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Configuration {
    pub metadata: Metadata,
    pub webhooks: Vec<Webhook>,
}

/// What a configuration is called.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub name: String,
}

/// One webhook.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Webhook {
    pub name: String,
    pub client_config: ClientConfig,
    rules: Vec<Rule>,
    pub failure_policy: String,
    match_policy: String,
    namespace_selector: LabelSelector,
    object_selector: LabelSelector,
    pub side_effects: String,
    pub timeout_seconds: u64,
    pub admission_review_versions: Vec<String>,
    pub match_conditions: Vec<Named>,
    pub reinvocation_policy: String,
    #[serde(skip)]
    pub conditions: Conditions,
}

impl Webhook {
    /// Whether what cannot be asked is let through.
    pub(super) fn ignores_failure(&self) -> bool {
        self.failure_policy == "Ignore"
    }

    /// How long it may take.
    pub(super) fn timeout(&self) -> std::time::Duration {
        std::time::Duration::from_secs(if self.timeout_seconds == 0 { 10 } else { self.timeout_seconds })
    }

    /// What it is asked about; nothing where it has no rules.
    pub(super) fn scope(&self) -> Option<Scope<'_>> {
        (!self.rules.is_empty()).then_some(Scope {
            rules: &self.rules,
            excluded: &[],
            equivalent: self.match_policy != "Exact",
            namespaces: &self.namespace_selector,
            objects: &self.object_selector,
        })
    }
}
