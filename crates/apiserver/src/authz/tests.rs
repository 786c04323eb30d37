//! What rules allow, and what they cover.

use serde_json::{Value, json};

use super::rule::missing;
use super::*;

fn rule(rule: Value) -> Rule {
    Rule::read(&rule)
}

#[test]
fn a_rule_allows_what_it_names() {
    let user = UserInfo::default();
    let resources = |list: &[&str]| rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": list}));
    let asked = |resource, subresource| Attributes {
        verb: "get",
        resource,
        subresource,
        ..Attributes::nothing(&user)
    };
    for (list, resource, part, allowed) in [
        (&["pods"][..], "pods", "", true),
        (&["pods"], "pods", "log", false),
        (&["pods/log"], "pods", "log", true),
        (&["pods/log"], "pods", "", false),
        (&["*"], "pods", "log", true),
        (&["pods/*"], "pods", "log", false),
        (&["*/log"], "pods", "log", true),
        (&["*/log"], "log", "", false),
        (&["services", "pods"], "pods", "", true),
    ] {
        assert_eq!(resources(list).allows(&asked(resource, part)), allowed, "{list:?} {resource}/{part}");
    }
    let named =
        rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["pods"], "resourceNames": ["a"]}));
    assert!(named.allows(&Attributes { name: "a", ..asked("pods", "") }));
    assert!(!named.allows(&Attributes { name: "b", ..asked("pods", "") }));
    assert!(!named.allows(&asked("pods", "")), "a collection has no name");
    let path = |path| Attributes { verb: "get", path, ..Attributes::nothing(&user) };
    for (own, asked, allowed) in [
        ("/healthz", "/healthz", true),
        ("/healthz", "/healthz/etcd", false),
        ("/healthz/*", "/healthz/etcd", true),
        ("/healthz/*", "/healthz", false),
        ("*", "/metrics", true),
    ] {
        let rule = rule(json!({"verbs": ["get"], "nonResourceURLs": [own]}));
        assert_eq!(rule.allows(&path(asked)), allowed, "{own} {asked}");
    }
    assert!(!resources(&["*"]).allows(&path("/metrics")), "a path is no resource");
}

#[test]
fn what_is_not_covered_is_told_in_few_rules() {
    let has = [
        rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "*/scale"]})),
        rule(json!({"verbs": ["*"], "apiGroups": ["apps"], "resources": ["*"], "resourceNames": ["a"]})),
        rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz/*"]})),
    ];
    for (wanted, expected) in [
        (json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}), &[][..]),
        (json!({"verbs": ["get"], "apiGroups": [""], "resources": ["x/scale"]}), &[]),
        (json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["x"]}), &[]),
        (
            json!({"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]}),
            &["{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}"],
        ),
        (
            json!({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["x"]}),
            &["{APIGroups:[\"apps\"], Resources:[\"x\"], Verbs:[\"get\"]}"],
        ),
        (json!({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["x"], "resourceNames": ["a"]}), &[]),
        (
            json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["pods"]}),
            &["{APIGroups:[\"*\"], Resources:[\"pods\"], Verbs:[\"get\"]}"],
        ),
        (json!({"verbs": ["get"], "nonResourceURLs": ["/healthz/x", "/healthz/*"]}), &[]),
        (
            json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "*"]}),
            &[
                "{NonResourceURLs:[\"/healthz\"], Verbs:[\"get\"]}",
                "{NonResourceURLs:[\"*\"], Verbs:[\"get\"]}",
            ],
        ),
    ] {
        let wanted = rule(wanted);
        let told: Vec<String> =
            missing(has.iter(), std::iter::once(&wanted)).iter().map(Rule::to_string).collect();
        assert_eq!(told, expected, "{wanted}");
    }
}
