//! Custom resources: the columns that their definition asks for.

use api::structural::{Custom, PrinterColumn};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{age, cell};

/// The columns.
pub(super) fn columns(custom: &Custom) -> Value {
    let name = json!(super::NAME);
    let others = custom.columns.iter().map(|column| {
        json!({
            "name": column.name,
            "type": column.ty,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    });
    std::iter::once(name).chain(others).collect()
}

/// One cell for each column.
pub(super) fn cells(custom: &Custom, object: &Value, now: Timestamp) -> Vec<Value> {
    let others = custom.columns.iter().map(|column| cell_of(column, object, now));
    std::iter::once(cell::name(object)).chain(others).collect()
}

fn cell_of(column: &PrinterColumn, object: &Value, now: Timestamp) -> Value {
    let found = column.path.find(object);
    let Some(value) = found.first() else { return Value::Null };
    match (column.ty.as_str(), value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(_)) => (*value).clone(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64().map_or(Value::Null, |number| (number as i64).into()),
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => (*value).clone(),
        ("date", time @ Value::String(_)) => age::age(time, now).into(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use api::structural::JsonPath;

    use super::*;

    #[test]
    fn a_cell_has_the_type_of_its_column() {
        let object =
            json!({"a": "x", "n": 3, "f": 2.5, "b": true, "o": {"k": 1}, "t": "2026-11-24T11:55:00Z"});
        let now = "2026-11-24T12:00:00Z".parse().expect("a time");
        for (path, ty, expected) in [
            (".a", "string", json!("x")),
            (".n", "string", json!("3")),
            (".o", "string", json!("{\"k\":1}")),
            (".n", "integer", json!(3)),
            (".f", "integer", json!(2)),
            (".a", "integer", Value::Null),
            (".f", "number", json!(2.5)),
            (".b", "boolean", json!(true)),
            (".t", "date", json!("5m")),
            (".a", "date", json!("<invalid>")),
            (".none", "string", Value::Null),
        ] {
            let column = PrinterColumn {
                name: "C".to_owned(),
                ty: ty.to_owned(),
                format: String::new(),
                description: String::new(),
                priority: 0,
                path: JsonPath::parse(path).expect("a path"),
            };
            assert_eq!(cell_of(&column, &object, now), expected, "{path} as {ty}");
        }
    }
}
