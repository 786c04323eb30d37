//! Protobuf as each shape.
//!
//! The bytes come from anyone: lengths and depth are checked, unknown fields are skipped, and nothing panics. What Go
//! writes for every object, zeros of fields that JSON leaves out, is left out here as well.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::message::{Message, Slot};
use super::wire::{Payload, Reader};
use super::{DecodeError, MAGIC, MAX_DEPTH};
use crate::gvk::GroupVersion;
use crate::schema::{self, Field, Presence, Shape, TypeRef};
use crate::time::{MicroTime, Time};

/// The schema that a schema may hold in its place for several.
pub(super) fn schema_type() -> Option<TypeRef> {
    schema::builtin("apiextensions.v1.JSONSchemaProps")
}

/// Reads the fields of a message of type `ty` into `document`.
pub(super) fn object(
    ty: &TypeRef,
    bytes: &[u8],
    depth: usize,
    document: &mut Map<String, Value>,
) -> Result<(), DecodeError> {
    let message = Message::of(ty).ok_or_else(|| DecodeError::NoMessage(ty.full_name()))?;
    slots(message, bytes, depth, document)
}

fn slots(
    message: &Message,
    bytes: &[u8],
    depth: usize,
    document: &mut Map<String, Value>,
) -> Result<(), DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::Depth);
    }
    let mut fields = Reader::new(bytes);
    while let Some((number, payload)) = fields.next()? {
        match message.slot(number) {
            Some(Slot::Field(definition)) => field(definition, payload, depth, document)?,
            Some(Slot::Inline(inline)) => slots(inline, payload.bytes()?, depth + 1, document)?,
            None => {}
        }
    }
    Ok(())
}

fn field(
    definition: &Field,
    payload: Payload<'_>,
    depth: usize,
    document: &mut Map<String, Value>,
) -> Result<(), DecodeError> {
    let name = &*definition.name;
    match &definition.shape {
        Shape::List { item, .. } => {
            let list = document.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(items) = list {
                items_of(item, payload, depth, items)?;
            }
        }
        Shape::Map { value: shape, .. } => {
            let (key, value) = entry(shape, payload.bytes()?, depth)?;
            let map = document.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(entries) = map {
                entries.insert(key, value);
            }
        }
        shape => {
            let value = single(shape, payload, depth)?;
            let is_left_out = match definition.presence {
                Presence::Optional => value.is_null(),
                Presence::OmitZero => is_zero(&value),
                // A time that is none is told as null, and so is a raw value.
                Presence::Always => value.is_null() && !matches!(shape, Shape::Time | Shape::MicroTime),
            };
            if is_left_out {
                document.shift_remove(name);
            } else {
                document.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Array(_) => false,
    }
}

/// One element of a list, or many numbers in one (a packed list).
fn items_of(
    shape: &Shape,
    payload: Payload<'_>,
    depth: usize,
    items: &mut Vec<Value>,
) -> Result<(), DecodeError> {
    if let (Shape::Int32 | Shape::Int64 | Shape::Bool, Payload::Bytes(packed)) = (shape, payload) {
        let mut numbers = Reader::new(packed);
        while let Some(number) = numbers.next_packed()? {
            items.push(single(shape, Payload::Varint(number), depth)?);
        }
        return Ok(());
    }
    items.push(single(shape, payload, depth)?);
    Ok(())
}

fn entry(shape: &Shape, bytes: &[u8], depth: usize) -> Result<(String, Value), DecodeError> {
    let (mut key, mut value) = (String::new(), None);
    let mut fields = Reader::new(bytes);
    while let Some((number, payload)) = fields.next()? {
        match number {
            1 => key = payload.text()?.to_owned(),
            2 => value = Some(single(shape, payload, depth)?),
            _ => {}
        }
    }
    let value = match value {
        Some(value) => value,
        // An entry without value has the zero value.
        None if matches!(shape, Shape::Int32 | Shape::Int64 | Shape::Bool) => {
            single(shape, Payload::Varint(0), depth)?
        }
        None if *shape == Shape::Double => single(shape, Payload::Fixed64([0; 8]), depth)?,
        None => single(shape, Payload::Bytes(&[]), depth)?,
    };
    Ok((key, value))
}

fn single(shape: &Shape, payload: Payload<'_>, depth: usize) -> Result<Value, DecodeError> {
    Ok(match shape {
        Shape::Object(ty) => {
            let mut fields = Map::new();
            object(ty, payload.bytes()?, depth + 1, &mut fields)?;
            Value::Object(fields)
        }
        // A list as a value is a message with its elements at 1.
        Shape::List { item, .. } => {
            if depth >= MAX_DEPTH {
                return Err(DecodeError::Depth);
            }
            let mut items = Vec::new();
            let mut fields = Reader::new(payload.bytes()?);
            while let Some((number, payload)) = fields.next()? {
                if number == 1 {
                    items_of(item, payload, depth + 1, &mut items)?;
                }
            }
            Value::Array(items)
        }
        Shape::Map { .. } => return Err(DecodeError::WireType),
        Shape::String => payload.text()?.into(),
        Shape::Bytes => BASE64_STANDARD.encode(payload.bytes()?).into(),
        Shape::Int32 => (payload.varint()? as i32).into(),
        Shape::Int64 => (payload.varint()? as i64).into(),
        Shape::Bool => (payload.varint()? != 0).into(),
        Shape::Double => match payload {
            Payload::Fixed64(bytes) => {
                Number::from_f64(f64::from_le_bytes(bytes)).map_or(Value::Null, Value::Number)
            }
            _ => return Err(DecodeError::WireType),
        },
        Shape::Quantity => {
            let mut text = "";
            let mut fields = Reader::new(payload.bytes()?);
            while let Some((number, payload)) = fields.next()? {
                if number == 1 {
                    text = payload.text()?;
                }
            }
            if text.is_empty() { "0".into() } else { text.into() }
        }
        Shape::IntOrString => int_or_string(payload.bytes()?)?,
        Shape::Time | Shape::MicroTime => time(shape, payload.bytes()?)?,
        Shape::RawExtension | Shape::FieldsV1 | Shape::Any => raw(payload.bytes()?, depth)?,
        Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => {
            schema_or(shape, payload.bytes()?, depth + 1)?
        }
    })
}

fn int_or_string(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (mut is_text, mut int, mut text) = (false, 0, "");
    let mut fields = Reader::new(bytes);
    while let Some((number, payload)) = fields.next()? {
        match number {
            1 => is_text = payload.varint()? == 1,
            2 => int = payload.varint()? as i32,
            3 => text = payload.text()?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { int.into() })
}

fn time(shape: &Shape, bytes: &[u8]) -> Result<Value, DecodeError> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Reader::new(bytes);
    while let Some((number, payload)) = fields.next()? {
        match number {
            1 => seconds = payload.varint()? as i64,
            2 => nanos = payload.varint()? as i32,
            _ => {}
        }
    }
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let moment = Timestamp::new(seconds, nanos).map_err(|_| DecodeError::Time)?;
    Ok(if *shape == Shape::Time { Time(moment).to_string() } else { MicroTime(moment).to_string() }.into())
}

/// JSON in bytes; objects in an admission review or a watch event may be protobuf again, with an envelope.
fn raw(bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    let mut json = None;
    let mut fields = Reader::new(bytes);
    while let Some((number, payload)) = fields.next()? {
        if number == 1 {
            json = Some(payload.bytes()?);
        }
    }
    match json {
        None | Some([]) => Ok(Value::Null),
        Some(json) if json.starts_with(MAGIC) => {
            let (meta, message) = super::open(json)?;
            let GroupVersion { group, version } = GroupVersion::parse(&meta.api_version);
            let def = crate::registry::registry()
                .kind(&group, &version, &meta.kind)
                .ok_or_else(|| DecodeError::NoMessage(meta.kind.clone()))?;
            let mut document = Map::new();
            document.insert("apiVersion".to_owned(), meta.api_version.into());
            document.insert("kind".to_owned(), meta.kind.into());
            object(&def.schema, message, depth + 1, &mut document)?;
            Ok(Value::Object(document))
        }
        Some(json) => serde_json::from_slice(json).map_err(|_| DecodeError::Json),
    }
}

fn schema_or(shape: &Shape, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    let ty = schema_type().ok_or_else(|| DecodeError::NoMessage("JSONSchemaProps".to_owned()))?;
    let read = |payload: Payload<'_>| {
        let mut fields = Map::new();
        object(&ty, payload.bytes()?, depth, &mut fields)?;
        Ok(Value::Object(fields))
    };
    let (mut schema, mut instead) = (None, None);
    let mut fields = Reader::new(bytes);
    while let Some((number, payload)) = fields.next()? {
        match (shape, number) {
            (Shape::SchemaOrBool, 1) => instead = Some(Value::Bool(payload.varint()? != 0)),
            (Shape::SchemaOrBool, 2) | (_, 1) => schema = Some(read(payload)?),
            (_, 2) => {
                let item =
                    if *shape == Shape::SchemaOrStrings { payload.text()?.into() } else { read(payload)? };
                match instead.get_or_insert_with(|| Value::Array(Vec::new())) {
                    Value::Array(items) => items.push(item),
                    other => *other = item,
                }
            }
            _ => {}
        }
    }
    Ok(schema.or(instead).unwrap_or(Value::Null))
}
