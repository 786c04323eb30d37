//! A write that others have a say in: what they are told of it, and what of theirs is taken back.

use std::sync::Arc;

use api::codec::{self, FieldValidation};
use api::registry::{Registry, ResourceDef};
use api::status::Status;
use serde_json::{Value, json};

use super::matching::{Candidate, name_of};
use super::{Operation, Request};
use crate::pipeline::Authorizer;

/// A write that webhooks and policies are asked about.
pub(crate) struct Question<'a> {
    /// What plugins see of it.
    pub request: Request<'a>,
    /// The versions of the resource, that of the request first.
    pub versions: &'a [Arc<ResourceDef>],
    /// What the documents are, where that is not the resource itself: a Scale, a Binding, the options of a stream.
    pub part: Option<&'a ResourceDef>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// Names the question.
    pub uid: String,
    /// Who may be asked what the user may do.
    pub authorizer: &'a Arc<dyn Authorizer>,
    /// The kinds that there are.
    pub registry: &'a Registry,
}

impl<'a> Question<'a> {
    /// As rules and selectors see it.
    pub(super) fn candidate(
        &'a self,
        object: Option<&'a Value>,
        old: Option<&'a Value>,
    ) -> Candidate<'a, 'a, Arc<ResourceDef>> {
        Candidate { request: &self.request, versions: self.versions, object, old }
    }

    /// A document in the version in which it is shown.
    pub(super) fn shown(&self, def: &ResourceDef, document: Option<&Value>) -> Option<Value> {
        let mut shown = document.cloned()?;
        if self.part.is_none() {
            codec::from_storage(def, &mut shown);
        }
        Some(shown)
    }

    /// Takes a document back that was shown and changed. Says whether it is another.
    pub(super) fn take_back(
        &self,
        def: &ResourceDef,
        mut changed: Value,
        object: &mut Value,
    ) -> Result<bool, Status> {
        if self.request.operation == Operation::Connect {
            let is_other = changed != *object;
            *object = changed;
            return Ok(is_other);
        }
        let broken = |status: Status| Status::internal(status.message);
        codec::check(self.part.unwrap_or(def), &mut changed, FieldValidation::Ignore).map_err(broken)?;
        if self.part.is_none() {
            codec::to_storage(def, &mut changed);
        }
        keep_identity(&mut changed, object);
        let is_other = changed != *object;
        *object = changed;
        Ok(is_other)
    }

    /// The request without its documents, as reviews and expressions have it.
    pub(super) fn described(&self, def: &ResourceDef, object: Option<&Value>) -> Value {
        let request = &self.request;
        let requested = self.versions.first().map_or(def, |def| def);
        let kind_of = |def: &ResourceDef| match self.part {
            Some(part) => kind(&part.group, &part.version, &part.kind),
            None => kind(&def.group, &def.version, &def.kind),
        };
        let mut told = json!({
            "uid": self.uid,
            "kind": kind_of(def),
            "resource": resource(&def.group, &def.version, &def.plural),
            "requestKind": kind_of(requested),
            "requestResource": resource(&requested.group, &requested.version, &requested.plural),
        });
        if let Some(part) = request.subresource {
            told["subResource"] = part.as_str().into();
            told["requestSubResource"] = part.as_str().into();
        }
        let name = name_of(request, object);
        if !name.is_empty() {
            told["name"] = name.into();
        }
        let namespace = if &*request.def.bucket == "namespaces" { name } else { request.namespace };
        if !namespace.is_empty() {
            told["namespace"] = namespace.into();
        }
        told["operation"] = request.operation.as_str().into();
        told["userInfo"] = request.user.document();
        told["dryRun"] = self.dry_run.into();
        told["options"] = options(request.operation, self.dry_run);
        told
    }
}

fn kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

fn resource(group: &str, version: &str, resource: &str) -> Value {
    json!({"group": group, "version": version, "resource": resource})
}

/// The kind of the options of an operation.
fn options(operation: Operation, dry_run: bool) -> Value {
    let kind = match operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        // A connection has its options as its object.
        Operation::Connect => return Value::Null,
    };
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if dry_run {
        options["dryRun"] = json!(["All"]);
    }
    options
}

/// What an object is called and when it was made is nobody's to change.
fn keep_identity(patched: &mut Value, before: &Value) {
    if !before["metadata"].is_object() {
        return;
    }
    for field in ["name", "namespace", "uid", "creationTimestamp", "resourceVersion"] {
        match before["metadata"].get(field) {
            Some(own) => patched["metadata"][field] = own.clone(),
            None => {
                patched["metadata"].as_object_mut().and_then(|metadata| metadata.shift_remove(field));
            }
        }
    }
}
