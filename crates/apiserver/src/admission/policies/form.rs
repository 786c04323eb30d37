//! What is wrong with the form of a policy or a binding: what must be there, and what must be one of a few.

use api::field::FieldError;
use api::names;
use serde_json::Value;

use super::check::list;
use crate::admission::text;

/// The reasons that a policy may refuse for.
const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];

/// Collects errors below the spec.
struct Form<'a>(&'a mut Vec<FieldError>);

impl Form<'_> {
    fn required(&mut self, field: String, why: &str) {
        self.0.push(FieldError::required(field, why));
    }

    fn one_of(&mut self, owner: &Value, path: &str, name: &str, supported: &[&str]) {
        match text(owner, name) {
            "" => self.required(format!("{path}.{name}"), ""),
            own if !supported.contains(&own) => {
                self.0.push(FieldError::not_supported(format!("{path}.{name}"), own, supported));
            }
            _ => {}
        }
    }

    fn expression(&mut self, owner: &Value, path: &str, name: &str, why: &str) {
        if text(owner, name).trim().is_empty() {
            self.required(format!("{path}.{name}"), why);
        }
    }

    /// A name with an expression: a condition, or a variable.
    fn named(&mut self, spec: &Value, field: &str, wrong: impl Fn(&str) -> Vec<String>) {
        let mut seen: Vec<&str> = Vec::new();
        for (index, own) in list(spec, field) {
            let (path, name) = (format!("spec.{field}[{index}]"), text(own, "name"));
            if name.is_empty() {
                self.required(format!("{path}.name"), "");
            }
            for why in Some(name).filter(|name| !name.is_empty()).map(&wrong).unwrap_or_default() {
                self.0.push(FieldError::invalid(format!("{path}.name"), name, why));
            }
            if !name.is_empty() && seen.contains(&name) {
                self.0.push(FieldError::duplicate(format!("{path}.name"), name));
            }
            seen.push(name);
            self.expression(own, &path, "expression", "");
        }
    }

    fn resources(&mut self, resources: &Value, path: &str) {
        for field in ["resourceRules", "excludeResourceRules"] {
            for (index, rule) in list(resources, field) {
                for name in ["operations", "apiGroups", "apiVersions", "resources"] {
                    if list(rule, name).next().is_none() {
                        self.required(format!("{path}.{field}[{index}].{name}"), "");
                    }
                }
            }
        }
        self.one_of(resources, path, "matchPolicy", &["Equivalent", "Exact"]);
    }
}

fn is_identifier(name: &str) -> Vec<String> {
    let mut letters = name.chars();
    let is_good = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if is_good { Vec::new() } else { vec!["name is not a valid CEL identifier".to_owned()] }
}

/// Adds what is wrong with a policy.
pub(super) fn policy(object: &Value, is_mutating: bool, errors: &mut Vec<FieldError>) {
    let (spec, mut form) = (&object["spec"], Form(errors));
    form.one_of(spec, "spec", "failurePolicy", &["Fail", "Ignore"]);
    if spec["paramKind"].is_object() {
        for name in ["apiVersion", "kind"] {
            form.expression(&spec["paramKind"], "spec.paramKind", name, "");
        }
    }
    let constraints = &spec["matchConstraints"];
    if constraints.is_object() {
        form.resources(constraints, "spec.matchConstraints");
        if list(constraints, "resourceRules").next().is_none() {
            form.required("spec.matchConstraints.resourceRules".to_owned(), "");
        }
    } else {
        form.required("spec.matchConstraints".to_owned(), "");
    }
    form.named(spec, "matchConditions", names::qualified);
    form.named(spec, "variables", is_identifier);
    if is_mutating {
        mutations(spec, &mut form);
    } else {
        validations(spec, &mut form);
    }
}

fn validations(spec: &Value, form: &mut Form<'_>) {
    let none = |field: &str| list(spec, field).next().is_none();
    if none("validations") && none("auditAnnotations") {
        for field in ["validations", "auditAnnotations"] {
            form.required(
                format!("spec.{field}"),
                "validations or auditAnnotations must contain at least one item",
            );
        }
    }
    for (index, own) in list(spec, "validations") {
        let path = format!("spec.validations[{index}]");
        form.expression(own, &path, "expression", "expression is not specified");
        let message = text(own, "message");
        let why = match message.trim() {
            "" if !message.is_empty() => "message must be non-empty if specified",
            trimmed if trimmed.contains('\n') => "message must not contain line breaks",
            "" if text(own, "expression").trim().contains('\n') => {
                let why = "message must be specified if expression contains line breaks";
                form.required(format!("{path}.message"), why);
                ""
            }
            _ => "",
        };
        if !why.is_empty() {
            form.0.push(FieldError::invalid(format!("{path}.message"), message, why));
        }
        let reason = text(own, "reason");
        if !reason.is_empty() && !REASONS.contains(&reason) {
            form.0.push(FieldError::not_supported(format!("{path}.reason"), reason, &REASONS));
        }
    }
    for (index, own) in list(spec, "auditAnnotations") {
        let path = format!("spec.auditAnnotations[{index}]");
        form.expression(own, &path, "key", "");
        form.expression(own, &path, "valueExpression", "valueExpression is not specified");
    }
}

fn mutations(spec: &Value, form: &mut Form<'_>) {
    form.one_of(spec, "spec", "reinvocationPolicy", &["IfNeeded", "Never"]);
    if list(spec, "mutations").next().is_none() {
        form.required("spec.mutations".to_owned(), "mutations must contain at least one item");
    }
    for (index, own) in list(spec, "mutations") {
        let path = format!("spec.mutations[{index}]");
        form.one_of(own, &path, "patchType", &["ApplyConfiguration", "JSONPatch"]);
        for (kind, field) in [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")] {
            match (text(own, "patchType") == kind, own[field].is_object()) {
                (true, true) => {
                    form.expression(
                        &own[field],
                        &format!("{path}.{field}"),
                        "expression",
                        "expression is not specified",
                    );
                }
                (true, false) => {
                    let why = format!("must be specified when patchType is {kind}");
                    form.required(format!("{path}.{field}"), &why);
                }
                (false, true) => {
                    let why = format!("must not be specified when patchType is not {kind}");
                    form.0.push(FieldError::invalid(format!("{path}.{field}"), own[field].clone(), why));
                }
                (false, false) => {}
            }
        }
    }
}

/// Adds what is wrong with a binding.
pub(super) fn binding(object: &Value, is_mutating: bool, errors: &mut Vec<FieldError>) {
    let (spec, mut form) = (&object["spec"], Form(errors));
    form.expression(spec, "spec", "policyName", "");
    if spec["matchResources"].is_object() {
        form.resources(&spec["matchResources"], "spec.matchResources");
    }
    let reference = &spec["paramRef"];
    if reference.is_object() {
        let path = "spec.paramRef";
        match (text(reference, "name"), reference["selector"].is_object()) {
            ("", false) => form.required(path.to_owned(), "one of name or selector must be specified"),
            ("", true) | (_, false) => {}
            (_, true) => {
                for name in ["name", "selector"] {
                    let why = "name and selector are mutually exclusive";
                    form.0.push(FieldError::forbidden(format!("{path}.{name}"), why));
                }
            }
        }
        form.one_of(reference, path, "parameterNotFoundAction", &["Allow", "Deny"]);
    }
    if !is_mutating {
        actions(spec, &mut form);
    }
}

fn actions(spec: &Value, form: &mut Form<'_>) {
    const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];
    let path = "spec.validationActions";
    let all: Vec<&str> = list(spec, "validationActions").filter_map(|(_, own)| own.as_str()).collect();
    if all.is_empty() {
        form.required(path.to_owned(), "");
    }
    for (index, action) in all.iter().enumerate() {
        if !ACTIONS.contains(action) {
            form.0.push(FieldError::not_supported(format!("{path}.{action}"), *action, &ACTIONS));
        }
        if all[..index].contains(action) {
            form.0.push(FieldError::duplicate(path, *action));
        }
    }
    if all.contains(&"Deny") && all.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        form.0.push(FieldError::invalid(path, spec["validationActions"].clone(), why));
    }
}
