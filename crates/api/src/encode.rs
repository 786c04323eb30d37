//! An object is encoded once: compact JSON with a hole where the store writes the resourceVersion.
//!
//! The bytes always begin with `{"kind":"…","apiVersion":"…","metadata":{`, so that a list can leave the two out of
//! its items by slicing (see [`split_type`]), and an older version can be served by another beginning.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;

/// An encoded object, without its resourceVersion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Ends with `"resourceVersion":"`.
    pub head: Bytes,
    /// Begins with `"`.
    pub tail: Bytes,
}

impl Template {
    /// The object as of `revision`.
    pub fn at(&self, revision: u64) -> Bytes {
        let mut digits = [0_u8; 20];
        let mut start = digits.len();
        let mut rest = revision;
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let mut bytes = BytesMut::with_capacity(self.head.len() + digits.len() - start + self.tail.len());
        bytes.put_slice(&self.head);
        bytes.put_slice(&digits[start..]);
        bytes.put_slice(&self.tail);
        bytes.freeze()
    }
}

/// Encodes `object`; a resourceVersion that it has is left out.
pub fn template(object: &Value) -> Template {
    let mut head = BytesMut::with_capacity(1024);
    head.put_u8(b'{');
    for name in ["kind", "apiVersion"] {
        put(&mut head, name, &object[name]);
        head.put_u8(b',');
    }
    head.put_slice(b"\"metadata\":{");
    if let Some(metadata) = object["metadata"].as_object() {
        for (name, value) in metadata.iter().filter(|(name, _)| *name != "resourceVersion") {
            put(&mut head, name, value);
            head.put_u8(b',');
        }
    }
    head.put_slice(b"\"resourceVersion\":\"");
    let mut tail = BytesMut::with_capacity(1024);
    tail.put_slice(b"\"}");
    let rest = object.as_object().into_iter().flatten();
    for (name, value) in rest.filter(|(name, _)| !matches!(name.as_str(), "kind" | "apiVersion" | "metadata"))
    {
        tail.put_u8(b',');
        put(&mut tail, name, value);
    }
    tail.put_u8(b'}');
    Template { head: head.freeze(), tail: tail.freeze() }
}

/// Compact JSON bytes in the canonical order, with the resourceVersion that the object has (or none).
pub fn to_bytes(object: &Value) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1024);
    bytes.put_u8(b'{');
    let mut first = true;
    let leading = ["kind", "apiVersion", "metadata"];
    let known = leading.iter().filter_map(|name| object.get(name).map(|value| (*name, value)));
    let rest = object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value));
    for (name, value) in known.chain(rest.filter(|(name, _)| !leading.contains(name))) {
        if !std::mem::take(&mut first) {
            bytes.put_u8(b',');
        }
        put(&mut bytes, name, value);
    }
    bytes.put_u8(b'}');
    bytes.freeze()
}

/// Where `"metadata"` begins in the bytes of a stored object: what stands before is `{"kind":…,"apiVersion":…,`.
pub fn split_type(bytes: &[u8]) -> Option<usize> {
    const KIND: &[u8] = b"{\"kind\":\"";
    const VERSION: &[u8] = b"\",\"apiVersion\":\"";
    let kind = bytes.strip_prefix(KIND)?.iter().position(|byte| *byte == b'"')? + KIND.len();
    let rest = bytes[kind..].strip_prefix(VERSION)?;
    let version = rest.iter().position(|byte| *byte == b'"')?;
    let place = kind + VERSION.len() + version + 2;
    bytes.get(place..)?.starts_with(b"\"metadata\":").then_some(place)
}

fn put(bytes: &mut BytesMut, name: &str, value: &Value) {
    let mut writer = bytes.writer();
    // Writing to memory cannot fail, and a Value has no keys that are not text.
    let _ = serde_json::to_writer(&mut writer, name);
    writer.get_mut().put_u8(b':');
    let _ = serde_json::to_writer(&mut writer, value);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_revision_is_written_into_the_hole() {
        let object = json!({"apiVersion": "v1", "metadata": {"resourceVersion": "7", "name": "a"},
            "kind": "Secret", "data": {"k": "dg=="}});
        let bytes = template(&object).at(4096);
        assert_eq!(
            std::str::from_utf8(&bytes).expect("text"),
            r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"4096"},"data":{"k":"dg=="}}"#
        );
        let place = split_type(&bytes).expect("a canonical object");
        assert!(bytes[place..].starts_with(b"\"metadata\":{\"name\""));
        assert_eq!(template(&object).at(0), template(&object).at(0));
    }

    #[test]
    fn an_object_without_metadata_is_encoded_too() {
        let bytes = template(&json!({"kind": "A", "apiVersion": "b/v1"})).at(1);
        assert_eq!(&*bytes, br#"{"kind":"A","apiVersion":"b/v1","metadata":{"resourceVersion":"1"}}"#);
        assert_eq!(&*to_bytes(&json!({"x": 1, "kind": "A"})), br#"{"kind":"A","x":1}"#);
        assert_eq!(split_type(b"{\"x\":1}"), None);
    }
}
