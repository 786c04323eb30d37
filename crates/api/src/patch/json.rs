//! JSON patch (RFC 6902): a list of operations, each at a path.
//!
//! Beyond the standard, as Kubernetes has it: an index may count from the end (`/spec/containers/-1`), and a test for
//! null passes where there is nothing.

use json_patch::PatchOperation;
use json_patch::jsonptr::{Pointer, PointerBuf, Token};
use serde_json::Value;

use crate::status::{Reason, Status};

/// So many operations are taken at once, no more.
const MAX_OPERATIONS: usize = 10_000;

/// So many bytes may copies add, or a short patch could grow a document without end.
const MAX_COPIED: usize = 3 << 20;

/// So deep may a patch nest a document: as deep as a document that is read.
const MAX_DEPTH: usize = 128;

/// Reads the body of a JSON patch. An operation that is none is found out by whoever would do it: it cannot be done.
pub fn decode(body: &[u8]) -> Result<Vec<PatchOperation>, Status> {
    let patch: Value = serde_json::from_slice(body)
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    let operations = match patch {
        Value::Array(operations) => operations,
        Value::Null => Vec::new(),
        other => return Err(super::mistyped(&other, "[]interface {}")),
    };
    if operations.len() > MAX_OPERATIONS {
        let message = format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(Status::failure(Reason::RequestEntityTooLarge, message));
    }
    if let Some(other) = operations.iter().find(|operation| !operation.is_object()) {
        return Err(super::mistyped(other, "jsonpatch.Operation"));
    }
    operations
        .into_iter()
        .map(|operation| serde_json::from_value(operation).map_err(|_| super::rejected()))
        .collect()
}

/// Applies `operations` in order. When one of them cannot be done, the Status does not say which: nor does that of
/// Kubernetes.
pub fn apply(document: &mut Value, operations: Vec<PatchOperation>) -> Result<(), Status> {
    let mut copied = 0;
    for mut operation in operations {
        if let PatchOperation::Test(test) = &operation
            && test.value.is_null()
            && test.path.resolve(document).is_err()
        {
            continue;
        }
        for path in paths(&mut operation) {
            count_from_end(document, path);
        }
        check_growth(document, &operation, &mut copied)?;
        json_patch::patch_unsafe(document, std::slice::from_ref(&operation))
            .map_err(|_| super::rejected())?;
    }
    Ok(())
}

/// Refuses what makes a document too deep or, by copies, too large.
fn check_growth(document: &Value, operation: &PatchOperation, copied: &mut usize) -> Result<(), Status> {
    let (path, added) = match operation {
        PatchOperation::Add(add) => (&add.path, Some(&add.value)),
        PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value)),
        PatchOperation::Move(mv) => (&mv.path, mv.from.resolve(document).ok()),
        PatchOperation::Copy(copy) => {
            let source = copy.from.resolve(document).ok();
            *copied += source.map_or(0, size);
            (&copy.path, source)
        }
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    if *copied > MAX_COPIED || path.count() + added.map_or(0, depth) > MAX_DEPTH {
        return Err(super::rejected());
    }
    Ok(())
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(depth).max().unwrap_or_default() + 1,
        Value::Object(fields) => fields.values().map(depth).max().unwrap_or_default() + 1,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

/// About how long a value is as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| key.len() + size(value) + 4).sum::<usize>() + 2
        }
    }
}

fn paths(operation: &mut PatchOperation) -> Vec<&mut PointerBuf> {
    match operation {
        PatchOperation::Add(add) => vec![&mut add.path],
        PatchOperation::Remove(remove) => vec![&mut remove.path],
        PatchOperation::Replace(replace) => vec![&mut replace.path],
        PatchOperation::Move(mv) => vec![&mut mv.from, &mut mv.path],
        PatchOperation::Copy(copy) => vec![&mut copy.from, &mut copy.path],
        PatchOperation::Test(test) => vec![&mut test.path],
    }
}

/// Turns a last `-1` into the index of the last element, and so on.
fn count_from_end(document: &Value, path: &mut PointerBuf) {
    let pointer: &Pointer = path;
    let Some((parent, last)) = pointer.split_back() else { return };
    let back = last.decoded().strip_prefix('-').and_then(|digits| digits.parse::<usize>().ok());
    let Some(back) = back.filter(|back| *back > 0) else { return };
    let Ok(Value::Array(items)) = parent.resolve(document) else { return };
    if let Some(index) = items.len().checked_sub(back) {
        *path = parent.with_trailing_token(Token::from(index));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn patched(document: Value, patch: Value) -> Result<Value, Status> {
        let mut document = document;
        apply(&mut document, decode(patch.to_string().as_bytes())?)?;
        Ok(document)
    }

    #[test]
    fn operations_change_the_document_in_order() {
        for (document, patch, expected) in [
            (json!({"a": {}}), json!([{"op": "add", "path": "/a/b", "value": 1}]), json!({"a": {"b": 1}})),
            (
                json!({"a": [1, 3]}),
                json!([{"op": "add", "path": "/a/1", "value": 2}]),
                json!({"a": [1, 2, 3]}),
            ),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), json!({"a": [1, 2]})),
            (json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/-1"}]), json!({"a": [1]})),
            (json!({"a": 1}), json!([{"op": "replace", "path": "/a", "value": 2}]), json!({"a": 2})),
            (json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), json!({"b": 1})),
            (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": 1, "b": 1})),
            (json!({"a/b": 1}), json!([{"op": "test", "path": "/a~1b", "value": 1}]), json!({"a/b": 1})),
            (json!({}), json!([{"op": "test", "path": "/a/b", "value": null}]), json!({})),
        ] {
            assert_eq!(patched(document, patch.clone()).expect("it applies"), expected, "{patch}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_rejected_as_in_kubernetes() {
        for operation in [
            json!({"op": "test", "path": "/data/z", "value": "2"}),
            json!({"op": "remove", "path": "/data/none"}),
            json!({"op": "replace", "path": "/data/none", "value": 1}),
            json!({"op": "add", "path": "/none/a", "value": 1}),
            json!({"op": "remove", "path": "/list/-3"}),
        ] {
            let document = json!({"data": {"z": "1"}, "list": [1, 2]});
            let status = patched(document, json!([operation])).expect_err("it is rejected");
            assert_eq!(
                serde_json::to_value(&status).expect("a status encodes"),
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid",
                    "message": "the server rejected our request due to an error in our request", "details": {},
                    "code": 422})
            );
        }
    }

    #[test]
    fn copies_do_not_grow_a_document_without_end() {
        for growing in [
            json!({"op": "copy", "from": "/list", "path": "/list/-"}),
            json!({"op": "copy", "from": "/a", "path": "/a/x"}),
        ] {
            let patch = Value::from(vec![growing; 200]);
            let document = json!({"a": {"b": "c"}, "list": ["a"]});
            assert_eq!(patched(document, patch).expect_err("too much").code, 422);
        }
        let deeper: Value =
            (0..200).map(|i| json!({"op": "add", "path": "/a".repeat(i), "value": {}})).collect();
        assert_eq!(patched(json!({}), deeper).expect_err("too deep").code, 422);
    }

    #[test]
    fn a_patch_that_is_none_is_a_bad_request_and_an_operation_that_is_none_cannot_be_done() {
        let rejected = "the server rejected our request due to an error in our request";
        for (body, code, message) in [
            (
                "{}",
                400,
                "error decoding patch: json: cannot unmarshal object into Go value of type []interface {}",
            ),
            (
                "[1]",
                400,
                "error decoding patch: json: cannot unmarshal number into Go value of type jsonpatch.Operation",
            ),
            ("[", 400, "error decoding patch: EOF while parsing a list at line 1 column 1"),
            (r#"[{"op":"jump","path":"/a"}]"#, 422, rejected),
            (r#"[{"op":"add","path":"a","value":1}]"#, 422, rejected),
        ] {
            let status = decode(body.as_bytes()).expect_err(body);
            assert_eq!((status.code, status.message.as_str()), (code, message), "{body}");
        }
        let many = vec![json!({"op": "remove", "path": "/a"}); MAX_OPERATIONS + 1];
        assert_eq!(decode(json!(many).to_string().as_bytes()).expect_err("too many").code, 413);
    }
}
