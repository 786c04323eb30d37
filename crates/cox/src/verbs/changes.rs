//! How two states of an object differ, as lines that a person reads: `spec.replicas: 2 -> 3`. Pure.

use std::collections::HashMap;

use serde_json::Value;

/// What every write changes, and says nothing.
const NOISE: [&str; 3] = ["metadata.resourceVersion", "metadata.generation", "metadata.managedFields"];

/// The longest value that is shown whole.
const LONGEST: usize = 120;

/// A line for each field that was added, removed or changed, in the order of the documents. Values of Secrets are not
/// shown.
pub(super) fn changes(old: &Value, new: &Value) -> Vec<String> {
    let is_secret = [old, new].iter().any(|object| object["kind"] == "Secret");
    let (old, new) = (leaves(old), leaves(new));
    let index = |leaves: &[(String, Value)]| -> HashMap<String, Value> { leaves.iter().cloned().collect() };
    let (before, after) = (index(&old), index(&new));
    let show = |path: &str, value: &Value| {
        let hidden = is_secret && (path.starts_with("data") || path.contains("last-applied-configuration"));
        if hidden { "(hidden)".to_owned() } else { shown(value) }
    };
    let mut lines = Vec::new();
    for (path, value) in &new {
        match before.get(path) {
            Some(old) if old == value => {}
            Some(old) => lines.push(format!("  {path}: {} -> {}", show(path, old), show(path, value))),
            None => lines.push(format!("+ {path}: {}", show(path, value))),
        }
    }
    for (path, value) in old.iter().filter(|(path, _)| !after.contains_key(path)) {
        lines.push(format!("- {path}: {}", show(path, value)));
    }
    lines
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Every value that holds no other, with its path.
fn leaves(object: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    collect(object, String::new(), &mut found);
    found
}

fn collect(value: &Value, path: String, found: &mut Vec<(String, Value)>) {
    if NOISE.contains(&path.as_str()) {
        return;
    }
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let is_plain =
                    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                let own = match (path.is_empty(), is_plain) {
                    (true, _) => name.clone(),
                    (false, true) => format!("{path}.{name}"),
                    (false, false) => format!("{path}[{name:?}]"),
                };
                collect(field, own, found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (place, item) in items.iter().enumerate() {
                // Most lists are ordered by name or type; a place would tell of shifts, not of changes.
                let key = ["name", "type", "uid"].iter().find_map(|key| item[*key].as_str());
                let own = key.map_or_else(|| place.to_string(), str::to_owned);
                collect(item, format!("{path}[{own}]"), found);
            }
        }
        leaf => found.push((path, leaf.clone())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_is_a_line() {
        let old = json!({"kind": "Pod", "metadata": {"resourceVersion": "1", "labels": {"a/b": "c"}},
            "spec": {"replicas": 2, "list": [{"name": "x", "image": "i:1"}, {"name": "y"}], "args": ["a", "b"]}});
        let new = json!({"kind": "Pod", "metadata": {"resourceVersion": "2", "labels": {"a/b": "d"}},
            "spec": {"replicas": 3, "list": [{"name": "x", "image": "i:2"}], "args": ["a"], "paused": true}});
        assert_eq!(
            changes(&old, &new),
            [
                "  metadata.labels[\"a/b\"]: \"c\" -> \"d\"",
                "  spec.replicas: 2 -> 3",
                "  spec.list[x].image: \"i:1\" -> \"i:2\"",
                "+ spec.paused: true",
                "- spec.list[y].name: \"y\"",
                "- spec.args[1]: \"b\"",
            ]
        );
        assert!(changes(&old, &old).is_empty());
    }

    #[test]
    fn values_of_secrets_are_not_shown_and_long_ones_are_cut() {
        let secret = |text: &str| json!({"kind": "Secret", "data": {"k": text}});
        assert_eq!(changes(&secret("YQ=="), &secret("Yg==")), ["  data.k: (hidden) -> (hidden)"]);
        let long = changes(&json!({}), &json!({"a": "ü".repeat(500)}));
        assert!(long[0].ends_with("...") && long[0].chars().count() < 140, "{long:?}");
    }
}
