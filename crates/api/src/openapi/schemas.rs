//! Types of the schema as definitions of OpenAPI, in its two dialects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use crate::gvk::GroupVersion;
use crate::schema::{Field, ListKind, Presence, Shape, TypeDef, TypeRef, table};

/// The two versions of OpenAPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

/// A reference to a definition.
pub(super) fn reference(dialect: Dialect, name: &str) -> Value {
    match dialect {
        Dialect::V2 => json!({"$ref": format!("#/definitions/{name}")}),
        Dialect::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

pub(super) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/// The definitions that a document needs, and those that they need.
pub(super) struct Types {
    dialect: Dialect,
    /// The group versions of the document: types that belong to all of them say so.
    versions: Vec<GroupVersion>,
    objects: BTreeMap<String, TypeRef>,
    scalars: BTreeSet<String>,
    /// Lists of custom resources by name, with what they are lists of.
    lists: BTreeMap<String, TypeRef>,
    descriptions: Descriptions,
}

impl Types {
    pub(super) fn new(dialect: Dialect, versions: Vec<GroupVersion>) -> Self {
        Self {
            dialect,
            versions,
            objects: BTreeMap::new(),
            scalars: BTreeSet::new(),
            lists: BTreeMap::new(),
            descriptions: Descriptions::new(),
        }
    }

    /// Adds a type and all that it leads to.
    pub(super) fn add(&mut self, def: &TypeRef) {
        let mut open = vec![def.clone()];
        while let Some(def) = open.pop() {
            let name = def.full_name();
            if self.objects.contains_key(&name) {
                continue;
            }
            if def.document.is_some() {
                self.objects.insert(name, def);
                self.add_named(&format!("{META}.ObjectMeta"));
                continue;
            }
            for field in &def.fields {
                self.add_shape(&field.shape, &mut open);
            }
            if let Some(rest) = &def.rest {
                self.add_shape(rest, &mut open);
            }
            self.objects.insert(name, def);
        }
    }

    /// Adds the built-in type of a full name, where there is one.
    pub(super) fn add_named(&mut self, name: &str) {
        if name.is_empty() || self.objects.contains_key(name) {
            return;
        }
        if let Some(def) = table::builtin().refs().find(|def| def.full_name() == name) {
            self.add(&def);
        }
    }

    /// Adds the list of a custom resource.
    pub(super) fn add_list(&mut self, name: String, of: &TypeRef) {
        self.add_named(&format!("{META}.ListMeta"));
        self.lists.insert(name, of.clone());
    }

    pub(super) fn add_scalar(&mut self, name: &str) {
        self.scalars.insert(name.to_owned());
    }

    fn add_shape(&mut self, shape: &Shape, open: &mut Vec<TypeRef>) {
        match shape {
            Shape::Object(def) => open.push(def.clone()),
            Shape::List { item: inner, .. } | Shape::Map { value: inner, .. } => self.add_shape(inner, open),
            other => self.scalars.extend(scalar_name(other)),
        }
    }

    /// Every definition by name.
    pub(super) fn definitions(&self) -> Value {
        let mut all: BTreeMap<&str, Value> =
            self.scalars.iter().map(|name| (name.as_str(), self.scalar(name))).collect();
        all.extend(self.objects.iter().map(|(name, def)| (name.as_str(), self.object(name, def))));
        let mut all: BTreeMap<String, Value> =
            all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        all.extend(
            self.lists.iter().map(|(name, def)| (name.clone(), super::custom::list(self.dialect, def))),
        );
        all.into_iter().collect::<Map<_, _>>().into()
    }

    fn scalar(&self, name: &str) -> Value {
        let mut out = scalar(self.dialect, name);
        if let Some(text) = self.descriptions.of_type(name) {
            out["description"] = text.into();
        }
        out
    }

    fn object(&self, name: &str, def: &TypeDef) -> Value {
        if let Some(document) = &def.document {
            return super::custom::object(self.dialect, def, document);
        }
        let mut out = Map::new();
        if let Some(text) = self.descriptions.of_type(name) {
            out.insert("description".to_owned(), text.into());
        }
        out.insert("type".to_owned(), "object".into());
        let described = |field: &Field| {
            let mut property = self.field(field);
            if let Some(text) = self.descriptions.of_field(def, name, &field.name) {
                property["description"] = text.into();
            }
            (field.name.to_string(), property)
        };
        let properties: Map<String, Value> = def.fields.iter().map(described).collect();
        if !properties.is_empty() {
            out.insert("properties".to_owned(), properties.into());
        }
        let required: Vec<Value> = def
            .fields
            .iter()
            .filter(|field| field.required)
            .map(|field| field.name.to_string().into())
            .collect();
        if !required.is_empty() {
            out.insert("required".to_owned(), required.into());
        }
        if def.rest.is_some() {
            out.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
        }
        if def.atomic {
            out.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
        }
        let kinds = self.kinds(def);
        if !kinds.is_empty() {
            out.insert("x-kubernetes-group-version-kind".to_owned(), kinds.into());
        }
        out.into()
    }

    /// The kinds that a type is.
    fn kinds(&self, def: &TypeDef) -> Vec<Value> {
        let kind = |group: &str, version: &str| json!({"group": group, "version": version, "kind": def.name});
        if let Some((group, version)) = &def.kind {
            return vec![kind(group, version)];
        }
        if def.package == META && matches!(&*def.name, "DeleteOptions" | "WatchEvent") {
            let of = self.versions.iter().map(|version| kind(&version.group, &version.version));
            let core =
                (!self.versions.iter().any(|version| version.group.is_empty())).then(|| kind("", "v1"));
            return core.into_iter().chain(of).collect();
        }
        Vec::new()
    }

    fn field(&self, field: &Field) -> Value {
        let mut out = self.shape(&field.shape);
        let is_reference = out.get("$ref").is_some();
        if self.dialect == Dialect::V3 {
            if is_reference {
                out = json!({"allOf": [out]});
            }
            let default = match (&field.shape, field.presence) {
                (Shape::Object(_), Presence::Always) => Some(json!({})),
                (Shape::String, Presence::Always) => Some(json!("")),
                (Shape::Int32 | Shape::Int64 | Shape::Double, Presence::Always) => Some(json!(0)),
                (Shape::Bool, Presence::Always) => Some(json!(false)),
                _ => None,
            };
            if let Some(default) = default {
                out["default"] = default;
            }
        }
        if let Some(default) = &field.default {
            out["default"] = (**default).clone();
        }
        match &field.shape {
            Shape::List { kind, .. } => match kind {
                ListKind::Atomic => out["x-kubernetes-list-type"] = "atomic".into(),
                ListKind::Set => out["x-kubernetes-list-type"] = "set".into(),
                ListKind::Map(keys) => {
                    out["x-kubernetes-list-type"] = "map".into();
                    out["x-kubernetes-list-map-keys"] = json!(keys);
                }
            },
            Shape::Map { atomic: true, .. } => out["x-kubernetes-map-type"] = "atomic".into(),
            _ => {}
        }
        if let Some(patch) = &field.patch {
            let names = [(patch.merge, "merge"), (patch.retain_keys, "retainKeys")];
            let names: Vec<&str> =
                names.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
            if !names.is_empty() {
                out["x-kubernetes-patch-strategy"] = names.join(",").into();
            }
            if let Some(key) = &patch.merge_key {
                out["x-kubernetes-patch-merge-key"] = key.to_string().into();
            }
        }
        out
    }

    fn shape(&self, shape: &Shape) -> Value {
        match shape {
            Shape::Object(def) => reference(self.dialect, &def.full_name()),
            Shape::Map { value, .. } => json!({"type": "object", "additionalProperties": self.shape(value)}),
            Shape::List { item, .. } => json!({"type": "array", "items": self.shape(item)}),
            Shape::String => json!({"type": "string"}),
            Shape::Int32 => json!({"type": "integer", "format": "int32"}),
            Shape::Int64 => json!({"type": "integer", "format": "int64"}),
            Shape::Double => json!({"type": "number", "format": "double"}),
            Shape::Bool => json!({"type": "boolean"}),
            Shape::Bytes => json!({"type": "string", "format": "byte"}),
            other => match scalar_name(other) {
                Some(name) => reference(self.dialect, &name),
                None => json!({}),
            },
        }
    }
}

/// The definition that a scalar with a name of its own refers to.
fn scalar_name(shape: &Shape) -> Option<String> {
    let name = match shape {
        Shape::Quantity => "io.k8s.apimachinery.pkg.api.resource.Quantity".to_owned(),
        Shape::IntOrString => "io.k8s.apimachinery.pkg.util.intstr.IntOrString".to_owned(),
        Shape::RawExtension => "io.k8s.apimachinery.pkg.runtime.RawExtension".to_owned(),
        Shape::Time => format!("{META}.Time"),
        Shape::MicroTime => format!("{META}.MicroTime"),
        Shape::FieldsV1 => format!("{META}.FieldsV1"),
        Shape::Any => format!("{EXTENSIONS}.JSON"),
        Shape::SchemaOrArray => format!("{EXTENSIONS}.JSONSchemaPropsOrArray"),
        Shape::SchemaOrBool => format!("{EXTENSIONS}.JSONSchemaPropsOrBool"),
        Shape::SchemaOrStrings => format!("{EXTENSIONS}.JSONSchemaPropsOrStringArray"),
        Shape::Object(_)
        | Shape::Map { .. }
        | Shape::List { .. }
        | Shape::String
        | Shape::Int32
        | Shape::Int64
        | Shape::Double
        | Shape::Bool
        | Shape::Bytes => return None,
    };
    Some(name)
}

fn scalar(dialect: Dialect, name: &str) -> Value {
    let (_, name) = name.rsplit_once('.').unwrap_or(("", name));
    match (name, dialect) {
        ("Quantity", Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        ("Quantity", Dialect::V2) => json!({"type": "string"}),
        ("IntOrString", Dialect::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        ("IntOrString", Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
        ("Time" | "MicroTime", _) => json!({"type": "string", "format": "date-time"}),
        ("FieldsV1" | "RawExtension" | "Patch", _) => json!({"type": "object"}),
        _ => json!({}),
    }
}
