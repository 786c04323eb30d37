//! Which requests a FlowSchema means.

use serde_json::Value;

use crate::pipeline::Attributes;

/// A FlowSchema, as far as it decides.
pub(super) struct Schema {
    name: String,
    pub(super) uid: String,
    /// The name of its priority level.
    pub(super) level: String,
    precedence: i64,
    /// What tells one flow from another: `ByUser`, `ByNamespace`, or nothing.
    distinguisher: String,
    rules: Vec<Value>,
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn elements<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether a list names something, by itself or with a star.
fn names(value: &Value, list: &str, wanted: &str) -> bool {
    elements(value, list).iter().any(|own| own == "*" || own == wanted)
}

impl Schema {
    pub(super) fn read(object: &Value) -> Self {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        Self {
            name: text(metadata, "name").to_owned(),
            uid: text(metadata, "uid").to_owned(),
            level: text(&spec["priorityLevelConfiguration"], "name").to_owned(),
            precedence: spec["matchingPrecedence"].as_i64().unwrap_or(i64::MAX),
            distinguisher: text(&spec["distinguisherMethod"], "type").to_owned(),
            rules: elements(spec, "rules").to_vec(),
        }
    }

    /// The lower, the sooner it is asked.
    pub(super) fn order(&self) -> (i64, &str) {
        (self.precedence, &self.name)
    }

    pub(super) fn matches(&self, request: &Attributes<'_>) -> bool {
        self.rules.iter().any(|rule| {
            elements(rule, "subjects").iter().any(|subject| is_sender(subject, request))
                && if request.path.is_empty() {
                    elements(rule, "resourceRules").iter().any(|rule| is_resource(rule, request))
                } else {
                    elements(rule, "nonResourceRules").iter().any(|rule| is_path(rule, request))
                }
        })
    }

    /// What is to be fair to: the requests of one flow wait for each other only.
    pub(super) fn flow(&self, request: &Attributes<'_>) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        self.name.hash(&mut hasher);
        match self.distinguisher.as_str() {
            "ByUser" => request.user.name.hash(&mut hasher),
            "ByNamespace" => request.namespace.hash(&mut hasher),
            _ => {}
        }
        hasher.finish()
    }
}

fn is_sender(subject: &Value, request: &Attributes<'_>) -> bool {
    let user = request.user;
    match text(subject, "kind") {
        "User" => matches!(text(&subject["user"], "name"), name if name == "*" || name == user.name),
        "Group" => {
            let name = text(&subject["group"], "name");
            name == "*" || user.groups.iter().any(|group| group == name)
        }
        "ServiceAccount" => {
            let account = &subject["serviceAccount"];
            let own = user.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
            own.is_some_and(|(namespace, name)| {
                namespace == text(account, "namespace")
                    && matches!(text(account, "name"), wanted if wanted == "*" || wanted == name)
            })
        }
        _ => false,
    }
}

fn is_resource(rule: &Value, request: &Attributes<'_>) -> bool {
    let resource = match request.subresource {
        "" => request.resource.to_owned(),
        part => format!("{}/{part}", request.resource),
    };
    let in_scope = if request.namespace.is_empty() {
        rule["clusterScope"] == true
    } else {
        names(rule, "namespaces", request.namespace)
    };
    in_scope
        && names(rule, "verbs", request.verb)
        && names(rule, "apiGroups", request.group)
        && names(rule, "resources", &resource)
}

fn is_path(rule: &Value, request: &Attributes<'_>) -> bool {
    let is_below = |own: &str| match own.strip_suffix('*') {
        Some(start) => request.path.starts_with(start),
        None => own == request.path,
    };
    names(rule, "verbs", request.verb)
        && elements(rule, "nonResourceURLs").iter().filter_map(Value::as_str).any(is_below)
}
