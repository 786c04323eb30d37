//! Who owns which field: keeps `managedFields` up to date on every write, and merges what is applied.

use api::patch::apply::{self, Writer};
use api::registry::ResourceDef;
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

/// Notes who made the object, a document in its storage version.
pub(super) fn track_create(
    storage: &ResourceDef,
    object: &mut Value,
    context: &RequestContext,
    options: &WriteOptions,
) {
    apply::track_update(&writer(storage, context, options, None), None, object);
}

/// Notes who changed what; both documents are in their storage version.
pub(super) fn track_update(
    storage: &ResourceDef,
    new: &mut Value,
    old: &Value,
    context: &RequestContext,
    options: &WriteOptions,
    subresource: Option<Subresource>,
) {
    apply::track_update(&writer(storage, context, options, subresource), Some(old), new);
}

/// The object that an applied document makes of the one there is, if there is one; all in the version of `def`.
pub(super) fn apply(
    def: &ResourceDef,
    live: Option<&Value>,
    document: &Value,
    context: &RequestContext,
    options: &WriteOptions,
    subresource: Option<Subresource>,
) -> Answer<Value> {
    apply::apply(&writer(def, context, options, subresource), live, document, options.force)
}

fn writer<'a>(
    def: &'a ResourceDef,
    context: &'a RequestContext,
    options: &'a WriteOptions,
    subresource: Option<Subresource>,
) -> Writer<'a> {
    let manager = match options.field_manager.as_str() {
        "" => context.user_agent.split('/').next().unwrap_or_default(),
        named => named,
    };
    Writer { def, manager, subresource: subresource.map_or("", Subresource::as_str), now: context.now }
}

/// Whether two lists of managed fields say the same, their times aside.
pub(super) fn same(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_array(), old.as_array()) else { return new == old };
    new.len() == old.len()
        && new.iter().zip(old).all(|(new, old)| {
            ["manager", "operation", "apiVersion", "fieldsType", "fieldsV1", "subresource"]
                .iter()
                .all(|field| new.get(field) == old.get(field))
        })
}
