//! The rules of custom resources (`x-kubernetes-validations`): compiled with their schema, run on each write.
//!
//! A rule stands at a value and sees it as `self`. One that names `oldSelf` is about a change: it runs only where there
//! was a value before. What does not compile is refused with its definition ([`check_definition`]); what runs too long
//! ends the validation of the object.

mod types;

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::field::{FieldError, Problem};
use api::registry::ResourceDef;
use api::structural::validate::{correlated, is_blocking, not_checked};
use api::structural::{Custom, Structural};
use cel::objects::Value as Cel;
use serde_json::Value;

use crate::cel::{Budget, Program, RunError, of_schema};

/// How many steps one rule may take on one value.
const RULE_STEPS: i64 = 100_000;
/// How many steps all rules may take on one object.
const OBJECT_STEPS: i64 = 300_000;

/// The rules of a schema and of what is below it; only where there are any.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    own: Vec<Rule>,
    properties: BTreeMap<String, Rules>,
    additional: Option<Box<Rules>>,
    items: Option<Box<Rules>>,
}

#[derive(Debug)]
struct Rule {
    source: String,
    program: Program,
    /// About a change.
    is_transition: bool,
    /// `oldSelf` is an optional, and the rule runs without an old value too.
    optional_old: bool,
    message: String,
    message_program: Option<Program>,
    reason: String,
    field_path: String,
}

/// Which variables a rule may use.
const VARIABLES: [&str; 2] = ["self", "oldSelf"];

fn text<'a>(rule: &'a Value, name: &str) -> &'a str {
    rule[name].as_str().unwrap_or_default()
}

impl Rules {
    /// Compiles the rules of a schema; those that do not compile were refused with the definition.
    fn compile(schema: &Structural) -> Option<Self> {
        let below = |schema: &Structural| Self::compile(schema).map(Box::new);
        let rules = Self {
            own: schema.rules.iter().filter_map(Rule::compile).collect(),
            properties: schema
                .properties
                .iter()
                .filter_map(|(name, own)| Some((name.clone(), Self::compile(own)?)))
                .collect(),
            additional: schema.additional.as_deref().and_then(below),
            items: schema.items.as_deref().and_then(below),
        };
        let is_empty = rules.own.is_empty()
            && rules.properties.is_empty()
            && rules.additional.is_none()
            && rules.items.is_none();
        (!is_empty).then_some(rules)
    }

    /// Those of a custom resource, compiled when they are needed for the first time.
    fn of(custom: &Custom) -> Option<Arc<Self>> {
        let made = || -> Arc<dyn Any + Send + Sync> { Arc::new(Self::compile(&custom.schema).map(Arc::new)) };
        custom.compiled.get_or_init(made).downcast_ref::<Option<Arc<Self>>>().cloned().flatten()
    }
}

impl Rule {
    fn compile(rule: &Value) -> Option<Self> {
        let source = text(rule, "rule").trim();
        let program = Program::compile(source, &VARIABLES).ok()?;
        let message_program = match text(rule, "messageExpression").trim() {
            "" => None,
            source => Program::compile(source, &VARIABLES).ok(),
        };
        Some(Self {
            is_transition: program.uses("oldSelf"),
            source: source.to_owned(),
            program,
            optional_old: rule["optionalOldSelf"] == true,
            message: text(rule, "message").trim().to_owned(),
            message_program,
            reason: text(rule, "reason").to_owned(),
            field_path: text(rule, "fieldPath").to_owned(),
        })
    }

    /// How the rule is named in errors about itself.
    fn told(&self) -> &str {
        if self.message.is_empty() { &self.source } else { &self.message }
    }
}

/// Adds what rules find wrong: with a definition, that they do not compile; with an object, what they say.
pub(crate) fn check(def: &ResourceDef, new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if &*def.bucket == api::structural::definition::BUCKET {
        check_definition(new, errors);
    }
    let Some(custom) = &def.custom else { return };
    let Some(rules) = Rules::of(custom) else { return };
    if is_blocking(errors) {
        errors.push(not_checked());
        return;
    }
    let mut run = Run { budget: Budget::new(OBJECT_STEPS), errors, is_over: false };
    run.value(&rules, &custom.schema, At { new, old, path: String::new() });
}

struct At<'a> {
    new: &'a Value,
    old: Option<&'a Value>,
    path: String,
}

struct Run<'a> {
    budget: Budget,
    errors: &'a mut Vec<FieldError>,
    is_over: bool,
}

impl Run<'_> {
    fn value(&mut self, rules: &Rules, schema: &Structural, at: At<'_>) {
        if !rules.own.is_empty() {
            self.own(rules, schema, &at);
        }
        let At { new, old, path } = at;
        match new {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let old = old.and_then(|old| old.get(name));
                    let (below, own, path) = match (rules.properties.get(name), &rules.additional) {
                        (Some(below), _) => (below, schema.properties.get(name), field(&path, name)),
                        (None, Some(below)) if !schema.properties.contains_key(name) => {
                            (&**below, schema.additional.as_deref(), format!("{path}[{name}]"))
                        }
                        _ => continue,
                    };
                    let Some(own) = own.filter(|own| !(value.is_null() && own.nullable)) else { continue };
                    if self.is_over {
                        return;
                    }
                    self.value(below, own, At { new: value, old, path });
                }
            }
            Value::Array(items) => {
                let (Some(below), Some(own)) = (&rules.items, schema.items.as_deref()) else { return };
                for (index, item) in items.iter().enumerate() {
                    if self.is_over {
                        return;
                    }
                    let old = correlated(schema, item, old);
                    self.value(below, own, At { new: item, old, path: format!("{path}[{index}]") });
                }
            }
            _ => {}
        }
    }

    fn own(&mut self, rules: &Rules, schema: &Structural, at: &At<'_>) {
        // An unchanged value is not held against an update; a rule about the change itself is.
        let is_unchanged = at.old == Some(at.new);
        let mut variables = HashMap::from([("self", of_schema(schema, at.new))]);
        let old = at.old.map(|old| of_schema(schema, old));
        for rule in &rules.own {
            if self.is_over {
                return;
            }
            match (rule.is_transition, rule.optional_old, &old) {
                (false, _, _) if is_unchanged => continue,
                (false, _, _) => {}
                (true, false, None) => continue,
                (true, false, Some(old)) => drop(variables.insert("oldSelf", old.clone())),
                (true, true, old) => {
                    let value = match old {
                        Some(old) => cel::objects::OptionalValue::of(old.clone()),
                        None => cel::objects::OptionalValue::none(),
                    };
                    variables.insert("oldSelf", Cel::Opaque(Arc::new(value)));
                }
            }
            self.rule(rule, schema, &variables, &at.path);
            variables.remove("oldSelf");
        }
    }

    fn rule(&mut self, rule: &Rule, schema: &Structural, variables: &HashMap<&str, Cel>, path: &str) {
        let place = if path.is_empty() { "<nil>" } else { path };
        let ty = shown_type(schema);
        let wrong = |why: String| FieldError::invalid(place, ty, why);
        match rule.program.run(variables, RULE_STEPS, &self.budget) {
            Ok(Cel::Bool(true)) => {}
            Ok(_) => {
                let message = self.message(rule, variables);
                let field = if rule.field_path.is_empty() {
                    place.to_owned()
                } else {
                    format!("{path}{}", rule.field_path).trim_start_matches('.').to_owned()
                };
                self.errors.push(reasoned(&rule.reason, field, ty, message));
            }
            Err(RunError::Cost) => {
                self.is_over = true;
                self.errors.push(wrong(if self.budget.is_spent() {
                    "validation failed due to running out of cost budget, no further validation rules will be run"
                        .to_owned()
                } else {
                    format!(
                        "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                        RunError::Cost,
                        rule.told()
                    )
                }));
            }
            Err(RunError::Failed(why)) if why.starts_with("no such overload") => {
                self.errors.push(wrong(format!(
                    "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                    rule.told()
                )));
            }
            Err(RunError::Failed(why)) => {
                self.errors.push(wrong(format!("{why} evaluating rule: {}", rule.told())));
            }
        }
    }

    /// What is told where a rule does not hold.
    fn message(&self, rule: &Rule, variables: &HashMap<&str, Cel>) -> String {
        if let Some(program) = &rule.message_program
            && let Ok(Cel::String(message)) = program.run(variables, RULE_STEPS, &self.budget)
        {
            let message = message.trim();
            if !message.is_empty() && !message.contains('\n') {
                return message.to_owned();
            }
        }
        if rule.message.is_empty() { format!("failed rule: {}", rule.source) } else { rule.message.clone() }
    }
}

fn field(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn shown_type(schema: &Structural) -> &str {
    if schema.ty.is_empty() && schema.int_or_string { "integer,string" } else { &schema.ty }
}

fn reasoned(reason: &str, field: String, ty: &str, message: String) -> FieldError {
    match reason {
        "FieldValueRequired" => FieldError::required(field, message),
        "FieldValueForbidden" => FieldError::forbidden(field, message),
        "FieldValueDuplicate" => {
            FieldError { field, problem: Problem::Duplicate(ty.into()), detail: String::new() }
        }
        _ => FieldError::invalid(field, ty, message),
    }
}

/// The reasons that a rule may give.
const REASONS: [&str; 4] =
    ["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"];

/// What is wrong with the rules of a definition.
fn check_definition(definition: &Value, errors: &mut Vec<FieldError>) {
    for (index, version) in definition["spec"]["versions"].as_array().into_iter().flatten().enumerate() {
        let schema = &version["schema"]["openAPIV3Schema"];
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        check_schema(schema, true, &path, errors);
    }
}

fn check_schema(schema: &Value, is_root: bool, path: &str, errors: &mut Vec<FieldError>) {
    let rules = schema["x-kubernetes-validations"].as_array();
    if let Some(rules) = rules.filter(|rules| !rules.is_empty()) {
        let own = Structural::parse(schema);
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("{path}.x-kubernetes-validations[{index}]");
            check_rule(rule, &types::Known { schema: &own, is_root }, &path, errors);
        }
    }
    for (name, own) in schema["properties"].as_object().into_iter().flatten() {
        check_schema(own, false, &format!("{path}.properties[{name}]"), errors);
    }
    for name in ["items", "additionalProperties"] {
        if schema[name].is_object() {
            check_schema(&schema[name], false, &format!("{path}.{name}"), errors);
        }
    }
}

fn check_rule(rule: &Value, known: &types::Known<'_>, path: &str, errors: &mut Vec<FieldError>) {
    let source = text(rule, "rule").trim();
    if source.is_empty() {
        errors.push(FieldError::required(format!("{path}.rule"), "rule is not specified"));
        return;
    }
    let message = text(rule, "message");
    if !message.is_empty() && message.trim().is_empty() {
        let why = "message must be non-empty if specified";
        errors.push(FieldError::invalid(format!("{path}.message"), message, why));
    } else if message.trim().contains('\n') {
        let why = "message must not contain line breaks";
        errors.push(FieldError::invalid(format!("{path}.message"), message, why));
    }
    let reason = text(rule, "reason");
    if !reason.is_empty() && !REASONS.contains(&reason) {
        errors.push(FieldError::not_supported(format!("{path}.reason"), reason, &REASONS));
    }
    for (name, source) in [("rule", source), ("messageExpression", text(rule, "messageExpression").trim())] {
        if source.is_empty() {
            continue;
        }
        let compiled = Program::compile(source, &VARIABLES);
        let problem = match &compiled {
            Ok(program) => types::problem(program.expression(), source, known),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = problem {
            let what =
                if name == "rule" { "compilation failed" } else { "messageExpression compilation failed" };
            errors.push(FieldError::invalid(format!("{path}.{name}"), source, format!("{what}: {why}")));
        }
        let uses_old = compiled.is_ok_and(|program| program.uses("oldSelf"));
        if name == "rule" && rule["optionalOldSelf"] == true && !uses_old {
            let why = "may not be set to true if oldSelf is not used in rule";
            errors.push(FieldError::invalid(format!("{path}.optionalOldSelf"), true, why));
        }
    }
    let field_path = text(rule, "fieldPath");
    if !field_path.is_empty() && !types::has_path(known.schema, field_path) {
        let why = "fieldPath must be a valid path: does not refer to a valid field";
        errors.push(FieldError::invalid(format!("{path}.fieldPath"), field_path, why));
    }
}

#[cfg(test)]
mod tests;
