//! What is wrong with a status, of the kinds whose status is checked: counts that cannot be, phases that do not fit.

use serde_json::Value;

use super::{not_negative, one_of, security};
use crate::field::FieldError;
use crate::kinds::access::{at, has, int, list, map, text};
use crate::kinds::path::Path;
use crate::names;

const STATUS: Path<'static> = Path::Root("status");

fn counts(status: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    fields.iter().for_each(|name| not_negative(status, name, &STATUS, errors));
}

/// Some of the replicas are not more than all of them.
fn at_most(status: &Value, part: &str, whole: &str, why: &str, errors: &mut Vec<FieldError>) {
    let number = int(status, part).unwrap_or_default();
    if number > int(status, whole).unwrap_or_default() {
        errors.push(FieldError::invalid(STATUS.field(part), number, why));
    }
}

fn only_grows(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let count = |object| int(at(object, "status"), "collisionCount");
    let (now, before) = (count(new), count(old));
    if before.is_some() && now < before {
        let field = STATUS.field("collisionCount");
        errors.push(FieldError::invalid(field, now.unwrap_or_default(), "cannot be decremented"));
    }
}

const BEYOND_ALL: &str = "cannot be greater than status.replicas";
const BEYOND_READY: &str = "cannot be greater than readyReplicas";

/// ReplicaSet and ReplicationController.
pub(in crate::kinds) fn replicas(new: &Value, _: &Value, errors: &mut Vec<FieldError>) {
    let status = at(new, "status");
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    counts(status, &["replicas", "observedGeneration"], errors);
    counts(status, &parts, errors);
    parts.iter().for_each(|part| at_most(status, part, "replicas", BEYOND_ALL, errors));
    at_most(status, "availableReplicas", "readyReplicas", BEYOND_READY, errors);
}

pub(in crate::kinds) fn deployment(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let status = at(new, "status");
    let parts = ["updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"];
    counts(status, &["observedGeneration", "replicas"], errors);
    counts(status, &parts, errors);
    parts[..3].iter().for_each(|part| at_most(status, part, "replicas", BEYOND_ALL, errors));
    at_most(status, "availableReplicas", "readyReplicas", BEYOND_READY, errors);
    only_grows(new, old, errors);
}

pub(in crate::kinds) fn stateful_set(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let status = at(new, "status");
    let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    counts(status, &["replicas", "observedGeneration"], errors);
    counts(status, &parts, errors);
    parts.iter().for_each(|part| at_most(status, part, "replicas", BEYOND_ALL, errors));
    at_most(status, "availableReplicas", "readyReplicas", BEYOND_READY, errors);
    only_grows(new, old, errors);
}

pub(in crate::kinds) fn daemon_set(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let fields = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ];
    counts(at(new, "status"), &fields, errors);
    only_grows(new, old, errors);
}

/// A job that has ended stays so.
pub(in crate::kinds) fn job(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (now, before) = (at(new, "status"), at(old, "status"));
    counts(now, &["active", "succeeded", "failed", "ready", "terminating"], errors);
    let is_true = |status: &Value, kind: &str| {
        list(status, "conditions")
            .iter()
            .any(|condition| text(condition, "type") == kind && text(condition, "status") == "True")
    };
    for kind in ["Complete", "Failed"] {
        if is_true(before, kind) && !is_true(now, kind) {
            let why = format!("cannot disable the terminal {kind}=True condition");
            let conditions = at(now, "conditions").clone();
            errors.push(FieldError::invalid(STATUS.field("conditions"), conditions, why));
        }
    }
    if is_true(now, "Complete") && is_true(now, "Failed") {
        let why = "cannot set Complete=True and Failed=true conditions";
        errors.push(FieldError::invalid(STATUS.field("conditions"), at(now, "conditions").clone(), why));
    }
}

pub(in crate::kinds) fn namespace(new: &Value, _: &Value, errors: &mut Vec<FieldError>) {
    let phase = text(at(new, "status"), "phase");
    let (wanted, why) = if has(at(new, "metadata"), "deletionTimestamp") {
        ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
    } else {
        ("Active", "may only be 'Active' if `deletionTimestamp` is empty")
    };
    if phase != wanted {
        errors.push(FieldError::invalid(STATUS.field("Phase"), phase, why));
    }
}

/// Service and Ingress: the addresses that someone outside has given it.
pub(in crate::kinds) fn load_balancer(new: &Value, _: &Value, errors: &mut Vec<FieldError>) {
    let is_service = text(new, "kind") == "Service";
    let balancer = STATUS.field("loadBalancer");
    let field = balancer.field("ingress");
    let addresses = list(at(at(new, "status"), "loadBalancer"), "ingress");
    if is_service && text(at(new, "spec"), "type") != "LoadBalancer" && !addresses.is_empty() {
        let why = "may only be used when `spec.type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden(field, why));
        return;
    }
    for (index, address) in addresses.iter().enumerate() {
        let path = field.index(index);
        let (ip, host) = (text(address, "ip"), text(address, "hostname"));
        if let Some(why) = names::ip(ip).filter(|_| !ip.is_empty()) {
            errors.push(FieldError::invalid(path.field("ip"), ip, why));
        }
        if is_service && has(address, "ipMode") {
            if ip.is_empty() {
                let why = "may not be specified when `ip` is not set";
                errors.push(FieldError::forbidden(path.field("ipMode"), why));
            } else {
                one_of(address, "ipMode", &["Proxy", "VIP"], &path, errors);
            }
        }
        if !host.is_empty() {
            super::all_wrong(names::dns_subdomain(host), host, path.field("hostname"), errors);
            if names::ip(host).is_none() {
                let why = "must be a DNS name, not an IP address";
                errors.push(FieldError::invalid(path.field("hostname"), host, why));
            }
        }
    }
}

pub(in crate::kinds) fn autoscaler(new: &Value, _: &Value, errors: &mut Vec<FieldError>) {
    counts(at(new, "status"), &["currentReplicas", "desiredReplicas"], errors);
}

pub(in crate::kinds) fn disruption_budget(new: &Value, _: &Value, errors: &mut Vec<FieldError>) {
    let fields = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
    counts(at(new, "status"), &fields, errors);
}

/// Node: what it has is not less than nothing, and each of its addresses is told once.
pub(in crate::kinds) fn node(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let status = at(new, "status");
    for name in ["capacity", "allocatable"] {
        let field = STATUS.field(name);
        for (resource, value) in map(status, name) {
            let path = field.field(resource);
            super::resources::amount(resource, value.as_str().unwrap_or_default(), &path, errors);
        }
    }
    let field = STATUS.field("addresses");
    let addresses = list(status, "addresses");
    for (index, address) in addresses.iter().enumerate() {
        if addresses[..index].contains(address) {
            errors.push(FieldError::duplicate(field.index(index), address.clone()));
        }
    }
    super::cluster::node_update(new, old, errors);
}

/// The networks of a node: one for each family.
pub(super) fn networks(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let all: Vec<&str> = list(spec, "podCIDRs").iter().filter_map(Value::as_str).collect();
    let field = path.field("podCIDRs");
    for (index, network) in all.iter().enumerate() {
        if let Some(why) = names::cidr(network) {
            errors.push(FieldError::invalid(field.index(index), *network, why));
        }
        if all[..index].contains(network) {
            errors.push(FieldError::duplicate(field.index(index), *network));
        }
    }
    if all.len() > 1 && !security::is_dual(&all) {
        let why = "may specify no more than one CIDR for each IP family";
        errors.push(FieldError::invalid(field, at(spec, "podCIDRs").clone(), why));
    }
}
