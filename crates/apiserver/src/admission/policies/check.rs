//! What is wrong with the expressions of a policy or a webhook when it is written, beside its form.

use api::field::FieldError;
use api::registry::ResourceDef;
use serde_json::Value;

use super::form;
use crate::admission::expressions::{CONDITION_VARIABLES, POLICY_VARIABLES};
use crate::cel::{Output, Program};

/// Adds what is wrong with an object of this kind.
pub(crate) fn check_kind(def: &ResourceDef, object: &Value, errors: &mut Vec<FieldError>) {
    match &*def.bucket {
        "validatingwebhookconfigurations.admissionregistration.k8s.io"
        | "mutatingwebhookconfigurations.admissionregistration.k8s.io" => webhooks(object, errors),
        "validatingadmissionpolicies.admissionregistration.k8s.io" => {
            form::policy(object, false, errors);
            policy(object, errors);
        }
        "mutatingadmissionpolicies.admissionregistration.k8s.io" => {
            form::policy(object, true, errors);
            policy(object, errors);
        }
        "validatingadmissionpolicybindings.admissionregistration.k8s.io" => {
            form::binding(object, false, errors);
        }
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io" => form::binding(object, true, errors),
        _ => {}
    }
}

pub(super) fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    value[field].as_array().into_iter().flatten().enumerate()
}

fn webhooks(configuration: &Value, errors: &mut Vec<FieldError>) {
    for (index, webhook) in list(configuration, "webhooks") {
        for (place, condition) in list(webhook, "matchConditions") {
            let path = format!("webhooks[{index}].matchConditions[{place}].expression");
            expression(&condition["expression"], path, &CONDITION_VARIABLES, &[Output::Bool], false, errors);
        }
    }
}

fn policy(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    let has_params = spec["paramKind"].is_object();
    let mut variables: Vec<&str> = POLICY_VARIABLES.to_vec();
    if !has_params {
        variables.retain(|name| *name != "params");
    }
    let without = |hidden: &[&str]| -> Vec<&str> {
        variables.iter().copied().filter(|name| !hidden.contains(name)).collect()
    };
    let constructs = spec["mutations"].is_array();
    let conditions = without(&["variables", "namespaceObject"]);
    for (index, condition) in list(spec, "matchConditions") {
        let path = format!("spec.matchConditions[{index}].expression");
        expression(&condition["expression"], path, &conditions, &[Output::Bool], false, errors);
    }
    for (index, variable) in list(spec, "variables") {
        let path = format!("spec.variables[{index}].expression");
        expression(&variable["expression"], path, &variables, &[], constructs, errors);
    }
    let messages = without(&["authorizer"]);
    for (index, validation) in list(spec, "validations") {
        let path = |field: &str| format!("spec.validations[{index}].{field}");
        expression(&validation["expression"], path("expression"), &variables, &[Output::Bool], false, errors);
        let made = &validation["messageExpression"];
        if made.as_str().is_some_and(|source| !source.trim().is_empty()) {
            expression(made, path("messageExpression"), &messages, &[Output::String], false, errors);
        }
    }
    for (index, annotation) in list(spec, "auditAnnotations") {
        let path = format!("spec.auditAnnotations[{index}].valueExpression");
        let types = [Output::String, Output::Null];
        expression(&annotation["valueExpression"], path, &variables, &types, false, errors);
    }
    for (index, mutation) in list(spec, "mutations") {
        for (field, wanted) in [("applyConfiguration", Output::Map), ("jsonPatch", Output::List)] {
            if mutation[field].is_object() {
                let path = format!("spec.mutations[{index}].{field}.expression");
                expression(&mutation[field]["expression"], path, &variables, &[wanted], true, errors);
            }
        }
    }
}

/// Compiles an expression and looks at its type, where one is wanted.
fn expression(
    source: &Value,
    path: String,
    variables: &[&str],
    wanted: &[Output],
    constructs: bool,
    errors: &mut Vec<FieldError>,
) {
    let source = source.as_str().unwrap_or_default().trim();
    // That there must be one is said with the form.
    if source.is_empty() {
        return;
    }
    let program = match constructs {
        true => Program::compile_mutation(source, variables),
        false => Program::compile(source, variables),
    };
    let problem = match program {
        Err(why) => Some(format!("compilation failed: {why}")),
        Ok(program) => {
            let output = program.output();
            let is_wanted = wanted.is_empty() || wanted.iter().any(|wanted| output.may_be(*wanted));
            (!is_wanted).then(|| unwanted(wanted, output))
        }
    };
    errors.extend(problem.map(|why| FieldError::invalid(path, source, why)));
}

fn unwanted(wanted: &[Output], output: Output) -> String {
    match wanted {
        [Output::Map] => format!("must evaluate to Object but got {}", output.as_str()),
        [Output::List] => format!("must evaluate to list(JSONPatch) but got {}", output.as_str()),
        [one] => format!("must evaluate to {}", one.as_str()),
        many => {
            let names: Vec<&str> = many.iter().map(|one| one.as_str()).collect();
            format!("must evaluate to one of [{}]", names.join(" "))
        }
    }
}
