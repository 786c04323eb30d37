//! What is decided about a write before it is stored: who may do it is settled, now it is about what.
//!
//! ```text
//! document ─> mutate: built in, in the order of Kubernetes ─> policies ─> webhooks ─> prepared, validated
//!          ─> validate: built in ─> policies ─> webhooks ─> store
//! ```
//!
//! One file for each plugin, named as in Kubernetes. A plugin is a function of the request, the object, the object
//! before and a snapshot of the store: it reads no clock, keeps nothing and writes nothing. [`webhooks`] ask others, [`policies`] are expressions of the cluster's own, and
//! [`resource_quota`] has who wants the same wait for each other. The verbs of the
//! [pipeline](crate::pipeline) come here through one file, `admit`.

mod certificates;
mod configured;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod expressions;
mod limit_ranger;
mod matching;
mod namespace_lifecycle;
mod node_restriction;
mod persistent_volume_claim_resize;
mod pod_security;
mod policies;
mod priority;
mod question;
mod resource_quota;
mod runtime_class;
mod service_account;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;
mod token_volume;
mod webhooks;

#[cfg(test)]
mod tests;

use std::fmt;

use api::registry::ResourceDef;
use api::status::{Details, Reason, Status};
use serde_json::{Value, json};
use store::{Bucket, Entry, Key, Snapshot};

use crate::pipeline::{Subresource, UserInfo};

pub(crate) use certificates::check as check_certificates;
pub(crate) use namespace_lifecycle::check_namespace;
pub(crate) use policies::{Mutated, Policies, check_kind};
pub(crate) use question::Question;
pub(crate) use resource_quota::{Permit, Quotas};
pub(crate) use service_account::{DEFAULT as DEFAULT_ACCOUNT, names_none as names_no_account};
pub(crate) use webhooks::{Invoked, Webhooks};

/// The annotation of a pod that a kubelet made of a file of its own.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It is made.
    Create,
    /// It, or a part of it, is changed.
    Update,
    /// It is deleted.
    Delete,
    /// A stream to it, or a request through it, is opened.
    Connect,
}

/// A write, as plugins see it.
pub(crate) struct Request<'a> {
    /// What is done.
    pub operation: Operation,
    /// By whom.
    pub user: &'a UserInfo,
    /// The resource, in the version of the request. Documents are in the storage version.
    pub def: &'a ResourceDef,
    /// Empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// Empty for an object that is given a name later.
    pub name: &'a str,
    /// The part that is changed.
    pub subresource: Option<Subresource>,
    /// What is stored.
    pub snapshot: &'a Snapshot,
}

impl Request<'_> {
    /// Whether it is about whole objects of this bucket, as `pods`.
    fn is_about(&self, bucket: &str) -> bool {
        self.subresource.is_none() && &*self.def.bucket == bucket
    }

    /// A refusal.
    fn forbid(&self, object: Option<&Value>, why: impl fmt::Display) -> Status {
        let own = |field: &str| object.and_then(|object| object["metadata"][field].as_str());
        let name = [own("name"), Some(self.name), own("generateName")]
            .into_iter()
            .flatten()
            .find(|name| !name.is_empty())
            .unwrap_or_default();
        forbidden(self.def, name, why)
    }

    /// The object of a bucket.
    fn find(&self, bucket: &str, namespace: &str, name: &str) -> Option<&Entry> {
        self.snapshot.get(&Key::new(&Bucket::from(bucket), namespace, name)).map(|entry| &**entry)
    }

    /// The objects of a bucket, those of one namespace or all.
    fn all(&self, bucket: &str, namespace: Option<&str>) -> Vec<Value> {
        let bucket = Bucket::from(bucket);
        self.snapshot.list(&bucket, namespace, None).filter_map(|entry| read(entry)).collect()
    }
}

/// Fills in and changes what is to be stored. `old` is there for updates.
pub(crate) fn mutate(request: &Request<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    node_restriction::check(request, Some(object), old)?;
    match (request.operation, &*request.def.bucket) {
        (Operation::Create, "pods") if request.subresource.is_none() && object["spec"].is_object() => {
            limit_ranger::fill_in(request, object);
            service_account::fill_in(request, object)?;
            priority::resolve(request, object)?;
            default_toleration_seconds::fill_in(object);
            runtime_class::fill_in(request, object)?;
        }
        (Operation::Update, "pods") if request.subresource.is_none() && object["spec"].is_object() => {
            default_toleration_seconds::fill_in(object);
        }
        (Operation::Create, "nodes") if request.subresource.is_none() => {
            taint_nodes_by_condition::fill_in(request, object);
        }
        (Operation::Create, "persistentvolumeclaims") => {
            default_storage_class::fill_in(request, object);
            storage_object_in_use_protection::fill_in(request, object);
        }
        (Operation::Create, "persistentvolumes") => {
            storage_object_in_use_protection::fill_in(request, object);
        }
        (Operation::Create, "ingresses.networking.k8s.io") => default_ingress_class::fill_in(request, object),
        _ => {}
    }
    Ok(())
}

/// Judges what is to be stored, or deleted (then there is no `object`). What the user shall know beside that goes
/// to `warnings`.
pub(crate) fn validate(
    request: &Request<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    if request.operation == Operation::Delete {
        node_restriction::check(request, None, old)?;
    }
    namespace_lifecycle::check(request)?;
    let Some(object) = object else { return Ok(()) };
    limit_ranger::check(request, object)?;
    pod_security::check(request, object, old, warnings)?;
    priority::check(request, object)?;
    runtime_class::check(request, object)?;
    persistent_volume_claim_resize::check(request, object, old)
}

/// A refusal, as admission says it.
fn forbidden(def: &ResourceDef, name: &str, why: impl fmt::Display) -> Status {
    Status::failure(Reason::Forbidden, format!("{} \"{name}\" is forbidden: {why}", def.qualified()))
        .with_details(Details {
            name: name.to_owned(),
            group: def.group.to_string(),
            kind: def.plural.to_string(),
            ..Details::default()
        })
}

/// A stored document.
fn read(entry: &Entry) -> Option<Value> {
    serde_json::from_slice(&entry.value).ok()
}

/// The field of a document as text, empty where there is none.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The members of a list.
fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[field].as_array().into_iter().flatten()
}

/// The list of that name, made where there is none.
fn list_mut<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Vec<Value>> {
    let list = &mut value[field];
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut()
}

/// Text in double quotes, as messages have it.
fn quoted(text: &str) -> String {
    api::field::quote(text)
}

/// The newest of the classes that are marked as the default, by name where they are of the same second.
fn default_class(request: &Request<'_>, bucket: &str, annotations: &[&str]) -> Option<String> {
    let mut marked: Vec<Value> = request
        .all(bucket, None)
        .into_iter()
        .filter(|class| {
            let own = &class["metadata"]["annotations"];
            annotations.iter().any(|annotation| text(own, annotation) == "true")
        })
        .collect();
    marked.sort_by(|left, right| {
        let (left, right) = (&left["metadata"], &right["metadata"]);
        text(right, "creationTimestamp")
            .cmp(text(left, "creationTimestamp"))
            .then_with(|| text(left, "name").cmp(text(right, "name")))
    });
    marked.first().map(|class| text(&class["metadata"], "name").to_owned())
}
