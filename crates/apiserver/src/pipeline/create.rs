//! Create: from a body to a stored object.

use api::codec;
use api::kinds;
use api::status::Status;
use serde_json::Value;
use store::{Change, Key, Precondition, Snapshot, Write, WriteError};

use super::admit::Admitted;
use super::object::meta;
use super::types::{Answer, Body, RequestContext, Subresource, Target, WriteOptions, Written};
use super::{Pipeline, fields, metadata, object, review};
use crate::admission::{self, Operation};

/// A document to be stored as a new object.
pub(super) struct New {
    /// In the version of the request, checked against its schema.
    pub document: Value,
    /// For the user.
    pub warnings: Vec<String>,
    /// Whether it was applied, and so knows the owners of its fields.
    pub applied: bool,
}

/// How often another suffix is tried where a generated name is taken.
const GENERATE_TRIES: usize = 8;

impl Pipeline {
    /// Stores a new object, or does what its subresource stands for (binding, eviction).
    pub async fn create(
        &self,
        context: &RequestContext,
        target: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Answer<Written> {
        self.allowed(context, "create", target)?;
        match target.subresource {
            None => {}
            Some(Subresource::Binding) => return self.create_binding(context, target, &body, options).await,
            Some(Subresource::Eviction) => return self.evict(context, target, &body, options).await,
            Some(Subresource::Token) => return self.token(context, target, &body, options).await,
            Some(_) => return Err(object::method_not_allowed()),
        }
        if review::is_review(&target.def) {
            return self.review(context, target, &body, options);
        }
        if &*target.def.bucket == "bindings" {
            return self.create_binding(context, target, &body, options).await;
        }
        let validation = options.field_validation.unwrap_or_default();
        let decoded = codec::decode(&target.def, body.media, &body.bytes, validation)?;
        let new = New { document: decoded.object, warnings: decoded.warnings, applied: false };
        self.create_document(context, target, new, options).await
    }

    /// Stores a document that is in the version of the request and has been checked against its schema.
    pub(super) async fn create_document(
        &self,
        context: &RequestContext,
        target: &Target,
        new: New,
        options: &WriteOptions,
    ) -> Answer<Written> {
        let New { mut document, mut warnings, applied } = new;
        let def = &target.def;
        metadata::place(target, &mut document)?;
        if target.name.is_some() {
            metadata::named(target, &mut document)?;
        }
        let storage = self.registry().storage(def);
        let snapshot = self.inner.store.snapshot();
        let namespace = target.namespace.as_deref().unwrap_or_default();
        admission::check_namespace(&snapshot, def, namespace, &document)?;
        let snapshot = self.account_of_pod(snapshot, def, namespace, &document).await;
        codec::to_storage(def, &mut document);
        metadata::begin_create(&mut document, self.inner.names.uid(), context.now)?;
        let (dry_run, operation) = (options.dry_run, Operation::Create);
        let admitted = Admitted { context, target, storage: &storage, part: None, dry_run, operation };
        self.admit(&admitted, &snapshot, &mut document, None, &mut warnings).await?;
        let status = self.inner.kinds.keeps_status(&storage).then(|| document["status"].take());
        kinds::prepare_for_create(&storage, &mut document);
        if let Some(status) = status.filter(Value::is_object) {
            document["status"] = status;
        }
        self.inner.kinds.admit_create(&storage, &mut document);
        crate::certificates::begin(&storage, &mut document, &context.user)?;
        self.check_grants(context, &storage, &document, None)?;
        if !applied {
            fields::track_create(&storage, &mut document, context, options);
        }

        let prefix = match (meta(&document, "name"), meta(&document, "generateName")) {
            ("", prefix) if !prefix.is_empty() => Some(prefix.to_owned()),
            _ => None,
        };
        let tries = if prefix.is_some() { GENERATE_TRIES } else { 1 };
        for last in (0..tries).rev().map(|left| left == 0) {
            if let Some(prefix) = &prefix {
                metadata::of(&mut document)
                    .insert("name".to_owned(), self.inner.names.generate(prefix).into());
            }
            match self.store_new(&admitted, &snapshot, &mut document, options, &mut warnings).await {
                Err(status) if status.is_already_exists() && prefix.is_some() => {
                    if last {
                        return Err(cannot_generate(status));
                    }
                }
                Err(status) => return Err(status),
                Ok(mut written) => {
                    written.object.warnings = warnings;
                    written.object.warnings.extend(object::deprecation(def));
                    return Ok(written);
                }
            }
        }
        Err(Status::internal("no name was tried"))
    }

    async fn store_new(
        &self,
        admitted: &Admitted<'_>,
        snapshot: &Snapshot,
        document: &mut Value,
        options: &WriteOptions,
        warnings: &mut Vec<String>,
    ) -> Answer<Written> {
        let Admitted { context, target, storage, .. } = *admitted;
        let def = &target.def;
        self.inner.kinds.named(storage, document);
        let name = meta(document, "name").to_owned();
        let mut errors = kinds::validate(storage, document);
        crate::crd::rules::check(storage, document, None, &mut errors);
        crate::admission::check_kind(storage, document, &mut errors);
        if !errors.is_empty() {
            return Err(kinds::invalid(def, &name, &errors));
        }
        let namespace = if def.namespaced { target.namespace.as_deref().unwrap_or_default() } else { "" };
        let key = Key::new(&object::bucket(def), namespace, &name);
        let exists = || Status::already_exists(&def.group, &def.plural, &name);
        if snapshot.get(&key).is_some() {
            return Err(exists());
        }
        let _permit = self.judge(admitted, snapshot, Some(document), None, warnings).await?;
        let mut allocated = self.inner.kinds.allocate_create(storage, document)?;
        if options.dry_run {
            return Ok(Written { object: object::of_storage_value(def, document.clone()), created: true });
        }
        let stored = self.stored_form(storage, document).await?;
        let write = Write {
            key,
            precondition: Precondition::Absent,
            change: Change::Put(object::template(&stored)),
            author: Some(self.author(context, &options.field_manager)),
        };
        allocated.begin();
        match self.inner.store.write(write).await {
            Ok(entry) => {
                allocated.keep();
                self.written(storage, false, context.now).await;
                Ok(Written { object: self.object(def, entry).await?, created: true })
            }
            Err(error) => {
                allocated.undo();
                match error {
                    WriteError::PreconditionFailed { .. } => Err(exists()),
                    error => Err(object::write_failed(&error)),
                }
            }
        }
    }
}

fn cannot_generate(mut status: Status) -> Status {
    status.message.push_str(", the server was not able to generate a unique name for the object");
    if let Some(details) = &mut status.details {
        details.retry_after_seconds = 1;
    }
    status
}
