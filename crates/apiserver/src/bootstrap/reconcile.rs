//! Brings what a cluster begins with up to date, where an earlier version or somebody else has made it: what is missing
//! is added, and what others have added stays. Pure.
//!
//! Roles and bindings are left alone whose annotation `rbac.authorization.kubernetes.io/autoupdate` says `false`;
//! FlowSchemas and levels whose `apf.kubernetes.io/autoupdate-spec` does not say `true`, but for the mandatory ones.

use serde_json::{Value, json};

use crate::authz;

const ROLES: &str = "rbac.authorization.kubernetes.io/autoupdate";
const FLOWS: &str = "apf.kubernetes.io/autoupdate-spec";

/// Without these, requests would have nowhere to go.
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// What is to be done with an object that is there.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// It is as it should be, or not ours to change.
    None,
    /// It becomes this.
    Update(Value),
    /// It is made anew: what differs cannot be changed.
    Replace,
}

/// Compares an object with what it should be at least.
pub(super) fn plan(plural: &str, existing: &Value, wanted: &Value) -> Change {
    match plural {
        "roles" | "clusterroles" => role(existing, wanted),
        "rolebindings" | "clusterrolebindings" => binding(existing, wanted),
        "flowschemas" | "prioritylevelconfigurations" => flow(existing, wanted),
        _ => Change::None,
    }
}

fn annotation<'a>(of: &'a Value, name: &str) -> Option<&'a str> {
    of["metadata"]["annotations"][name].as_str()
}

/// Adds the labels and annotations that are missing.
fn words(object: &mut Value, wanted: &Value) {
    for field in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][field].as_object().into_iter().flatten() {
            if object["metadata"][field].get(key).is_none() {
                object["metadata"][field][key] = value.clone();
            }
        }
    }
}

fn changed(existing: &Value, object: Value) -> Change {
    if object == *existing { Change::None } else { Change::Update(object) }
}

fn role(existing: &Value, wanted: &Value) -> Change {
    if annotation(existing, ROLES) == Some("false") {
        return Change::None;
    }
    let mut object = existing.clone();
    words(&mut object, wanted);
    // The rules of a role that is made of others follow from those.
    if wanted["aggregationRule"].is_object() {
        add_missing(&mut object["aggregationRule"], "clusterRoleSelectors", &wanted["aggregationRule"]);
    } else if object["rules"] != wanted["rules"] {
        let missing = authz::missing(existing, wanted);
        if !missing.is_empty() {
            let mut rules = object["rules"].as_array().cloned().unwrap_or_default();
            rules.extend(missing);
            object["rules"] = rules.into();
        }
    }
    changed(existing, object)
}

fn binding(existing: &Value, wanted: &Value) -> Change {
    if annotation(existing, ROLES) == Some("false") {
        return Change::None;
    }
    if existing["roleRef"] != wanted["roleRef"] {
        return Change::Replace;
    }
    let mut object = existing.clone();
    words(&mut object, wanted);
    add_missing(&mut object, "subjects", wanted);
    changed(existing, object)
}

/// Adds to a list of an object what is missing in it.
fn add_missing(object: &mut Value, field: &str, wanted: &Value) {
    let mut all = object[field].as_array().cloned().unwrap_or_default();
    let count = all.len();
    for item in wanted[field].as_array().into_iter().flatten() {
        if !all.contains(item) {
            all.push(item.clone());
        }
    }
    if all.len() > count {
        object[field] = all.into();
    }
}

fn flow(existing: &Value, wanted: &Value) -> Change {
    let is_mandatory = MANDATORY.iter().any(|name| existing["metadata"]["name"] == *name);
    if !is_mandatory && annotation(existing, FLOWS) != Some("true") {
        return Change::None;
    }
    if covers(&existing["spec"], &wanted["spec"]) {
        return Change::None;
    }
    let mut object = existing.clone();
    object["spec"] = wanted["spec"].clone();
    changed(existing, object)
}

/// Whether an object has all that is wanted; beside it there are defaults.
fn covers(existing: &Value, wanted: &Value) -> bool {
    match (existing, wanted) {
        (Value::Object(existing), Value::Object(wanted)) => wanted.iter().all(|(key, value)| {
            existing.get(key).is_some_and(|existing| covers(existing, value)) || is_nothing(value)
        }),
        (Value::Array(existing), Value::Array(wanted)) => {
            existing.len() == wanted.len()
                && existing.iter().zip(wanted).all(|(own, wanted)| covers(own, wanted))
        }
        _ => existing == wanted,
    }
}

fn is_nothing(value: &Value) -> bool {
    *value == json!(null) || *value == json!({}) || *value == json!([])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role_of(rules: Value) -> Value {
        json!({"metadata": {"name": "r", "labels": {"a": "b"}, "annotations": {ROLES: "true"}}, "rules": rules})
    }

    fn rule(verbs: Value, resources: Value) -> Value {
        json!({"verbs": verbs, "apiGroups": [""], "resources": resources})
    }

    #[test]
    fn missing_rules_are_added_and_those_of_others_stay() {
        let wanted = role_of(json!([rule(json!(["get", "list"]), json!(["pods", "nodes"]))]));
        let mut existing =
            role_of(json!([rule(json!(["*"]), json!(["pods"])), rule(json!(["get"]), json!(["secrets"]))]));
        existing["metadata"]["labels"] = json!({"mine": "1"});
        let Change::Update(updated) = plan("clusterroles", &existing, &wanted) else { panic!("an update") };
        assert_eq!(updated["metadata"]["labels"], json!({"mine": "1", "a": "b"}));
        let rules = updated["rules"].as_array().expect("rules");
        assert_eq!(rules[..2], existing["rules"].as_array().expect("rules")[..]);
        assert_eq!(rules[2..], [rule(json!(["get", "list"]), json!(["nodes"]))]);
        assert_eq!(plan("clusterroles", &updated, &wanted), Change::None);
        existing["metadata"]["annotations"][ROLES] = "false".into();
        assert_eq!(plan("clusterroles", &existing, &wanted), Change::None);
    }

    #[test]
    fn missing_subjects_are_added_and_another_role_is_bound_anew() {
        let subject = |name: &str| json!({"kind": "Group", "name": name});
        let of = |subjects: Value, role: &str| json!({"metadata": {"name": "b"}, "subjects": subjects, "roleRef": {"name": role}});
        let wanted = of(json!([subject("a")]), "r");
        let existing = of(json!([subject("mine")]), "r");
        let Change::Update(updated) = plan("clusterrolebindings", &existing, &wanted) else {
            panic!("an update")
        };
        assert_eq!(updated["subjects"], json!([subject("mine"), subject("a")]));
        assert_eq!(plan("clusterrolebindings", &updated, &wanted), Change::None);
        assert_eq!(plan("clusterrolebindings", &of(json!([]), "other"), &wanted), Change::Replace);
        let nobody = json!({"metadata": {"name": "b"}, "roleRef": {"name": "r"}});
        assert_eq!(plan("clusterrolebindings", &nobody, &of(json!([]), "r")), Change::None);
    }

    #[test]
    fn a_flow_is_ours_as_long_as_nobody_says_otherwise() {
        let of = |name: &str, own: &str, level: &str| json!({"metadata": {"name": name, "annotations": {FLOWS: own}}, "spec": {"level": level, "filled": 1}});
        let wanted = |name: &str| json!({"metadata": {"name": name}, "spec": {"level": "a"}});
        assert_eq!(plan("flowschemas", &of("x", "true", "a"), &wanted("x")), Change::None);
        assert!(matches!(plan("flowschemas", &of("x", "true", "b"), &wanted("x")), Change::Update(_)));
        assert_eq!(plan("flowschemas", &of("x", "false", "b"), &wanted("x")), Change::None);
        assert!(matches!(
            plan("flowschemas", &of("exempt", "false", "b"), &wanted("exempt")),
            Change::Update(_)
        ));
    }

    #[test]
    fn what_is_new_is_as_it_should_be() {
        for (plural, object) in super::super::rbac::objects() {
            assert_eq!(plan(plural, &object, &object), Change::None);
        }
    }
}
