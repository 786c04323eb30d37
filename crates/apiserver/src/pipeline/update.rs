//! Update, and the loop that every change of an object goes through: read, change, check, write if nothing came
//! between.

use std::sync::Arc;

use api::codec;
use api::field::FieldError;
use api::kinds;
use api::registry::ResourceDef;
use serde_json::Value;
use store::{Change, Entry, Precondition, Write, WriteError};

use super::admit::Admitted;
use super::create::New;
use super::metadata::{self, Expected};
use super::object::{self, finalizers, meta};
use super::types::{Answer, Body, RequestContext, Subresource, Target, WriteOptions, Written};
use super::{Pipeline, fields, parts, rules};
use crate::admission::Operation;
use crate::certificates;

/// How often a change that names no resource version is made again because another came between. Each try
/// means that someone else got on; beyond this the object is written by too many.
const TRIES: usize = 64;

/// Which part of an object a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything but the status.
    Main,
    /// The status.
    Status,
    /// Whether a certificate signing request is approved.
    Approval,
    /// The finalizers in the spec of a namespace.
    Finalize,
    /// The resources of a pod's containers.
    Resize,
    /// The ephemeral containers of a pod.
    EphemeralContainers,
}

/// What a change makes of the stored state.
pub(super) struct Draft {
    /// The new state, in the storage version, defaulted.
    pub object: Value,
    /// What the client expects of the old state.
    pub expected: Expected,
    /// For the user.
    pub warnings: Vec<String>,
    /// What an applied document owns now, where the change was an apply.
    pub applied: bool,
}

/// A change of one object.
pub(super) struct Edit<'a> {
    pub context: &'a RequestContext,
    pub target: &'a Target,
    pub options: &'a WriteOptions,
    pub part: Part,
}

impl Pipeline {
    /// Replaces an object, its status or its scale.
    pub async fn update(
        &self,
        context: &RequestContext,
        target: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Answer<Written> {
        self.allowed(context, "update", target)?;
        let part = match target.subresource {
            Some(Subresource::Scale) => return self.update_scale(context, target, &body, options).await,
            other => part(other)?,
        };
        let def = &target.def;
        let validation = options.field_validation.unwrap_or_default();
        let decoded = codec::decode(def, body.media, &body.bytes, validation)?;
        let mut document = decoded.object;
        metadata::named(target, &mut document)?;
        metadata::place(target, &mut document)?;
        let expected = metadata::expected(&document);
        if self.inner.store.snapshot().get(&object::key(target)).is_none() {
            return match part {
                Part::Main if rules::of(def).create_on_update => {
                    self.create_by_update(context, target, document, expected, decoded.warnings, options)
                        .await
                }
                _ => Err(object::not_found(def, target.name.as_deref().unwrap_or_default())),
            };
        }
        if part == Part::Main {
            require_version(def, target.name.as_deref().unwrap_or_default(), &expected)?;
        }
        codec::to_storage(def, &mut document);
        let edit = Edit { context, target, options, part };
        self.edit(&edit, |_| {
            Ok(Draft {
                object: document.clone(),
                expected: expected.clone(),
                warnings: decoded.warnings.clone(),
                applied: false,
            })
        })
        .await
    }

    async fn create_by_update(
        &self,
        context: &RequestContext,
        target: &Target,
        mut document: Value,
        expected: Expected,
        warnings: Vec<String>,
        options: &WriteOptions,
    ) -> Answer<Written> {
        let name = target.name.as_deref().unwrap_or_default();
        if !expected.uid.is_empty() {
            let namespace = target.namespace.as_deref().unwrap_or_default();
            return Err(metadata::uid_conflict(&target.def, namespace, name, &expected.uid, ""));
        }
        if !expected.resource_version.is_empty() {
            return Err(object::not_found(&target.def, name));
        }
        self.allowed(context, "create", target)?;
        metadata::of(&mut document).shift_remove("resourceVersion");
        self.create_document(context, target, New { document, warnings, applied: false }, options).await
    }

    /// Changes the object of `edit`. `change` makes the new state from the old one, as often as it has to.
    pub(super) async fn edit<F>(&self, edit: &Edit<'_>, mut change: F) -> Answer<Written>
    where
        F: FnMut(&Value) -> Answer<Draft>,
    {
        let def = &edit.target.def;
        let name = edit.target.name.as_deref().unwrap_or_default();
        for _ in 0..TRIES {
            let snapshot = self.inner.store.snapshot();
            let entry = self.shown(def, self.existing(&snapshot, edit.target)?).await?;
            let old = object::current(def, &entry)?;
            let draft = change(&old)?;
            let unconditional = draft.expected.resource_version.is_empty();
            match self.apply(edit, &entry, &old, draft).await? {
                Some(written) => return Ok(written),
                None if unconditional => {}
                None => return Err(metadata::conflict(def, name)),
            }
        }
        Err(metadata::conflict(def, name))
    }

    /// One try; nothing where another change came between.
    async fn apply(
        &self,
        edit: &Edit<'_>,
        entry: &Arc<Entry>,
        old: &Value,
        draft: Draft,
    ) -> Answer<Option<Written>> {
        let Edit { context, target, options, part } = *edit;
        let def = &target.def;
        let storage = self.registry().storage(def);
        let name = target.name.as_deref().unwrap_or_default();
        let Draft { object: mut new, expected, mut warnings, applied } = draft;
        warnings.extend(object::deprecation(def));

        self.check_expected(target, entry, &expected)?;
        let mut errors = metadata::begin_update(&mut new, old);
        if part == Part::Main {
            // First, so that what the server fills in anew does not count as a change.
            self.inner.kinds.admit_update(&storage, &mut new, old);
        }
        let snapshot = self.inner.store.snapshot();
        let (dry_run, operation) = (options.dry_run, Operation::Update);
        let admitted = Admitted { context, target, storage: &storage, part: None, dry_run, operation };
        self.admit(&admitted, &snapshot, &mut new, Some(old), &mut warnings).await?;
        match part {
            Part::Main => {
                self.check_grants(context, &storage, &new, Some(old))?;
                kinds::prepare_for_update(&storage, &mut new, old);
            }
            Part::Status => kinds::prepare_for_status_update(&storage, &mut new, old),
            Part::Approval => {
                kinds::prepare_for_status_update(&storage, &mut new, old);
                certificates::judged(&mut new, old, context.now);
            }
            Part::Finalize => parts::keep_all_but_finalizers(&mut new, old),
            Part::Resize => parts::keep_all_but_resources(&mut new, old),
            Part::EphemeralContainers => parts::keep_all_but_ephemeral_containers(&mut new, old),
        }
        if part == Part::Status && &*def.bucket == certificates::BUCKET {
            certificates::reported(&mut new, old, context.now);
        }
        if !applied {
            fields::track_update(&storage, &mut new, old, context, options, target.subresource);
        }
        errors.extend(match part {
            Part::Resize => kinds::validate_resize(&storage, &new, old),
            Part::EphemeralContainers => kinds::validate_ephemeral_containers(&storage, &new, old),
            Part::Main | Part::Finalize => kinds::validate_update(&storage, &new, old),
            Part::Status | Part::Approval => kinds::validate_status_update(&storage, &new, old),
        });
        crate::crd::rules::check(&storage, &new, Some(old), &mut errors);
        crate::admission::check_kind(&storage, &new, &mut errors);
        dedup(&mut errors);
        if !errors.is_empty() {
            return Err(kinds::invalid(def, name, &errors));
        }

        let _permit = self.judge(&admitted, &snapshot, Some(&new), Some(old), &mut warnings).await?;
        if same(&new, old) {
            let mut unchanged = object::of_entry(def, entry.clone())?;
            unchanged.warnings = warnings;
            return Ok(Some(Written { object: unchanged, created: false }));
        }
        if options.dry_run {
            self.inner.kinds.allocate_update(&storage, &mut new, old)?;
            let version = entry.revision.0.to_string();
            metadata::of(&mut new).insert("resourceVersion".to_owned(), version.into());
            let mut shown = object::of_storage_value(def, new);
            shown.warnings = warnings;
            return Ok(Some(Written { object: shown, created: false }));
        }
        let Some(entry) = self.write_change(edit, &storage, entry, new, old).await? else { return Ok(None) };
        let mut written = self.object(def, entry).await?;
        written.warnings = warnings;
        Ok(Some(Written { object: written, created: false }))
    }

    /// Writes the new state over the one of `entry`, or deletes it where nothing keeps it any more; nothing where
    /// another change came between.
    async fn write_change(
        &self,
        edit: &Edit<'_>,
        storage: &ResourceDef,
        entry: &Entry,
        mut new: Value,
        old: &Value,
    ) -> Answer<Option<Arc<Entry>>> {
        let key = entry.key.clone();
        let precondition = Precondition::Revision(entry.revision);
        let gone = is_released(storage, &new);
        let mut allocated = self.inner.kinds.allocate_update(storage, &mut new, old)?;
        let template = object::template(&*self.stored_form(storage, &new).await?);
        let change = if gone { Change::Delete { last: template } } else { Change::Put(template) };
        allocated.begin();
        let author = Some(self.author(edit.context, &edit.options.field_manager));
        match self.inner.store.write(Write { key, precondition, change, author }).await {
            Ok(entry) => {
                allocated.keep();
                if gone {
                    self.inner.kinds.release(storage, &new);
                }
                self.written(storage, gone, edit.context.now).await;
                Ok(Some(entry))
            }
            Err(error) => {
                allocated.undo();
                match error {
                    WriteError::PreconditionFailed { .. } => Ok(None),
                    error => Err(object::write_failed(&error)),
                }
            }
        }
    }

    fn check_expected(&self, target: &Target, entry: &Entry, expected: &Expected) -> Answer<()> {
        let def = &target.def;
        let name = target.name.as_deref().unwrap_or_default();
        if !expected.uid.is_empty() && *expected.uid != *object::header(entry).uid {
            return Err(metadata::uid_conflict(
                def,
                entry.key.namespace(),
                name,
                &expected.uid,
                &object::header(entry).uid,
            ));
        }
        if expected.resource_version.is_empty() {
            return Ok(());
        }
        let Ok(version) = expected.resource_version.parse::<u64>() else {
            return Err(kinds::invalid(
                def,
                name,
                &[FieldError::invalid(
                    "metadata.resourceVersion",
                    expected.resource_version.clone(),
                    "must be an unsigned integer",
                )],
            ));
        };
        if version != entry.revision.0 {
            return Err(metadata::conflict(def, name));
        }
        Ok(())
    }
}

/// What a PUT without a resource version means where that is not allowed.
fn require_version(def: &ResourceDef, name: &str, expected: &Expected) -> Answer<()> {
    if expected.resource_version.is_empty() && !rules::of(def).unconditional_update {
        return Err(kinds::invalid(
            def,
            name,
            &[FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update")],
        ));
    }
    Ok(())
}

/// The part that a subresource stands for, where it can be written.
pub(super) fn part(subresource: Option<Subresource>) -> Answer<Part> {
    match subresource {
        None => Ok(Part::Main),
        Some(Subresource::Resize) => Ok(Part::Resize),
        Some(Subresource::EphemeralContainers) => Ok(Part::EphemeralContainers),
        Some(Subresource::Status) => Ok(Part::Status),
        Some(Subresource::Approval) => Ok(Part::Approval),
        Some(Subresource::Finalize) => Ok(Part::Finalize),
        Some(_) => Err(object::method_not_allowed()),
    }
}

/// Whether nothing keeps an object that is being deleted: its last finalizer is gone, and its grace period over.
fn is_released(def: &ResourceDef, object: &Value) -> bool {
    let deleting = !meta(object, "deletionTimestamp").is_empty();
    let grace = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let kept = &*def.bucket == "namespaces"
        && object["spec"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
    deleting && grace == 0 && !kept && finalizers(object).next().is_none()
}

/// Whether nothing was changed, the resource version and the times of managed fields aside.
fn same(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
    let unlike = |name: &&String| *name != "metadata";
    new.keys().filter(unlike).all(|name| new.get(name) == old.get(name))
        && old.keys().filter(unlike).all(|name| new.contains_key(name))
        && same_metadata(&new["metadata"], &old["metadata"])
}

fn same_metadata(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
    let compared = |name: &&String| *name != "resourceVersion";
    new.keys().filter(compared).all(|name| match old.get(name) {
        Some(before) if name == "managedFields" => fields::same(&new[name], before),
        before => before == new.get(name),
    }) && old.keys().filter(compared).all(|name| new.contains_key(name))
}

fn dedup(errors: &mut Vec<FieldError>) {
    let mut seen: Vec<FieldError> = Vec::new();
    errors.retain(|error| {
        let new = !seen.contains(error);
        if new {
            seen.push(error.clone());
        }
        new
    });
}
