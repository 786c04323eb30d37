//! Bytes become a document in the version of the request, and a document moves to the version that is stored and back.
//!
//! [`decode`] reads, reports unknown and duplicate fields, refuses wrong types and prunes; [`to_storage`] converts and
//! fills in defaults; [`from_storage`] converts back. All messages are those of Kubernetes.

mod check;
mod present;
mod read;
mod syntax;
#[cfg(test)]
mod tests;
mod versions;

use serde_json::Value;

use crate::field::{FieldError, invalid_kind, quote};
use crate::gvk::GroupVersion;
use crate::kinds;
use crate::registry::{ResourceDef, registry};
use crate::schema::{TypeDef, TypeRef, table};
use crate::status::Status;
use crate::structural;

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

/// What a document should be.
struct Expected<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    schema: &'a TypeDef,
}

/// Reads a document of `def` from `bytes`.
pub fn decode(
    def: &ResourceDef,
    media: MediaType,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    if let Some(custom) = &def.custom {
        return structural::decode(def, custom, media, bytes, validation);
    }
    read_as(&expected(def), media, bytes, validation)
}

fn expected(def: &ResourceDef) -> Expected<'_> {
    Expected { group: &def.group, version: &def.version, kind: &def.kind, schema: &def.schema }
}

/// Reads a document of a custom resource as it is, with the paths of fields that occur twice.
pub(crate) fn document_of(
    def: &ResourceDef,
    media: MediaType,
    bytes: &[u8],
) -> Result<(Value, Vec<String>), Status> {
    let expected = expected(def);
    let document =
        read::read(media, bytes).map_err(|error| unrecognized(&expected, &error.to_string(), bytes))?;
    let mut object = document.value;
    identify(&expected, &mut object).map_err(|why| unrecognized(&expected, &why, bytes))?;
    if object.is_null() {
        object = Value::Object(Default::default());
        identify(&expected, &mut object).map_err(|why| unrecognized(&expected, &why, bytes))?;
    }
    Ok((object, document.duplicates))
}

/// Checks a part of a document against a built-in type; tells the paths of what was dropped.
pub(crate) fn check_part(schema: &TypeDef, part: &mut Value) -> Result<Vec<String>, String> {
    let findings = check::check(schema, part);
    match findings.error {
        Some(error) => Err(error),
        None => Ok(findings.unknown),
    }
}

/// Brings a part of a document into the form in which Go writes it.
pub(crate) fn present_part(schema: &TypeDef, part: &mut Value) {
    present_as(schema, part);
}

/// Reads a document of a kind that is no resource: `DeleteOptions`, `Scale`, `Eviction`, `Binding`.
pub fn decode_kind(
    schema: &TypeRef,
    group_version: &GroupVersion,
    media: MediaType,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let GroupVersion { group, version } = group_version;
    read_as(&Expected { group, version, kind: &schema.name, schema }, media, bytes, validation)
}

fn read_as(
    expected: &Expected<'_>,
    media: MediaType,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let document =
        read::read(media, bytes).map_err(|error| unrecognized(expected, &error.to_string(), bytes))?;
    let mut object = document.value;
    let (version, kind) =
        identify(expected, &mut object).map_err(|why| unrecognized(expected, &why, bytes))?;
    let cannot = |why: &str| {
        let version = GroupVersion::parse(&version).version;
        Status::bad_request(format!(
            "{kind} in version {} cannot be handled as a {}: {why}",
            quote(&version),
            expected.kind
        ))
    };
    let expected_version =
        GroupVersion { group: expected.group.to_owned(), version: expected.version.to_owned() }.to_string();
    if kind != expected.kind || version != expected_version {
        return Err(mismatch(expected, &version, &kind, &expected_version, cannot));
    }
    let findings = check::check(expected.schema, &mut object);
    if let Some(error) = findings.error {
        return Err(cannot(&error));
    }
    let warnings = complaints(&document.duplicates, &findings.unknown, validation)
        .map_err(|problems| cannot(&format!("strict decoding error: {problems}")))?;
    Ok(Decoded { object, warnings })
}

/// The `apiVersion` and `kind` of a document; those that it lacks are taken from the request.
fn identify(expected: &Expected<'_>, object: &mut Value) -> Result<(String, String), String> {
    let Value::Object(fields) = object else {
        let what = match object {
            Value::Null => return Ok((expected.version.to_owned(), expected.kind.to_owned())),
            Value::Array(_) => "array",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) | Value::Object(_) => "string",
        };
        return Err(format!(
            "json: cannot unmarshal {what} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        ));
    };
    let expected_version =
        GroupVersion { group: expected.group.to_owned(), version: expected.version.to_owned() }.to_string();
    let read = |name: &str, absent: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(absent.to_owned()),
        Some(Value::String(text)) if text.is_empty() => Ok(absent.to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => {
            let what = match other {
                Value::Number(_) => "number",
                Value::Bool(_) => "bool",
                Value::Array(_) => "array",
                _ => "object",
            };
            Err(format!("json: cannot unmarshal {what} into Go struct field .{name} of type string"))
        }
    };
    let version = read("apiVersion", &expected_version)?;
    let kind = read("kind", expected.kind)?;
    // The two come first in everything that is written.
    let rest = std::mem::take(fields);
    fields.insert("kind".to_owned(), Value::String(kind.clone()));
    fields.insert("apiVersion".to_owned(), Value::String(version.clone()));
    fields.extend(rest.into_iter().filter(|(name, _)| name != "kind" && name != "apiVersion"));
    Ok((version, kind))
}

fn unrecognized(expected: &Expected<'_>, why: &str, bytes: &[u8]) -> Status {
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {why} ({})",
        expected.kind,
        summary(bytes)
    ))
}

/// The beginning of a body: as it is where it could be an object, in hexadecimal where not.
fn summary(bytes: &[u8]) -> String {
    const MOST: usize = 30;
    let Some(first) = bytes.first() else { return "<empty>".to_owned() };
    let shown = &bytes[..bytes.len().min(MOST)];
    let mut text = match first {
        b'{' => String::from_utf8_lossy(shown).into_owned(),
        _ => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if bytes.len() > MOST {
        text.push_str(" ...");
    }
    text
}

/// Why a document of another kind or version is refused.
fn mismatch(
    expected: &Expected<'_>,
    version: &str,
    kind: &str,
    expected_version: &str,
    cannot: impl Fn(&str) -> Status,
) -> Status {
    let given = GroupVersion::parse(version);
    let is_known = table::builtin().types().iter().any(|def| {
        def.name == kind
            && def
                .kind
                .as_ref()
                .is_some_and(|(group, version)| *group == given.group && *version == given.version)
    });
    if !is_known {
        return cannot(&format!(
            "no kind {} is registered for version {} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
            quote(kind),
            quote(version)
        ));
    }
    let storage = |group: &str, version: &str, kind: &str| {
        registry().kind(group, version, kind).map(|def| (def.bucket.clone(), def.kind.clone()))
    };
    let own = storage(expected.group, expected.version, expected.kind);
    if kind == expected.kind && own.is_some() && own == storage(&given.group, &given.version, kind) {
        return Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected_version})"
        ));
    }
    let internal = match expected.group {
        "" => "core",
        group => group.split('.').next().unwrap_or(group),
    };
    cannot(&format!(
        "converting ({}.{kind}) to ({internal}.{}): unknown conversion",
        given.version, expected.kind
    ))
}

/// What is said of unknown and duplicate fields: warnings, or the text of the refusal.
pub(crate) fn complaints(
    duplicates: &[String],
    unknown: &[String],
    validation: FieldValidation,
) -> Result<Vec<String>, String> {
    /// So many fields at most are told.
    const MOST: usize = 100;
    if validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    let duplicates = duplicates.iter().map(|path| format!("duplicate field {}", quote(path)));
    let unknown = unknown.iter().map(|path| format!("unknown field {}", quote(path)));
    let all: Vec<String> = duplicates.chain(unknown).take(MOST).collect();
    match validation {
        FieldValidation::Strict if !all.is_empty() => Err(all.join(", ")),
        FieldValidation::Ignore | FieldValidation::Warn | FieldValidation::Strict => Ok(all),
    }
}

/// Checks a patched document against the schema: drops unknown fields, refuses wrong types.
pub fn check(
    def: &ResourceDef,
    object: &mut Value,
    validation: FieldValidation,
) -> Result<Vec<String>, Status> {
    let before = object.to_string();
    let refuse = |why: String| invalid_kind("", "", "", &[FieldError::invalid("patch", before.clone(), why)]);
    if let Some(custom) = &def.custom {
        return structural::check_patched(custom, object, validation, refuse);
    }
    let findings = check::check(&def.schema, object);
    if let Some(error) = findings.error {
        return Err(refuse(error));
    }
    complaints(&[], &findings.unknown, validation)
        .map_err(|problems| refuse(format!("strict decoding error: {problems}")))
}

/// Moves a document from the version of `def` to the version that is stored, and fills in defaults.
pub fn to_storage(def: &ResourceDef, object: &mut Value) {
    if let Some(custom) = &def.custom {
        structural::to_storage(def, custom, object);
        return;
    }
    if !def.is_stored() {
        present_as(&def.schema, object);
        versions::to_storage(def, object);
        object["apiVersion"] = def.storage.to_string().into();
    }
    let schema = stored_schema(def);
    present_as(&schema, object);
    kinds::default(&def.storage.group, &def.kind, object);
    present_as(&schema, object);
}

/// Moves a document from the version that is stored to the version of `def`.
pub fn from_storage(def: &ResourceDef, object: &mut Value) {
    if let Some(custom) = &def.custom {
        structural::from_storage(def, custom, object);
        return;
    }
    if !def.is_stored() {
        versions::from_storage(def, object);
        object["apiVersion"] = def.api_version().into();
        present_as(&def.schema, object);
    }
}

/// Brings a stored document into the form in which Go would write it: absent or empty values that are left out, and
/// values that are always there. Cheap, and safe to repeat.
pub fn present(def: &ResourceDef, object: &mut Value) {
    if def.custom.is_some() {
        structural::prune::present_metadata(object);
        return;
    }
    present_as(&stored_schema(def), object);
}

fn present_as(schema: &TypeDef, object: &mut Value) {
    if let Value::Object(fields) = object {
        present::object(schema, fields);
    }
}

/// The schema of the version in which objects of `def` are stored.
fn stored_schema(def: &ResourceDef) -> TypeRef {
    if def.is_stored() {
        return def.schema.clone();
    }
    let stored = registry().kind(&def.storage.group, &def.storage.version, &def.kind);
    stored.map_or_else(|| def.schema.clone(), |stored| stored.schema.clone())
}
