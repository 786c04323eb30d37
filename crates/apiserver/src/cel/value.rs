//! JSON as values of expressions: plain, or as a structural schema says.

use std::collections::HashMap;
use std::sync::Arc;

use api::structural::{Structural, go_duration};
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString};
use cel::common::value::Val;
use cel::objects::{Key, Map, Value};
use serde_json::Value as Json;

fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

fn map(entries: impl Iterator<Item = (String, Value)>) -> Value {
    let entries: HashMap<Key, Value> =
        entries.map(|(name, value)| (Key::String(Arc::new(name)), value)).collect();
    Value::Map(Map { map: Arc::new(entries) })
}

/// A value of which nothing is known.
pub(crate) fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(own) => text(own),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(of_json).collect())),
        Json::Object(fields) => map(fields.iter().map(|(name, value)| (name.clone(), of_json(value)))),
    }
}

/// A value of which nothing is known, as the interpreter has it: it is made once and lent to each expression.
pub(crate) fn val_of_json(json: &Json) -> Box<dyn Val> {
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(flag) => Box::new(CelBool::from(*flag)),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Box::new(CelInt::from(number)),
            None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(own) => Box::new(CelString::from(own.clone())),
        Json::Array(items) => {
            let items: Vec<Box<dyn Val>> = items.iter().map(val_of_json).collect();
            Box::new(CelList::from(items))
        }
        Json::Object(fields) => {
            let entry = |(name, value): (&String, &Json)| (CelMapKey::from(name.clone()), val_of_json(value));
            let fields: HashMap<CelMapKey<'static>, Box<dyn Val>> = fields.iter().map(entry).collect();
            Box::new(CelMap::from(fields))
        }
    }
}

/// A value of a schema: times are times, and the fields of an object have names that an expression can say.
pub(crate) fn of_schema(schema: &Structural, json: &Json) -> Value {
    match json {
        Json::String(own) => of_text(&schema.limits.format, own),
        Json::Number(number) if schema.ty == "number" => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        Json::Array(items) => {
            let of = |item: &Json| match schema.items.as_deref() {
                Some(own) => of_schema(own, item),
                None => of_json(item),
            };
            Value::List(Arc::new(items.iter().map(of).collect()))
        }
        Json::Object(fields) => {
            let of = |(name, value): (&String, &Json)| match (schema.properties.get(name), &schema.additional)
            {
                // Null is as good as nothing.
                (Some(own), _) if value.is_null() && own.nullable => None,
                (Some(own), _) => Some((escaped(name), of_schema(own, value))),
                (None, Some(own)) => Some((name.clone(), of_schema(own, value))),
                (None, None) => Some((name.clone(), of_json(value))),
            };
            map(fields.iter().filter_map(of))
        }
        other => of_json(other),
    }
}

fn of_text(format: &str, own: &str) -> Value {
    match format {
        "date-time" => match chrono_time(own) {
            Some(time) => time,
            None => text(own),
        },
        "date" => chrono_time(&format!("{own}T00:00:00Z")).unwrap_or_else(|| text(own)),
        "duration" => match go_duration(own) {
            Some(nanoseconds) => duration(nanoseconds).unwrap_or_else(|| text(own)),
            None => text(own),
        },
        _ => text(own),
    }
}

/// The interpreter's own functions make its times, which are of a crate that is not ours.
fn chrono_time(own: &str) -> Option<Value> {
    evaluated(&format!("timestamp({own:?})"))
}

fn duration(nanoseconds: i64) -> Option<Value> {
    evaluated(&format!("duration('{nanoseconds}ns')"))
}

fn evaluated(source: &str) -> Option<Value> {
    let program = super::ENV.compile(source).ok()?;
    program.execute(&cel::Context::with_env(Arc::clone(&super::ENV))).ok()
}

/// Words that an expression cannot use as the name of a field.
const RESERVED: [&str; 18] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
];

/// The name of a field as an expression says it.
pub(crate) fn escaped(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return name.to_owned();
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

/// The name of a field that an expression says so.
pub(super) fn unescaped(name: &str) -> String {
    let inner = name.strip_prefix("__").and_then(|name| name.strip_suffix("__"));
    if let Some(inner) = inner.filter(|inner| RESERVED.contains(inner)) {
        return inner.to_owned();
    }
    name.replace("__slash__", "/")
        .replace("__dash__", "-")
        .replace("__dot__", ".")
        .replace("__underscores__", "__")
}
