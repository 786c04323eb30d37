//! What is wrong with what belongs to the whole cluster: nodes, classes, bindings of roles, limits, definitions.

use serde_json::Value;

use super::{all_wrong, formed, one_of, required, resources};
use crate::field::FieldError;
use crate::kinds::access::{at, flag, has, int, list, map, text};
use crate::kinds::metadata;
use crate::kinds::path::Path;
use crate::names;

const SPEC: Path<'static> = Path::Root("spec");

pub(in crate::kinds) fn node(node: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(node, "spec");
    // They have always been told of as if they stood there.
    let metadata = Path::Root("metadata");
    let field = metadata.field("taints");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in list(spec, "taints").iter().enumerate() {
        let path = field.index(index);
        let (key, effect) = (text(taint, "key"), text(taint, "effect"));
        all_wrong(names::qualified(key), key, path.field("key"), errors);
        let wrong = names::label_value(text(taint, "value"));
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(path.field("value"), text(taint, "value"), wrong.join(";")));
        }
        if effect.is_empty() {
            errors.push(FieldError::required(path.field("effect"), ""));
        } else {
            one_of(taint, "effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"], &path, errors);
        }
        if seen.contains(&(key, effect)) {
            let mut error = FieldError::duplicate(path, taint.clone());
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
        seen.push((key, effect));
    }
    super::status::networks(spec, &SPEC, errors);
}

pub(in crate::kinds) fn node_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    for (name, what) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        if has(old, name) && at(new, name) != at(old, name) {
            let why = format!("node updates may not change {what} except from \"\" to valid");
            errors.push(FieldError::forbidden(SPEC.field(name), why));
        }
    }
}

pub(in crate::kinds) fn role_binding(binding: &Value, errors: &mut Vec<FieldError>) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let role = at(binding, "roleRef");
    let path = Path::Root("roleRef");
    one_of(role, "apiGroup", &[GROUP], &path, errors);
    let is_cluster_wide = text(binding, "kind") == "ClusterRoleBinding";
    let kinds: &[&str] = if is_cluster_wide { &["ClusterRole"] } else { &["Role", "ClusterRole"] };
    if !kinds.contains(&text(role, "kind")) {
        errors.push(FieldError::not_supported(path.field("kind"), text(role, "kind"), kinds));
    }
    required(role, "name", &path, errors);
    formed(role, "name", names::path_segment, &path, errors);
    let field = Path::Root("subjects");
    for (index, subject) in list(binding, "subjects").iter().enumerate() {
        let path = field.index(index);
        required(subject, "name", &path, errors);
        match text(subject, "kind") {
            "ServiceAccount" => {
                formed(subject, "name", names::dns_subdomain, &path, errors);
                if !text(subject, "apiGroup").is_empty() {
                    let group = text(subject, "apiGroup");
                    errors.push(FieldError::not_supported(path.field("apiGroup"), group, &[""]));
                }
                if is_cluster_wide {
                    required(subject, "namespace", &path, errors);
                }
            }
            kind @ ("User" | "Group") => {
                if text(subject, "name").is_empty() {
                    let why = format!("{} name cannot be empty", kind.to_lowercase());
                    errors.push(FieldError::invalid(path.field("name"), "", why));
                }
                if text(subject, "apiGroup") != GROUP {
                    let group = text(subject, "apiGroup");
                    errors.push(FieldError::not_supported(path.field("apiGroup"), group, &[GROUP]));
                }
            }
            other => {
                let supported = ["ServiceAccount", "User", "Group"];
                errors.push(FieldError::not_supported(path.field("kind"), other, &supported));
            }
        }
    }
}

pub(in crate::kinds) fn role_binding_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if at(new, "roleRef") != at(old, "roleRef") {
        errors.push(FieldError::invalid("roleRef", at(new, "roleRef").clone(), "cannot change roleRef"));
    }
}

pub(in crate::kinds) fn priority_class(class: &Value, errors: &mut Vec<FieldError>) {
    /// The greatest value that is not the system's own.
    const MOST: i64 = 1_000_000_000;
    const SYSTEM: [(&str, i64); 2] =
        [("system-node-critical", 2 * MOST + 1000), ("system-cluster-critical", 2 * MOST)];
    let name = text(at(class, "metadata"), "name");
    let value = int(class, "value").unwrap_or_default();
    let known = SYSTEM.iter().find(|(own, _)| *own == name);
    if name.starts_with("system-") {
        let why = match known {
            Some((_, own)) if *own != value => format!("value of {name} PriorityClass must be {own}"),
            Some(_) if flag(class, "globalDefault") => {
                format!("globalDefault of {name} PriorityClass must be false")
            }
            Some(_) => String::new(),
            None => format!("{name} is not a known system priority class"),
        };
        if !why.is_empty() {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
            );
            errors.push(FieldError::forbidden(Path::Root("metadata").field("name"), why));
        }
    } else if value > MOST {
        let why = format!("maximum allowed value of a user defined priority is {MOST}");
        errors.push(FieldError::forbidden("value", why));
    }
    let policy = text(class, "preemptionPolicy");
    if !matches!(policy, "" | "Never" | "PreemptLowerPriority") {
        let supported = ["PreemptLowerPriority", "Never"];
        errors.push(FieldError::not_supported("preemptionPolicy", policy, &supported));
    }
}

pub(in crate::kinds) fn priority_class_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if at(new, "value") != at(old, "value") {
        errors.push(FieldError::forbidden("value", "may not be changed in an update."));
    }
    if at(new, "preemptionPolicy") != at(old, "preemptionPolicy") {
        errors.push(FieldError::immutable("preemptionPolicy", at(new, "preemptionPolicy")));
    }
}

pub(in crate::kinds) fn runtime_class(class: &Value, errors: &mut Vec<FieldError>) {
    let handler = text(class, "handler");
    all_wrong(names::dns_label(handler), handler, "handler", errors);
    let overhead = at(class, "overhead");
    if !overhead.is_null() {
        let limits = serde_json::json!({"limits": at(overhead, "podFixed")});
        resources::requirements(&limits, resources::container_name, &[], &Path::Root("overhead"), errors);
    }
    let scheduling = at(class, "scheduling");
    let path = Path::Root("scheduling");
    metadata::labels(at(scheduling, "nodeSelector"), &path.field("nodeSelector"), errors);
    super::pod_spec::tolerations(scheduling, &path.field("tolerations"), errors);
}

pub(in crate::kinds) fn runtime_class_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if at(new, "handler") != at(old, "handler") {
        errors.push(FieldError::immutable("handler", at(new, "handler")));
    }
}

pub(in crate::kinds) fn storage_class(class: &Value, errors: &mut Vec<FieldError>) {
    let provisioner = text(class, "provisioner");
    if provisioner.is_empty() {
        errors.push(FieldError::required("provisioner", ""));
    } else {
        all_wrong(names::qualified(&provisioner.to_lowercase()), provisioner, "provisioner", errors);
    }
    storage_parameters(class, errors);
    let field = Path::Root("allowedTopologies");
    for (index, term) in list(class, "allowedTopologies").iter().enumerate() {
        let at_index = field.index(index);
        let field = at_index.field("matchLabelExpressions");
        let expressions = list(term, "matchLabelExpressions");
        for (index, expression) in expressions.iter().enumerate() {
            let path = field.index(index);
            let key = text(expression, "key");
            if list(expression, "values").is_empty() {
                errors.push(FieldError::required(path.field("values"), ""));
            }
            all_wrong(names::qualified(key), key, path.field("key"), errors);
            if expressions[..index].iter().any(|other| text(other, "key") == key) {
                errors.push(FieldError::duplicate(path.field("key"), key));
            }
        }
    }
    for (name, supported) in [
        ("reclaimPolicy", ["Delete", "Retain"]),
        ("volumeBindingMode", ["Immediate", "WaitForFirstConsumer"]),
    ] {
        if has(class, name) && !supported.contains(&text(class, name)) {
            errors.push(FieldError::not_supported(name, text(class, name), &supported));
        }
    }
}

/// What a provisioner is told: not too much.
fn storage_parameters(class: &Value, errors: &mut Vec<FieldError>) {
    const MOST: usize = 512;
    const MOST_BYTES: usize = 256 * 1024;
    let parameters: Vec<_> = map(class, "parameters").collect();
    if parameters.len() > MOST {
        errors.push(FieldError::too_long("parameters", MOST));
        return;
    }
    if parameters.iter().any(|(key, _)| key.is_empty()) {
        errors.push(FieldError::invalid("parameters", "", "field can not be empty."));
    }
    let size: usize =
        parameters.iter().map(|(key, value)| key.len() + value.as_str().unwrap_or_default().len()).sum();
    if size > MOST_BYTES {
        errors.push(FieldError::too_long("parameters", MOST_BYTES));
    }
}

pub(in crate::kinds) fn storage_class_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for name in ["provisioner", "parameters", "reclaimPolicy"] {
        if at(new, name) != at(old, name) {
            errors.push(FieldError::forbidden(name, format!("updates to {name} are forbidden.")));
        }
    }
    if at(new, "volumeBindingMode") != at(old, "volumeBindingMode") {
        errors.push(FieldError::immutable("volumeBindingMode", at(new, "volumeBindingMode")));
    }
}

pub(in crate::kinds) fn event(event: &Value, errors: &mut Vec<FieldError>) {
    let own = text(at(event, "metadata"), "namespace");
    let of = text(at(event, "involvedObject"), "namespace");
    // Events about what has no namespace live in the namespace of the system.
    let is_fine = if of.is_empty() { matches!(own, "" | "default" | "kube-system") } else { own == of };
    if !is_fine {
        let field = Path::Root("involvedObject");
        let why = "does not match event.namespace";
        errors.push(FieldError::invalid(field.field("namespace"), of, why));
    }
}

pub(in crate::kinds) fn binding(binding: &Value, errors: &mut Vec<FieldError>) {
    let target = at(binding, "target");
    let path = Path::Root("target");
    if !matches!(text(target, "kind"), "" | "Node") {
        let supported = ["Node", "<empty>"];
        errors.push(FieldError::not_supported(path.field("kind"), text(target, "kind"), &supported));
    }
    required(target, "name", &path, errors);
}

pub(in crate::kinds) fn custom_resource_definition(definition: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(definition, "spec");
    let names_of = at(spec, "names");
    let name = text(at(definition, "metadata"), "name");
    let (group, plural) = (text(spec, "group"), text(names_of, "plural"));
    if name != format!("{plural}.{group}") {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(Path::Root("metadata").field("name"), name, why));
    }
    if group.is_empty() {
        errors.push(FieldError::required(SPEC.field("group"), ""));
    } else {
        all_wrong(names::dns_subdomain(group), group, SPEC.field("group"), errors);
        if group.split('.').count() < 2 {
            let why = "should be a domain with at least one dot";
            errors.push(FieldError::invalid(SPEC.field("group"), group, why));
        }
    }
    if text(spec, "scope").is_empty() {
        errors.push(FieldError::required(SPEC.field("scope"), ""));
    } else {
        one_of(spec, "scope", &["Cluster", "Namespaced"], &SPEC, errors);
    }
    definition_names(names_of, errors);
    definition_versions(spec, errors);
    let status = Path::Root("status");
    let stored = at(at(definition, "status"), "storedVersions");
    if list(at(definition, "status"), "storedVersions").is_empty() {
        let why = "must have at least one stored version";
        errors.push(FieldError::invalid(status.field("storedVersions"), stored.clone(), why));
    }
}

fn definition_names(names_of: &Value, errors: &mut Vec<FieldError>) {
    let field = SPEC.field("names");
    for name in ["plural", "singular", "kind", "listKind"] {
        let value = text(names_of, name);
        if value.is_empty() {
            if matches!(name, "plural" | "kind") {
                errors.push(FieldError::required(field.field(name), ""));
            }
            continue;
        }
        // Kinds are written with capitals, and otherwise like labels.
        all_wrong(names::dns_1035_label(&value.to_lowercase()), value, field.field(name), errors);
    }
    if !text(names_of, "kind").is_empty() && text(names_of, "kind") == text(names_of, "listKind") {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(field.field("listKind"), text(names_of, "listKind"), why));
    }
}

fn definition_versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let field = SPEC.field("versions");
    let versions = list(spec, "versions");
    let mut seen: Vec<&str> = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let path = field.index(index);
        let name = text(version, "name");
        if seen.contains(&name) {
            let why = "must contain unique version names";
            errors.push(FieldError::invalid(field, at(spec, "versions").clone(), why));
        }
        seen.push(name);
        all_wrong(names::dns_1035_label(name), name, path.field("name"), errors);
        let schema = path.field("schema");
        if !has(at(version, "schema"), "openAPIV3Schema") {
            let why = "schemas are required";
            errors.push(FieldError::required(schema.field("openAPIV3Schema"), why));
        } else if text(at(at(version, "schema"), "openAPIV3Schema"), "type") != "object" {
            let root = schema.field("openAPIV3Schema");
            let ty = text(at(at(version, "schema"), "openAPIV3Schema"), "type");
            if ty.is_empty() {
                errors.push(FieldError::required(root.field("type"), "must not be empty at the root"));
            } else {
                errors.push(FieldError::invalid(root.field("type"), ty, "must be object at the root"));
            }
        }
    }
    if versions.iter().filter(|version| flag(version, "storage")).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(field, at(spec, "versions").clone(), why));
    }
}

pub(in crate::kinds) fn definition_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    for name in ["scope", "group"] {
        if at(new, name) != at(old, name) {
            errors.push(FieldError::immutable(SPEC.field(name), at(new, name)));
        }
    }
    let field = SPEC.field("names");
    for name in ["kind", "plural"] {
        if at(at(new, "names"), name) != at(at(old, "names"), name) {
            errors.push(FieldError::immutable(field.field(name), at(at(new, "names"), name)));
        }
    }
}
