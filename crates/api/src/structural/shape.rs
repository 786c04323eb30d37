//! A structural schema as a type of the kind that apply and OpenAPI walk.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::schema::{ListType, Structural};
use crate::schema::{Field, ListKind, Name, Shape, TypeDef, TypeRef, builtin};

/// What a type is called.
pub(super) struct Named<'a> {
    pub(super) group: &'a str,
    pub(super) version: &'a str,
    pub(super) kind: &'a str,
}

impl Named<'_> {
    /// As `com.example.v1` for `example.com/v1`.
    fn package(&self) -> Name {
        let reversed: Vec<&str> = self.group.split('.').rev().collect();
        Cow::Owned(format!("{}.{}", reversed.join("."), self.version))
    }
}

/// The type of the objects of a version. `document` is the schema as its author wrote it, for OpenAPI.
pub(super) fn root(schema: &Structural, named: &Named<'_>, document: &Value) -> TypeRef {
    let mut fields = fields_of(schema, &["apiVersion", "kind", "metadata"]);
    fields.push(Field::plain("apiVersion", Shape::String));
    fields.push(Field::plain("kind", Shape::String));
    if let Some(meta) = builtin("meta.v1.ObjectMeta") {
        fields.push(Field::plain("metadata", Shape::Object(meta)));
    }
    fields.sort_by(|left, right| left.name.cmp(&right.name));
    TypeRef::Custom(Arc::new(TypeDef {
        name: Cow::Owned(named.kind.to_owned()),
        package: named.package(),
        kind: Some((Cow::Owned(named.group.to_owned()), Cow::Owned(named.version.to_owned()))),
        fields,
        atomic: false,
        union: None,
        rest: schema.preserve.then_some(Shape::Any),
        document: Some(Box::new(document.clone())),
    }))
}

fn fields_of(schema: &Structural, without: &[&str]) -> Vec<Field> {
    let own = schema.properties.iter().filter(|(name, _)| !without.contains(&name.as_str()));
    own.map(|(name, own)| {
        let mut field = Field::plain(name, shape(own));
        field.default = own.default.clone().map(Box::new);
        field.required = schema.limits.required.contains(name);
        field
    })
    .collect()
}

fn shape(schema: &Structural) -> Shape {
    if schema.int_or_string {
        return Shape::IntOrString;
    }
    match schema.ty.as_str() {
        "string" => Shape::String,
        "boolean" => Shape::Bool,
        "integer" => Shape::Int64,
        "number" => Shape::Double,
        "array" => Shape::List {
            item: Box::new(schema.items.as_deref().map_or(Shape::Any, shape)),
            kind: match schema.list_type {
                ListType::Atomic => ListKind::Atomic,
                ListType::Set => ListKind::Set,
                ListType::Map => {
                    ListKind::Map(schema.list_keys.iter().map(|key| Cow::Owned(key.clone())).collect())
                }
            },
        },
        "object" => match &schema.additional {
            Some(value) if schema.properties.is_empty() => {
                Shape::Map { value: Box::new(shape(value)), atomic: schema.atomic }
            }
            _ => object(schema),
        },
        _ => Shape::Any,
    }
}

fn object(schema: &Structural) -> Shape {
    let mut fields = fields_of(schema, &[]);
    if schema.embedded {
        let mut add = |name: &str, shape: Shape| {
            if !schema.properties.contains_key(name) {
                fields.push(Field::plain(name, shape));
            }
        };
        add("apiVersion", Shape::String);
        add("kind", Shape::String);
        add("metadata", builtin("meta.v1.ObjectMeta").map_or(Shape::Any, Shape::Object));
        fields.sort_by(|left, right| left.name.cmp(&right.name));
    }
    Shape::Object(TypeRef::Custom(Arc::new(TypeDef {
        name: Cow::Borrowed("object"),
        package: Cow::Borrowed(""),
        kind: None,
        fields,
        atomic: schema.atomic,
        union: None,
        rest: schema.preserve.then_some(Shape::Any),
        document: None,
    })))
}
