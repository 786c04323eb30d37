//! The protobuf form of an OpenAPI document of version 2, as old clients ask for it.
//!
//! Messages and field numbers are those of the gnostic project's `openapi.v2` package. Values of extensions travel as
//! YAML text, for which JSON serves.

use serde_json::{Map, Value};

/// Encodes a document of version 2.
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, &document["swagger"]);
    out.message(2, |info| {
        info.text(1, &document["info"]["title"]);
        info.text(2, &document["info"]["version"]);
    });
    out.message(8, |paths| {
        for (path, item) in entries(&document["paths"]) {
            paths.named(2, path, |out| path_item(out, item));
        }
    });
    out.message(9, |definitions| {
        for (name, definition) in entries(&document["definitions"]) {
            definitions.named(1, name, |out| schema(out, definition));
        }
    });
    out.0
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        loop {
            let low = (number & 0x7f) as u8;
            number >>= 7;
            if number == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u32, value: &Value) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u32, values: &Value) {
        items(values).for_each(|value| self.text(field, value));
    }

    fn flag(&mut self, field: u32, value: &Value) {
        if value == &Value::Bool(true) {
            self.varint(u64::from(field) << 3);
            self.varint(1);
        }
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// A pair of a name and a message.
    fn named(&mut self, field: u32, name: &str, write: impl FnOnce(&mut Message)) {
        self.message(field, |pair| {
            pair.bytes(1, name.as_bytes());
            pair.message(2, write);
        });
    }

    fn extensions(&mut self, field: u32, value: &Value) {
        for (name, value) in entries(value).filter(|(name, _)| name.starts_with("x-")) {
            self.named(field, name, |any| any.bytes(2, value.to_string().as_bytes()));
        }
    }
}

fn schema(out: &mut Message, value: &Value) {
    out.text(1, &value["$ref"]);
    out.text(2, &value["format"]);
    out.text(4, &value["description"]);
    if let Some(default) = value.get("default") {
        out.message(5, |any| any.bytes(2, default.to_string().as_bytes()));
    }
    out.texts(19, &value["required"]);
    if let Some(additional) = value.get("additionalProperties") {
        out.message(21, |item| item.message(1, |inner| schema(inner, additional)));
    }
    if let Some(ty) = value.get("type") {
        out.message(22, |item| item.text(1, ty));
    }
    if let Some(element) = value.get("items") {
        out.message(23, |item| item.message(1, |inner| schema(inner, element)));
    }
    if value.get("properties").is_some() {
        out.message(25, |properties| {
            for (name, property) in entries(&value["properties"]) {
                properties.named(1, name, |inner| schema(inner, property));
            }
        });
    }
    out.extensions(31, value);
}

fn path_item(out: &mut Message, item: &Value) {
    for (method, field) in [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)] {
        if let Some(value) = item.get(method) {
            out.message(field, |out| operation(out, value));
        }
    }
    parameters(out, 9, &item["parameters"]);
}

fn operation(out: &mut Message, value: &Value) {
    out.texts(1, &value["tags"]);
    out.text(3, &value["description"]);
    out.text(5, &value["operationId"]);
    out.texts(6, &value["produces"]);
    out.texts(7, &value["consumes"]);
    parameters(out, 8, &value["parameters"]);
    out.message(9, |responses| {
        for (code, response) in entries(&value["responses"]) {
            responses.named(1, code, |value| {
                value.message(1, |out| {
                    out.text(1, &response["description"]);
                    if let Some(body) = response.get("schema") {
                        out.message(2, |item| item.message(1, |inner| schema(inner, body)));
                    }
                });
            });
        }
    });
    out.extensions(13, value);
}

fn parameters(out: &mut Message, field: u32, values: &Value) {
    for value in items(values) {
        out.message(field, |item| item.message(1, |out| parameter(out, value)));
    }
}

fn parameter(out: &mut Message, value: &Value) {
    if value["in"] == "body" {
        out.message(1, |body| {
            body.text(1, &value["description"]);
            body.text(2, &value["name"]);
            body.text(3, &value["in"]);
            body.flag(4, &value["required"]);
            body.message(5, |inner| schema(inner, &value["schema"]));
        });
        return;
    }
    // Parameters of the query and of the path number their fields differently from the fifth on.
    let (kind, ty, unique) = if value["in"] == "query" { (3, 6, 20) } else { (4, 5, 19) };
    out.message(2, |any| {
        any.message(kind, |out| {
            out.flag(1, &value["required"]);
            out.text(2, &value["in"]);
            out.text(3, &value["description"]);
            out.text(4, &value["name"]);
            out.text(ty, &value["type"]);
            out.flag(unique, &value["uniqueItems"]);
        });
    });
}
