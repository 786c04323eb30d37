//! What may be said in a CustomResourceDefinition beyond its names: versions, schemas, subresources, columns.
//!
//! A schema is structural: every value has a type, outside of `allOf`, `anyOf`, `oneOf` and `not`, which may only
//! restrict what has been specified already.

use serde_json::Value;

use super::path::JsonPath;
use super::{Structural, prune, validate};
use crate::field::FieldError;
use crate::kinds::access::{at, flag, has, int, list, map, some, text};
use crate::kinds::path::Path;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 9] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password", "name"];

/// What is wrong with the versions of a definition.
pub fn versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let root = Path::Root("spec");
    if flag(spec, "preserveUnknownFields") {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid(root.field("preserveUnknownFields"), true, why));
    }
    let field = root.field("versions");
    for (index, version) in list(spec, "versions").iter().enumerate() {
        let path = field.index(index);
        if !text(version, "deprecationWarning").is_empty() && !flag(version, "deprecated") {
            let why = "can only be set for deprecated versions";
            let warning = text(version, "deprecationWarning");
            errors.push(FieldError::invalid(path.field("deprecationWarning"), warning, why));
        }
        let outer = path.field("schema");
        let place = outer.field("openAPIV3Schema");
        if let Some(schema) = some(at(version, "schema"), "openAPIV3Schema") {
            root_schema(schema, &place, errors);
            subresources(version, schema, &path, errors);
            selectable_fields(version, schema, &path, errors);
        }
        columns(version, &path, errors);
    }
    conversion(spec, &root, errors);
}

fn conversion(spec: &Value, root: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(conversion) = some(spec, "conversion") else { return };
    let path = root.field("conversion");
    let hook = path.field("webhook");
    match text(conversion, "strategy") {
        "None" => {
            if has(conversion, "webhook") {
                let why = "should not be set when strategy is not set to Webhook";
                errors.push(FieldError::forbidden(hook, why));
            }
        }
        "Webhook" => {
            let Some(webhook) = some(conversion, "webhook") else {
                let why = "required when strategy is set to Webhook";
                errors.push(FieldError::required(path.field("webhookClientConfig"), why));
                return;
            };
            let versions = list(webhook, "conversionReviewVersions");
            let field = hook.field("conversionReviewVersions");
            if versions.is_empty() {
                errors.push(FieldError::required(field, ""));
            } else if !versions.iter().any(|version| version == "v1" || version == "v1beta1") {
                let why = "must include at least one of v1, v1beta1";
                errors.push(FieldError::invalid(field, versions.to_vec(), why));
            }
            let config = at(webhook, "clientConfig");
            let place = hook.field("clientConfig");
            if has(config, "url") == has(config, "service") {
                errors.push(FieldError::required(place, "exactly one of url or service is required"));
            }
        }
        other => {
            let supported = ["None", "Webhook"];
            errors.push(FieldError::not_supported(path.field("strategy"), other, &supported));
        }
    }
}

fn root_schema(schema: &Value, place: &Path<'_>, errors: &mut Vec<FieldError>) {
    if schema.get("nullable").is_some_and(|nullable| nullable == true) {
        errors.push(FieldError::forbidden(place.field("nullable"), "nullable cannot be true at the root"));
    }
    let before = errors.len();
    structural(schema, place, Level { is_root: true, is_value: false }, errors);
    if let Some(metadata) = some(at(schema, "properties"), "metadata") {
        metadata_schema(metadata, place, errors);
    }
    // Defaults mean something only in a schema that is well formed.
    if errors.len() == before {
        defaults(schema, place, errors);
    }
}

/// Metadata is what it is everywhere; a schema may restrict the name only.
fn metadata_schema(metadata: &Value, root: &Path<'_>, errors: &mut Vec<FieldError>) {
    let properties = root.field("properties");
    let place = properties.key("metadata");
    for (name, _) in map(metadata, "properties") {
        if !matches!(name.as_str(), "name" | "generateName") {
            let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.push(FieldError::forbidden(place, why));
            return;
        }
    }
}

/// Where a schema stands.
#[derive(Clone, Copy)]
struct Level {
    is_root: bool,
    /// Within `allOf`, `anyOf`, `oneOf` or `not`.
    is_value: bool,
}

const INNER: Level = Level { is_root: false, is_value: false };
const VALUE: Level = Level { is_root: false, is_value: true };

fn structural(schema: &Value, place: &Path<'_>, level: Level, errors: &mut Vec<FieldError>) {
    if level.is_value {
        within_junction(schema, place, errors);
    } else {
        types(schema, place, level, errors);
        extensions(schema, place, errors);
    }
    plain(schema, place, errors);
    let properties = place.field("properties");
    for (name, own) in map(schema, "properties") {
        structural(own, &properties.key(name), deeper(level), errors);
    }
    if let Some(items) = some(schema, "items") {
        let place = place.field("items");
        if items.is_array() {
            let why = "items must be a schema object and not an array";
            errors.push(FieldError::forbidden(place, why));
        } else {
            structural(items, &place, deeper(level), errors);
        }
    }
    let additional = at(schema, "additionalProperties");
    if additional.is_object() {
        structural(additional, &place.field("additionalProperties"), deeper(level), errors);
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        let field = place.field(word);
        for (index, own) in list(schema, word).iter().enumerate() {
            // The two types of an int-or-string may be spelled out.
            if flag(schema, "x-kubernetes-int-or-string") && is_bare_type(own) {
                continue;
            }
            structural(own, &field.index(index), VALUE, errors);
        }
    }
    if let Some(not) = some(schema, "not") {
        structural(not, &place.field("not"), VALUE, errors);
    }
}

fn deeper(level: Level) -> Level {
    if level.is_value { VALUE } else { INNER }
}

fn is_bare_type(schema: &Value) -> bool {
    matches!(text(schema, "type"), "integer" | "string" | "")
        && schema
            .as_object()
            .is_some_and(|fields| fields.keys().all(|name| name == "type" || name == "anyOf"))
}

/// The type of a value, and what goes with it.
fn types(schema: &Value, place: &Path<'_>, level: Level, errors: &mut Vec<FieldError>) {
    let ty = text(schema, "type");
    let field = place.field("type");
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
    if level.is_root {
        // What the root lacks is told with the names of the definition.
    } else if ty.is_empty() && !int_or_string && !preserve {
        let of = match place {
            Path::Field(_, "items") => "must not be empty for specified array items",
            _ => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(field, of));
    } else if ty == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(field, why));
    } else if !ty.is_empty() && !TYPES.contains(&ty) {
        errors.push(FieldError::not_supported(field, ty, &TYPES));
    }
    if int_or_string && !ty.is_empty() {
        let why = "must be empty if x-kubernetes-int-or-string is true";
        errors.push(FieldError::forbidden(field, why));
    }
    if ty == "array" && !has(schema, "items") {
        errors.push(FieldError::required(place.field("items"), "must be specified"));
    }
    if flag(schema, "x-kubernetes-embedded-resource") {
        if ty != "object" {
            let why = "must be object if x-kubernetes-embedded-resource is true";
            errors.push(FieldError::invalid(field, ty, why));
        }
        if !preserve && map(schema, "properties").next().is_none() {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            errors.push(FieldError::required(place.field("properties"), why));
        }
    }
}

/// How lists and maps merge.
fn extensions(schema: &Value, place: &Path<'_>, errors: &mut Vec<FieldError>) {
    let ty = text(schema, "type");
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let field = place.field("x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(field, false, "must be true or undefined"));
    }
    let map_type = text(schema, "x-kubernetes-map-type");
    if !map_type.is_empty() {
        if ty != "object" {
            let why = "must be object if x-kubernetes-map-type is specified";
            errors.push(FieldError::invalid(place.field("type"), ty, why));
        }
        if !matches!(map_type, "atomic" | "granular") {
            let field = place.field("x-kubernetes-map-type");
            errors.push(FieldError::not_supported(field, map_type, &["atomic", "granular"]));
        }
    }
    let list_type = text(schema, "x-kubernetes-list-type");
    let keys = list(schema, "x-kubernetes-list-map-keys");
    let field = place.field("x-kubernetes-list-type");
    if !list_type.is_empty() {
        if ty != "array" {
            let why = "must be array if x-kubernetes-list-type is specified";
            errors.push(FieldError::invalid(place.field("type"), ty, why));
        } else if !matches!(list_type, "atomic" | "set" | "map") {
            errors.push(FieldError::not_supported(field, list_type, &["atomic", "set", "map"]));
        }
    }
    let items = at(schema, "items");
    if list_type == "map" {
        map_keys(keys, items, place, errors);
    } else if !keys.is_empty() {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(FieldError::invalid(field, list_type, why));
    }
    if list_type == "set" && flag(items, "nullable") {
        let inner = place.field("items");
        let why = "cannot be nullable when x-kubernetes-list-type is set";
        errors.push(FieldError::forbidden(inner.field("nullable"), why));
    }
}

fn map_keys(keys: &[Value], items: &Value, place: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = place.field("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        let why = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(field, why));
    }
    let inner = place.field("items");
    if text(items, "type") != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(inner.field("type"), text(items, "type"), why));
    }
    for (index, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        if keys[..index].contains(key) {
            errors.push(FieldError::duplicate(field.index(index), name));
        }
        let Some(own) = some(at(items, "properties"), name) else {
            let why = "entries must all be names of item properties";
            errors.push(FieldError::invalid(field.index(index), name, why));
            continue;
        };
        let properties = inner.field("properties");
        let place = properties.key(name);
        if matches!(text(own, "type"), "array" | "object") {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(place.field("type"), text(own, "type"), why));
        }
        let is_required = list(items, "required").contains(key);
        if !is_required && !has(own, "default") {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(place.field("default"), why));
        }
    }
}

/// What no schema may say, and what must make sense wherever it is said.
fn plain(schema: &Value, place: &Path<'_>, errors: &mut Vec<FieldError>) {
    if flag(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(place.field("uniqueItems"), why));
    }
    if has(schema, "$ref") {
        errors.push(FieldError::forbidden(place.field("$ref"), "$ref is not supported"));
    }
    for name in ["definitions", "patternProperties", "dependencies"] {
        if has(schema, name) {
            let why = format!("{name} is not supported");
            errors.push(FieldError::forbidden(place.field(name), why));
        }
    }
    for name in ["additionalItems", "id"] {
        if has(schema, name) {
            errors.push(FieldError::forbidden(place.field(name), format!("{name} is not supported")));
        }
    }
    match schema.get("additionalProperties") {
        Some(Value::Bool(false)) => {
            let why = "additionalProperties cannot be set to false";
            errors.push(FieldError::forbidden(place.field("additionalProperties"), why));
        }
        Some(Value::Object(_) | Value::Bool(true)) if map(schema, "properties").next().is_some() => {
            let why = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(place.field("additionalProperties"), why));
        }
        _ => {}
    }
    let pattern = text(schema, "pattern");
    if let Err(error) = regex::Regex::new(pattern) {
        let why = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(place.field("pattern"), pattern, why));
    }
    for (low, high) in
        [("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties")]
    {
        for name in [low, high] {
            if let Some(number) = int(schema, name).filter(|number| *number < 0) {
                let why = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(place.field(name), number, why));
            }
        }
    }
}

/// Within `allOf` and the like, nothing may be specified that changes what is stored.
fn within_junction(schema: &Value, place: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["type", "title", "description", "default", "nullable"] {
        if has(schema, name) && schema[name] != "" && schema[name] != false {
            errors.push(FieldError::forbidden(place.field(name), "must be empty to be structural"));
        }
    }
    for (name, value) in schema.as_object().into_iter().flatten() {
        let is_rule = name == "x-kubernetes-validations";
        if is_rule {
            errors.push(FieldError::forbidden(place.field(name), "must be empty to be structural"));
        } else if name.starts_with("x-kubernetes-") && *value != false {
            let why = match name.as_str() {
                "x-kubernetes-preserve-unknown-fields"
                | "x-kubernetes-embedded-resource"
                | "x-kubernetes-int-or-string" => "must be false to be structural",
                _ => "must be undefined to be structural",
            };
            errors.push(FieldError::forbidden(place.field(name), why));
        }
    }
    let additional = at(schema, "additionalProperties");
    if additional.is_object() || *additional == true {
        let why = "must be undefined to be structural";
        errors.push(FieldError::forbidden(place.field("additionalProperties"), why));
    }
}

/// A default must be a value that the schema allows, and that it would not prune.
fn defaults(schema: &Value, place: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(default) = some(schema, "default") {
        let field = place.field("default");
        let own = Structural::parse(schema);
        let mut pruned = default.clone();
        let unknown = prune::value(&own, &mut pruned);
        if !unknown.is_empty() {
            errors.push(FieldError::invalid(field, default.clone(), "must not have unknown fields"));
        }
        super::default::fill(&own, &mut pruned);
        for mut error in validate::alone(&own, &pruned) {
            let inner = if matches!(error.field.as_str(), "" | "<nil>") {
                field.to_string()
            } else {
                format!("{field}.{}", error.field)
            };
            if error.detail.starts_with(" in body") {
                error.detail = format!("{field}{}", error.detail);
            }
            error.field = inner;
            errors.push(error);
        }
    }
    let properties = place.field("properties");
    for (name, own) in map(schema, "properties") {
        defaults(own, &properties.key(name), errors);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(own) = some(schema, name).filter(|own| own.is_object()) {
            defaults(own, &place.field(name), errors);
        }
    }
}

fn subresources(version: &Value, schema: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(scale) = some(at(version, "subresources"), "scale") else { return };
    let _ = schema;
    let outer = path.field("subresources");
    let place = outer.field("scale");
    for (name, prefixes, is_needed) in [
        ("specReplicasPath", &[".spec."][..], true),
        ("statusReplicasPath", &[".status."][..], true),
        ("labelSelectorPath", &[".status.", ".spec."][..], false),
    ] {
        let given = text(scale, name);
        let field = place.field(name);
        if given.is_empty() {
            if is_needed {
                errors.push(FieldError::required(field, ""));
            }
            continue;
        }
        let is_simple = given.starts_with('.') && !given.contains(['[', ']', '{', '}', '*', '@', ' ']);
        if !is_simple {
            let why = "should be a simple json path of the form `.a.b`, without array notation";
            errors.push(FieldError::invalid(field, given, why));
        } else if !prefixes.iter().any(|prefix| given.starts_with(prefix)) {
            let why = match prefixes {
                [one] => format!("should be a json path under {}", one.trim_end_matches('.')),
                _ => "should be a json path under either .status or .spec".to_owned(),
            };
            errors.push(FieldError::invalid(field, given, why));
        }
    }
}

fn columns(version: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = path.field("additionalPrinterColumns");
    for (index, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
        let place = field.index(index);
        if text(column, "name").is_empty() {
            errors.push(FieldError::required(place.field("name"), ""));
        }
        let ty = text(column, "type");
        if ty.is_empty() {
            let why = format!("must be one of {}", COLUMN_TYPES.join(","));
            errors.push(FieldError::required(place.field("type"), why));
        } else if !COLUMN_TYPES.contains(&ty) {
            let why = format!("must be one of {}", COLUMN_TYPES.join(","));
            errors.push(FieldError::invalid(place.field("type"), ty, why));
        }
        let format = text(column, "format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
            errors.push(FieldError::invalid(place.field("format"), format, why));
        }
        let json_path = text(column, "jsonPath");
        let field = place.field("jsonPath");
        if json_path.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if !json_path.starts_with(['.', '[', '{', '$']) {
            let why = "must be a simple json path starting with .";
            errors.push(FieldError::invalid(field, json_path, why));
        } else if let Err(why) = JsonPath::parse(json_path) {
            errors.push(FieldError::invalid(field, json_path, why));
        }
    }
}

fn selectable_fields(version: &Value, schema: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MOST: usize = 8;
    let field = path.field("selectableFields");
    let all = list(version, "selectableFields");
    if all.len() > MOST {
        errors.push(FieldError::too_many(field, all.len(), MOST));
    }
    for (index, own) in all.iter().enumerate() {
        let place = field.index(index);
        let json_path = text(own, "jsonPath");
        let place = place.field("jsonPath");
        if json_path.is_empty() {
            errors.push(FieldError::required(place, ""));
            continue;
        }
        if all[..index].iter().any(|other| text(other, "jsonPath") == json_path) {
            errors.push(FieldError::duplicate(place, json_path));
        }
        let mut steps = json_path.strip_prefix('.').unwrap_or_default().split('.').peekable();
        if !json_path.starts_with('.') || steps.peek() == Some(&"metadata") {
            let why = match steps.peek() {
                Some(&"metadata") => "must not point to fields in metadata",
                _ => "is an invalid path: does not refer to a valid field",
            };
            errors.push(FieldError::invalid(place, json_path, why));
            continue;
        }
        let found = steps.try_fold(schema, |at, step| some(crate::kinds::access::at(at, "properties"), step));
        match found.map(|found| text(found, "type")) {
            None => {
                let why = "is an invalid path: does not refer to a valid field";
                errors.push(FieldError::invalid(place, json_path, why));
            }
            Some("string" | "boolean" | "integer") => {}
            Some(_) => {
                let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                errors.push(FieldError::invalid(place, json_path, why));
            }
        }
    }
}
