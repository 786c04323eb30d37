//! What is wrong with FlowSchema and PriorityLevelConfiguration.

use serde_json::Value;

use super::{formed, required};
use crate::field::FieldError;
use crate::kinds::access::{at, flag, has, int, list, text};
use crate::kinds::path::Path;
use crate::names;

const SPEC: Path<'static> = Path::Root("spec");
const VERBS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

pub(in crate::kinds) fn schema(schema: &Value, errors: &mut Vec<FieldError>) {
    const MOST: i64 = 10_000;
    let spec = at(schema, "spec");
    let precedence = int(spec, "matchingPrecedence").unwrap_or_default();
    let field = SPEC.field("matchingPrecedence");
    if precedence <= 0 {
        errors.push(FieldError::invalid(field, precedence, "must be a positive value"));
    }
    if precedence > MOST {
        errors.push(FieldError::invalid(field, precedence, format!("must not be greater than {MOST}")));
    }
    if precedence == 1 && text(at(schema, "metadata"), "name") != "exempt" {
        let why = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.push(FieldError::invalid(field, precedence, why));
    }
    let method = at(spec, "distinguisherMethod");
    if !method.is_null() && !matches!(text(method, "type"), "ByNamespace" | "ByUser") {
        let field = SPEC.field("distinguisherMethod");
        let supported = ["ByNamespace", "ByUser"];
        errors.push(FieldError::not_supported(field.field("type"), method.clone(), &supported));
    }
    let (level, path) = (at(spec, "priorityLevelConfiguration"), SPEC.field("priorityLevelConfiguration"));
    if text(level, "name").is_empty() {
        errors.push(FieldError::required(path.field("name"), "must reference a priority level"));
    }
    formed(level, "name", names::dns_subdomain, &path, errors);
    let field = SPEC.field("rules");
    for (index, rule) in list(spec, "rules").iter().enumerate() {
        rule_with_subjects(rule, &field.index(index), errors);
    }
}

fn rule_with_subjects(rule: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let field = path.field("subjects");
    if list(rule, "subjects").is_empty() {
        errors.push(FieldError::required(field, "subjects must contain at least one value"));
    }
    for (index, subject) in list(rule, "subjects").iter().enumerate() {
        check_subject(subject, &field.index(index), errors);
    }
    if list(rule, "resourceRules").is_empty() && list(rule, "nonResourceRules").is_empty() {
        let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(path, why));
    }
    let field = path.field("resourceRules");
    for (index, rule) in list(rule, "resourceRules").iter().enumerate() {
        resource_rule(rule, &field.index(index), errors);
    }
    let field = path.field("nonResourceRules");
    for (index, rule) in list(rule, "nonResourceRules").iter().enumerate() {
        let path = field.index(index);
        verbs(rule, &path, errors);
        let why = "nonResourceURLs must contain at least one value";
        wildcard(rule, "nonResourceURLs", "non-resource URLs", Some(why), &path, errors);
    }
}

fn check_subject(subject: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let kinds = [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = text(subject, "kind");
    let Some((_, own)) = kinds.iter().find(|(name, _)| *name == kind) else {
        let supported = ["Group", "ServiceAccount", "User"];
        errors.push(FieldError::not_supported(path.field("kind"), kind, &supported));
        return;
    };
    for (kind, field) in kinds.iter().filter(|(_, field)| field != own && has(subject, field)) {
        let why = format!("{field} is forbidden when subject kind is not '{kind}'");
        errors.push(FieldError::forbidden(path.field(field), why));
    }
    let path = path.field(own);
    if !has(subject, own) {
        errors.push(FieldError::required(path, format!("{own} is required when subject kind is '{kind}'")));
        return;
    }
    let value = at(subject, own);
    required(value, "name", &path, errors);
    if kind == "ServiceAccount" {
        if text(value, "name") != "*" {
            formed(value, "name", names::dns_subdomain, &path, errors);
        }
        if text(value, "namespace").is_empty() {
            let why = "must specify namespace for service account";
            errors.push(FieldError::required(path.field("namespace"), why));
        }
        formed(value, "namespace", names::dns_label, &path, errors);
    }
}

fn verbs(rule: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    wildcard(rule, "verbs", "verbs", Some("verbs must contain at least one value"), path, errors);
    let verbs = list(rule, "verbs");
    let is_known = |verb: &Value| verb.as_str().is_some_and(|verb| VERBS.contains(&verb));
    if !verbs.iter().any(|verb| verb == "*") && !verbs.iter().all(is_known) {
        errors.push(FieldError::not_supported(path.field("verbs"), verbs.to_vec(), &VERBS));
    }
}

/// A list that names some, or all with a star and nothing else.
fn wildcard(
    rule: &Value,
    name: &str,
    what: &str,
    needed: Option<&str>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let all = list(rule, name);
    if let Some(why) = needed.filter(|_| all.is_empty()) {
        errors.push(FieldError::required(path.field(name), why));
    } else if all.len() > 1 && all.iter().any(|one| one == "*") {
        let why = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(path.field(name), all.to_vec(), why));
    }
}

fn resource_rule(rule: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    verbs(rule, path, errors);
    let why = "resource rules must supply at least one api group";
    wildcard(rule, "apiGroups", "api groups", Some(why), path, errors);
    let why = "resource rules must supply at least one resource";
    wildcard(rule, "resources", "resources", Some(why), path, errors);
    let why = "resource rules that are not cluster scoped must supply at least one namespace";
    let needed = (!flag(rule, "clusterScope")).then_some(why);
    wildcard(rule, "namespaces", "namespaces", needed, path, errors);
    let namespaces = list(rule, "namespaces");
    if namespaces.iter().any(|namespace| namespace == "*") {
        return;
    }
    let field = path.field("namespaces");
    for (index, namespace) in namespaces.iter().filter_map(Value::as_str).enumerate() {
        for why in names::dns_label(namespace) {
            let why = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
            errors.push(FieldError::invalid(field.index(index), namespace, why));
        }
    }
}

pub(in crate::kinds) fn priority_level(level: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(level, "spec");
    let (limited, exempt) = (at(spec, "limited"), at(spec, "exempt"));
    match text(spec, "type") {
        "Exempt" => {
            if !limited.is_null() {
                let why = "must be nil if the type is not Limited";
                errors.push(FieldError::forbidden(SPEC.field("limited"), why));
            }
            shares(exempt, &SPEC.field("exempt"), errors);
        }
        "Limited" => {
            if !exempt.is_null() {
                let why = "must be nil if the type is Limited";
                errors.push(FieldError::forbidden(SPEC.field("exempt"), why));
            }
            if limited.is_null() {
                let why = "must not be empty when type is Limited";
                errors.push(FieldError::required(SPEC.field("limited"), why));
            } else {
                shares(limited, &SPEC.field("limited"), errors);
                limit_response(limited, &SPEC.field("limited"), errors);
            }
        }
        other => {
            errors.push(FieldError::not_supported(SPEC.field("type"), other, &["Exempt", "Limited"]));
        }
    }
}

fn shares(level: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(shares) = int(level, "nominalConcurrencyShares").filter(|shares| *shares < 0) {
        let why = "must be a non-negative integer";
        errors.push(FieldError::invalid(path.field("nominalConcurrencyShares"), shares, why));
    }
    if let Some(percent) = int(level, "lendablePercent").filter(|percent| !(0..=100).contains(percent)) {
        let why = "must be between 0 and 100, inclusive";
        errors.push(FieldError::invalid(path.field("lendablePercent"), percent, why));
    }
    if let Some(percent) = int(level, "borrowingLimitPercent").filter(|percent| *percent < 0) {
        let why = "if specified, must be a non-negative integer";
        errors.push(FieldError::invalid(path.field("borrowingLimitPercent"), percent, why));
    }
}

fn limit_response(limited: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MOST_QUEUES: i64 = 10_000_000;
    let response = at(limited, "limitResponse");
    let path = path.field("limitResponse");
    let (queuing, field) = (at(response, "queuing"), path.field("queuing"));
    match text(response, "type") {
        "Reject" => {
            if !queuing.is_null() {
                let why = "must be nil if limited.limitResponse.type is not Limited";
                errors.push(FieldError::forbidden(field, why));
            }
        }
        "Queue" => {
            if queuing.is_null() {
                let why = "must not be empty if limited.limitResponse.type is Limited";
                errors.push(FieldError::required(field, why));
                return;
            }
            let number = |name| int(queuing, name).unwrap_or_default();
            for name in ["queueLengthLimit", "queues", "handSize"] {
                if number(name) <= 0 {
                    errors.push(FieldError::invalid(field.field(name), number(name), "must be positive"));
                }
            }
            let (queues, hand) = (number("queues"), number("handSize"));
            if queues > MOST_QUEUES {
                let why = format!("must not be greater than {MOST_QUEUES}");
                errors.push(FieldError::invalid(field.field("queues"), queues, why));
            }
            if hand > queues {
                let why = format!("should not be greater than queues ({queues})");
                errors.push(FieldError::invalid(field.field("handSize"), hand, why));
            }
        }
        "" => errors.push(FieldError::required(path.field("type"), "")),
        other => errors.push(FieldError::not_supported(path.field("type"), other, &["Queue", "Reject"])),
    }
}
