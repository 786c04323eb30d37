//! NamespaceLifecycle: nothing is made in a namespace that does not exist or is going away, and some namespaces stay.

use api::registry::ResourceDef;
use api::status::{Cause, Details, Reason, Status};
use serde_json::Value;
use store::{Bucket, Key, Snapshot};

use super::{Operation, Request};
use crate::pipeline::header;

/// Those that a cluster cannot be without.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) fn check(request: &Request<'_>) -> Result<(), Status> {
    let deleted = request.operation == Operation::Delete && request.is_about("namespaces");
    if deleted && IMMORTAL.contains(&request.name) {
        return Err(request.forbid(None, "this namespace may not be deleted"));
    }
    Ok(())
}

/// The namespace of a new object must exist, and must not be going away.
pub(crate) fn check_namespace(
    snapshot: &Snapshot,
    def: &ResourceDef,
    namespace: &str,
    document: &Value,
) -> Result<(), Status> {
    if !def.namespaced {
        return Ok(());
    }
    let Some(entry) = snapshot.get(&Key::new(&Bucket::from("namespaces"), "", namespace)) else {
        return Err(Status::not_found("", "namespaces", namespace));
    };
    if !header(entry).deleting {
        return Ok(());
    }
    let name = document["metadata"]["name"].as_str().unwrap_or_default();
    Err(Status::failure(
        Reason::Forbidden,
        format!(
            "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
            def.qualified()
        ),
    )
    .with_details(Details {
        name: name.to_owned(),
        group: def.group.to_string(),
        kind: def.plural.to_string(),
        causes: vec![Cause {
            reason: "NamespaceTerminating".to_owned(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        }],
        ..Details::default()
    }))
}
