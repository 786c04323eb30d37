//! The columns of `kubectl get` that a definition asks for.

use serde_json::Value;

use super::path::JsonPath;
use crate::kinds::access::{int, list, text};

/// A column.
#[derive(Debug, Clone)]
pub struct PrinterColumn {
    /// As `Ready`.
    pub name: String,
    /// As `string`, or `date`.
    pub ty: String,
    /// As `int32`.
    pub format: String,
    /// For people.
    pub description: String,
    /// 0 is always shown, more with `-o wide`.
    pub priority: i64,
    /// What is shown.
    pub path: JsonPath,
}

impl PrinterColumn {
    /// The columns of a version: those that it names, or else the age.
    pub(super) fn of(version: &Value) -> Vec<Self> {
        let named = list(version, "additionalPrinterColumns");
        if named.is_empty() {
            let created = ".metadata.creationTimestamp";
            return vec![Self {
                name: "Age".to_owned(),
                ty: "date".to_owned(),
                format: String::new(),
                description: "When the object was created.".to_owned(),
                priority: 0,
                path: JsonPath::parse(created).unwrap_or_default(),
            }];
        }
        let column = |column: &Value| Self {
            name: text(column, "name").to_owned(),
            ty: text(column, "type").to_owned(),
            format: text(column, "format").to_owned(),
            description: text(column, "description").to_owned(),
            priority: int(column, "priority").unwrap_or_default(),
            path: JsonPath::parse(text(column, "jsonPath")).unwrap_or_default(),
        };
        named.iter().map(column).collect()
    }
}
