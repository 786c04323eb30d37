//! A CustomResourceDefinition as the resources that it defines.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::Value;

use super::shape::{self, Named};
use super::{Conversion, Custom, PrinterColumn, Scale, Structural};
use crate::gvk::GroupVersion;
use crate::kinds::access::{at, flag, list, some, text};
use crate::registry::{ResourceDef, SelectableField, Subresource};
use crate::schema::{Name, builtin};
use crate::status::qualified;

/// The bucket of the definitions.
pub const BUCKET: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// The finalizer that keeps a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// In the order of discovery.
const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
/// While the definition is being deleted: who holds an object by a finalizer must be able to let go.
const LAST_VERBS: [&str; 7] = ["delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const PART_VERBS: [&str; 3] = ["get", "patch", "update"];

/// Whether a condition of a definition is true.
pub fn has_condition(definition: &Value, ty: &str) -> bool {
    let conditions = list(at(definition, "status"), "conditions");
    conditions.iter().any(|condition| text(condition, "type") == ty && text(condition, "status") == "True")
}

/// Whether a definition is being deleted.
pub fn is_terminating(definition: &Value) -> bool {
    some(at(definition, "metadata"), "deletionTimestamp").is_some()
}

/// Where the objects of a definition are stored.
pub fn bucket_of(definition: &Value) -> String {
    let spec = at(definition, "spec");
    qualified(text(spec, "group"), text(at(spec, "names"), "plural"))
}

fn name(text: &str) -> Name {
    Cow::Owned(text.to_owned())
}

fn names_of(of: &Value, field: &str) -> Vec<Name> {
    list(of, field).iter().filter_map(Value::as_str).map(name).collect()
}

/// The resources of a definition whose names were accepted: its served versions, the preferred one first.
pub fn resources(definition: &Value, revision: u64) -> Vec<ResourceDef> {
    if !has_condition(definition, "Established") {
        return Vec::new();
    }
    let spec = at(definition, "spec");
    let versions = list(spec, "versions");
    let mut served: Vec<&Value> = versions.iter().filter(|version| flag(version, "served")).collect();
    served.sort_by(|left, right| version_order(text(left, "name"), text(right, "name")));
    served.iter().map(|version| resource(definition, version, &served, revision)).collect()
}

fn resource(definition: &Value, version: &Value, served: &[&Value], revision: u64) -> ResourceDef {
    let spec = at(definition, "spec");
    let accepted = at(at(definition, "status"), "acceptedNames");
    let group = text(spec, "group");
    let own = text(version, "name");
    let kind = text(accepted, "kind");
    let terminating = is_terminating(definition);
    let storage = list(spec, "versions").iter().find(|version| flag(version, "storage"));
    let storage = storage.map_or(own, |version| text(version, "name"));
    let written = at(at(version, "schema"), "openAPIV3Schema");
    let schema = Structural::parse(written);
    let ty = shape::root(&schema, &Named { group, version: own, kind }, written);
    let parts = at(version, "subresources");
    let part = |name: &'static str, group: &str, version: &str, kind: &str, schema| Subresource {
        name: Cow::Borrowed(name),
        group: Cow::Owned(group.to_owned()),
        version: Cow::Owned(version.to_owned()),
        kind: Cow::Owned(kind.to_owned()),
        verbs: PART_VERBS.iter().map(|verb| Cow::Borrowed(*verb)).collect(),
        schema,
    };
    let mut subresources = Vec::new();
    if some(parts, "scale").is_some() {
        subresources.push(part("scale", "autoscaling", "v1", "Scale", builtin("autoscaling.v1.Scale")));
    }
    if some(parts, "status").is_some() {
        subresources.push(part("status", group, own, kind, Some(ty.clone())));
    }
    let verbs: &[&'static str] = if terminating { &LAST_VERBS } else { &VERBS };
    ResourceDef {
        group: name(group),
        version: name(own),
        plural: name(text(accepted, "plural")),
        singular: name(text(accepted, "singular")),
        kind: name(kind),
        list_kind: name(text(accepted, "listKind")),
        namespaced: text(spec, "scope") == "Namespaced",
        short_names: names_of(accepted, "shortNames"),
        categories: names_of(accepted, "categories"),
        verbs: verbs.iter().map(|verb| Cow::Borrowed(*verb)).collect(),
        subresources,
        schema: ty,
        bucket: Arc::from(bucket_of(definition)),
        storage: GroupVersion { group: group.to_owned(), version: storage.to_owned() },
        deprecated: None,
        fields: list(version, "selectableFields").iter().map(selectable).collect(),
        custom: Some(Arc::new(Custom {
            scale: some(parts, "scale").map(Scale::parse),
            columns: PrinterColumn::of(version),
            warning: flag(version, "deprecated").then(|| warning(group, kind, version, served)),
            conversion: conversion(at(spec, "conversion")),
            terminating,
            revision,
            compiled: Default::default(),
            schema,
        })),
    }
}

fn conversion(of: &Value) -> Option<Arc<Conversion>> {
    (text(of, "strategy") == "Webhook").then(|| {
        let webhook = at(of, "webhook");
        let versions = list(webhook, "conversionReviewVersions").iter().filter_map(Value::as_str);
        Arc::new(Conversion {
            client_config: at(webhook, "clientConfig").clone(),
            review_versions: versions.map(str::to_owned).collect(),
        })
    })
}

fn selectable(field: &Value) -> SelectableField {
    let path = text(field, "jsonPath").trim_start_matches('.');
    SelectableField {
        label: name(path),
        paths: vec![path.split('.').map(name).collect()],
        default: Cow::Borrowed(""),
    }
}

/// What a user of a deprecated version is told.
fn warning(group: &str, kind: &str, version: &Value, served: &[&Value]) -> String {
    let own = text(version, "deprecationWarning");
    if !own.is_empty() {
        return own.to_owned();
    }
    let mut told = format!("{group}/{} {kind} is deprecated", text(version, "name"));
    let better = served.iter().find(|other| !flag(other, "deprecated"));
    if let Some(better) =
        better.filter(|_| version_order(text(served[0], "name"), text(version, "name")).is_le())
    {
        told.push_str(&format!("; use {group}/{} {kind}", text(better, "name")));
    }
    told
}

/// The order of versions: `v2`, `v1`, `v1beta1`, `v1alpha1`, then others by name.
pub fn version_order(left: &str, right: &str) -> Ordering {
    match (parsed(left), parsed(right)) {
        (Some(left), Some(right)) => right.cmp(&left),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.cmp(right),
    }
}

/// How stable a version is, its number, and the number of its stage.
fn parsed(version: &str) -> Option<(u8, u32, u32)> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0 && !text.starts_with('0'));
    let rest = version.strip_prefix('v')?;
    for (stage, word) in [(1, "beta"), (0, "alpha")] {
        if let Some((major, minor)) = rest.split_once(word) {
            return Some((stage, number(major)?, if minor.is_empty() { 0 } else { number(minor)? }));
        }
    }
    Some((2, number(rest)?, 0))
}
