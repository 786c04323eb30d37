//! `cox describe`: an object at length, and the events about it.

use client::{Encoding, GroupVersionResource, ListParams};
use serde_json::Value;

use super::Session;
use super::table::Table;
use super::target::{Target, parse};
use crate::cli::{DescribeArgs, Global};
use crate::error::CoxError;
use crate::output::{Out, columns};

pub(crate) async fn describe(global: &Global, args: &DescribeArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open_at(global, args.at.as_deref())?;
    let mut first = true;
    for target in parse(&args.objects.objects)? {
        let (api, namespace) = (target.api(&session.client), target.namespace(&session.namespace));
        let objects = match &target.name {
            Some(name) => vec![api.get(namespace, name).await?],
            None => api.list(namespace, &ListParams::labels(&args.selector)).await?.items,
        };
        for object in objects {
            if !std::mem::take(&mut first) {
                out.line("");
            }
            for line in lines(&object.decode()?) {
                out.line(&line);
            }
            events(&session, &target, &object.uid, out).await?;
        }
    }
    Ok(())
}

async fn events(session: &Session, target: &Target, uid: &str, out: &mut Out) -> Result<(), CoxError> {
    let events = GroupVersionResource::new("", "v1", "events");
    let api = session.client.dynamic(events).with_encoding(Encoding::Table);
    let params = ListParams::fields(format!("involvedObject.uid={uid}"));
    let mut table = Table::default();
    for chunk in api.list(target.namespace(&session.namespace), &params).await?.items {
        table.extend(chunk.decode()?);
    }
    if table.is_empty() {
        out.line("Events:  <none>");
        return Ok(());
    }
    out.line("Events:");
    for line in columns(&table.rows(false, false, false)) {
        out.line(&format!("  {line}"));
    }
    Ok(())
}

/// The metadata that people read, in the order in which they read it.
const METADATA: [&str; 8] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "creationTimestamp",
    "deletionTimestamp",
    "ownerReferences",
    "finalizers",
];

/// An object as indented lines, `Name: value`, its metadata first.
fn lines(object: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for key in METADATA {
        field(key, &object["metadata"][key], 0, &mut lines);
    }
    for (key, value) in object.as_object().into_iter().flatten() {
        if !matches!(key.as_str(), "metadata" | "apiVersion" | "kind") {
            field(key, value, 0, &mut lines);
        }
    }
    lines
}

fn field(key: &str, value: &Value, depth: usize, lines: &mut Vec<String>) {
    let (indent, title) = ("  ".repeat(depth), title(key));
    match value {
        Value::Null => {}
        Value::String(text) if text.contains('\n') => {
            lines.push(format!("{indent}{title}:"));
            lines.extend(text.lines().map(|line| format!("{indent}  {line}")));
        }
        Value::String(_) | Value::Bool(_) | Value::Number(_) => {
            lines.push(format!("{indent}{title}:  {}", plain(value)));
        }
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            let words: Vec<_> = items.iter().map(plain).collect();
            lines.push(format!("{indent}{title}:  {}", words.join(", ")));
        }
        Value::Array(items) => {
            lines.push(format!("{indent}{title}:"));
            for item in items {
                let name = ["name", "type", "key", "ip", "port"].iter().find_map(|key| item.get(*key));
                lines.push(format!("{indent}  {}:", name.map_or_else(|| "-".to_owned(), plain)));
                for (key, value) in item.as_object().into_iter().flatten().filter(|(key, _)| *key != "name") {
                    field(key, value, depth + 2, lines);
                }
            }
        }
        Value::Object(fields) if fields.is_empty() => {}
        Value::Object(fields) => {
            lines.push(format!("{indent}{title}:"));
            for (key, value) in fields {
                if has_free_keys(&title) {
                    lines.push(format!("{indent}  {key}={}", plain(value)));
                } else {
                    field(key, value, depth + 1, lines);
                }
            }
        }
    }
}

/// A string without its quotes, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a map's keys are the user's own words, which are not ours to spell.
fn has_free_keys(title: &str) -> bool {
    matches!(
        title,
        "Labels"
            | "Annotations"
            | "Match Labels"
            | "Node Selector"
            | "Data"
            | "Limits"
            | "Requests"
            | "Capacity"
            | "Allocatable"
    )
}

/// `creationTimestamp` as people write it: `Creation Timestamp`.
fn title(key: &str) -> String {
    let mut title = String::with_capacity(key.len() + 4);
    let mut previous = ' ';
    for letter in key.chars() {
        if letter.is_uppercase() && previous.is_lowercase() {
            title.push(' ');
        }
        if title.is_empty() {
            title.extend(letter.to_uppercase());
        } else {
            title.push(letter);
        }
        previous = letter;
    }
    title
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_reads_from_its_name_to_its_status() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "prod", "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx", "command": ["a", "b"]}]},
            "status": {"podIP": "10.244.0.2"},
        });
        let expected = [
            "Name:  web",
            "Namespace:  prod",
            "Labels:",
            "  app=web",
            "Spec:",
            "  Node Name:  n1",
            "  Containers:",
            "    c:",
            "      Image:  nginx",
            "      Command:  a, b",
            "Status:",
            "  Pod IP:  10.244.0.2",
        ];
        assert_eq!(lines(&pod), expected);
    }
}
