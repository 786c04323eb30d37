//! The four ways to change an object by telling the change: JSON patch, merge patch, strategic merge patch, and apply.
//!
//! All of them change a document (`serde_json::Value`) and know nothing of storage. When one fails, the document may
//! be half changed: drop it. Errors are the Status that the client gets.

pub mod apply;
pub mod json;
pub mod merge;
mod order;
pub mod strategic;

use serde_json::Value;

use crate::status::{Details, Reason, Status};

/// Reads the body of a merge patch or a strategic merge patch: a JSON object.
pub fn decode(body: &[u8]) -> Result<Value, Status> {
    let patch: Value = serde_json::from_slice(body)
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    expect_object(&patch)?;
    Ok(patch)
}

fn expect_object(patch: &Value) -> Result<(), Status> {
    if patch.is_object() { Ok(()) } else { Err(mistyped(patch, "map[string]interface {}")) }
}

/// A patch of the wrong shape, in the words of the Go decoder.
fn mistyped(patch: &Value, wanted: &str) -> Status {
    let found = match patch {
        Value::Object(_) => "object",
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
    };
    Status::bad_request(format!(
        "error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}"
    ))
}

/// The patch is understood and does not fit the document. Kubernetes keeps the reason to itself.
fn rejected() -> Status {
    Status::failure(Reason::Invalid, "the server rejected our request due to an error in our request")
        .with_details(Details::default())
}
