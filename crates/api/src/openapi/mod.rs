//! OpenAPI documents, made from the registry and the schema: version 3 per group version, version 2 for all at once.
//!
//! Clients validate manifests with them, choose patch strategies, explain fields, and look up which parameters an
//! operation takes. [`operations`] says what can be done, [`schemas`] what the types are, [`descriptions`] what they are
//! for, [`gnostic`] is the protobuf form of version 2 that old clients ask for. Documents are made when they are asked for: whoever serves them keeps
//! the bytes.

mod custom;
mod descriptions;
mod gnostic;
mod operations;
mod schemas;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use gnostic::encode as to_protobuf;

use crate::gvk::GroupVersion;
use crate::registry::{Registry, ResourceDef};
use crate::schema::{TypeRef, builtin};
use operations::Operation;
use schemas::{Dialect, Types};

/// The media type of [`to_protobuf`].
pub const PROTOBUF_MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The path of a group version: `api/v1`, `apis/apps/v1`.
pub fn path_of(group_version: &GroupVersion) -> String {
    let root = if group_version.group.is_empty() { "api" } else { "apis" };
    format!("{root}/{group_version}")
}

/// Which documents of version 3 there are, each with the address under which it never changes.
pub fn index_v3(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for group_version in registry.group_versions() {
        let path = path_of(&group_version);
        let url = format!("/openapi/v3/{path}?hash={}", fingerprint(registry, &group_version));
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// Changes whenever the document of a group version may have changed.
pub fn fingerprint(registry: &Registry, group_version: &GroupVersion) -> String {
    let resources = registry.resources(&group_version.group, &group_version.version);
    let is_custom = |def: &std::sync::Arc<ResourceDef>| matches!(def.schema, TypeRef::Custom(_));
    let text = if resources.iter().any(is_custom) {
        document_v3(registry, group_version).unwrap_or_default().to_string()
    } else {
        // Built-in types change with the program only.
        format!("{} {} {group_version}", env!("CARGO_PKG_VERSION"), descriptions::LENGTH)
    };
    format!("{:016X}", fnv(text.as_bytes()))
}

/// FNV-1a: a fingerprint, not a protection.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The document of version 3 of a group version; `None` where there is no such group version.
pub fn document_v3(registry: &Registry, group_version: &GroupVersion) -> Option<Value> {
    let resources = registry.resources(&group_version.group, &group_version.version);
    if resources.is_empty() {
        return None;
    }
    let mut types = Types::new(Dialect::V3, vec![group_version.clone()]);
    let operations = operations_of(group_version, &resources, &mut types);
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths(operations, Operation::to_v3, |parameter| parameter.to_v3()),
        "components": {"schemas": types.definitions()},
    }))
}

/// The document of version 2, of all group versions.
pub fn document_v2(registry: &Registry) -> Value {
    let versions = registry.group_versions();
    let mut types = Types::new(Dialect::V2, versions.clone());
    let mut all = Vec::new();
    for group_version in &versions {
        let resources = registry.resources(&group_version.group, &group_version.version);
        all.extend(operations_of(group_version, &resources, &mut types));
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths(all, Operation::to_v2, |parameter| parameter.to_v2()),
        "definitions": types.definitions(),
    })
}

fn operations_of(
    group_version: &GroupVersion,
    resources: &[std::sync::Arc<ResourceDef>],
    types: &mut Types,
) -> Vec<Operation> {
    let mut all = vec![operations::discovery(group_version)];
    for def in resources {
        types.add(&def.schema);
        if def.custom.is_some() {
            types.add_list(format!("{}.{}", def.schema.package, def.list_kind), &def.schema);
        }
        all.extend(operations::of(def));
    }
    for name in ["DeleteOptions", "Status", "APIResourceList", "WatchEvent"] {
        if let Some(def) = builtin(&format!("meta.v1.{name}")) {
            types.add(&def);
        }
    }
    types.add_scalar("io.k8s.apimachinery.pkg.apis.meta.v1.Patch");
    for operation in &all {
        types.add_named(&operation.response);
        if let operations::Body::Object(name) = &operation.body {
            types.add_named(name);
        }
    }
    all
}

/// Operations by path and method, with the parameters that a whole path shares.
fn paths(
    operations: Vec<Operation>,
    show: impl Fn(&Operation) -> Value,
    parameter: impl Fn(&operations::Parameter) -> Value,
) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for operation in operations {
        let item = paths.entry(operation.path.clone()).or_insert_with(|| {
            let shared: Vec<Value> = operation.path_parameters().iter().map(&parameter).collect();
            let mut item = Map::new();
            if !shared.is_empty() {
                item.insert("parameters".to_owned(), shared.into());
            }
            item
        });
        item.insert(operation.method.to_owned(), show(&operation));
    }
    paths.into_iter().map(|(path, item)| (path, Value::Object(item))).collect::<Map<_, _>>().into()
}
