//! Schemas at work: what is dropped, filled in, refused, and in which words.

use serde_json::{Value, json};

use super::definition::version_order;
use super::*;
use crate::field::FieldError;

const WIDGET: &str = r##"{
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "singular": "widget", "listKind": "WidgetList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                "additionalPrinterColumns": [{"name": "Size", "type": "string", "jsonPath": ".spec.size"}],
                "selectableFields": [{"jsonPath": ".spec.size"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {
                        "size": {"type": "string", "enum": ["s", "m"], "default": "m"},
                        "replicas": {"type": "integer", "minimum": 0},
                        "port": {"x-kubernetes-int-or-string": true},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                        "maybe": {"type": "string", "nullable": true},
                        "code": {"type": "string", "pattern": "^a+$", "maxLength": 3},
                        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                        "when": {"type": "string", "format": "date-time"},
                        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}, "maxItems": 2},
                        "either": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                            "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
                        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "v": {"type": "integer"}}}}
                    }},
                    "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}}
                }}}
            }]
        },
        "status": {
            "acceptedNames": {"plural": "widgets", "kind": "Widget", "singular": "widget", "listKind": "WidgetList", "shortNames": ["wd"]},
            "conditions": [{"type": "Established", "status": "True"}]
        }
    }"##;

fn widget() -> Value {
    serde_json::from_str(WIDGET).expect("JSON")
}

fn def() -> ResourceDef {
    definition::resources(&widget(), 7).remove(0)
}

fn decoded(spec: Value, validation: FieldValidation) -> Result<Decoded, Status> {
    let document =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "x"}, "spec": spec});
    let mut read = crate::codec::decode(
        &def(),
        crate::codec::MediaType::Json,
        document.to_string().as_bytes(),
        validation,
    )?;
    crate::codec::to_storage(&def(), &mut read.object);
    Ok(read)
}

/// What is wrong with a spec, one text for each, ordered.
fn errors(spec: Value) -> Vec<String> {
    let object = decoded(spec, FieldValidation::Ignore).expect("a document").object;
    let mut all: Vec<String> =
        crate::kinds::validate(&def(), &object).iter().map(FieldError::to_string).collect();
    all.sort();
    all
}

#[test]
fn a_definition_becomes_a_resource() {
    let def = def();
    assert_eq!((&*def.plural, &*def.kind, &*def.list_kind), ("widgets", "Widget", "WidgetList"));
    assert_eq!((&*def.bucket, def.has_status(), def.namespaced), ("widgets.example.com", true, true));
    assert_eq!(def.schema.full_name(), "com.example.v1.Widget");
    assert_eq!(def.fields[0].label, "spec.size");
    assert_eq!(def.subresource("scale").map(|scale| &*scale.group), Some("autoscaling"));
    let mut unserved = widget();
    unserved["status"]["conditions"] = json!([]);
    assert!(definition::resources(&unserved, 7).is_empty());
}

#[test]
fn unknown_fields_are_dropped_and_told() {
    let spec = json!({"size": "s", "bogus": 1, "free": {"any": [1]}, "list": [{"name": "a", "x": 1}]});
    let read = decoded(spec.clone(), FieldValidation::Warn).expect("a document");
    assert_eq!(read.warnings, ["unknown field \"spec.bogus\"", "unknown field \"spec.list[0].x\""]);
    assert_eq!(read.object["spec"], json!({"size": "s", "free": {"any": [1]}, "list": [{"name": "a"}]}));
    let refused =
        decoded(json!({"size": "s", "bogus": 1}), FieldValidation::Strict).expect_err("it is refused");
    assert_eq!(
        refused.message,
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.bogus\""
    );
}

#[test]
fn defaults_fill_in_what_is_absent_and_nulls_that_may_not_be() {
    let read = decoded(json!({"size": null, "maybe": null, "replicas": null}), FieldValidation::Strict);
    assert_eq!(read.expect("a document").object["spec"], json!({"size": "m", "maybe": null}));
}

#[test]
fn what_is_wrong_is_told_as_in_kubernetes() {
    for (spec, expected) in [
        (
            json!({"replicas": -1}),
            vec![
                ".spec.replicas: Invalid value: -1: should be a non-negative integer",
                "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0",
            ],
        ),
        (json!({"size": "xl"}), vec!["spec.size: Unsupported value: \"xl\": supported values: \"s\", \"m\""]),
        (
            json!({"maybe": 1}),
            vec![
                "spec.maybe: Invalid value: \"integer\": spec.maybe in body must be of type string: \"integer\"",
            ],
        ),
        (json!({"port": "http"}), vec![]),
        (json!({"port": 80}), vec![]),
        (
            json!({"code": "b"}),
            vec!["spec.code: Invalid value: \"b\": spec.code in body should match '^a+$'"],
        ),
        (json!({"code": "aaaa"}), vec!["spec.code: Too long: may not be more than 3 bytes"]),
        (
            json!({"labels": {"a": true}}),
            vec![
                "spec.labels.a: Invalid value: \"boolean\": spec.labels.a in body must be of type string: \"boolean\"",
            ],
        ),
        (
            json!({"when": "soon"}),
            vec!["spec.when: Invalid value: \"soon\": spec.when in body must be of type date-time: \"soon\""],
        ),
        (json!({"set": ["a", "a"]}), vec!["spec.set[1]: Duplicate value: \"a\""]),
        (json!({"set": ["a", "b", "c"]}), vec!["spec.set: Too many: 3: must have at most 2 items"]),
        (
            json!({"list": [{"name": "a"}, {"name": "a", "v": 1}]}),
            vec!["spec.list[1]: Duplicate value: {\"name\":\"a\"}"],
        ),
        (json!({"list": [{"v": 1}]}), vec!["spec.list[0].name: Required value"]),
        (
            json!({"either": {"a": "1", "b": "2"}}),
            vec![
                "<nil>: Invalid value: \"\": \"spec.either\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ],
        ),
    ] {
        assert_eq!(errors(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn what_an_update_leaves_as_it_was_is_not_held_against_it() {
    let object = |size: &str, name: &str| {
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "x"},
            "spec": {"size": size, "list": [{"name": name, "v": "no number"}], "code": "aa"}})
    };
    let (old, mut new) = (object("xl", "a"), object("xl", "a"));
    new["spec"]["code"] = "a".into();
    assert!(crate::kinds::validate_update(&def(), &new, &old).is_empty());
    assert_eq!(crate::kinds::validate_update(&def(), &object("xxl", "b"), &old).len(), 2);
}

#[test]
fn generations_count_what_is_desired() {
    let old = json!({"metadata": {"generation": 3}, "spec": {"size": "s"}, "status": {"replicas": 1}});
    let mut new = old.clone();
    new["status"]["replicas"] = 2.into();
    new["metadata"]["labels"] = json!({"a": "b"});
    crate::kinds::prepare_for_update(&def(), &mut new, &old);
    assert_eq!((&new["metadata"]["generation"], &new["status"]["replicas"]), (&json!(3), &json!(1)));
    new["spec"]["size"] = "m".into();
    crate::kinds::prepare_for_update(&def(), &mut new, &old);
    assert_eq!(new["metadata"]["generation"], 4);
    let mut status = json!({"metadata": {"labels": {"x": "y"}}, "spec": {}, "status": {"replicas": 5}});
    crate::kinds::prepare_for_status_update(&def(), &mut status, &old);
    assert_eq!(
        status,
        json!({"metadata": {"generation": 3}, "spec": {"size": "s"}, "status": {"replicas": 5}, "apiVersion": null})
    );
}

/// What is wrong with a schema.
fn schema_errors(schema: Value) -> Vec<String> {
    let spec = json!({"versions": [{"name": "v1", "schema": {"openAPIV3Schema":
        {"type": "object", "properties": {"p": schema}}}}]});
    let mut errors = Vec::new();
    check::versions(&spec, &mut errors);
    let prefix = "spec.versions[0].schema.openAPIV3Schema.properties[p]";
    errors.iter().map(|error| error.to_string().replace(prefix, "P")).collect()
}

#[test]
fn schemas_are_structural() {
    for (schema, expected) in [
        (json!({"type": "string"}), vec![]),
        (
            json!({"description": "x"}),
            vec!["P.type: Required value: must not be empty for specified object fields"],
        ),
        (json!({"type": "array"}), vec!["P.items: Required value: must be specified"]),
        (
            json!({"type": "array", "items": {}}),
            vec!["P.items.type: Required value: must not be empty for specified array items"],
        ),
        (
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            vec![],
        ),
        (
            json!({"type": "object", "properties": {}, "additionalProperties": false}),
            vec!["P.additionalProperties: Forbidden: additionalProperties cannot be set to false"],
        ),
        (
            json!({"type": "string", "oneOf": [{"type": "string"}]}),
            vec!["P.oneOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            json!({"type": "string", "default": 1}),
            vec![
                "P.default: Invalid value: \"integer\": P.default in body must be of type string: \"integer\"",
            ],
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}),
            vec![
                "P.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            ],
        ),
        (
            json!({"type": "strange"}),
            vec![
                "P.type: Unsupported value: \"strange\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
            ],
        ),
    ] {
        assert_eq!(schema_errors(schema.clone()), expected, "{schema}");
    }
}

#[test]
fn versions_are_ordered_by_how_stable_they_are() {
    let mut all = ["v1alpha1", "foo10", "v2", "v10", "v1beta2", "v11beta2", "v1", "foo1", "v12alpha1"];
    all.sort_by(|left, right| version_order(left, right));
    assert_eq!(all, ["v10", "v2", "v1", "v11beta2", "v1beta2", "v12alpha1", "v1alpha1", "foo1", "foo10"]);
}

#[test]
fn paths_lead_to_what_columns_show() {
    let object = json!({"status": {"conditions": [{"type": "A", "status": "no"}, {"type": "Ready", "status": "yes"}],
        "list": [1, 2, 3]}, "metadata": {"annotations": {"example.com/x": "y"}}});
    for (path, expected) in [
        (".status.conditions[?(@.type==\"Ready\")].status", json!(["yes"])),
        (".status.conditions[?(@.type=='None')].status", json!([])),
        (".status.list[-1]", json!([3])),
        (".status.list[*]", json!([1, 2, 3])),
        (".metadata.annotations.example\\.com/x", json!(["y"])),
        (".metadata.annotations['example.com/x']", json!(["y"])),
        ("{.status.list[?(@ > 1)]}", json!([2, 3])),
        ("..type", json!(["A", "Ready"])),
        (".none.at.all", json!([])),
    ] {
        let found = JsonPath::parse(path).unwrap_or_else(|why| panic!("{path}: {why}"));
        assert_eq!(json!(found.find(&object)), expected, "{path}");
    }
    assert!(JsonPath::parse(".a[").is_err());
}
