//! How people see objects: the columns of each kind and the cells of its rows, as `kubectl get` shows them.

mod age;

use api::registry::ResourceDef;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Column {
    name: &'static str,
    r#type: &'static str,
    format: &'static str,
    description: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    priority: u8,
}

/// A row.
pub(crate) struct Row {
    pub(crate) cells: Vec<Value>,
    /// Tells a client that the object is done.
    pub(crate) conditions: Option<Value>,
}

const NAME: Column = Column { name: "Name", r#type: "string", format: "name", description: "", priority: 0 };
const AGE: Column = Column { name: "Age", r#type: "string", format: "", description: "", priority: 0 };

/// The columns of a resource.
pub(crate) fn columns(_def: &ResourceDef) -> &'static [Column] {
    &[NAME, AGE]
}

/// The row of an object, a document in the storage version.
pub(crate) fn row(_def: &ResourceDef, object: &Value, now: Timestamp) -> Row {
    let metadata = &object["metadata"];
    let age = age::age(&metadata["creationTimestamp"], now);
    Row { cells: vec![metadata["name"].clone(), age.into()], conditions: None }
}
