//! Holds a document against its schema: what is unknown is dropped and reported, what has the wrong type is refused in
//! the words of Go's decoder, and values get the form in which Go would write them back.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::quantity::Quantity;
use crate::schema::{Shape, TypeDef, TypeRef, builtin};
use crate::time::{MicroTime, Time};

/// What the check found.
#[derive(Default)]
pub(super) struct Findings {
    /// The paths of unknown fields, in the order of the document.
    pub(super) unknown: Vec<String>,
    /// The first wrong type.
    pub(super) error: Option<String>,
}

/// Checks `object` against `schema`, in place.
pub(super) fn check(schema: &TypeDef, object: &mut Value) -> Findings {
    let mut checker = Checker { findings: Findings::default(), path: String::new(), context: Vec::new() };
    match object {
        Value::Object(fields) => checker.object(schema, fields),
        other => {
            let message = format!(
                "json: cannot unmarshal {} into Go value of type {}",
                kind_of(other),
                schema.go_name()
            );
            checker.findings.error = Some(message);
        }
    }
    checker.findings
}

/// The field that is being read: the struct it belongs to and its JSON name.
struct Step<'a> {
    of: &'a str,
    name: &'a str,
}

struct Checker<'a> {
    findings: Findings,
    path: String,
    context: Vec<Step<'a>>,
}

impl<'a> Checker<'a> {
    fn fail(&mut self, value: &str, ty: &str) {
        let message = match self.context.last() {
            Some(step) => {
                let names: Vec<&str> = self.context.iter().map(|step| step.name).collect();
                let field = format!("{}.{}", step.of, names.join("."));
                format!("json: cannot unmarshal {value} into Go struct field {field} of type {ty}")
            }
            None => format!("json: cannot unmarshal {value} into Go value of type {ty}"),
        };
        self.fail_with(message);
    }

    fn fail_with(&mut self, message: String) {
        self.findings.error.get_or_insert(message);
    }

    /// Runs `inner` with `step` added to the path.
    fn within(&mut self, step: &str, dotted: bool, inner: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if dotted && length > 0 {
            self.path.push('.');
        }
        self.path.push_str(step);
        inner(self);
        self.path.truncate(length);
    }

    fn object(&mut self, schema: &'a TypeDef, fields: &mut Map<String, Value>) {
        let mut drop = Vec::new();
        for (name, value) in fields.iter_mut() {
            if let Some(field) = schema.field(name) {
                if value.is_null() && !matches!(field.shape, Shape::Any) {
                    drop.push(name.clone());
                    continue;
                }
                self.context.push(Step { of: &schema.name, name: &field.name });
                self.within(name, true, |checker| checker.value(&field.shape, value));
                self.context.pop();
            } else if let Some(rest) = &schema.rest {
                self.within(name, true, |checker| checker.value(rest, value));
            } else {
                let mut path = String::new();
                self.within(name, true, |checker| path.clone_from(&checker.path));
                self.findings.unknown.push(path);
                drop.push(name.clone());
            }
        }
        for name in drop {
            fields.shift_remove(&name);
        }
    }

    fn value(&mut self, shape: &'a Shape, value: &mut Value) {
        match shape {
            Shape::Object(def) => self.object_value(def, value),
            Shape::Map { value: element, .. } => self.map(shape, element, value),
            Shape::List { item, .. } => self.list(shape, item, value),
            Shape::String => {
                if !value.is_string() {
                    self.fail(kind_of(value), "string");
                }
            }
            Shape::Int32 => self.integer(value, "int32", i64::from(i32::MIN), i64::from(i32::MAX)),
            Shape::Int64 => self.integer(value, "int64", i64::MIN, i64::MAX),
            Shape::Double => {
                if !value.is_number() {
                    self.fail(kind_of(value), "float64");
                }
            }
            Shape::Bool => {
                if !value.is_boolean() {
                    self.fail(kind_of(value), "bool");
                }
            }
            Shape::Bytes => self.bytes(value),
            Shape::Quantity => self.quantity(value),
            Shape::IntOrString => self.int_or_string(value),
            Shape::Time => self.time(value, |time| Time(time).to_string()),
            Shape::MicroTime => self.time(value, |time| MicroTime(time).to_string()),
            Shape::RawExtension | Shape::FieldsV1 | Shape::Any => {}
            Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => self.schema(value),
        }
    }

    fn object_value(&mut self, def: &'a TypeRef, value: &mut Value) {
        match value {
            Value::Object(fields) => self.object(def, fields),
            Value::Null => *value = Value::Object(Map::new()),
            other => self.fail(kind_of(other), &def.go_name()),
        }
    }

    fn map(&mut self, shape: &Shape, element: &'a Shape, value: &mut Value) {
        let Value::Object(entries) = value else {
            self.fail(kind_of(value), &go_type(shape));
            return;
        };
        for (name, entry) in entries.iter_mut() {
            if entry.is_null() {
                *entry = super::present::zero(element);
            }
            if !entry.is_null() {
                self.within(name, true, |checker| checker.value(element, entry));
            }
        }
    }

    fn list(&mut self, shape: &Shape, item: &'a Shape, value: &mut Value) {
        let Value::Array(items) = value else {
            self.fail(kind_of(value), &go_type(shape));
            return;
        };
        for (index, entry) in items.iter_mut().enumerate() {
            if entry.is_null() {
                *entry = super::present::zero(item);
            }
            if !entry.is_null() {
                self.within(&format!("[{index}]"), false, |checker| checker.value(item, entry));
            }
        }
    }

    fn integer(&mut self, value: &Value, ty: &str, least: i64, most: i64) {
        match value {
            Value::Number(number) => {
                if !number.as_i64().is_some_and(|number| (least..=most).contains(&number)) {
                    self.fail(&format!("number {number}"), ty);
                }
            }
            other => self.fail(kind_of(other), ty),
        }
    }

    fn bytes(&mut self, value: &mut Value) {
        let Value::String(text) = value else {
            self.fail(kind_of(value), "[]uint8");
            return;
        };
        if text.contains(['\n', '\r']) {
            text.retain(|c| !matches!(c, '\n' | '\r'));
        }
        if let Err(error) = base64::engine::general_purpose::STANDARD.decode(text.as_bytes()) {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
                    // Go tells where the last group of four begins.
                    text.trim_end_matches('=').len() / 4 * 4
                }
            };
            self.fail_with(format!("illegal base64 data at input byte {at}"));
        }
    }

    fn quantity(&mut self, value: &mut Value) {
        let text = match &*value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match Quantity::parse(&text) {
            Ok(quantity) => *value = Value::String(quantity.to_string()),
            Err(error) => self.fail_with(error.to_string()),
        }
    }

    fn int_or_string(&mut self, value: &Value) {
        let why = match value {
            Value::String(_) => return,
            Value::Number(number) => {
                if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) {
                    return;
                }
                format!("number {number}")
            }
            other => kind_of(other).to_owned(),
        };
        self.fail_with(format!("json: cannot unmarshal {why} into Go value of type int32"));
    }

    fn time(&mut self, value: &mut Value, form: fn(jiff::Timestamp) -> String) {
        let Value::String(text) = value else {
            self.fail_with(format!("json: cannot unmarshal {} into Go value of type string", kind_of(value)));
            return;
        };
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => *text = form(time),
            Err(_) => {
                let quoted = crate::field::quote(text);
                self.fail_with(format!(
                    "parsing time {quoted} as \"2006-01-02T15:04:05Z07:00\": cannot parse {quoted} as \"2006\""
                ));
            }
        }
    }

    /// A schema where something simpler may stand in its place.
    fn schema(&mut self, value: &mut Value) {
        let Some(def) = builtin("apiextensions.v1.JSONSchemaProps") else { return };
        let mut inner = |value: &mut Value| {
            if let Value::Object(fields) = value {
                let mut checker =
                    Checker { findings: Findings::default(), path: self.path.clone(), context: Vec::new() };
                checker.object(&def, fields);
                self.findings.unknown.append(&mut checker.findings.unknown);
                if let Some(error) = checker.findings.error {
                    self.findings.error.get_or_insert(error);
                }
            }
        };
        match value {
            Value::Array(items) => items.iter_mut().for_each(inner),
            other => inner(other),
        }
    }
}

/// What Go's decoder calls a value.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The Go type of a shape.
fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Object(def) => def.go_name(),
        Shape::Map { value, .. } => match **value {
            Shape::Quantity => "v1.ResourceList".to_owned(),
            _ => format!("map[string]{}", go_type(value)),
        },
        Shape::List { item, .. } => format!("[]{}", go_type(item)),
        Shape::String => "string".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Double => "float64".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::MicroTime => "v1.MicroTime".to_owned(),
        Shape::RawExtension => "runtime.RawExtension".to_owned(),
        Shape::FieldsV1 => "v1.FieldsV1".to_owned(),
        Shape::Any => "v1.JSON".to_owned(),
        Shape::SchemaOrArray => "v1.JSONSchemaPropsOrArray".to_owned(),
        Shape::SchemaOrBool => "v1.JSONSchemaPropsOrBool".to_owned(),
        Shape::SchemaOrStrings => "v1.JSONSchemaPropsOrStringArray".to_owned(),
    }
}
