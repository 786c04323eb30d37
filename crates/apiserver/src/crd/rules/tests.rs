//! Rules of a definition, and what they say of objects.

use serde_json::json;

use super::*;

/// A definition whose spec has this schema.
fn definition(spec: Value) -> Value {
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "properties": {"spec": spec}}}}]},
        "status": {"acceptedNames": {"plural": "widgets", "kind": "Widget"},
            "conditions": [{"type": "Established", "status": "True"}]},
    })
}

fn schema(rules: Value) -> Value {
    json!({"type": "object", "x-kubernetes-validations": rules, "properties": {
        "replicas": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string"},
        "dashed-name": {"type": "string"}, "when": {"type": "string", "format": "date-time"},
        "many": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
    }})
}

/// What rules find in an object with this spec, that had the other one before.
fn found(rules: Value, new: Value, old: Option<Value>) -> Vec<String> {
    let def = api::structural::definition::resources(&definition(schema(rules)), 1).remove(0);
    let mut errors = Vec::new();
    let old = old.map(|old| json!({"spec": old}));
    check(&def, &json!({"spec": new}), old.as_ref(), &mut errors);
    errors.iter().map(FieldError::to_string).collect()
}

#[test]
fn a_rule_that_does_not_hold_is_told_by_its_message() {
    let rules = |more: Value| {
        let mut rule = json!({"rule": "!has(self.replicas) || self.replicas <= 10"});
        rule.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        json!([rule])
    };
    for (more, told) in [
        (json!({"message": "too many"}), "spec: Invalid value: \"object\": too many"),
        (
            json!({}),
            "spec: Invalid value: \"object\": failed rule: !has(self.replicas) || self.replicas <= 10",
        ),
        (
            json!({"messageExpression": "'has ' + string(self.replicas)", "fieldPath": ".replicas"}),
            "spec.replicas: Invalid value: \"object\": has 50",
        ),
        (json!({"message": "no", "reason": "FieldValueForbidden"}), "spec: Forbidden: no"),
        (json!({"message": "no", "reason": "FieldValueRequired"}), "spec: Required value: no"),
    ] {
        assert_eq!(found(rules(more.clone()), json!({"replicas": 50}), None), [told], "{more}");
    }
    assert!(found(rules(json!({})), json!({"replicas": 5}), None).is_empty());
    assert!(found(rules(json!({})), json!({}), None).is_empty());
}

#[test]
fn a_rule_about_a_change_runs_where_there_was_a_value() {
    let rules = json!([{"rule": "self.replicas >= oldSelf.replicas", "message": "never less"}]);
    assert!(found(rules.clone(), json!({"replicas": 1}), None).is_empty());
    assert!(found(rules.clone(), json!({"replicas": 2}), Some(json!({"replicas": 1}))).is_empty());
    assert_eq!(
        found(rules, json!({"replicas": 1}), Some(json!({"replicas": 2}))),
        ["spec: Invalid value: \"object\": never less"]
    );
    let optional =
        json!([{"rule": "!oldSelf.hasValue() || self.max == oldSelf.value().max", "optionalOldSelf": true}]);
    assert!(found(optional.clone(), json!({"max": 1}), None).is_empty());
    assert_eq!(found(optional, json!({"max": 1}), Some(json!({"max": 2}))).len(), 1);
}

#[test]
fn what_did_not_change_is_not_held_against_an_update() {
    let rules = json!([{"rule": "self.replicas < 5"}]);
    assert!(found(rules.clone(), json!({"replicas": 9}), Some(json!({"replicas": 9}))).is_empty());
    assert_eq!(found(rules, json!({"replicas": 9}), Some(json!({"replicas": 8}))).len(), 1);
}

#[test]
fn fields_have_names_that_can_be_said_and_types_of_their_own() {
    let rules = json!([
        {"rule": "self.dashed__dash__name == 'x'"},
        {"rule": "self.when > timestamp('2026-01-01T00:00:00Z')"},
    ]);
    assert!(found(rules, json!({"dashed-name": "x", "when": "2026-06-01T00:00:00Z"}), None).is_empty());
}

#[test]
fn a_rule_that_costs_too_much_ends_the_validation() {
    let rules = json!([
        {"rule": "self.many.all(x, self.many.all(y, self.many.all(z, x.a + y.a + z.a != 'b')))"},
        {"rule": "false"},
    ]);
    let many: Vec<Value> = (0..200).map(|_| json!({"a": "a"})).collect();
    let told = found(rules, json!({"many": many}), None);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("call cost exceeds limit for rule"), "{told:?}");
}

#[test]
fn rules_are_not_run_on_an_object_that_is_wrong() {
    let def =
        api::structural::definition::resources(&definition(schema(json!([{"rule": "true"}]))), 1).remove(0);
    let mut errors = vec![FieldError::required("spec.x", "")];
    check(&def, &json!({"spec": {}}), None, &mut errors);
    assert_eq!((errors.len(), errors[1].field.as_str()), (2, "<nil>"));
}

#[test]
fn a_definition_with_a_rule_that_does_not_compile_is_refused() {
    let prefix = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]";
    for (rule, told) in [
        (json!({"rule": "self.replicas > 1"}), None),
        (json!({"rule": "self.many.all(x, x.a == 'b') && self.many[0].a == 'c'"}), None),
        (
            json!({"rule": "self.nothing > 1"}),
            Some(
                "rule: Invalid value: \"self.nothing > 1\": compilation failed: ERROR: <input>:1:5: undefined field 'nothing'",
            ),
        ),
        (json!({"rule": "self.many.all(x, x.b == '')"}), Some("undefined field 'b'")),
        (json!({"rule": "self.replicas >"}), Some("compilation failed: ERROR: <input>:1:")),
        (json!({"rule": "other == 1"}), Some("undeclared reference to 'other'")),
        (json!({"rule": ""}), Some("rule: Required value: rule is not specified")),
        (json!({"rule": "true", "reason": "Because"}), Some("reason: Unsupported value: \"Because\"")),
        (json!({"rule": "true", "fieldPath": ".none"}), Some("fieldPath: Invalid value: \".none\"")),
        (
            json!({"rule": "true", "optionalOldSelf": true}),
            Some("may not be set to true if oldSelf is not used"),
        ),
    ] {
        let mut errors = Vec::new();
        check_definition(&definition(schema(json!([rule.clone()]))), &mut errors);
        let all: Vec<String> = errors.iter().map(FieldError::to_string).collect();
        match told {
            None => assert!(all.is_empty(), "{rule}: {all:?}"),
            Some(told) => {
                assert_eq!(all.len(), 1, "{rule}: {all:?}");
                assert!(all[0].starts_with(prefix) && all[0].contains(told), "{rule}: {all:?}");
            }
        }
    }
}
