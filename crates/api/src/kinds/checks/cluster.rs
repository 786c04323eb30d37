//! What is wrong with what belongs to the whole cluster: nodes, classes, bindings of roles, limits, definitions.

use serde_json::Value;

use super::{all_wrong, formed, one_of, required};
use crate::field::FieldError;
use crate::kinds::access::{at, flag, has, int, list, map, text};
use crate::kinds::metadata;
use crate::kinds::path::Path;
use crate::names;
use crate::quantity::Quantity;

const SPEC: Path<'static> = Path::Root("spec");

pub(in crate::kinds) fn node(node: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(node, "spec");
    let field = SPEC.field("taints");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in list(spec, "taints").iter().enumerate() {
        let path = field.index(index);
        let (key, effect) = (text(taint, "key"), text(taint, "effect"));
        all_wrong(names::qualified(key), key, path.field("key"), errors);
        formed(taint, "value", names::label_value, &path, errors);
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
    let field = SPEC.field("podCIDRs");
    for (index, network) in list(spec, "podCIDRs").iter().filter_map(Value::as_str).enumerate() {
        if let Some(why) = names::cidr(network) {
            errors.push(FieldError::invalid(field.index(index), network, why));
        }
    }
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
    let kinds: &[&str] = if is_cluster_wide { &["ClusterRole"] } else { &["ClusterRole", "Role"] };
    if !kinds.contains(&text(role, "kind")) {
        errors.push(FieldError::not_supported(path.field("kind"), text(role, "kind"), kinds));
    }
    required(role, "name", &path, errors);
    all_wrong(names::path_segment(text(role, "name")), text(role, "name"), path.field("name"), errors);
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
                if is_cluster_wide || text(subject, "namespace").is_empty() {
                    required(subject, "namespace", &path, errors);
                }
            }
            "User" | "Group" => {
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
    if SYSTEM.contains(&(name, value)) {
        return;
    }
    if name.starts_with("system-") {
        let why = "priority class names with 'system-' prefix are reserved for system use only";
        errors.push(FieldError::forbidden(Path::Root("metadata").field("name"), why));
    }
    if value > MOST {
        let why = format!("maximum allowed value of a user defined priority is {MOST}");
        errors.push(FieldError::forbidden("value", why));
    }
    let policy = text(class, "preemptionPolicy");
    if !matches!(policy, "" | "Never" | "PreemptLowerPriority") {
        let supported = ["Never", "PreemptLowerPriority"];
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
    for (name, supported) in [
        ("reclaimPolicy", ["Delete", "Retain"]),
        ("volumeBindingMode", ["Immediate", "WaitForFirstConsumer"]),
    ] {
        if has(class, name) && !supported.contains(&text(class, name)) {
            errors.push(FieldError::not_supported(name, text(class, name), &supported));
        }
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

fn amount(owner: &Value, list: &str, name: &str) -> Option<Quantity> {
    Quantity::parse(text(at(owner, list), name)).ok()
}

pub(in crate::kinds) fn limit_range(range: &Value, errors: &mut Vec<FieldError>) {
    let field = SPEC.field("limits");
    let mut seen: Vec<&str> = Vec::new();
    for (index, limit) in list(at(range, "spec"), "limits").iter().enumerate() {
        let path = field.index(index);
        let kind = text(limit, "type");
        if seen.contains(&kind) {
            errors.push(FieldError::duplicate(path.field("type"), kind));
        }
        seen.push(kind);
        if kind == "Pod" {
            for name in ["default", "defaultRequest"] {
                if map(limit, name).next().is_some() {
                    let why = "may not be specified when `type` is 'Pod'";
                    errors.push(FieldError::forbidden(path.field(name), why));
                }
            }
        }
        let lists = [
            ("min", "max", "min value", "max value"),
            ("defaultRequest", "max", "default request value", "max value"),
            ("defaultRequest", "default", "default request value", "default limit value"),
            ("default", "max", "default value", "max value"),
            ("min", "defaultRequest", "min value", "default request value"),
        ];
        for (low, high, low_word, high_word) in lists {
            for (resource, _) in map(limit, low) {
                let (Some(least), Some(most)) = (amount(limit, low, resource), amount(limit, high, resource))
                else {
                    continue;
                };
                if least > most {
                    let field = path.field(low);
                    let why = format!("{low_word} {least} is greater than {high_word} {most}");
                    errors.push(FieldError::invalid(field.key(resource), least.to_string(), why));
                }
            }
        }
    }
}

pub(in crate::kinds) fn resource_quota(quota: &Value, errors: &mut Vec<FieldError>) {
    let field = SPEC.field("hard");
    for (resource, value) in map(at(quota, "spec"), "hard") {
        let path = field.key(resource);
        all_wrong(names::qualified(resource), resource, path, errors);
        let Some(quantity) = value.as_str().and_then(|text| Quantity::parse(text).ok()) else { continue };
        if quantity.sign() == std::cmp::Ordering::Less {
            errors.push(FieldError::invalid(path, value.clone(), metadata::NOT_NEGATIVE));
        }
        let is_count = resource.starts_with("count/")
            || matches!(resource.as_str(), "pods" | "services" | "secrets" | "configmaps" | "resourcequotas");
        if is_count && quantity.milli_value() % 1000 != 0 {
            errors.push(FieldError::invalid(path, value.clone(), "must be an integer"));
        }
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
