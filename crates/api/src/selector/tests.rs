//! Selectors against examples, and against themselves written and read again.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs.filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[track_caller]
fn selects(selector: &str, labelled: &str, expected: bool) {
    let parsed = Selector::parse(selector).expect("a selector");
    assert_eq!(parsed.matches(&labels(labelled)), expected, "{selector} on {labelled}");
}

#[test]
fn each_operator_selects_what_it_says() {
    for (selector, labelled, expected) in [
        ("", "", true),
        ("", "a=b", true),
        ("a=b", "a=b,c=d", true),
        ("a==b", "a=c", false),
        ("a=", "a=", true),
        ("a=", "", false),
        ("a!=b", "", true),
        ("a!=b", "a=b", false),
        ("a in (b,c)", "a=c", true),
        ("a in (b,c)", "a=d", false),
        ("a in (b,c)", "", false),
        ("a notin (b,c)", "", true),
        ("a notin (b,c)", "a=b", false),
        ("a in (,b)", "a=", true),
        ("a in ()", "a=", true),
        ("a", "a=x", true),
        ("!a", "a=x", false),
        ("!a", "", true),
        ("a>1", "a=2", true),
        ("a>1", "a=1", false),
        ("a>1", "a=x", false),
        ("a<1", "a=0", true),
        ("in in (in),notin notin (notin)", "in=in", true),
        (" a = b , c ", "a=b,c=1", true),
        ("example.com/a=b,!c", "example.com/a=b", true),
    ] {
        selects(selector, labelled, expected);
    }
}

#[test]
fn a_selector_that_cannot_be_understood_is_told_as_in_kubernetes() {
    for (selector, message) in [
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("a in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
        ("!!a", "unable to parse requirement: found '!', expected: identifier"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value \
             must be an integer",
        ),
        ("/a", "unable to parse requirement: <nil>: Invalid value: \"/a\": prefix part must be non-empty"),
        (
            "a=-b",
            "unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid label must be an empty \
             string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
    ] {
        let error = Selector::parse(selector).expect_err(selector);
        assert_eq!(error.to_string(), message, "{selector}");
        assert_eq!(Status::from(error).code, 400);
    }
}

#[test]
fn a_label_selector_of_an_object_matches_and_is_written_as_text() {
    let selector: LabelSelector = serde_json::from_str(
        r#"{"matchLabels":{"app":"a"},"matchExpressions":[
            {"key":"tier","operator":"In","values":["y","x"]},
            {"key":"old","operator":"DoesNotExist"},
            {"key":"env","operator":"NotIn","values":["prod"]},
            {"key":"app","operator":"Exists"}]}"#,
    )
    .expect("a label selector");
    let text = selector.to_selector().expect("a selector").to_string();
    assert_eq!(text, "app=a,app,env notin (prod),!old,tier in (x,y)");
    let parsed = Selector::parse(&text).expect("its own text");
    for (labelled, expected) in [
        ("app=a,tier=x", true),
        ("app=a,tier=x,env=prod", false),
        ("app=a,tier=z", false),
        ("app=a,tier=x,old=", false),
        ("tier=x", false),
    ] {
        assert_eq!(selector.matches(&labels(labelled)), expected, "{labelled}");
        assert_eq!(parsed.matches(&labels(labelled)), expected, "{labelled}");
    }
}

#[test]
fn an_unknown_operator_matches_nothing_and_is_refused() {
    let selector: LabelSelector =
        serde_json::from_str(r#"{"matchExpressions":[{"key":"a","operator":"Near","values":["b"]}]}"#)
            .expect("a label selector");
    assert!(!selector.matches(&labels("a=b")));
    let error = selector.to_selector().expect_err("an unknown operator");
    assert_eq!(error.to_string(), "\"Near\" is not a valid label selector operator");
}

#[test]
fn fields_are_selected_by_equality_and_inequality() {
    let selector = FieldSelector::parse("status.phase!=Running,metadata.name==a\\,b,spec.nodeName=")
        .expect("a selector");
    let object = |name: &'static str, phase: &'static str| {
        move |field: &str| match field {
            "metadata.name" => Some(name),
            "status.phase" => Some(phase),
            _ => None,
        }
    };
    assert!(selector.matches(object("a,b", "Pending")));
    assert!(!selector.matches(object("a,b", "Running")));
    assert!(!selector.matches(object("a", "Pending")));
    assert_eq!(selector.exact("metadata.name"), Some("a,b"));
    assert_eq!(selector.exact("status.phase"), None);
    assert_eq!(selector.to_string(), "metadata.name=a\\,b,spec.nodeName=,status.phase!=Running");
}

#[test]
fn a_field_selector_that_cannot_be_understood_is_told_as_in_kubernetes() {
    for (selector, message) in [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("x=y,a", "invalid selector: 'x=y,a'; can't understand 'a'"),
        ("a=\\b", "invalid field selector: invalid escape sequence: \\b"),
        ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
    ] {
        assert_eq!(FieldSelector::parse(selector).expect_err(selector).to_string(), message);
    }
    let selector = FieldSelector::parse("spec.bogus=x").expect("a selector");
    let told = |supported| selector.check_supported(supported).expect_err("not supported").to_string();
    assert_eq!(
        told(&["metadata.name", "metadata.namespace", "spec.nodeName"]),
        "field label not supported: spec.bogus"
    );
    assert_eq!(
        told(&["metadata.name", "metadata.namespace"]),
        "\"spec.bogus\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let key = prop_oneof!["[a-z]{1,3}", "[a-z]{1,3}\\.io/[A-Za-z0-9]{1,3}", Just("in".to_owned())];
    let values = proptest::collection::vec("[a-z0-9]{0,2}", 1..4);
    let operators = [Operator::In, Operator::NotIn, Operator::Equals, Operator::DoubleEquals];
    let more = [Operator::NotEquals, Operator::Exists, Operator::DoesNotExist];
    let operator = proptest::sample::select([&operators[..], &more[..]].concat());
    (key, operator, values).prop_map(|(key, operator, mut values)| {
        match operator {
            Operator::In | Operator::NotIn => {}
            Operator::Exists | Operator::DoesNotExist => values.clear(),
            _ => values.truncate(1),
        }
        Requirement::new(&key, operator, values).expect("a valid requirement")
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(requirements in proptest::collection::vec(requirement(), 0..5)) {
        let selector = Selector::of(requirements);
        let text = selector.to_string();
        prop_assert_eq!(Selector::parse(&text).expect(&text), selector);
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "[-a-z=!<>(),. \\\\/éin]{0,24}") {
        let _ = Selector::parse(&text);
        let _ = FieldSelector::parse(&text);
    }

    #[test]
    fn field_values_are_escaped_and_read_again(value in "[a-z\\\\,=é]{0,8}", negated: bool) {
        let requirement = FieldRequirement { field: "metadata.name".to_owned(), negated, value };
        let parsed = FieldSelector::parse(&requirement.to_string()).expect("its own text");
        prop_assert_eq!(parsed.requirements(), &[requirement][..]);
    }
}
