//! What is wrong with a custom resource, by its schema.
//!
//! What an update leaves as it was is not held against it (ratcheting): a value that equals the old one at the same
//! place is not looked at. Elements of lists correlate by their keys, and not at all where they have none.

use serde_json::Value;

use super::paths::Place;
use super::schema::{Limits, ListType, Structural};
use super::{Custom, format};
use crate::field::{FieldError, Problem, quote, show};
use crate::registry::ResourceDef;

/// What is wrong with an object; with `old` where it is an update.
pub(crate) fn object(
    def: &ResourceDef,
    custom: &Custom,
    new: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kind = new["kind"].as_str().unwrap_or_default();
    if kind != def.kind {
        errors.push(FieldError::invalid("kind", kind, format!("must be {}", def.kind)));
        return errors;
    }
    value(&custom.schema, new, old, &Place::root(), &mut errors);
    if let Some(scale) = &custom.scale {
        scale.validate(new, &mut errors);
    }
    embedded(&custom.schema, new, &Place::root(), &mut errors);
    lists(&custom.schema, new, old, &Place::root(), &mut errors);
    errors
}

/// Whether rules cannot be evaluated on the object, since these are wrong with it.
pub fn is_blocking(errors: &[FieldError]) -> bool {
    errors.iter().any(|error| {
        matches!(
            error.problem,
            Problem::NotSupported(_)
                | Problem::Required
                | Problem::TooLong
                | Problem::TooMany(_)
                | Problem::TypeInvalid(_)
        )
    })
}

/// What is said where rules were not evaluated.
pub fn not_checked() -> FieldError {
    FieldError::invalid(
        "<nil>",
        Value::Null,
        "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
    )
}

/// What is wrong with a default or another value of its own.
pub(super) fn alone(schema: &Structural, of: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    value(schema, of, None, &Place::root(), &mut errors);
    errors
}

/// What Go calls the type of a value.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn has_type(ty: &str, value: &Value) -> bool {
    match (ty, value) {
        ("integer", Value::Number(number)) => number.as_f64().is_some_and(|number| number.fract() == 0.0),
        ("number", Value::Number(_)) => true,
        (ty, value) => ty == type_name(value),
    }
}

/// The path as messages name it.
fn named(place: &Place<'_>) -> String {
    place.to_string()
}

fn wrong(place: &Place<'_>, value: &Value, why: &str) -> FieldError {
    FieldError::invalid(named(place), value.clone(), format!("{place} in body {why}"))
}

fn wrong_type(place: &Place<'_>, ty: &str, found: &str) -> FieldError {
    FieldError {
        field: if place.is_root() { "<nil>".to_owned() } else { named(place) },
        problem: Problem::TypeInvalid(found.into()),
        detail: format!("{place} in body must be of type {ty}: {}", quote(found)),
    }
}

fn value(
    schema: &Structural,
    new: &Value,
    old: Option<&Value>,
    place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    if old == Some(new) {
        return;
    }
    let is_typed = !schema.ty.is_empty() || schema.int_or_string;
    if new.is_null() {
        if is_typed && !schema.nullable {
            errors.push(wrong_type(place, expected(schema), "null"));
        }
        one_of_values(&schema.limits, new, place, errors);
        return;
    }
    let fits = if schema.int_or_string {
        has_type("integer", new) || new.is_string()
    } else {
        schema.ty.is_empty() || has_type(&schema.ty, new)
    };
    if !fits {
        errors.push(wrong_type(place, expected(schema), type_name(new)));
    }
    junctions(&schema.limits, new, place, errors);
    match new {
        Value::String(text) => string(&schema.limits, text, new, place, errors),
        Value::Number(_) => number(&schema.limits, new, place, errors),
        Value::Array(items) => array(schema, items, new, old, place, errors),
        Value::Object(_) | Value::Null | Value::Bool(_) => {}
    }
    one_of_values(&schema.limits, new, place, errors);
    if new.is_object() {
        object_fields(schema, new, old, place, errors);
    }
}

fn expected(schema: &Structural) -> &str {
    if schema.int_or_string { "integer,string" } else { &schema.ty }
}

fn one_of_values(limits: &Limits, value: &Value, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let all = &limits.one_of_values;
    if all.is_empty() || all.contains(value) {
        return;
    }
    let words: Vec<String> =
        all.iter().map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    errors.push(FieldError::not_supported(named(place), value.clone(), &words));
}

fn string(limits: &Limits, text: &str, value: &Value, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(most) = limits.max_length.filter(|most| length > *most) {
        errors.push(FieldError::too_long(named(place), usize::try_from(most).unwrap_or_default()));
    }
    if let Some(least) = limits.min_length.filter(|least| length < *least) {
        errors.push(wrong(place, value, &format!("should be at least {least} chars long")));
    }
    if let Some((written, Some(pattern))) = &limits.pattern
        && !pattern.is_match(text)
    {
        errors.push(wrong(place, value, &format!("should match '{written}'")));
    }
    if !limits.format.is_empty() && !format::is_valid(&limits.format, text) {
        errors.push(FieldError {
            field: named(place),
            problem: Problem::TypeInvalid(value.clone()),
            detail: format!("{place} in body must be of type {}: {}", limits.format, quote(text)),
        });
    }
}

fn number(limits: &Limits, value: &Value, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let Some(number) = value.as_f64() else { return };
    if limits.format == "int32" && !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
        errors.push(FieldError {
            field: named(place),
            problem: Problem::Invalid(value.clone()),
            detail: format!("{place} in body must be of type int32: {}", quote(&value.to_string())),
        });
    }
    if let Some(of) = limits.multiple_of.filter(|of| *of > 0.0)
        && (number / of).fract() != 0.0
    {
        errors.push(wrong(place, value, &format!("should be a multiple of {of}")));
    }
    match limits.maximum {
        Some((most, true)) if number >= most => {
            errors.push(wrong(place, value, &format!("should be less than {most}")));
        }
        Some((most, false)) if number > most => {
            errors.push(wrong(place, value, &format!("should be less than or equal to {most}")));
        }
        _ => {}
    }
    match limits.minimum {
        Some((least, true)) if number <= least => {
            errors.push(wrong(place, value, &format!("should be greater than {least}")));
        }
        Some((least, false)) if number < least => {
            errors.push(wrong(place, value, &format!("should be greater than or equal to {least}")));
        }
        _ => {}
    }
}

fn array(
    schema: &Structural,
    items: &[Value],
    new: &Value,
    old: Option<&Value>,
    place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    let limits = &schema.limits;
    if let Some(own) = schema.items.as_deref() {
        for (index, item) in items.iter().enumerate() {
            value(own, item, correlated(schema, item, old), &place.index(index), errors);
        }
    }
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if let Some(least) = limits.min_items.filter(|least| count < *least) {
        errors.push(wrong(place, new, &format!("should have at least {least} items")));
    }
    if let Some(most) = limits.max_items.filter(|most| count > *most) {
        let most = usize::try_from(most).unwrap_or_default();
        errors.push(FieldError::too_many(named(place), items.len(), most));
    }
    if limits.unique && items.iter().enumerate().any(|(index, item)| items[..index].contains(item)) {
        errors.push(wrong(place, new, "shouldn't contain duplicates"));
    }
}

/// The old element that a new one stands for: that of the same keys.
pub fn correlated<'a>(schema: &Structural, item: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
    if schema.list_type != ListType::Map {
        return None;
    }
    let keys = keys_of(schema, item);
    old?.as_array()?.iter().find(|old| keys_of(schema, old) == keys)
}

fn keys_of<'a>(schema: &'a Structural, item: &'a Value) -> Vec<Option<&'a Value>> {
    let default = |key: &str| schema.items.as_deref()?.properties.get(key)?.default.as_ref();
    schema.list_keys.iter().map(|key| item.get(key).or_else(|| default(key))).collect()
}

fn object_fields(
    schema: &Structural,
    new: &Value,
    old: Option<&Value>,
    place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    let Some(fields) = new.as_object() else { return };
    let limits = &schema.limits;
    let count = i64::try_from(fields.len()).unwrap_or(i64::MAX);
    if let Some(least) = limits.min_properties.filter(|least| count < *least) {
        errors.push(wrong(place, new, &format!("should have at least {least} properties")));
    }
    if let Some(most) = limits.max_properties.filter(|most| count > *most) {
        let most = usize::try_from(most).unwrap_or_default();
        errors.push(FieldError::too_many(named(place), fields.len(), most));
    }
    for name in limits.required.iter().filter(|name| !fields.contains_key(*name)) {
        errors.push(FieldError::required(place.field(name), ""));
    }
    for (name, field) in fields {
        // Metadata is checked as that of every kind.
        if place.is_root() && matches!(name.as_str(), "metadata" | "apiVersion" | "kind") {
            if let (Some(own), "metadata") = (schema.properties.get(name), name.as_str()) {
                value(own, field, old.and_then(|old| old.get(name)), &place.field(name), errors);
            }
            continue;
        }
        let old = old.and_then(|old| old.get(name));
        if let Some(own) = schema.properties.get(name) {
            value(own, field, old, &place.field(name), errors);
        } else if let Some(own) = schema.additional.as_deref() {
            value(own, field, old, &place.field(name), errors);
        }
    }
}

/// The text that names a place in messages about alternatives.
fn junction(place: &Place<'_>, why: &str) -> FieldError {
    FieldError::invalid("<nil>", "", format!("{} {why}", quote(&named(place))))
}

fn junctions(limits: &Limits, new: &Value, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let tried = |schema: &Structural| {
        let mut found = Vec::new();
        value(schema, new, None, place, &mut found);
        found
    };
    // Of those that fail, the one that fails least says what is missing.
    let fewest = |all: Vec<Vec<FieldError>>| all.into_iter().min_by_key(Vec::len).unwrap_or_default();
    if !limits.any_of.is_empty() {
        let all: Vec<_> = limits.any_of.iter().map(tried).collect();
        if !all.iter().any(Vec::is_empty) {
            errors.push(junction(place, "must validate at least one schema (anyOf)"));
            errors.extend(fewest(all));
        }
    }
    if !limits.one_of.is_empty() {
        let all: Vec<_> = limits.one_of.iter().map(tried).collect();
        match all.iter().filter(|found| found.is_empty()).count() {
            1 => {}
            0 => {
                let why = "must validate one and only one schema (oneOf). Found none valid";
                errors.push(junction(place, why));
                errors.extend(fewest(all));
            }
            count => {
                let why = format!(
                    "must validate one and only one schema (oneOf). Found {count} valid alternatives"
                );
                errors.push(junction(place, &why));
            }
        }
    }
    if !limits.all_of.is_empty() {
        let all: Vec<_> = limits.all_of.iter().map(tried).collect();
        let valid = all.iter().filter(|found| found.is_empty()).count();
        if valid < all.len() {
            errors.extend(all.into_iter().flatten());
            let none = if valid == 0 { ". None validated" } else { "" };
            errors.push(junction(place, &format!("must validate all the schemas (allOf){none}")));
        }
    }
    if limits.not.as_deref().is_some_and(|not| tried(not).is_empty()) {
        errors.push(junction(place, "must not validate the schema (not)"));
    }
}

/// Objects within objects say what they are.
fn embedded(schema: &Structural, value: &Value, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    if schema.embedded
        && let Some(fields) = value.as_object()
    {
        for name in ["apiVersion", "kind"] {
            if fields.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                errors.push(FieldError::required(place.field(name), "must not be empty"));
            }
        }
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(own) = schema.field(name) {
                    embedded(own, value, &place.field(name), errors);
                }
            }
        }
        Value::Array(items) => {
            let Some(own) = schema.items.as_deref() else { return };
            for (index, item) in items.iter().enumerate() {
                embedded(own, item, &place.index(index), errors);
            }
        }
        _ => {}
    }
}

/// Elements of sets, and keys of maps, are there once.
fn lists(
    schema: &Structural,
    value: &Value,
    old: Option<&Value>,
    place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    if old == Some(value) {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(own) = schema.properties.get(name) {
                    lists(own, value, old.and_then(|old| old.get(name)), &place.field(name), errors);
                } else if let Some(own) = schema.additional.as_deref() {
                    lists(own, value, old.and_then(|old| old.get(name)), &place.key(name), errors);
                }
            }
        }
        Value::Array(items) => {
            duplicates(schema, items, place, errors);
            let Some(own) = schema.items.as_deref() else { return };
            for (index, item) in items.iter().enumerate() {
                lists(own, item, correlated(schema, item, old), &place.index(index), errors);
            }
        }
        _ => {}
    }
}

fn duplicates(schema: &Structural, items: &[Value], place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let mut seen: std::collections::HashMap<String, bool> = std::collections::HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let told = match schema.list_type {
            ListType::Atomic => return,
            ListType::Set => item.clone(),
            ListType::Map => {
                let keys = schema.list_keys.iter().zip(keys_of(schema, item));
                keys.filter_map(|(key, value)| Some((key.clone(), value?.clone()))).collect()
            }
        };
        // Each is told once, however often it is repeated.
        match seen.get_mut(&show(&told)) {
            None => {
                seen.insert(show(&told), false);
            }
            Some(is_told) if !*is_told => {
                *is_told = true;
                errors.push(FieldError::duplicate(place.index(index), told));
            }
            Some(_) => {}
        }
    }
}
