//! The configurations of webhooks, as they are stored, and which of them a request concerns.

use api::registry::ResourceDef;
use api::selector::LabelSelector;
use serde::Deserialize;
use serde_json::Value;
use store::{Bucket, Key};

use crate::admission::{Operation, Request, text};
use crate::pipeline::header;
use crate::webhook::ClientConfig;

/// Resources that no webhook is asked about: it could lock out whoever wants to remove it.
const EXEMPT: [&str; 6] = [
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
];

/// The fields of a configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Configuration {
    pub webhooks: Vec<Webhook>,
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
    pub match_conditions: Vec<Value>,
    pub reinvocation_policy: String,
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
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    operations: Vec<String>,
    api_groups: Vec<String>,
    api_versions: Vec<String>,
    resources: Vec<String>,
    scope: Option<String>,
}

impl Operation {
    /// As in a rule.
    pub(in crate::admission) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

impl Rule {
    fn concerns(&self, request: &Request<'_>, def: &ResourceDef) -> bool {
        let any = |list: &[String], wanted: &str| list.iter().any(|own| own == "*" || own == wanted);
        let part = request.subresource.map_or("", |subresource| subresource.as_str());
        let is_resource = |own: &String| {
            let (resource, subresource) = own.split_once('/').unwrap_or((own, ""));
            (resource == "*" || *resource == *def.plural) && (subresource == "*" || subresource == part)
        };
        let in_scope = match self.scope.as_deref() {
            Some("Namespaced") => def.namespaced,
            Some("Cluster") => !def.namespaced,
            _ => true,
        };
        any(&self.operations, request.operation.as_str())
            && any(&self.api_groups, &def.group)
            && any(&self.api_versions, &def.version)
            && in_scope
            && self.resources.iter().any(is_resource)
    }
}

impl Webhook {
    /// The version of the resource in which the webhook wants to be asked about the request; none where it does not.
    /// `versions` are those of the resource, the one of the request first.
    pub(super) fn concerns<'v, D: AsRef<ResourceDef>>(
        &self,
        request: &Request<'_>,
        versions: &'v [D],
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Option<&'v D> {
        let own = versions.first()?;
        let in_rules = |def: &D| self.rules.iter().any(|rule| rule.concerns(request, def.as_ref()));
        if own.as_ref().group == "admissionregistration.k8s.io" && EXEMPT.contains(&&*own.as_ref().plural) {
            return None;
        }
        let matched = match in_rules(own) {
            true => Some(own),
            false if self.match_policy != "Exact" => versions[1..].iter().find(|def| in_rules(def)),
            false => None,
        }?;
        let selected = |document: Option<&Value>| {
            document.is_some_and(|document| {
                let labels = &document["metadata"]["labels"];
                self.object_selector.matches_with(|key| labels[key].as_str())
            })
        };
        let is_selected = self.object_selector.is_empty() || selected(object) || selected(old);
        (is_selected && self.selects_namespace(request, object)).then_some(matched)
    }

    fn selects_namespace(&self, request: &Request<'_>, object: Option<&Value>) -> bool {
        if self.namespace_selector.is_empty() {
            return true;
        }
        let is_namespace = &*request.def.bucket == "namespaces";
        // A namespace is judged by what it becomes.
        if let (true, Some(object)) = (is_namespace, object) {
            let labels = &object["metadata"]["labels"];
            return self.namespace_selector.matches_with(|key| labels[key].as_str());
        }
        let name = if is_namespace { request.name } else { request.namespace };
        if name.is_empty() {
            return true;
        }
        let entry = request.snapshot.get(&Key::new(&Bucket::from("namespaces"), "", name));
        entry.is_some_and(|entry| {
            let labels = &header(entry).labels;
            self.namespace_selector.matches_with(|key| labels.get(key))
        })
    }
}

/// The name of the object that is written, as far as it has one.
pub(super) fn name_of<'a>(request: &Request<'a>, object: Option<&'a Value>) -> &'a str {
    match request.name {
        "" => object.map(|object| text(&object["metadata"], "name")).unwrap_or_default(),
        name => name,
    }
}
