//! Documents as `application/vnd.kubernetes.protobuf` and back, by the schema tables: no generated types.
//!
//! On the wire an object is `k8s\0` and an envelope (`runtime.Unknown`) with its apiVersion and kind, and in it the
//! object's message. Go writes every field that is no pointer, zero or not, and in the order of numbers; map entries
//! are sorted by key. We write the same bytes. Typed Go clients send such bodies; custom resources have no protobuf.
//!
//! Read on: `message` for how fields get their numbers, `encode` and `decode` for each shape, `wire` for bytes.

mod decode;
mod encode;
mod message;
mod wire;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::schema::TypeRef;
use crate::status::Status;
use wire::{Reader, Writer};

/// What every body starts with.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// Messages in messages: as deep as our JSON may be.
const MAX_DEPTH: usize = 128;

/// Why a body is no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is something else.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// It ends in the midst of a field.
    #[error("unexpected EOF")]
    Truncated,
    /// A number has too many bytes.
    #[error("proto: integer overflow")]
    Varint,
    /// A field is not of the kind that its type says.
    #[error("proto: wrong wireType")]
    WireType,
    /// Text is no UTF-8.
    #[error("proto: invalid UTF-8 in a string")]
    Text(#[source] std::str::Utf8Error),
    /// Messages are nested too deep.
    #[error("proto: message nested too deep")]
    Depth,
    /// A moment that no calendar has.
    #[error("proto: time out of range")]
    Time,
    /// What should be JSON is not.
    #[error("proto: invalid JSON in a raw field")]
    Json,
    /// The content is compressed or otherwise encoded.
    #[error("unable to decode content encoding {0:?}")]
    ContentEncoding(String),
    /// The type has no protobuf.
    #[error("{0} has no protobuf encoding")]
    NoMessage(String),
}

impl From<DecodeError> for Status {
    fn from(error: DecodeError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// Why a document cannot be written as protobuf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A value is not of the shape that its type says.
    #[error("{field} is no {expected}")]
    Shape {
        /// The field.
        field: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The document is nested too deep.
    #[error("document nested too deep")]
    Depth,
    /// The type has no protobuf.
    #[error("{0} has no protobuf encoding")]
    NoMessage(String),
}

impl From<EncodeError> for Status {
    fn from(error: EncodeError) -> Self {
        Self::internal(error)
    }
}

/// The apiVersion and kind in an envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeMeta {
    /// As `apps/v1`.
    pub api_version: String,
    /// As `Deployment`.
    pub kind: String,
}

/// Writes `document`, of type `ty`, with its envelope.
pub fn encode(ty: &TypeRef, document: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::default();
    writer.bytes(4, b"");
    writer.bytes(3, b"");
    writer.field(2, |writer| encode::object(writer, ty, document, 0))?;
    write_type_meta(&mut writer, document);
    writer.prepend(MAGIC);
    Ok(writer.finish())
}

/// Writes the message of `document`, of type `ty`, without an envelope: an item of a list, say.
pub fn encode_message(ty: &TypeRef, document: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::default();
    encode::object(&mut writer, ty, document, 0)?;
    Ok(writer.finish())
}

/// Puts an envelope around a message.
pub fn envelope(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.bytes(4, b"");
    writer.bytes(3, b"");
    writer.bytes(2, message);
    let meta = serde_json::json!({"apiVersion": api_version, "kind": kind});
    write_type_meta(&mut writer, &meta);
    writer.prepend(MAGIC);
    writer.finish()
}

/// One frame of a watch: the length in four bytes, then an event (`metav1.WatchEvent`, without an envelope) of a type,
/// as `ADDED`, with an object in its envelope.
pub fn watch_frame(event_type: &str, object: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    let raw = |writer: &mut Writer| {
        writer.bytes(1, object);
        Ok::<(), std::convert::Infallible>(())
    };
    let Ok(()) = writer.field(2, raw);
    writer.bytes(1, event_type.as_bytes());
    let event = writer.finish();
    let length = u32::try_from(event.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), &event[..]].concat()
}

fn write_type_meta(writer: &mut Writer, document: &Value) {
    let text = |key: &str| document[key].as_str().unwrap_or_default().as_bytes();
    let written: Result<(), std::convert::Infallible> = writer.field(1, |writer| {
        writer.bytes(2, text("kind"));
        writer.bytes(1, text("apiVersion"));
        Ok(())
    });
    let Ok(()) = written;
}

/// Reads an object of type `ty`, with its apiVersion and kind where the envelope has them.
pub fn decode(ty: &TypeRef, body: &[u8]) -> Result<Value, DecodeError> {
    let (meta, message) = open(body)?;
    let mut document = Map::new();
    for (key, value) in [("apiVersion", meta.api_version), ("kind", meta.kind)] {
        if !value.is_empty() {
            document.insert(key.to_owned(), value.into());
        }
    }
    decode::object(ty, message, 0, &mut document)?;
    Ok(Value::Object(document))
}

/// Reads a message of type `ty` that has no envelope.
pub fn decode_message(ty: &TypeRef, message: &[u8]) -> Result<Value, DecodeError> {
    let mut document = Map::new();
    decode::object(ty, message, 0, &mut document)?;
    Ok(Value::Object(document))
}

/// Opens an envelope: what is in it, and its message.
pub fn open(body: &[u8]) -> Result<(TypeMeta, &[u8]), DecodeError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(DecodeError::Magic)?;
    let (mut meta, mut message) = (TypeMeta::default(), &[][..]);
    let mut fields = Reader::new(envelope);
    while let Some((number, payload)) = fields.next()? {
        match number {
            1 => {
                let mut fields = Reader::new(payload.bytes()?);
                while let Some((number, payload)) = fields.next()? {
                    match number {
                        1 => meta.api_version = payload.text()?.to_owned(),
                        2 => meta.kind = payload.text()?.to_owned(),
                        _ => {}
                    }
                }
            }
            2 => message = payload.bytes()?,
            3 if !payload.bytes()?.is_empty() => {
                return Err(DecodeError::ContentEncoding(payload.text()?.to_owned()));
            }
            _ => {}
        }
    }
    Ok((meta, message))
}
