//! Patch: a change told as a difference, in one of four languages.
//!
//! The patch is applied to the object in the version of the request; the result then goes the way of an update.
//! Without a resource version in it, it is applied again where another change came between.

use api::codec::{self, FieldValidation, MediaType};
use api::encode;
use api::patch;
use api::registry::ResourceDef;
use api::status::{Details, Reason, Status};
use json_patch::PatchOperation;
use serde_json::Value;

use super::create::New;
use super::metadata::{self, Expected};
use super::object::{self, meta};
use super::options::invalid;
use super::types::{Answer, Body, PatchType, RequestContext, Subresource, Target, WriteOptions, Written};
use super::update::{Draft, Edit, Part, part};
use super::{Pipeline, fields};

impl Pipeline {
    /// Changes an object, its status or its scale by a patch. Apply makes an object that does not exist.
    pub async fn patch(
        &self,
        context: &RequestContext,
        target: &Target,
        kind: PatchType,
        body: Body,
        options: &WriteOptions,
    ) -> Answer<Written> {
        self.allowed(context, "patch", target)?;
        if kind == PatchType::Apply {
            return self.apply_patch(context, target, &body, options).await;
        }
        if options.force {
            return Err(invalid(
                "PatchOptions",
                "force",
                "FieldValueForbidden",
                "Forbidden: may not be specified for non-apply patch",
            ));
        }
        if kind == PatchType::StrategicMerge && is_custom(&target.def) {
            return Err(unsupported());
        }
        let document = PatchDocument::read(kind, &body)?;
        if target.subresource == Some(Subresource::Scale) {
            return self.patch_scale(context, target, &document, options).await;
        }
        let part = part(target.subresource)?;
        let def = &target.def;
        let validation = options.field_validation.unwrap_or_default();
        let edit = Edit { context, target, options, part };
        self.edit(&edit, |old| {
            let mut object = old.clone();
            codec::from_storage(def, &mut object);
            document.apply(def, &mut object)?;
            patched(target, object, old, validation)
        })
        .await
    }

    async fn apply_patch(
        &self,
        context: &RequestContext,
        target: &Target,
        body: &Body,
        options: &WriteOptions,
    ) -> Answer<Written> {
        if options.field_manager.is_empty() {
            return Err(invalid(
                "PatchOptions",
                "fieldManager",
                "FieldValueRequired",
                "Required value: is required for apply patch",
            ));
        }
        fields::check_manager(&options.field_manager)?;
        if target.subresource == Some(Subresource::Scale) {
            return self.apply_scale(context, target, body, options).await;
        }
        let def = &target.def;
        let validation = options.field_validation.unwrap_or_default();
        // Who may own a field that there is not? It is refused, whatever else is done with such fields.
        let mut decoded = codec::decode(def, MediaType::Yaml, &body.bytes, FieldValidation::Warn)?;
        let mut document = decoded.object;
        let unknown: Vec<String> =
            decoded.warnings.iter().filter_map(|warning| undeclared(warning)).collect();
        if !unknown.is_empty() {
            return Err(patch::apply::not_typed(def, &document, &unknown));
        }
        match validation {
            FieldValidation::Ignore => decoded.warnings.clear(),
            FieldValidation::Warn => {}
            // What is left to warn of is a duplicate, which is then an error.
            FieldValidation::Strict => drop(codec::decode(def, MediaType::Yaml, &body.bytes, validation)?),
        }
        metadata::named(target, &mut document)?;
        metadata::place(target, &mut document)?;
        let part = part(target.subresource)?;
        if self.inner.store.snapshot().get(&object::key(target)).is_none() {
            if part != Part::Main || !meta(&document, "uid").is_empty() {
                return Err(object::not_found(def, target.name.as_deref().unwrap_or_default()));
            }
            self.allowed(context, "create", target)?;
            let made = fields::apply(def, None, &document, context, options, None)?;
            let new = New { document: made, warnings: decoded.warnings.clone(), applied: true };
            return match self.create_document(context, target, new, options).await {
                // Someone else made it in the meantime: it is applied to that.
                Err(status) if status.is_already_exists() => {
                    self.apply_existing(context, target, part, &document, &decoded.warnings, options).await
                }
                other => other,
            };
        }
        self.apply_existing(context, target, part, &document, &decoded.warnings, options).await
    }

    pub(super) async fn apply_existing(
        &self,
        context: &RequestContext,
        target: &Target,
        part: Part,
        document: &Value,
        warnings: &[String],
        options: &WriteOptions,
    ) -> Answer<Written> {
        let def = &target.def;
        let edit = Edit { context, target, options, part };
        let expected = metadata::expected(document);
        self.edit(&edit, |old| {
            let mut live = old.clone();
            codec::from_storage(def, &mut live);
            let mut object = fields::apply(def, Some(&live), document, context, options, target.subresource)?;
            let mut warnings = warnings.to_vec();
            warnings.extend(codec::check(def, &mut object, FieldValidation::Ignore)?);
            codec::to_storage(def, &mut object);
            Ok(Draft { object, expected: expected.clone(), warnings, applied: true })
        })
        .await
    }
}

/// One of the three plain patches, read.
pub(super) enum PatchDocument {
    Json(Vec<PatchOperation>),
    Merge(Value),
    Strategic(Value),
}

impl PatchDocument {
    fn read(kind: PatchType, body: &Body) -> Answer<Self> {
        // Patches are JSON; YAML is taken where it is told so.
        let bytes = match body.media {
            MediaType::Json => body.bytes.clone(),
            MediaType::Yaml => encode::to_bytes(&object::decode_loose(body)?),
        };
        Ok(match kind {
            PatchType::Json => Self::Json(patch::json::decode(&bytes)?),
            PatchType::Merge => Self::Merge(patch::decode(&bytes)?),
            PatchType::StrategicMerge => Self::Strategic(patch::decode(&bytes)?),
            PatchType::Apply => return Err(Status::internal("an apply is no plain patch")),
        })
    }

    /// Changes an object of `def` as the patch says.
    pub(super) fn apply(&self, def: &ResourceDef, object: &mut Value) -> Answer<()> {
        match self {
            Self::Json(operations) => patch::json::apply(object, operations.clone()),
            Self::Merge(document) => patch::merge::apply(object, document.clone()),
            Self::Strategic(document) => patch::strategic::apply(&def.schema, object, document.clone()),
        }
    }
}

fn patched(target: &Target, mut object: Value, old: &Value, validation: FieldValidation) -> Answer<Draft> {
    let def = &target.def;
    if !object.is_object() {
        return Err(unprocessable());
    }
    let warnings = codec::check(def, &mut object, validation)?;
    metadata::named(target, &mut object)?;
    metadata::place(target, &mut object)?;
    // The old state's own version, still there, expects nothing.
    let mut expected = Expected::default();
    let version = meta(&object, "resourceVersion");
    if version != meta(old, "resourceVersion") {
        expected.resource_version = version.to_owned();
    }
    codec::to_storage(def, &mut object);
    Ok(Draft { object, expected, warnings, applied: false })
}

/// What apply says of an unknown field that decoding has warned of.
fn undeclared(warning: &str) -> Option<String> {
    let path = warning.strip_prefix("unknown field \"")?.strip_suffix('"')?;
    Some(format!(".{path}: field not declared in schema"))
}

/// Custom resources have no strategies to merge by.
fn is_custom(def: &ResourceDef) -> bool {
    def.custom.is_some()
}

/// A patch that cannot be applied, as the API has always said it.
fn unprocessable() -> Status {
    Status::failure(Reason::Invalid, "the server rejected our request due to an error in our request")
        .with_details(Details::default())
}

fn unsupported() -> Status {
    Status::failure(
        Reason::UnsupportedMediaType,
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    )
}
