//! Server-side apply: a client sends what it wants to own of an object, and the server keeps account of who owns what.
//!
//! ```text
//! live + applied --merge--> merged --remove what was applied before, is no more, and nobody else owns--> result
//! live vs. result --> what changed: owned by others? a conflict, or with force it is theirs no more
//! ```
//! The account is `metadata.managedFields` ([`managed`]), sets of fields ([`fields`]) that the schema makes of
//! documents (`typed`). It costs nothing until an object is applied for the first time, on either side: only then does
//! [`track_update`] keep it for other writes. What was there before the first apply is owned by `before-first-apply`;
//! what `kubectl apply` noted in its annotation, by `kubectl-client-side-apply`.
//!
//! Client-side apply counts because kubectl, once it applies on the server's side, makes its own whatever the owner of
//! that annotation owns, and then drops what the manifest does not have. An account that began only then could not
//! tell what others had set since, as the replicas of `kubectl scale`: they would be dropped too.

pub mod fields;
pub mod managed;
mod typed;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::registry::ResourceDef;
use crate::status::{Cause, Details, Reason, Status};
use crate::time::Time;
use fields::Set;
use managed::{Managed, Manager, Operation};
use typed::{Comparison, Kind};

const BEFORE_FIRST_APPLY: &str = "before-first-apply";
const KUBECTL: &str = "kubectl";
const KUBECTL_CLIENT_SIDE: &str = "kubectl-client-side-apply";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who writes what, and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The resource, in the version of the documents.
    pub def: &'a ResourceDef,
    /// The field manager.
    pub manager: &'a str,
    /// As `status`, or empty.
    pub subresource: &'a str,
    /// The time of the request.
    pub now: Timestamp,
}

impl Writer<'_> {
    fn manager(&self, operation: Operation) -> Manager {
        let name = if self.manager.is_empty() { "unknown" } else { self.manager };
        Manager {
            name: name.to_owned(),
            operation,
            api_version: self.def.api_version(),
            subresource: self.subresource.to_owned(),
        }
    }

    /// The fields that this write does not set, whatever it says of them.
    fn ignored(&self) -> Set {
        match self.subresource {
            "status" => {
                let names = self.def.schema.fields.iter().map(|field| &*field.name);
                let others =
                    names.filter(|name| !matches!(*name, "apiVersion" | "kind" | "metadata" | "status"));
                let paths: Vec<[&str; 1]> = others.map(|name| [name]).collect();
                let mut paths: Vec<&[&str]> = paths.iter().map(|path| &path[..]).collect();
                paths.push(&["metadata", "labels"]);
                Set::of_fields(&paths)
            }
            "" if self.def.has_status() => Set::of_fields(&[&["status"]]),
            _ => Set::default(),
        }
    }
}

/// The object that `applied` makes of `live` (`None`: there is none yet), with its managedFields. Defaults, admission
/// and validation are still to come. It is equal to `live` where nothing changes.
pub fn apply(
    writer: &Writer<'_>,
    live: Option<&Value>,
    applied: &Value,
    force: bool,
) -> Result<Value, Status> {
    let def = writer.def;
    let root = Kind::root(&def.schema);
    check_applied(def, applied)?;
    let declared = typed::field_set(root, applied).map_err(|errors| not_typed(def, applied, &errors))?;

    let empty = json!({});
    let live = live.unwrap_or(&empty);
    let manager = writer.manager(Operation::Apply);
    let ignored = writer.ignored();
    let mut applied_set = declared;
    applied_set.subtract_trees(&ignored);
    managed::strip(&mut applied_set);
    let mut managed = Managed::of(live);
    // Who applies nothing owns nothing, and starts no account.
    if managed.is_empty() && !applied_set.is_empty() {
        managed = before_first_apply(writer, live);
    }

    let before = managed.get(&manager).map(|entry| entry.fields.clone()).unwrap_or_default();
    let owns_the_same = before == applied_set;
    managed.entry(&manager).fields = applied_set;

    let mut merged = live.clone();
    typed::merge(root, &mut merged, applied);
    if prune(root, &mut merged, &before, &managed) {
        // Empty lists that were applied belong to no set, and have gone with what was in them.
        typed::merge(root, &mut merged, applied);
    }

    let comparison = typed::compare(&def.schema, live, &merged).without(&ignored);
    let conflicts = conflicts(&managed, &manager, &comparison.changed());
    if !force && !conflicts.is_empty() {
        let conflicts =
            if manager.name == KUBECTL { without_last_applied(def, live, conflicts) } else { conflicts };
        if !conflicts.is_empty() {
            return Err(conflict(&conflicts));
        }
    }
    release(&mut managed, Some(&manager), &comparison);

    let entry = managed.entry(&manager);
    entry.manager = manager;
    if entry.time.is_none() || !comparison.is_same() || !owns_the_same {
        entry.time = Some(Time(writer.now).to_string());
    }
    managed.write(&mut merged);
    note_last_applied(writer, applied, &mut merged);
    Ok(merged)
}

/// Keeps the account of a write that is no apply, from `old` (`None`: a create) to `new`. Does nothing while nobody
/// has applied the object.
pub fn track_update(writer: &Writer<'_>, old: Option<&Value>, new: &mut Value) {
    let reset = writer.subresource.is_empty() && Managed::is_reset(new);
    let mut managed = if writer.subresource.is_empty() { Managed::of(new) } else { Managed::default() };
    if managed.is_empty() {
        managed = old.map(Managed::of).unwrap_or_default();
    }
    if let Value::Object(new) = &mut *new {
        managed::remove_from(new);
    }
    if reset {
        return;
    }
    if managed.is_empty() {
        if !is_applied_by_client(old, new) {
            return;
        }
        managed = old.map(|old| before_first_apply(writer, old)).unwrap_or_default();
    }
    let empty = json!({});
    let comparison =
        typed::compare(&writer.def.schema, old.unwrap_or(&empty), new).without(&writer.ignored());
    release(&mut managed, None, &comparison);
    let mut changed = comparison.changed();
    managed::strip(&mut changed);
    if !changed.is_empty() {
        let entry = managed.entry(&writer.manager(Operation::Update));
        entry.fields.union(&changed);
        entry.time = Some(Time(writer.now).to_string());
    }
    managed.write(new);
}

/// Whether a write is a client-side apply: it notes another manifest than there was.
fn is_applied_by_client(old: Option<&Value>, new: &Value) -> bool {
    let noted = noted_manifest(new);
    noted.is_some() && noted != old.and_then(noted_manifest)
}

/// What client-side apply noted that it applied.
fn noted_manifest(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][LAST_APPLIED].as_str()
}

/// Merges a document into an object as an apply would, but keeps no account of who owns what. What is applied as one
/// value may not be in it: the rest of such a value would be lost.
pub fn merge_into(def: &ResourceDef, object: &mut Value, document: &Value) -> Result<(), String> {
    let root = Kind::root(&def.schema);
    typed::field_set(root, document).map_err(|errors| {
        let reasons = match errors.as_slice() {
            [one] => one.clone(),
            many => format!("errors:\n  {}", many.join("\n  ")),
        };
        format!("failed to convert patch object to typed object: {reasons}")
    })?;
    let mut atomic = Vec::new();
    typed::atomic_values(&def.schema, document, "", &mut atomic);
    if !atomic.is_empty() {
        let all = atomic.join(", ");
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {all}"
        ));
    }
    typed::merge(root, object, document);
    Ok(())
}

fn check_applied(def: &ResourceDef, applied: &Value) -> Result<(), Status> {
    let (given, expected) = (applied["apiVersion"].as_str().unwrap_or_default(), def.api_version());
    if given != expected {
        return Err(Status::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {given}, expected: {expected}"
        )));
    }
    if !applied["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

/// Says that a document cannot be applied because of its types; each error names a path, as `.spec.x`.
pub fn not_typed(def: &ResourceDef, applied: &Value, errors: &[String]) -> Status {
    let text = |key: &str| applied["metadata"][key].as_str().unwrap_or_default();
    let reasons = match errors {
        [error] => error.clone(),
        errors => format!("errors:\n  {}", errors.join("\n  ")),
    };
    Status::bad_request(format!(
        "failed to create typed patch object ({}/{}; {}/{}, Kind={}): {reasons}",
        text("namespace"),
        text("name"),
        def.group,
        def.version,
        def.kind
    ))
}

/// The account of an object that nobody has applied yet.
fn before_first_apply(writer: &Writer<'_>, live: &Value) -> Managed {
    let mut rest = typed::compare(&writer.def.schema, &json!({}), live).without(&writer.ignored()).changed();
    let mut managed = Managed::default();
    if let Some(mut last_applied) = last_applied_set(writer.def, live) {
        last_applied.union(&Set::of_fields(&[&["metadata", "annotations", LAST_APPLIED]]));
        rest.subtract(&last_applied);
        let manager = Writer { manager: KUBECTL_CLIENT_SIDE, subresource: "", ..*writer };
        managed.entry(&manager.manager(Operation::Update)).fields = last_applied;
    }
    let manager =
        Writer { manager: BEFORE_FIRST_APPLY, subresource: "", ..*writer }.manager(Operation::Update);
    managed.entry(&manager).fields = rest;
    for entry in &mut managed.entries {
        managed::strip(&mut entry.fields);
        entry.time = Some(Time(writer.now).to_string());
    }
    managed
}

/// The fields of the last manifest of client-side apply that the object still has as the manifest had them.
fn last_applied_set(def: &ResourceDef, live: &Value) -> Option<Set> {
    let last_applied: Value = serde_json::from_str(noted_manifest(live)?).ok()?;
    if last_applied["apiVersion"].as_str() != Some(&def.api_version()) {
        return None;
    }
    let mut set = typed::field_set(Kind::root(&def.schema), &last_applied).ok()?;
    let comparison = typed::compare(&def.schema, &last_applied, live);
    for different in [&comparison.modified, &comparison.added, &comparison.removed] {
        set.subtract(different);
    }
    Some(set)
}

/// Takes out of `merged` what the applier applied before, applies no more, and nobody owns. Whether there was such.
fn prune(root: Kind<'_>, merged: &mut Value, before: &Set, managed: &Managed) -> bool {
    if before.is_empty() {
        return false;
    }
    let mut gone = typed::present(root, merged, &typed::with_named_fields(root, before));
    gone.subtract(&typed::with_named_fields(root, &managed.all_fields()));
    if !gone.is_empty() {
        typed::remove(root, merged, &gone);
    }
    !gone.is_empty()
}

/// While an object has the annotation of client-side apply, kubectl keeps it true.
fn note_last_applied(writer: &Writer<'_>, applied: &Value, merged: &mut Value) {
    if writer.manager != KUBECTL || !writer.subresource.is_empty() {
        return;
    }
    if let Some(annotation) =
        merged.pointer_mut("/metadata/annotations").and_then(|all| all.get_mut(LAST_APPLIED))
    {
        let mut applied = applied.clone();
        if let Some(Value::Object(annotations)) = applied.pointer_mut("/metadata/annotations") {
            annotations.shift_remove(LAST_APPLIED);
        }
        *annotation = format!("{applied}\n").into();
    }
}

/// The fields of others that changed.
fn conflicts(managed: &Managed, manager: &Manager, changed: &Set) -> Vec<(Manager, Set)> {
    let mut conflicts: Vec<_> = managed
        .others(manager)
        .map(|entry| (entry.manager.clone(), entry.fields.intersection(changed)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    conflicts.sort_by(|(a, _), (b, _)| {
        (&a.name, a.operation, &a.api_version).cmp(&(&b.name, b.operation, &b.api_version))
    });
    conflicts
}

/// kubectl may take over what it applied itself, on the client's side.
fn without_last_applied(
    def: &ResourceDef,
    live: &Value,
    conflicts: Vec<(Manager, Set)>,
) -> Vec<(Manager, Set)> {
    let Some(allowed) = last_applied_set(def, live) else {
        return conflicts;
    };
    let remaining = conflicts.into_iter().map(|(manager, mut fields)| {
        fields.subtract(&allowed);
        (manager, fields)
    });
    remaining.filter(|(_, fields)| !fields.is_empty()).collect()
}

fn conflict(conflicts: &[(Manager, Set)]) -> Status {
    let paths: Vec<(String, Vec<String>)> =
        conflicts.iter().map(|(manager, fields)| (manager.describe(), fields.paths())).collect();
    let causes: Vec<Cause> = paths
        .iter()
        .flat_map(|(manager, paths)| paths.iter().map(move |path| (manager, path)))
        .map(|(manager, path)| Cause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with {manager}"),
            field: path.clone(),
        })
        .collect();
    let message = match &causes[..] {
        [only] => format!("Apply failed with 1 conflict: {}: {}", only.message, only.field),
        _ => {
            let by_manager = paths.iter().map(|(manager, paths)| {
                let paths: String = paths.iter().map(|path| format!("\n- {path}")).collect();
                format!("conflicts with {manager}:{paths}")
            });
            let by_manager: Vec<_> = by_manager.collect();
            format!("Apply failed with {} conflicts: {}", causes.len(), by_manager.join("\n"))
        }
    };
    Status::failure(Reason::Conflict, message).with_details(Details { causes, ..Details::default() })
}

/// What changed or went is not of those who had it; `keeps` keeps its own.
fn release(managed: &mut Managed, keeps: Option<&Manager>, comparison: &Comparison) {
    let changed = comparison.changed();
    let keeper = keeps.and_then(|manager| managed.get(manager)).map(|entry| entry.manager.clone());
    for entry in managed.entries.iter_mut().filter(|entry| Some(&entry.manager) != keeper.as_ref()) {
        entry.fields.subtract(&changed);
        entry.fields.subtract(&comparison.removed);
    }
}
