//! The schema itself, read from `openAPIV3Schema`.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::kinds::access::{at, flag, list, map, some, text};

/// How server-side apply merges a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListType {
    /// As one value.
    #[default]
    Atomic,
    /// As a set.
    Set,
    /// By the keys of its elements.
    Map,
}

/// The schema of a value. A schema that is not well formed reads as one that allows more.
#[derive(Debug, Default)]
pub struct Structural {
    /// As `string`; empty where anything may stand.
    pub ty: String,
    /// The fields of an object.
    pub properties: BTreeMap<String, Structural>,
    /// The values of an object with free keys.
    pub additional: Option<Box<Structural>>,
    /// The elements of a list.
    pub items: Option<Box<Structural>>,
    /// Whether null may stand for the value.
    pub nullable: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    /// `x-kubernetes-list-type`.
    pub list_type: ListType,
    /// `x-kubernetes-list-map-keys`.
    pub list_keys: Vec<String>,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic: bool,
    /// What an absent value reads as.
    pub default: Option<Value>,
    /// `x-kubernetes-validations`, as written.
    pub rules: Vec<Value>,
    /// What a value must be.
    pub limits: Limits,
}

/// What a value must be beyond its type.
#[derive(Debug, Default)]
pub struct Limits {
    /// As `date-time`.
    pub format: String,
    /// Fields that must be there.
    pub required: Vec<String>,
    /// The values that are allowed; none where all are.
    pub one_of_values: Vec<Value>,
    /// The least number, and whether it is excluded itself.
    pub minimum: Option<(f64, bool)>,
    /// The greatest number, and whether it is excluded itself.
    pub maximum: Option<(f64, bool)>,
    /// What the number is a multiple of.
    pub multiple_of: Option<f64>,
    /// In characters.
    pub min_length: Option<i64>,
    /// In characters.
    pub max_length: Option<i64>,
    /// Which texts are allowed, as it is written and as it is run.
    pub pattern: Option<(String, Option<Regex>)>,
    /// Elements.
    pub min_items: Option<i64>,
    /// Elements.
    pub max_items: Option<i64>,
    /// Whether elements must differ.
    pub unique: bool,
    /// Fields.
    pub min_properties: Option<i64>,
    /// Fields.
    pub max_properties: Option<i64>,
    /// All of these must hold.
    pub all_of: Vec<Structural>,
    /// One at least of these must hold.
    pub any_of: Vec<Structural>,
    /// Exactly one of these must hold.
    pub one_of: Vec<Structural>,
    /// This must not hold.
    pub not: Option<Box<Structural>>,
}

impl Structural {
    /// Reads a schema.
    pub fn parse(schema: &Value) -> Self {
        let additional = match at(schema, "additionalProperties") {
            Value::Object(_) => Some(Box::new(Self::parse(at(schema, "additionalProperties")))),
            Value::Bool(true) => Some(Box::new(Self { preserve: true, ..Self::default() })),
            _ => None,
        };
        let items = some(schema, "items").filter(|items| items.is_object());
        Self {
            ty: text(schema, "type").to_owned(),
            properties: map(schema, "properties")
                .map(|(name, own)| (name.clone(), Self::parse(own)))
                .collect(),
            additional,
            items: items.map(|items| Box::new(Self::parse(items))),
            nullable: flag(schema, "nullable"),
            preserve: flag(schema, "x-kubernetes-preserve-unknown-fields"),
            int_or_string: flag(schema, "x-kubernetes-int-or-string"),
            embedded: flag(schema, "x-kubernetes-embedded-resource"),
            list_type: match text(schema, "x-kubernetes-list-type") {
                "set" => ListType::Set,
                "map" => ListType::Map,
                _ => ListType::Atomic,
            },
            list_keys: words(schema, "x-kubernetes-list-map-keys"),
            atomic: text(schema, "x-kubernetes-map-type") == "atomic",
            default: schema.get("default").filter(|value| !value.is_null()).cloned(),
            rules: list(schema, "x-kubernetes-validations").to_vec(),
            limits: Limits::parse(schema),
        }
    }

    /// Whether an object of this schema keeps fields that it does not name.
    pub fn keeps_unknown(&self) -> bool {
        self.preserve || (self.ty.is_empty() && self.int_or_string)
    }

    /// The schema of a field.
    pub fn field(&self, name: &str) -> Option<&Structural> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    /// Whether any part of the schema satisfies `is`.
    pub fn any(&self, is: &dyn Fn(&Structural) -> bool) -> bool {
        is(self)
            || self.properties.values().any(|own| own.any(is))
            || self.additional.as_deref().is_some_and(|own| own.any(is))
            || self.items.as_deref().is_some_and(|own| own.any(is))
    }
}

impl Limits {
    fn parse(schema: &Value) -> Self {
        let number = |name: &str| schema.get(name).and_then(Value::as_f64);
        let int = |name: &str| schema.get(name).and_then(Value::as_i64);
        let all = |name: &str| list(schema, name).iter().map(Structural::parse).collect();
        let pattern = text(schema, "pattern");
        Self {
            format: text(schema, "format").to_owned(),
            required: words(schema, "required"),
            one_of_values: list(schema, "enum").to_vec(),
            minimum: number("minimum").map(|least| (least, flag(schema, "exclusiveMinimum"))),
            maximum: number("maximum").map(|most| (most, flag(schema, "exclusiveMaximum"))),
            multiple_of: number("multipleOf"),
            min_length: int("minLength"),
            max_length: int("maxLength"),
            pattern: (!pattern.is_empty()).then(|| (pattern.to_owned(), Regex::new(pattern).ok())),
            min_items: int("minItems"),
            max_items: int("maxItems"),
            unique: flag(schema, "uniqueItems"),
            min_properties: int("minProperties"),
            max_properties: int("maxProperties"),
            all_of: all("allOf"),
            any_of: all("anyOf"),
            one_of: all("oneOf"),
            not: some(schema, "not").map(|not| Box::new(Structural::parse(not))),
        }
    }
}

fn words(schema: &Value, name: &str) -> Vec<String> {
    list(schema, name).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
