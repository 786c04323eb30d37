//! What a kind needs beyond its schema: defaults that depend on other fields, what is set on create, what may change,
//! what is valid. One file per kind; what several kinds share stands in [`template`], [`pod_spec`] and [`metadata`].
//!
//! The order of a write: [`crate::codec::to_storage`] (which fills in defaults), `prepare_for_*`, admission (the
//! server's), `validate*`. All of them work on the version that is stored. Messages, reasons and fields are those of
//! Kubernetes, since clients show them and scripts match them.

pub(crate) mod access;
mod admission_policy;
mod admission_webhook;
mod api_service;
mod certificate_signing_request;
mod checks;
mod config_map;
mod cron_job;
mod csi;
mod custom;
mod custom_resource_definition;
mod daemon_set;
mod deployment;
mod endpoint_slice;
mod endpoints;
mod flow_control;
mod horizontal_pod_autoscaler;
mod ingress;
mod job;
mod limit_range;
mod metadata;
mod namespace;
mod network_policy;
mod node;
pub(crate) mod path;
mod persistent_volume;
mod persistent_volume_claim;
pub mod pod;
mod pod_spec;
mod priority_class;
mod rbac;
mod replica_set;
mod replication_controller;
mod resource_claim;
mod resources;
mod secret;
mod service;
mod stateful_set;
mod storage_class;
mod template;

use serde_json::Value;

use crate::codec;
pub use crate::field::{FieldError, invalid};
use crate::registry::ResourceDef;
use access::{at, has, int, remove, set};
use metadata::NameRule;

/// The rules of a kind, each told in the kind's own file.
#[derive(Clone, Copy)]
struct Rules {
    /// Fills in defaults.
    default: fn(&mut Value),
    /// What the server sets on create, after the status is gone.
    create: fn(&mut Value),
    /// What the server keeps or sets on update.
    update: fn(&mut Value, &Value),
    /// The fields whose change raises the generation; empty for kinds without one.
    generation: &'static [&'static str],
    /// Whether labels may change through the status subresource.
    status_keeps_labels: bool,
    /// What its names may look like.
    name: NameRule,
    /// What is wrong with an object, beyond its metadata.
    validate: fn(&Value, &mut Vec<FieldError>),
    /// What is wrong with a new object only.
    validate_create: fn(&Value, &mut Vec<FieldError>),
    /// What is wrong with a change, beyond what is wrong with the new object.
    validate_update: fn(&Value, &Value, &mut Vec<FieldError>),
    /// What is wrong with a change of the status.
    validate_status: fn(&Value, &Value, &mut Vec<FieldError>),
}

fn nothing(_: &mut Value) {}
fn no_change(_: &mut Value, _: &Value) {}
fn all_valid(_: &Value, _: &mut Vec<FieldError>) {}
fn all_may_change(_: &Value, _: &Value, _: &mut Vec<FieldError>) {}

/// A kind without rules of its own.
const PLAIN: Rules = Rules {
    default: nothing,
    create: nothing,
    update: no_change,
    generation: &[],
    status_keeps_labels: false,
    name: NameRule::Subdomain,
    validate: all_valid,
    validate_create: all_valid,
    validate_update: all_may_change,
    validate_status: all_may_change,
};

/// A kind with a spec that is counted.
const COUNTED: Rules = Rules { generation: &["spec"], ..PLAIN };

fn rules(group: &str, kind: &str) -> Rules {
    match (group, kind) {
        ("", "ConfigMap") => config_map::RULES,
        ("", "Endpoints") => endpoints::RULES,
        ("", "LimitRange") => limit_range::RULES,
        ("", "Namespace") => namespace::RULES,
        ("", "Node") => node::RULES,
        ("", "PersistentVolume") => persistent_volume::RULES,
        ("", "PersistentVolumeClaim") => persistent_volume_claim::RULES,
        ("", "Pod") => pod::RULES,
        ("", "PodTemplate") => template::RULES,
        ("", "ReplicationController") => replication_controller::RULES,
        ("", "ResourceQuota") => limit_range::QUOTA,
        ("", "Secret") => secret::RULES,
        ("", "Service") => service::RULES,
        ("", "Event") => Rules { validate: checks::cluster::event, ..PLAIN },
        ("", "Binding") => Rules { validate: checks::cluster::binding, ..PLAIN },
        ("", _) => PLAIN,
        ("apps", "DaemonSet") => daemon_set::RULES,
        ("apps", "Deployment") => deployment::RULES,
        ("apps", "ReplicaSet") => replica_set::RULES,
        ("apps", "StatefulSet") => stateful_set::RULES,
        ("apps", "ControllerRevision") => Rules {
            validate: checks::workload::controller_revision,
            validate_update: checks::workload::controller_revision_update,
            ..PLAIN
        },
        ("apps", _) => PLAIN,
        ("batch", "Job") => job::RULES,
        ("batch", "CronJob") => cron_job::RULES,
        ("autoscaling", "HorizontalPodAutoscaler") => horizontal_pod_autoscaler::RULES,
        ("policy", "PodDisruptionBudget") => Rules {
            validate: checks::small::disruption_budget,
            validate_status: checks::status::disruption_budget,
            ..COUNTED
        },
        ("networking.k8s.io", "Ingress") => ingress::RULES,
        ("networking.k8s.io", "IngressClass") => ingress::CLASS,
        ("networking.k8s.io", "NetworkPolicy") => network_policy::RULES,
        ("networking.k8s.io", "ServiceCIDR" | "IPAddress") => COUNTED,
        ("discovery.k8s.io", "EndpointSlice") => endpoint_slice::RULES,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => rbac::BINDING,
        ("rbac.authorization.k8s.io", _) => rbac::ROLE,
        ("storage.k8s.io", "StorageClass") => storage_class::RULES,
        ("storage.k8s.io", "CSIDriver") => csi::DRIVER,
        ("scheduling.k8s.io", "PriorityClass") => priority_class::RULES,
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => admission_webhook::VALIDATING,
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => admission_webhook::MUTATING,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => admission_policy::VALIDATING,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => admission_policy::MUTATING,
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding",
        ) => admission_policy::BINDING,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom_resource_definition::RULES,
        ("apiregistration.k8s.io", "APIService") => api_service::RULES,
        ("certificates.k8s.io", "CertificateSigningRequest") => certificate_signing_request::RULES,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => flow_control::SCHEMA,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => flow_control::PRIORITY_LEVEL,
        ("resource.k8s.io", "ResourceClaim") => resource_claim::CLAIM,
        ("resource.k8s.io", "ResourceClaimTemplate") => resource_claim::TEMPLATE,
        ("coordination.k8s.io", "Lease") => Rules { validate: checks::small::lease, ..PLAIN },
        ("node.k8s.io", "RuntimeClass") => Rules {
            validate: checks::cluster::runtime_class,
            validate_update: checks::cluster::runtime_class_update,
            ..PLAIN
        },
        (
            "storage.k8s.io"
            | "resource.k8s.io"
            | "node.k8s.io"
            | "coordination.k8s.io"
            | "events.k8s.io"
            | "authentication.k8s.io"
            | "authorization.k8s.io",
            _,
        ) => PLAIN,
        _ => COUNTED,
    }
}

/// Fills in the defaults of a kind that depend on more than one field. The document is in its stored version.
pub(crate) fn default(group: &str, kind: &str, object: &mut Value) {
    (rules(group, kind).default)(object);
}

/// Makes a new object ready: its status is the server's to write, its generation starts at 1.
pub fn prepare_for_create(def: &ResourceDef, object: &mut Value) {
    if def.custom.is_some() {
        return custom::create(def, object);
    }
    let rules = rules(&def.storage.group, &def.kind);
    if def.has_status() {
        remove(object, "status");
    }
    if let Some(metadata) = access::object_mut(object, "metadata") {
        remove(metadata, "generation");
        if !rules.generation.is_empty() {
            set(metadata, "generation", 1);
        }
    }
    (rules.create)(object);
    codec::present(def, object);
}

/// Makes a changed object ready: keeps the status, counts a change of the desired state.
pub fn prepare_for_update(def: &ResourceDef, new: &mut Value, old: &Value) {
    if def.custom.is_some() {
        return custom::update(def, new, old);
    }
    let rules = rules(&def.storage.group, &def.kind);
    if def.has_status() {
        keep(new, old, "status");
    }
    (rules.update)(new, old);
    codec::present(def, new);
    count(rules, new, old);
}

/// Raises the generation where the desired state has changed.
fn count(rules: Rules, new: &mut Value, old: &Value) {
    let generation = int(at(old, "metadata"), "generation").unwrap_or_default();
    let is_changed = rules.generation.iter().any(|path| {
        let within = |object| path.split('.').fold(object, |value, step| at(value, step));
        within(&*new) != within(old)
    });
    if let Some(metadata) = new.get_mut("metadata") {
        match generation + i64::from(is_changed) {
            0 => drop(remove(metadata, "generation")),
            generation => set(metadata, "generation", generation),
        }
    }
}

/// Makes a changed status ready: keeps everything else, but for the metadata that may change with it.
pub fn prepare_for_status_update(def: &ResourceDef, new: &mut Value, old: &Value) {
    if def.custom.is_some() {
        return custom::update_status(new, old);
    }
    let names: Vec<String> = [&*new, old]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|fields| fields.keys().cloned())
        .filter(|name| !matches!(name.as_str(), "status" | "metadata" | "kind" | "apiVersion"))
        .collect();
    for name in names {
        keep(new, old, &name);
    }
    let rules = rules(&def.storage.group, &def.kind);
    let old_metadata = at(old, "metadata");
    if let Some(metadata) = new.get_mut("metadata") {
        keep(metadata, old_metadata, "generation");
        keep(metadata, old_metadata, "ownerReferences");
        keep(metadata, old_metadata, "deletionTimestamp");
        if rules.status_keeps_labels {
            keep(metadata, old_metadata, "labels");
        }
    }
    codec::present(def, new);
}

/// Keeps a field as it was.
fn keep(new: &mut Value, old: &Value, name: &str) {
    if has(old, name) {
        set(new, name, at(old, name).clone());
    } else {
        remove(new, name);
    }
}

/// What is wrong with a new object.
pub fn validate(def: &ResourceDef, object: &Value) -> Vec<FieldError> {
    if let Some(own) = &def.custom {
        return custom::validate(def, own, object, None);
    }
    let rules = rules(&def.storage.group, &def.kind);
    let mut errors = Vec::new();
    metadata::validate(def, object, rules.name, &mut errors);
    (rules.validate)(object, &mut errors);
    (rules.validate_create)(object, &mut errors);
    errors
}

/// What is wrong with the labels or the annotations in some metadata, which `field` names.
pub fn validate_words(metadata: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let root = path::Path::Root("metadata");
    match field {
        "labels" => metadata::labels(&metadata[field], &root.field(field), &mut errors),
        _ => metadata::annotations(metadata, &root.field(field), &mut errors),
    }
    errors
}

/// What is wrong with a change: with the new object, and with how it differs from the old one.
pub fn validate_update(def: &ResourceDef, new: &Value, old: &Value) -> Vec<FieldError> {
    if let Some(own) = &def.custom {
        return custom::validate(def, own, new, Some(old));
    }
    validate_change(def, new, old, rules(&def.storage.group, &def.kind).validate_update)
}

fn validate_change(
    def: &ResourceDef,
    new: &Value,
    old: &Value,
    change: fn(&Value, &Value, &mut Vec<FieldError>),
) -> Vec<FieldError> {
    let rules = rules(&def.storage.group, &def.kind);
    let mut errors = Vec::new();
    metadata::validate(def, new, rules.name, &mut errors);
    metadata::validate_update(new, old, &mut errors);
    (rules.validate)(new, &mut errors);
    change(new, old, &mut errors);
    errors
}

/// What is wrong with a change of the status. The rest of the object is as it was, and is not looked at.
pub fn validate_status_update(def: &ResourceDef, new: &Value, old: &Value) -> Vec<FieldError> {
    if let Some(own) = &def.custom {
        return custom::validate(def, own, new, Some(old));
    }
    let rules = rules(&def.storage.group, &def.kind);
    let mut errors = Vec::new();
    metadata::validate(def, new, rules.name, &mut errors);
    metadata::validate_update(new, old, &mut errors);
    (rules.validate_status)(new, old, &mut errors);
    errors
}

/// What is wrong with a change of what the containers of a pod may use.
pub fn validate_resize(def: &ResourceDef, new: &Value, old: &Value) -> Vec<FieldError> {
    validate_change(def, new, old, checks::pod_update::resize)
}

/// What is wrong with a change of the containers for looking at a pod.
pub fn validate_ephemeral_containers(def: &ResourceDef, new: &Value, old: &Value) -> Vec<FieldError> {
    validate_change(def, new, old, checks::pod_update::ephemeral_containers)
}
