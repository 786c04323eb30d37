//! What the cells of several kinds have in common.

use jiff::Timestamp;
use serde_json::Value;

use super::age;

/// What stands where there is nothing.
pub(super) const NONE: &str = "<none>";

/// What stands where nobody has decided.
pub(super) const UNSET: &str = "<unset>";

/// The object's name.
pub(super) fn name(object: &Value) -> Value {
    text(&object["metadata"]["name"]).into()
}

/// The object's age.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    age::age(&object["metadata"]["creationTimestamp"], now).into()
}

/// A text, or an empty one.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text, or something else where it is empty or absent.
pub(super) fn text_or<'a>(value: &'a Value, other: &'a str) -> &'a str {
    value.as_str().filter(|text| !text.is_empty()).unwrap_or(other)
}

/// A number, or 0.
pub(super) fn integer(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// A quantity, a number or a text that may be a number, as it is written.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The elements of a list.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// How many entries a list or a map has.
pub(super) fn count(value: &Value) -> i64 {
    let count = match value {
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    };
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// One field of each element, separated by commas.
pub(super) fn joined(values: &Value, field: &str) -> String {
    list(values).iter().map(|value| text(&value[field])).collect::<Vec<_>>().join(",")
}

/// Texts, separated by commas.
pub(super) fn texts(values: &Value) -> String {
    list(values).iter().map(text).collect::<Vec<_>>().join(",")
}

/// A map as `a=b,c=d`, ordered by key.
pub(super) fn labels(map: &Value) -> String {
    let mut all: Vec<String> =
        map.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value))).collect();
    if all.is_empty() {
        return NONE.to_owned();
    }
    all.sort();
    all.join(",")
}

/// A label selector, as `a=b,c in (d,e)`.
pub(super) fn selector(selector: &Value) -> String {
    let text = requirements(selector);
    if text.is_empty() { NONE.to_owned() } else { text }
}

/// The same, where an empty one shows nothing.
pub(super) fn requirements(selector: &Value) -> String {
    let mut all: Vec<(String, String)> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        all.push((key.clone(), format!("{key}={}", text(value))));
    }
    for expression in list(&selector["matchExpressions"]) {
        let key = text(&expression["key"]);
        let mut values: Vec<&str> = list(&expression["values"]).iter().map(text).collect();
        values.sort_unstable();
        let values = values.join(",");
        let shown = match text(&expression["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        all.push((key.to_owned(), shown));
    }
    all.sort();
    all.into_iter().map(|(_, shown)| shown).collect::<Vec<_>>().join(",")
}

/// The names and the images of the containers of a pod's spec.
pub(super) fn containers(spec: &Value) -> (Value, Value) {
    (joined(&spec["containers"], "name").into(), joined(&spec["containers"], "image").into())
}

/// The first of many, and how many more there are.
pub(super) fn some_of(shown: &[String], most: usize) -> String {
    if shown.len() <= most {
        return shown.join(",");
    }
    format!("{} + {} more...", shown[..most].join(","), shown.len() - most)
}

/// `True`, `False`, or that it is not set.
pub(super) fn flag(value: &Value) -> &'static str {
    match value.as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => UNSET,
    }
}

/// The condition of that type.
pub(super) fn condition<'a>(object: &'a Value, wanted: &str) -> Option<&'a Value> {
    list(&object["status"]["conditions"]).iter().find(|condition| condition["type"] == wanted)
}

/// Whether there is a condition of that type and it is true.
pub(super) fn is_true(object: &Value, wanted: &str) -> bool {
    condition(object, wanted).is_some_and(|condition| condition["status"] == "True")
}

/// Where a load balancer listens: its addresses and names in order.
pub(super) fn load_balancer(status: &Value) -> String {
    let mut all: Vec<&str> = list(&status["loadBalancer"]["ingress"])
        .iter()
        .map(|ingress| text_or(&ingress["ip"], text(&ingress["hostname"])))
        .filter(|place| !place.is_empty())
        .collect();
    all.sort_unstable();
    all.dedup();
    all.join(",")
}
