//! Bytes become a JSON value; keys that occur twice are noted, the last one counts.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::MediaType;
use super::syntax;

/// What was read.
pub(super) struct Document {
    pub(super) value: Value,
    /// The paths of the keys that occur twice.
    pub(super) duplicates: Vec<String>,
}

/// The bytes are no document; the text is that of Go's decoder.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ReadError(String);

/// Reads one document.
pub(super) fn read(media: MediaType, bytes: &[u8]) -> Result<Document, ReadError> {
    match media {
        MediaType::Json => json(bytes),
        MediaType::Yaml => yaml(bytes),
    }
}

fn json(bytes: &[u8]) -> Result<Document, ReadError> {
    let notes = RefCell::new(Notes::default());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Node { notes: &notes }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| ReadError(syntax::explain(bytes).unwrap_or_else(|| error.to_string())))?;
    Ok(Document { value, duplicates: notes.into_inner().duplicates })
}

fn yaml(bytes: &[u8]) -> Result<Document, ReadError> {
    let notes = RefCell::new(Notes::default());
    let mut options = serde_saphyr::Options::default();
    options.legacy_octal_numbers = true;
    options.duplicate_keys = serde_saphyr::DuplicateKeyPolicy::PassThrough;
    options.with_snippet = false;
    let read =
        |deserializer: serde_saphyr::Deserializer<'_, '_>| Node { notes: &notes }.deserialize(deserializer);
    let value = serde_saphyr::with_deserializer_from_slice_with_options(bytes, options, read)
        .map_err(|error| ReadError(format!("error converting YAML to JSON: yaml: {error}")))?;
    Ok(Document { value, duplicates: notes.into_inner().duplicates })
}

#[derive(Default)]
struct Notes {
    path: String,
    duplicates: Vec<String>,
}

#[derive(Clone, Copy)]
struct Node<'a> {
    notes: &'a RefCell<Notes>,
}

impl Node<'_> {
    /// Adds a step to the path; the length to go back to.
    fn enter(self, step: fmt::Arguments<'_>) -> usize {
        let mut notes = self.notes.borrow_mut();
        let length = notes.path.len();
        // Writing to a String cannot fail.
        let _ = fmt::Write::write_fmt(&mut notes.path, step);
        length
    }

    fn leave(self, length: usize) {
        self.notes.borrow_mut().path.truncate(length);
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let length = self.enter(format_args!("[{}]", items.len()));
            let item = seq.next_element_seed(self)?;
            self.leave(length);
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let length = if self.notes.borrow().path.is_empty() {
                self.enter(format_args!("{key}"))
            } else {
                self.enter(format_args!(".{key}"))
            };
            let value = map.next_value_seed(self)?;
            if fields.insert(key, value).is_some() {
                let mut notes = self.notes.borrow_mut();
                let path = notes.path.clone();
                notes.duplicates.push(path);
            }
            self.leave(length);
        }
        Ok(Value::Object(fields))
    }
}
