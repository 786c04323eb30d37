//! The roles and bindings of a new cluster, read from `rbac.txt`, where their form is told.

use serde_json::{Map, Value, json};

const SOURCE: &str = include_str!("rbac.txt");
const GROUP: &str = "rbac.authorization.k8s.io";

/// The words that stand for several verbs.
const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];
const ALL: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// A role as the file tells it.
struct Role {
    name: &'static str,
    aggregated_to: Option<&'static str>,
    aggregated_from: Option<&'static str>,
    /// Its rules are also those of every role whose name begins so.
    united_from: Option<&'static str>,
    rules: Vec<&'static str>,
}

/// Every role and binding: the plural of its resource, and the object.
pub(super) fn objects() -> Vec<(&'static str, Value)> {
    let mut roles: Vec<Role> = Vec::new();
    let mut objects = Vec::new();
    for line in SOURCE.lines().filter(|line| !line.starts_with('#')) {
        if let Some(rule) = line.strip_prefix(' ') {
            roles.last_mut().expect("rules follow a role").rules.push(rule);
        } else if let Some(rest) = line.strip_prefix("role ") {
            roles.push(role(rest));
        } else if let Some(rest) = line.strip_prefix("binding ") {
            objects.push(binding(rest));
        }
    }
    objects.extend(roles.iter().map(|role| role_object(role, &roles)));
    objects
}

fn role(line: &'static str) -> Role {
    let mut words = line.split(' ');
    let mut role = Role {
        name: words.next().unwrap_or_default(),
        aggregated_to: None,
        aggregated_from: None,
        united_from: None,
        rules: Vec::new(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("to", name)) => role.aggregated_to = Some(name),
            Some(("from", name)) => role.aggregated_from = Some(name),
            Some(("union", prefix)) => role.united_from = Some(prefix),
            _ => {}
        }
    }
    role
}

/// The rules of a ClusterRole.
pub(super) fn rules_of(name: &str) -> Vec<Value> {
    let found = objects()
        .into_iter()
        .find(|(plural, role)| *plural == "clusterroles" && role["metadata"]["name"] == name);
    found.and_then(|(_, role)| role["rules"].as_array().cloned()).unwrap_or_default()
}

/// The role's own rules, or those of the roles that are aggregated to it, by name.
fn rules(role: &Role, roles: &[Role]) -> Vec<&'static str> {
    let mut parts: Vec<&Role> = match (role.aggregated_from, role.united_from) {
        (Some(name), _) => roles.iter().filter(|part| part.aggregated_to == Some(name)).collect(),
        (None, Some(prefix)) => roles.iter().filter(|part| part.name.starts_with(prefix)).collect(),
        (None, None) => return role.rules.clone(),
    };
    parts.sort_by_key(|part| part.name);
    let mut all = role.rules.clone();
    for part in parts {
        for rule in rules(part, roles) {
            if !all.contains(&rule) {
                all.push(rule);
            }
        }
    }
    all
}

fn role_object(role: &Role, roles: &[Role]) -> (&'static str, Value) {
    let (plural, kind, mut object) = object(role.name, "roles", "Role");
    object["kind"] = kind.into();
    let aggregate = |name: &str| format!("{GROUP}/aggregate-to-{name}");
    if let Some(name) = role.aggregated_to {
        object["metadata"]["labels"][aggregate(name)] = "true".into();
    }
    if let Some(name) = role.aggregated_from {
        object["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {aggregate(name): "true"}}]});
    }
    object["rules"] = rules(role, roles).into_iter().map(rule).collect();
    (plural, object)
}

fn rule(line: &str) -> Value {
    let mut words = line.split(' ');
    let mut list = || words.next().map(|list| list.split(',').collect::<Vec<_>>());
    let verbs = match list().unwrap_or_default().as_slice() {
        ["read"] => READ.to_vec(),
        ["write"] => WRITE.to_vec(),
        ["all"] => ALL.to_vec(),
        verbs => verbs.to_vec(),
    };
    let mut rule = Map::new();
    rule.insert("verbs".to_owned(), json!(verbs));
    let second = list().unwrap_or_default();
    if second.first().is_some_and(|word| word.starts_with('/')) {
        let paths: Vec<&str> = second.into_iter().map(|path| if path == "/*" { "*" } else { path }).collect();
        rule.insert("nonResourceURLs".to_owned(), json!(paths));
        return rule.into();
    }
    let groups: Vec<&str> = second.into_iter().map(|group| if group == "-" { "" } else { group }).collect();
    rule.insert("apiGroups".to_owned(), json!(groups));
    rule.insert("resources".to_owned(), json!(list().unwrap_or_default()));
    if let Some(names) = list() {
        rule.insert("resourceNames".to_owned(), json!(names));
    }
    rule.into()
}

fn binding(line: &'static str) -> (&'static str, Value) {
    let mut words = line.split(' ').peekable();
    let full = words.next().unwrap_or_default();
    let (plural, kind, mut object) = object(full, "rolebindings", "RoleBinding");
    object["kind"] = kind.into();
    let own = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let role =
        words.next_if(|word| word.starts_with("role=")).map_or(own.as_str(), |word| &word["role=".len()..]);
    let role_kind = if full.contains('/') { "Role" } else { "ClusterRole" };
    object["roleRef"] = json!({"apiGroup": GROUP, "kind": role_kind, "name": role});
    object["subjects"] = words.map(subject).collect();
    (plural, object)
}

fn subject(word: &str) -> Value {
    match word.split_once(':') {
        Some(("sa", name)) => {
            let (namespace, name) = name.split_once('/').unwrap_or(("", name));
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }
        Some(("user", name)) => json!({"kind": "User", "apiGroup": GROUP, "name": name}),
        Some((_, name)) => json!({"kind": "Group", "apiGroup": GROUP, "name": name}),
        None => Value::Null,
    }
}

/// The frame of an object of this name, which may have a namespace: its plural and kind follow from that.
fn object(name: &'static str, plural: &'static str, kind: &str) -> (&'static str, String, Value) {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        },
    });
    match name.split_once('/') {
        Some((namespace, name)) => {
            object["metadata"]["namespace"] = namespace.into();
            object["metadata"]["name"] = name.into();
            (plural, kind.to_owned(), object)
        }
        None if plural == "roles" => ("clusterroles", format!("Cluster{kind}"), object),
        None => ("clusterrolebindings", format!("Cluster{kind}"), object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(objects: &'a [(&str, Value)], plural: &str, name: &str) -> &'a Value {
        let found = objects.iter().find(|(own, object)| *own == plural && object["metadata"]["name"] == name);
        &found.unwrap_or_else(|| panic!("no {plural} {name}")).1
    }

    #[test]
    fn an_aggregated_role_has_the_rules_of_its_parts_once() {
        let objects = objects();
        let rules =
            |name: &str| find(&objects, "clusterroles", name)["rules"].as_array().expect("rules").clone();
        let (admin, edit, view) = (rules("admin"), rules("edit"), rules("view"));
        assert!(edit.iter().all(|rule| admin.contains(rule)));
        assert!(view.iter().all(|rule| edit.contains(rule)));
        assert!(admin.len() > edit.len() && edit.len() > view.len());
        for (index, rule) in admin.iter().enumerate() {
            assert!(!admin[..index].contains(rule), "{rule}");
        }
    }

    #[test]
    fn every_binding_names_a_role_that_exists() {
        let objects = objects();
        for (plural, object) in objects.iter().filter(|(plural, _)| plural.ends_with("bindings")) {
            let role = object["roleRef"]["name"].as_str().expect("a role");
            find(&objects, if *plural == "rolebindings" { "roles" } else { "clusterroles" }, role);
            assert!(
                object["subjects"].as_array().is_some_and(|subjects| subjects.iter().all(Value::is_object))
            );
        }
        let admin = find(&objects, "clusterrolebindings", "cluster-admin");
        assert_eq!(admin["subjects"][0]["name"], "system:masters");
    }
}
