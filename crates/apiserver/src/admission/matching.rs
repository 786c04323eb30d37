//! Which requests the rules and selectors of webhooks and policies are about.

use api::registry::ResourceDef;
use api::selector::LabelSelector;
use serde::Deserialize;
use serde_json::Value;
use store::{Bucket, Key};

use super::{Operation, Request, text};
use crate::pipeline::header;

/// Resources that nobody is asked about: he could lock out whoever wants to remove him.
const EXEMPT: [&str; 6] = [
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
];

/// Operations on resources.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Rule {
    pub operations: Vec<String>,
    pub api_groups: Vec<String>,
    pub api_versions: Vec<String>,
    pub resources: Vec<String>,
    /// Policies only; empty for all.
    pub resource_names: Vec<String>,
    pub scope: Option<String>,
}

impl Operation {
    /// As in a rule.
    pub(in crate::admission) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

impl Rule {
    fn concerns(&self, request: &Request<'_>, def: &ResourceDef, name: &str) -> bool {
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
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|own| own == name))
    }
}

/// What a webhook or a policy is about.
pub(super) struct Scope<'a> {
    pub rules: &'a [Rule],
    pub excluded: &'a [Rule],
    /// Whether rules about another version of a resource mean this one too.
    pub equivalent: bool,
    pub namespaces: &'a LabelSelector,
    pub objects: &'a LabelSelector,
}

/// A request in all the versions of its resource, that of the request first.
pub(super) struct Candidate<'a, 'v, D> {
    pub request: &'a Request<'a>,
    pub versions: &'v [D],
    pub object: Option<&'a Value>,
    pub old: Option<&'a Value>,
}

impl<'v, D: AsRef<ResourceDef>> Candidate<'_, 'v, D> {
    /// Whether it is about somebody who is asked.
    pub(super) fn is_exempt(&self) -> bool {
        self.versions.first().is_none_or(|own| {
            let own = own.as_ref();
            own.group == "admissionregistration.k8s.io" && EXEMPT.contains(&&*own.plural)
        })
    }

    /// The version of the resource in which the scope has the request; none where it has not.
    pub(super) fn within(&self, scope: &Scope<'_>) -> Option<&'v D> {
        let own = self.versions.first()?;
        if self.in_rules(scope.excluded, scope.equivalent).is_some() {
            return None;
        }
        let matched =
            if scope.rules.is_empty() { Some(own) } else { self.in_rules(scope.rules, scope.equivalent) }?;
        let selected = |document: Option<&Value>| {
            document.is_some_and(|document| {
                let labels = &document["metadata"]["labels"];
                scope.objects.matches_with(|key| labels[key].as_str())
            })
        };
        let is_selected = scope.objects.is_empty() || selected(self.object) || selected(self.old);
        (is_selected && self.in_namespaces(scope.namespaces)).then_some(matched)
    }

    fn in_rules(&self, rules: &[Rule], equivalent: bool) -> Option<&'v D> {
        let name = name_of(self.request, self.object);
        let in_rules = |def: &&D| rules.iter().any(|rule| rule.concerns(self.request, (*def).as_ref(), name));
        let considered =
            if equivalent { self.versions } else { &self.versions[..self.versions.len().min(1)] };
        considered.iter().find(in_rules)
    }

    fn in_namespaces(&self, selector: &LabelSelector) -> bool {
        if selector.is_empty() {
            return true;
        }
        let request = self.request;
        let is_namespace = &*request.def.bucket == "namespaces";
        // A namespace is judged by what it becomes.
        if let (true, Some(object)) = (is_namespace, self.object) {
            let labels = &object["metadata"]["labels"];
            return selector.matches_with(|key| labels[key].as_str());
        }
        let name = if is_namespace { request.name } else { request.namespace };
        if name.is_empty() {
            return true;
        }
        let entry = request.snapshot.get(&Key::new(&Bucket::from("namespaces"), "", name));
        entry.is_some_and(|entry| {
            let labels = &header(entry).labels;
            selector.matches_with(|key| labels.get(key))
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
