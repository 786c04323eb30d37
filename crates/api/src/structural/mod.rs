//! What a custom resource is: the structural schema that its author wrote, and what follows from it.
//!
//! A CustomResourceDefinition becomes [`ResourceDef`]s ([`definition`]), one for each
//! version, each with a [`Custom`]. A document of such a resource is pruned ([`prune`]), filled in ([`default`]) and
//! checked ([`validate`]) by its [`Structural`] schema; for apply and OpenAPI the schema also becomes a type like those
//! of the built-in kinds ([`shape`]). What may be said in a schema at all is decided in [`check`]. Messages and field
//! paths are those of Kubernetes.

pub mod check;
pub mod column;
pub mod default;
pub mod definition;
mod format;
pub mod path;
mod paths;
pub mod prune;
pub mod scale;
mod schema;
mod shape;
#[cfg(test)]
mod tests;
pub mod validate;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

pub use column::PrinterColumn;
pub use format::go_duration;
pub use path::JsonPath;
pub use scale::Scale;
pub use schema::{ListType, Structural};

use crate::codec::{Decoded, FieldValidation, complaints, document_of};
use crate::registry::ResourceDef;
use crate::status::Status;

/// What a version of a custom resource has beside what every resource has.
#[derive(Debug)]
pub struct Custom {
    /// The schema.
    pub schema: Structural,
    /// Where the scale subresource finds its numbers.
    pub scale: Option<Scale>,
    /// What people see of an object, beside its name.
    pub columns: Vec<PrinterColumn>,
    /// What a user of this version is told, where it is on its way out.
    pub warning: Option<String>,
    /// Who converts objects from one version to another; where it is nobody, versions differ by their name only.
    pub conversion: Option<Arc<Conversion>>,
    /// The definition is being deleted: nothing new may come.
    pub terminating: bool,
    /// The revision of the definition: objects that are older may lack its defaults.
    pub revision: u64,
    /// What the server made of the schema's rules.
    pub compiled: Slot,
}

/// A webhook that converts objects (`spec.conversion.webhook`).
#[derive(Debug)]
pub struct Conversion {
    /// Where it is, as it was written.
    pub client_config: Value,
    /// The versions of ConversionReview that it understands, its favourite first.
    pub review_versions: Vec<String>,
}

/// Something that the server keeps with a schema, made when it is needed for the first time.
#[derive(Default)]
pub struct Slot(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Slot {
    /// What was made the first time.
    pub fn get_or_init(&self, make: impl FnOnce() -> Arc<dyn Any + Send + Sync>) -> &(dyn Any + Send + Sync) {
        &**self.0.get_or_init(make)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.0.get().is_some()).finish()
    }
}

/// Reads a document of a custom resource: unknown fields are dropped and told; types are checked by [`validate`].
pub(crate) fn decode(
    def: &ResourceDef,
    custom: &Custom,
    media: crate::codec::MediaType,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let (mut object, duplicates) = document_of(def, media, bytes)?;
    let version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    if version != def.api_version() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            def.api_version()
        )));
    }
    let cannot = |why: &str| {
        let kind = object_kind(&object);
        Status::bad_request(format!(
            "{kind} in version {} cannot be handled as a {}: {why}",
            crate::field::quote(&def.version),
            def.kind
        ))
    };
    let mut pruned = object.clone();
    let unknown = prune::document(&custom.schema, &mut pruned).map_err(|why| cannot(&why))?;
    let warnings = complaints(&duplicates, &unknown, validation)
        .map_err(|problems| cannot(&format!("strict decoding error: {problems}")))?;
    // Defaults come on the way to the store: what is applied owns only what it names.
    object = pruned;
    Ok(Decoded { object, warnings })
}

fn object_kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// Drops what the schema does not know from a patched document.
pub(crate) fn check_patched(
    custom: &Custom,
    object: &mut Value,
    validation: FieldValidation,
    refuse: impl Fn(String) -> Status,
) -> Result<Vec<String>, Status> {
    let unknown = prune::document(&custom.schema, object).map_err(&refuse)?;
    let warnings = complaints(&[], &unknown, validation)
        .map_err(|problems| refuse(format!("strict decoding error: {problems}")))?;
    Ok(warnings)
}

/// Makes a document of this version ready to be stored. A webhook that converts between versions is asked by who stores
/// it; without one they differ by their name only.
pub(crate) fn to_storage(def: &ResourceDef, custom: &Custom, object: &mut Value) {
    default::document(&custom.schema, object);
    prune::present_metadata(object);
    if !def.is_stored() && custom.conversion.is_none() {
        object["apiVersion"] = def.storage.to_string().into();
    }
}

/// Moves a stored document to this version, as the schema is now: one that a webhook has converted, or that none need.
pub(crate) fn from_storage(def: &ResourceDef, custom: &Custom, object: &mut Value) {
    // Also of the stored version: another one may have been that when the object was written.
    object["apiVersion"] = def.api_version().into();
    // What is stored was an object with metadata when it was written.
    let _ = prune::document(&custom.schema, object);
    default::document(&custom.schema, object);
}
