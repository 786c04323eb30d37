//! Strategic merge patch: a merge patch that knows from the schema which lists merge by element, and by which key.
//!
//! Directives in the patch say what the form of a document cannot:
//! - `"$patch": "delete"` or `"replace"` in an object: empty it, or put the patch in its place; in an element of a
//!   merging list: remove the element of that key, or replace the whole list;
//! - `"$retainKeys": [..]`: remove every other key of this object (unions: the old choice goes);
//! - `"$setElementOrder/<list>": [..]`: the order of the merged list;
//! - `"$deleteFromPrimitiveList/<list>": [..]`: remove these scalars.
//!
//! The order of a merged list is as in Kubernetes: what the patch names stands in the patch's order, the rest in the
//! server's, and the two are woven together; see `weave`. Where the schema knows nothing (custom resources do not
//! take this patch), objects merge and lists are replaced.

mod weave;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::order::{Ordered, places};
use crate::schema::{Field, Shape, TypeDef};
use crate::status::Status;
use weave::{Identity, partition_and_weave};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

/// Merges `patch`, which must be an object, into `document`, an object of type `def`.
pub fn apply(def: &TypeDef, document: &mut Value, patch: Value) -> Result<(), Status> {
    super::expect_object(&patch)?;
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    if let (Value::Object(document), Value::Object(patch)) = (document, patch) {
        merge_object(Scope::Type(def), document, patch)?;
    }
    Ok(())
}

/// What is known about the keys of an object.
#[derive(Clone, Copy)]
enum Scope<'a> {
    Type(&'a TypeDef),
    Map(&'a Shape),
    Free,
}

impl<'a> Scope<'a> {
    fn of(shape: Option<&'a Shape>) -> Self {
        match shape {
            Some(Shape::Object(def)) => Self::Type(def),
            Some(Shape::Map { value, .. }) => Self::Map(value),
            _ => Self::Free,
        }
    }

    fn field(self, key: &str) -> FieldScope<'a> {
        match self {
            Self::Type(def) => match def.field(key) {
                Some(field) => FieldScope { shape: Some(&field.shape), field: Some(field) },
                None => FieldScope { shape: def.rest.as_ref(), field: None },
            },
            Self::Map(value) => FieldScope { shape: Some(value), field: None },
            Self::Free => FieldScope { shape: None, field: None },
        }
    }
}

/// What is known about one key of an object.
#[derive(Clone, Copy)]
struct FieldScope<'a> {
    shape: Option<&'a Shape>,
    field: Option<&'a Field>,
}

impl<'a> FieldScope<'a> {
    fn merges_lists(self) -> bool {
        self.field.and_then(|field| field.patch.as_ref()).is_some_and(|patch| patch.merge)
    }

    /// A strategy that is neither to merge nor to retain keys is to replace.
    fn replaces_objects(self) -> bool {
        self.field
            .and_then(|field| field.patch.as_ref())
            .is_some_and(|patch| !patch.merge && !patch.retain_keys)
    }

    fn merge_key(self) -> Option<&'a str> {
        self.field?.patch.as_ref()?.merge_key.as_deref()
    }

    fn item(self) -> Scope<'a> {
        Scope::of(self.shape.and_then(Shape::element))
    }
}

fn merge_object(scope: Scope<'_>, original: &mut Object, mut patch: Object) -> Result<(), Status> {
    match patch.get(PATCH).map(Value::as_str) {
        None => {}
        Some(Some("replace")) => {
            patch.shift_remove(PATCH);
            if let Some(Value::Object(patch)) = without_directives(Value::Object(patch)) {
                *original = patch;
            }
            return Ok(());
        }
        Some(Some("delete")) => {
            original.clear();
            return Ok(());
        }
        Some(_) => return Err(unknown_directive(&Value::Object(patch))),
    }
    retain_keys(original, &mut patch)?;
    merge_ordered_lists(scope, original, &mut patch)?;
    for (key, value) in patch {
        match key.strip_prefix(DELETE_FROM_PRIMITIVE_LIST) {
            Some(list) => delete_scalars(original, list, value)?,
            None => merge_field(scope, original, key, value)?,
        }
    }
    Ok(())
}

fn merge_field(scope: Scope<'_>, original: &mut Object, key: String, value: Value) -> Result<(), Status> {
    let field = scope.field(&key);
    match (original.get_mut(&key), value) {
        (_, Value::Null) => {
            original.shift_remove(&key);
        }
        (Some(Value::Object(original)), Value::Object(patch)) if !field.replaces_objects() => {
            merge_object(Scope::of(field.shape), original, patch)?;
        }
        (Some(Value::Array(original)), Value::Array(patch)) if field.merges_lists() => {
            let merged = merge_list(field, std::mem::take(original), patch)?;
            *original = merged;
        }
        (Some(Value::Array(original)), Value::Array(patch)) => {
            *original = patch.into_iter().filter_map(without_directives).collect();
        }
        (_, value) => {
            if let Some(added) = without_directives(value) {
                original.insert(key, added);
            }
        }
    }
    Ok(())
}

/// Removes the keys that the patch does not retain.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), Status> {
    let Some(keys) = patch.shift_remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Value::Array(keys) = keys else {
        return Err(Status::bad_request("invalid patch format of retainKeys"));
    };
    let is_retained = |key: &str| keys.iter().any(|retained| retained == key);
    let given = patch.iter().filter(|(key, value)| !value.is_null() && !is_directive(key));
    if given.into_iter().any(|(key, _)| !is_retained(key)) {
        // What is given is not retained.
        return Err(super::rejected());
    }
    original.retain(|key, _| is_retained(key));
    Ok(())
}

/// Merges the lists whose order the patch tells, and takes them out of the patch.
fn merge_ordered_lists(scope: Scope<'_>, original: &mut Object, patch: &mut Object) -> Result<(), Status> {
    let ordered: Vec<String> =
        patch.keys().filter(|key| key.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
    for directive in ordered {
        let (Some(Value::Array(order)), Some(key)) =
            (patch.shift_remove(&directive), directive.strip_prefix(SET_ELEMENT_ORDER))
        else {
            return Err(Status::bad_request("invalid patch format of setElementOrder list"));
        };
        let field = scope.field(key);
        let identity = Identity::by(field.merge_key());
        let listed = patch.shift_remove(key).map(into_list).transpose()?;
        if let Some(listed) = &listed {
            check_order(listed, &order, identity)?;
        }
        let server = match original.get_mut(key) {
            Some(Value::Array(server)) => Some(std::mem::take(server)),
            _ => None,
        };
        let server_order = identity.of_all(server.as_deref().unwrap_or_default());
        let merged = match (server, listed) {
            (Some(server), Some(listed)) if field.merges_lists() => merge_list(field, server, listed)?,
            (_, Some(listed)) => listed.into_iter().filter_map(without_directives).collect(),
            (Some(server), None) => server,
            (None, None) => continue,
        };
        check_identities(&merged, identity)?;
        let woven = partition_and_weave(merged, &identity.of_all(&order), &server_order, identity);
        original.insert(key.to_owned(), Value::Array(woven));
    }
    Ok(())
}

fn into_list(value: Value) -> Result<Vec<Value>, Status> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(Status::bad_request("invalid patch format of setElementOrder list")),
    }
}

/// The elements of the patch must stand in the order that the patch tells.
fn check_order(listed: &[Value], order: &[Value], identity: Identity<'_>) -> Result<(), Status> {
    if listed.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut places = order.iter().map(|item| identity.of(item));
    let kept = listed.iter().filter(|item| directive_of(item) != Some("delete"));
    if kept.map(|item| identity.of(item)).all(|item| places.any(|place| place == item)) {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "The order in patch list:\n{}\n doesn't match {SET_ELEMENT_ORDER} list:\n{}\n",
        go_value(&Value::from(listed)),
        go_value(&Value::from(order))
    )))
}

fn merge_list(field: FieldScope<'_>, original: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, Status> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    let elements = || original.iter().chain(&patch);
    if elements().any(Value::is_array) {
        // Lists of lists have no identity to merge by.
        return Err(super::rejected());
    }
    if !elements().any(Value::is_object) {
        return Ok(merge_scalars(original, patch));
    }
    if !elements().all(Value::is_object) {
        return Err(Status::bad_request("list element types are not identical"));
    }
    let key = field.merge_key().ok_or_else(|| {
        Status::bad_request(format!(
            "cannot merge lists without merge key for {}",
            field.field.map_or("elements", |field| &*field.name)
        ))
    })?;
    merge_elements(field.item(), key, original, patch)
}

fn merge_scalars(original: Vec<Value>, patch: Vec<Value>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let both = original.iter().chain(&patch);
    let merged: Vec<Value> = both.filter(|item| seen.insert(Ordered(item))).cloned().collect();
    partition_and_weave(merged, &patch, &original, Identity::Itself)
}

fn merge_elements(
    scope: Scope<'_>,
    key: &str,
    mut original: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>, Status> {
    let identity = Identity::Key(key);
    let (given, marked): (Vec<Value>, Vec<Value>) =
        patch.into_iter().partition(|item| item.get(PATCH).is_none());
    let (mut deleted, mut replace) = (Vec::new(), false);
    for item in marked {
        match directive_of(&item) {
            Some("delete") => deleted.push(item),
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(Status::bad_request("merging lists cannot yet be specified in the patch"));
            }
            _ => return Err(unknown_directive(&item)),
        }
    }
    check_identities(&given, identity)?;
    check_identities(&deleted, identity)?;
    if replace {
        return Ok(given.into_iter().filter_map(without_directives).collect());
    }
    let deleted: BTreeSet<Ordered<'_>> =
        deleted.iter().filter_map(|item| identity.of(item)).map(Ordered).collect();
    original.retain(|item| !identity.of(item).is_some_and(|identity| deleted.contains(&Ordered(identity))));
    check_identities(&original, identity)?;

    let (server_order, patch_order) = (identity.of_all(&original), identity.of_all(&given));
    let mut places = places(&server_order);
    for (item, identity) in given.into_iter().zip(&patch_order) {
        let end = original.len();
        let place = *places.entry(Ordered(identity)).or_insert(end);
        match (original.get_mut(place), item) {
            (Some(Value::Object(original)), Value::Object(patch)) => merge_object(scope, original, patch)?,
            (_, item) => original.extend(without_directives(item)),
        }
    }
    Ok(partition_and_weave(original, &patch_order, &server_order, identity))
}

fn delete_scalars(original: &mut Object, key: &str, scalars: Value) -> Result<(), Status> {
    let Value::Array(scalars) = scalars else {
        return Err(Status::bad_request("invalid patch format of primitive list"));
    };
    if let Some(Value::Array(items)) = original.get_mut(key) {
        let scalars: BTreeSet<Ordered<'_>> = scalars.iter().map(Ordered).collect();
        items.retain(|item| !scalars.contains(&Ordered(item)));
    }
    Ok(())
}

fn directive_of(value: &Value) -> Option<&str> {
    value.get(PATCH)?.as_str()
}

fn is_directive(key: &str) -> bool {
    key.starts_with(SET_ELEMENT_ORDER)
        || key.starts_with(DELETE_FROM_PRIMITIVE_LIST)
        || key == RETAIN_KEYS
        || key == PATCH
}

/// What of a patch is added where there was nothing: no nulls, no directives, nothing that one marks.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(PATCH) => None,
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(key, value)| !is_directive(key) && !value.is_null());
            Some(Value::Object(
                kept.filter_map(|(key, value)| Some((key, without_directives(value)?))).collect(),
            ))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        scalar => Some(scalar),
    }
}

/// Every element of a list that merges by key must have the key.
fn check_identities(items: &[Value], identity: Identity<'_>) -> Result<(), Status> {
    match (identity, items.iter().find(|item| identity.of(item).is_none())) {
        (Identity::Key(key), Some(item)) => Err(Status::bad_request(format!(
            "map: {} does not contain declared merge key: {key}",
            go_value(item)
        ))),
        _ => Ok(()),
    }
}

fn unknown_directive(object: &Value) -> Status {
    let directive = object.get(PATCH).unwrap_or(&Value::Null);
    Status::bad_request(format!("unknown patch type: {} in map: {}", go_value(directive), go_value(object)))
}

/// As Go prints a value: the texts of Kubernetes' errors have it.
fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_value).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let mut pairs: Vec<_> =
                fields.iter().map(|(key, value)| format!("{key}:{}", go_value(value))).collect();
            pairs.sort_unstable();
            format!("map[{}]", pairs.join(" "))
        }
    }
}
