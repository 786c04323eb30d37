//! What is wrong with a PodSpec, wherever it stands.

use serde_json::Value;

use super::container::{self, Pod, pod_claims};
use super::{all_wrong, formed, one_of, resources, scheduling, security, volume};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, text};
use crate::kinds::metadata;
use crate::kinds::path::Path;
use crate::names;

/// What is wrong with a new pod.
pub(in crate::kinds) fn pod(pod: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(pod, "spec");
    let path = Path::Root("spec");
    let name = text(at(pod, "metadata"), "name");
    validate(spec, Some(name), &path, errors);
    annotations(pod, errors);
    if text(spec, "serviceAccountName").is_empty() {
        let field = path.field("volumes");
        for (index, volume) in list(spec, "volumes").iter().enumerate() {
            let at_index = field.index(index);
            let projected = at_index.field("projected");
            let field = projected.field("sources");
            for (index, source) in list(at(volume, "projected"), "sources").iter().enumerate() {
                if has(source, "serviceAccountToken") {
                    let why = "must not be specified when serviceAccountName is not set";
                    errors.push(FieldError::forbidden(field.index(index).field("serviceAccountToken"), why));
                }
            }
        }
    }
}

/// What is wrong with a pod only while it is made.
pub(in crate::kinds) fn new_pod(pod: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(pod, "spec");
    let path = Path::Root("spec");
    if !list(spec, "ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden(path.field("ephemeralContainers"), "cannot be set on create"));
    }
    if !text(spec, "nodeName").is_empty() && !list(spec, "schedulingGates").is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden(path.field("nodeName"), why));
    }
}

/// Annotations that mean something to a pod.
fn annotations(pod: &Value, errors: &mut Vec<FieldError>) {
    const MIRROR: &str = "kubernetes.io/config.mirror";
    const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
    let own = at(at(pod, "metadata"), "annotations");
    let metadata = Path::Root("metadata");
    let path = metadata.field("annotations");
    if has(own, MIRROR) && text(at(pod, "spec"), "nodeName").is_empty() {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(FieldError::invalid(path.key(MIRROR), text(own, MIRROR), why));
    }
    let cost = text(own, COST);
    // A number is written in one way only.
    let is_number = cost.parse::<i32>().is_ok_and(|number| number.to_string() == cost);
    if has(own, COST) && !is_number {
        errors.push(FieldError::invalid(path.key(COST), cost, "must be a 32bit integer"));
    }
}

/// What is wrong with a PodSpec. A pod has a name, a template has none.
pub(in crate::kinds) fn validate(
    spec: &Value,
    name: Option<&str>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let volumes = volume::validate(spec, name.unwrap_or_default(), path, errors);
    let claims = pod_claims(spec, path, errors);
    container::validate(&Pod { spec, volumes, claims, is_pod: name.is_some() }, path, errors);
    resources::of_pod(spec, &path.field("resources"), errors);
    one_of(spec, "restartPolicy", &["Always", "OnFailure", "Never"], path, errors);
    one_of(spec, "dnsPolicy", &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], path, errors);
    metadata::labels(at(spec, "nodeSelector"), &path.field("nodeSelector"), errors);
    security::of_pod(spec, path, errors);
    dns(spec, &path.field("dnsConfig"), errors);
    let field = path.field("readinessGates");
    for (index, gate) in list(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        all_wrong(names::qualified(kind), kind, field.index(index).field("conditionType"), errors);
    }
    scheduling::validate(spec, path, errors);
    security::of_node(spec, path, errors);
    for name in ["serviceAccountName", "nodeName", "priorityClassName"] {
        formed(spec, name, names::dns_subdomain, path, errors);
    }
    if has(spec, "runtimeClassName") {
        let class = text(spec, "runtimeClassName");
        all_wrong(names::dns_subdomain(class), class, path.field("runtimeClassName"), errors);
    }
    if let Some(seconds) = int(spec, "activeDeadlineSeconds")
        && let Some(why) = names::in_range(seconds, 1, i64::from(i32::MAX))
    {
        errors.push(FieldError::invalid(path.field("activeDeadlineSeconds"), seconds, why));
    }
    for name in ["hostname", "subdomain"] {
        formed(spec, name, names::dns_label, path, errors);
    }
    host_name(spec, path, errors);
    tolerations(spec, &path.field("tolerations"), errors);
    let field = path.field("hostAliases");
    for (index, alias) in list(spec, "hostAliases").iter().enumerate() {
        let field = field.index(index);
        if let Some(why) = names::ip(text(alias, "ip")) {
            errors.push(FieldError::invalid(field.field("ip"), text(alias, "ip"), why));
        }
        let hosts = field.field("hostnames");
        for (index, host) in list(alias, "hostnames").iter().filter_map(Value::as_str).enumerate() {
            all_wrong(names::dns_subdomain(host), host, hosts.index(index), errors);
        }
    }
    one_of(spec, "preemptionPolicy", &["PreemptLowerPriority", "Never"], path, errors);
    let overhead = path.field("overhead");
    if has(spec, "overhead") {
        let limits = serde_json::json!({"limits": at(spec, "overhead")});
        resources::requirements(&limits, resources::container_name, &[], &overhead, errors);
    }
}

/// A name in place of all that a pod is called otherwise.
fn host_name(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const LONGEST: usize = 64;
    if !has(spec, "hostnameOverride") {
        return;
    }
    let name = text(spec, "hostnameOverride");
    let field = path.field("hostnameOverride");
    if name.len() > LONGEST {
        errors.push(FieldError::too_long(field, LONGEST));
    }
    all_wrong(names::dns_subdomain(name), name, field, errors);
    if at(spec, "hostNetwork") == &Value::Bool(true) {
        let why = "hostNetwork must not be set to true when hostnameOverride is set";
        errors.push(FieldError::invalid(path.field("hostNetwork"), true, why));
    }
    if at(spec, "setHostnameAsFQDN") == &Value::Bool(true) {
        let why = "setHostnameAsFQDN must not be set to true when hostnameOverride is set";
        errors.push(FieldError::invalid(path.field("setHostnameAsFQDN"), true, why));
    }
}

fn dns(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MOST_SERVERS: usize = 3;
    const MOST_SEARCHES: usize = 32;
    const LONGEST_SEARCHES: usize = 2048;
    let config = at(spec, "dnsConfig");
    let servers = list(config, "nameservers");
    if text(spec, "dnsPolicy") == "None" {
        if config.is_null() {
            errors.push(FieldError::required(path, "must provide `dnsConfig` when `dnsPolicy` is None"));
            return;
        }
        if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(path.field("nameservers"), why));
            return;
        }
    }
    let field = path.field("nameservers");
    if servers.len() > MOST_SERVERS {
        let why = format!("must not have more than {MOST_SERVERS} nameservers");
        errors.push(FieldError::invalid(field, servers.to_vec(), why));
    }
    for (index, server) in servers.iter().filter_map(Value::as_str).enumerate() {
        if let Some(why) = names::ip(server) {
            errors.push(FieldError::invalid(field.index(index), server, why));
        }
    }
    let field = path.field("searches");
    let searches: Vec<&str> = list(config, "searches").iter().filter_map(Value::as_str).collect();
    if searches.len() > MOST_SEARCHES {
        let why = format!("must not have more than {MOST_SEARCHES} search paths");
        errors.push(FieldError::invalid(field, at(config, "searches").clone(), why));
    }
    if searches.join(" ").len() > LONGEST_SEARCHES {
        let why = format!(
            "must not have more than {LONGEST_SEARCHES} characters (including spaces) in the search list"
        );
        errors.push(FieldError::invalid(field, at(config, "searches").clone(), why));
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| **search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        all_wrong(names::dns_subdomain_with_underscore(search), search, field.index(index), errors);
    }
    let field = path.field("options");
    for (index, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.push(FieldError::required(field.index(index), "must not be empty"));
        }
    }
}

/// Which taints are tolerated.
pub(super) fn tolerations(owner: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, toleration) in list(owner, "tolerations").iter().enumerate() {
        check_toleration(toleration, &path.index(index), errors);
    }
}

fn check_toleration(toleration: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (key, operator, effect) =
        (text(toleration, "key"), text(toleration, "operator"), text(toleration, "effect"));
    if key.is_empty() {
        if operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(path.field("operator"), operator, why));
        }
    } else {
        all_wrong(names::qualified(key), key, path.field("key"), errors);
    }
    if has(toleration, "tolerationSeconds") && effect != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(path.field("effect"), effect, why));
    }
    let value = text(toleration, "value");
    match operator {
        "" | "Equal" => {
            let wrong = names::label_value(value);
            if !wrong.is_empty() {
                errors.push(FieldError::invalid(path.field("operator"), value, wrong.join(";")));
            }
        }
        "Exists" => {
            if !value.is_empty() {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(path.field("operator"), value, why));
            }
        }
        other => errors.push(FieldError::not_supported(path.field("operator"), other, &["Equal", "Exists"])),
    }
    if !matches!(effect, "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        let supported = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        errors.push(FieldError::not_supported(path.field("effect"), effect, &supported));
    }
}

/// The template of a workload: its metadata and its spec.
pub(in crate::kinds) fn template(template: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let own = at(template, "metadata");
    metadata::labels(at(own, "labels"), &path.field("labels"), errors);
    metadata::annotations(own, &path.field("annotations"), errors);
    validate(at(template, "spec"), None, &path.field("spec"), errors);
    if list(at(template, "spec"), "ephemeralContainers").iter().next().is_some() {
        let field = path.field("spec");
        let why = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(field.field("ephemeralContainers"), why));
    }
}
