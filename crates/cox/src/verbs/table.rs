//! A Table as the apiserver prints it, and how it is shown: `meta.k8s.io/v1` Table.

use serde::Deserialize;
use serde_json::Value;

/// `metav1.Table`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Table {
    column_definitions: Vec<Column>,
    rows: Vec<Row>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Column {
    name: String,
    priority: i32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    cells: Vec<Value>,
    object: Object,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: api::meta::ObjectMeta,
}

impl Table {
    /// Adds the rows of another chunk; a chunk without columns has those of the one before.
    pub(crate) fn extend(&mut self, chunk: Self) {
        if self.column_definitions.is_empty() {
            self.column_definitions = chunk.column_definitions;
        }
        self.rows.extend(chunk.rows);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows of text: with a column of namespaces, with the columns that only `-o wide` shows, without the header.
    pub(crate) fn rows(&self, namespaces: bool, wide: bool, headless: bool) -> Vec<Vec<String>> {
        let shown: Vec<_> = (0..self.column_definitions.len())
            .filter(|index| wide || self.column_definitions[*index].priority == 0)
            .collect();
        let mut rows = Vec::new();
        if !headless {
            let names = shown.iter().map(|index| self.column_definitions[*index].name.to_uppercase());
            rows.push(namespaces.then(|| "NAMESPACE".to_owned()).into_iter().chain(names).collect());
        }
        for row in &self.rows {
            let cells = shown.iter().map(|index| row.cells.get(*index).map(cell).unwrap_or_default());
            let namespace = namespaces.then(|| row.object.metadata.namespace.clone());
            rows.push(namespace.into_iter().chain(cells).collect());
        }
        rows
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wide_columns_and_namespaces_show_when_they_are_asked_for() {
        let table = json!({
            "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "IP", "priority": 1}],
            "rows": [{"cells": ["web", null], "object": {"metadata": {"namespace": "prod"}}}],
        });
        let table: Table = serde_json::from_value(table).expect("a table");
        assert_eq!(table.rows(false, false, false), [["NAME"], ["web"]]);
        assert_eq!(table.rows(true, true, true), [["prod", "web", "<none>"]]);
    }
}
