//! The rules of metadata, the same for every kind but for its name.

use serde_json::{Value, json};

use super::access::{at, flag, has, int, list, map, text};
use super::path::Path;
use crate::field::FieldError;
use crate::names;
use crate::registry::ResourceDef;

/// All annotations of an object together, in bytes.
const ANNOTATIONS_SIZE: usize = 256 * 1024;

/// What the names of a kind may look like.
#[derive(Debug, Clone, Copy)]
pub(super) enum NameRule {
    Subdomain,
    Label,
    Label1035,
    PathSegment,
}

impl NameRule {
    pub(super) fn check(self, name: &str) -> Vec<String> {
        match self {
            Self::Subdomain => names::dns_subdomain(name),
            Self::Label => names::dns_label(name),
            Self::Label1035 => names::dns_1035_label(name),
            Self::PathSegment => names::path_segment(name),
        }
    }

    /// A prefix is what is left of a name that ends in a hyphen.
    fn check_prefix(self, prefix: &str) -> Vec<String> {
        match prefix.strip_suffix('-') {
            Some(rest) if prefix.len() > 1 => self.check(&format!("{rest}a")),
            _ => self.check(prefix),
        }
    }
}

/// What is wrong with the metadata of an object of `def`.
pub(super) fn validate(def: &ResourceDef, object: &Value, rule: NameRule, errors: &mut Vec<FieldError>) {
    let metadata = at(object, "metadata");
    let path = Path::Root("metadata");
    let name = text(metadata, "name");
    let prefix = text(metadata, "generateName");
    if !prefix.is_empty() {
        let field = path.field("generateName");
        let wrong = rule.check_prefix(prefix);
        errors.extend(wrong.into_iter().map(|why| FieldError::invalid(field, prefix, why)));
    }
    if name.is_empty() {
        errors.push(FieldError::required(path.field("name"), "name or generateName is required"));
    } else {
        let field = path.field("name");
        errors.extend(rule.check(name).into_iter().map(|why| FieldError::invalid(field, name, why)));
    }
    let namespace = text(metadata, "namespace");
    if def.namespaced {
        if !namespace.is_empty() {
            let field = path.field("namespace");
            let wrong = names::dns_label(namespace);
            errors.extend(wrong.into_iter().map(|why| FieldError::invalid(field, namespace, why)));
        }
    } else if !namespace.is_empty() {
        errors.push(FieldError::forbidden(path.field("namespace"), "not allowed on this type"));
    }
    if let Some(generation) = int(metadata, "generation").filter(|number| *number < 0) {
        let field = path.field("generation");
        errors.push(FieldError::invalid(field, generation, NOT_NEGATIVE));
    }
    labels(at(metadata, "labels"), &path.field("labels"), errors);
    annotations(metadata, &path.field("annotations"), errors);
    owners(metadata, &path.field("ownerReferences"), errors);
    finalizers(metadata, &path.field("finalizers"), errors);
    managers(metadata, &path.field("managedFields"), errors);
}

/// The text of a number that is less than zero.
pub(super) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// The labels of an object or a template.
pub(super) fn labels(labels: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        errors.extend(names::qualified(key).into_iter().map(|why| FieldError::invalid(path, &**key, why)));
        errors.extend(names::label_value(value).into_iter().map(|why| FieldError::invalid(path, value, why)));
    }
}

/// The annotations of an object or a template.
pub(super) fn annotations(metadata: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in map(metadata, "annotations") {
        size += key.len() + value.as_str().unwrap_or_default().len();
        // Unlike those of labels, the keys of annotations may have capitals in their prefix.
        let wrong = names::qualified(&key.to_lowercase());
        errors.extend(wrong.into_iter().map(|why| FieldError::invalid(path, &**key, why)));
    }
    if size > ANNOTATIONS_SIZE {
        errors.push(FieldError::too_long(path, ANNOTATIONS_SIZE));
    }
}

fn owners(metadata: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut controller = None;
    for owner in list(metadata, "ownerReferences") {
        for name in ["apiVersion", "kind", "name", "uid"] {
            let value = text(owner, name);
            if name == "apiVersion" {
                if value.is_empty() || value.matches('/').count() > 1 {
                    errors.push(FieldError::invalid(path.field(name), value, "version must not be empty"));
                }
            } else if value.is_empty() {
                errors.push(FieldError::invalid(path.field(name), "", "must not be empty"));
            }
        }
        if text(owner, "apiVersion") == "v1" && text(owner, "kind") == "Event" {
            errors.push(FieldError::invalid(path, "/v1, Kind=Event", "is disallowed from being an owner"));
        }
        if flag(owner, "controller") {
            if let Some(first) = controller {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {}",
                    text(owner, "name")
                );
                errors.push(FieldError::invalid(path, list(metadata, "ownerReferences").to_vec(), why));
            } else {
                controller = Some(text(owner, "name"));
            }
        }
    }
}

/// The finalizers of Kubernetes that have no prefix.
const STANDARD_FINALIZERS: &[&str] = &["kubernetes", "foregroundDeletion", "orphan"];

/// A list of finalizers.
pub(super) fn finalizers(metadata: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let all = list(metadata, "finalizers");
    let named = |name: &str| all.iter().any(|finalizer| finalizer == name);
    for (index, finalizer) in all.iter().enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        errors.extend(names::qualified(name).into_iter().map(|why| FieldError::invalid(path, name, why)));
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path.index(index), name, why));
        }
    }
    if named("orphan") && named("foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path, all.to_vec(), why));
    }
}

fn managers(metadata: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, entry) in list(metadata, "managedFields").iter().enumerate() {
        let path = path.index(index);
        if !matches!(text(entry, "operation"), "Apply" | "Update") {
            let why = "must be `Apply` or `Update`";
            errors.push(FieldError::invalid(path.field("operation"), text(entry, "operation"), why));
        }
        let ty = text(entry, "fieldsType");
        if !ty.is_empty() && ty != "FieldsV1" {
            errors.push(FieldError::invalid(path.field("fieldsType"), ty, "must be `FieldsV1`"));
        }
        if text(entry, "manager").len() > 128 {
            errors.push(FieldError::too_long(path.field("manager"), 128));
        }
    }
}

/// What may not change in metadata.
pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (at(new, "metadata"), at(old, "metadata"));
    let path = Path::Root("metadata");
    let is_deleting = has(old, "deletionTimestamp");
    if is_deleting {
        let before = list(old, "finalizers");
        let added: Vec<&Value> =
            list(new, "finalizers").iter().filter(|finalizer| !before.contains(finalizer)).collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {}",
                json!(added).to_string().replace(',', ", ")
            );
            errors.push(FieldError::forbidden(path.field("finalizers"), why));
        }
    }
    for name in ["name", "namespace", "uid", "creationTimestamp"] {
        if at(new, name) != at(old, name) {
            errors.push(FieldError::immutable(path.field(name), at(new, name)));
        }
    }
    let (after, before) =
        (int(new, "generation").unwrap_or_default(), int(old, "generation").unwrap_or_default());
    if after < before {
        errors.push(FieldError::invalid(path.field("generation"), after, "must not be decremented"));
    }
    if is_deleting {
        for name in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
            if at(new, name) != at(old, name) {
                errors.push(FieldError::immutable(path.field(name), at(new, name)));
            }
        }
    }
}
