//! What mutating policies make of an object.

use std::collections::HashMap;
use std::sync::Arc;

use api::patch;
use api::registry::ResourceDef;
use api::status::{Cause, Status};
use cel::objects::Value as Cel;
use json_patch::PatchOperation;
use serde_json::{Value, json};

use super::config::{Binding, Change, Policy};
use super::{Policies, concerned, is_bound, param_kind, params};
use crate::admission::Question;
use crate::admission::expressions::{Document, Expression, Inputs, POLICY_VARIABLES, Scope};
use crate::admission::matching::Candidate;

/// What policies made of an object so far: for each policy with a binding and a parameter, the object as it left it
/// where it wants to be asked again.
#[derive(Default)]
pub(crate) struct Mutated {
    left: HashMap<(String, String, usize), Option<Value>>,
}

/// Why a change was not made.
enum Failed {
    /// The policy is to blame, and its failure policy decides.
    Policy(String),
    /// The object cannot be stored any more.
    Broken(Status),
}

/// A policy that refuses a request because it could not change it.
struct Refused {
    policy: String,
    binding: Option<String>,
    why: String,
}

/// A policy that is asked, and with what.
struct Asked<'a> {
    policy: Arc<Policy>,
    binding: Arc<Binding>,
    def: &'a Arc<ResourceDef>,
    params: Vec<Value>,
}

impl Refused {
    /// A refusal, unless the policy ignores what fails.
    fn of(policy: &Policy, binding: Option<&Binding>, why: String) -> Option<Self> {
        (!policy.ignores_failure()).then(|| Self {
            policy: policy.metadata.name.clone(),
            binding: binding.map(|binding| binding.metadata.name.clone()),
            why,
        })
    }

    fn message(&self) -> String {
        match &self.binding {
            Some(binding) => {
                format!("policy '{}' with binding '{binding}' denied request: {}", self.policy, self.why)
            }
            None => format!("policy {:?} denied request: {}", self.policy, self.why),
        }
    }
}

impl Policies {
    /// Lets policies change an object; says whether one did. In the second round only those are asked that want to be
    /// where the object is not as they left it.
    pub(crate) fn mutate(
        &self,
        question: &Question<'_>,
        object: &mut Value,
        old: Option<&Value>,
        mutated: &mut Mutated,
        round: usize,
    ) -> Result<bool, Status> {
        let mut refused = Vec::new();
        // Who is asked is decided on the object as it came; each then sees what those before it made of it.
        let original = object.clone();
        let mut changed = false;
        for asked in self.asked(question, &original, old, &mut refused) {
            let Asked { policy, binding, def, params } = asked;
            for (place, param) in params.into_iter().enumerate() {
                let key = (policy.metadata.name.clone(), binding.metadata.name.clone(), place);
                if round > 0 {
                    let seen = mutated.left.get(&key).and_then(Option::as_ref);
                    if seen.is_none_or(|seen| seen == object) {
                        continue;
                    }
                }
                match change_all(question, &policy, def, object, old, param) {
                    Ok(Some(has_changed)) => {
                        changed |= has_changed;
                        let wants_again = policy.spec.reinvocation_policy == "IfNeeded";
                        mutated.left.insert(key, wants_again.then(|| object.clone()));
                    }
                    Ok(None) => {}
                    Err(Failed::Broken(status)) => return Err(status),
                    Err(Failed::Policy(why)) => refused.extend(Refused::of(&policy, Some(&binding), why)),
                }
            }
        }
        if refused.is_empty() { Ok(changed) } else { Err(status(question, object, &refused)) }
    }

    /// The policies that an object concerns, with their bindings, in their order.
    fn asked<'q>(
        &self,
        question: &'q Question<'_>,
        object: &Value,
        old: Option<&Value>,
        refused: &mut Vec<Refused>,
    ) -> Vec<Asked<'q>> {
        let snapshot = question.request.snapshot;
        let bindings = self.mutating_bindings.all(snapshot);
        let candidate =
            Candidate { request: &question.request, versions: question.versions, object: Some(object), old };
        let mut asked = Vec::new();
        if bindings.is_empty() || candidate.is_exempt() {
            return asked;
        }
        for policy in self.mutating.all(snapshot) {
            let own = |binding: &&Arc<Binding>| binding.spec.policy_name == policy.metadata.name;
            let mut own = bindings.iter().filter(own).peekable();
            if own.peek().is_none() {
                continue;
            }
            let Some(def) = concerned(&policy, &candidate) else { continue };
            let kind = match param_kind(&policy, question) {
                Ok(kind) => kind,
                Err(why) => {
                    refused.extend(Refused::of(&policy, None, why));
                    continue;
                }
            };
            for binding in own.filter(|binding| is_bound(binding, &candidate)) {
                match params(question, Some(object), kind.as_ref(), binding) {
                    Ok(params) => {
                        let (policy, binding) = (policy.clone(), binding.clone());
                        asked.push(Asked { policy, binding, def, params });
                    }
                    Err(why) => refused.extend(Refused::of(&policy, Some(binding), why)),
                }
            }
        }
        asked
    }
}

fn status(question: &Question<'_>, object: &Value, refused: &[Refused]) -> Status {
    let mut status = question.request.forbid(Some(object), "");
    status.message = refused.first().map(Refused::message).unwrap_or_default();
    if let Some(details) = &mut status.details {
        let causes = refused.iter().map(|own| Cause { message: own.message(), ..Cause::default() });
        details.causes.extend(causes);
    }
    status
}

/// Makes the changes of one policy, all or none; nothing where its conditions do not hold.
fn change_all(
    question: &Question<'_>,
    policy: &Policy,
    def: &Arc<ResourceDef>,
    object: &mut Value,
    old: Option<&Value>,
    param: Value,
) -> Result<Option<bool>, Failed> {
    let shown_old = question.shown(def, old);
    let mut shown = question.shown(def, Some(object)).unwrap_or_default();
    let before = shown.clone();
    let param = Document::owned(param);
    let compiled = policy.compiled();
    {
        let inputs = Inputs::new(question, def, Some(&shown), shown_old.as_ref());
        let scope = Scope::new(&inputs, &param, &compiled.variables);
        let conditions = &policy.spec.match_conditions;
        let holds = policy.conditions.hold(conditions, &POLICY_VARIABLES, &scope);
        if !holds.map_err(Failed::Policy)? {
            return Ok(None);
        }
    }
    let schema = question.part.unwrap_or(def);
    for change in &compiled.changes {
        let result = {
            // Each sees what the one before it made.
            let inputs = Inputs::new(question, def, Some(&shown), shown_old.as_ref());
            let scope = Scope::new(&inputs, &param, &compiled.variables);
            let (Change::Apply(expression) | Change::Patch(expression)) = change;
            run(expression, &scope).map_err(Failed::Policy)?
        };
        shown = match change {
            Change::Apply(_) => applied(schema, shown, result),
            Change::Patch(_) => patched(shown, result),
        }
        .map_err(Failed::Policy)?;
    }
    if shown == before {
        return Ok(Some(false));
    }
    question.take_back(def, shown, object).map(Some).map_err(Failed::Broken)
}

fn run(expression: &Expression, scope: &Scope<'_>) -> Result<Value, String> {
    let value = expression.run(scope, scope.budget()).map_err(|why| why.message().to_owned())?;
    if let Ok(program) = &expression.program
        && let Some(why) = program.mismatch()
    {
        return Err(format!("type mismatch: {why}"));
    }
    json_of(&value)
}

fn json_of(value: &Cel) -> Result<Value, String> {
    let unfit = "JSONPath valueExpression evaluated to a type that could not marshal to JSON";
    value.json().map_err(|why| format!("{unfit}: {why}"))
}

/// An object with a document merged into it, as server-side apply would.
fn applied(def: &ResourceDef, mut object: Value, mut document: Value) -> Result<Value, String> {
    let Some(fields) = document.as_object_mut() else {
        return Err("unsupported return type from ApplyConfiguration expression".to_owned());
    };
    fields.insert("apiVersion".to_owned(), object["apiVersion"].clone());
    fields.insert("kind".to_owned(), object["kind"].clone());
    patch::apply::merge_into(def, &mut object, &document)
        .map_err(|why| format!("error applying patch: {why}"))?;
    Ok(object)
}

/// An object with operations applied to it; as it was where a test among them fails.
fn patched(object: Value, operations: Value) -> Result<Value, String> {
    let Some(operations) = operations.as_array() else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".to_owned());
    };
    let mut new = object.clone();
    for operation in operations {
        let is_test = operation["op"] == "test";
        let mut told = json!({"op": operation["op"], "path": operation["path"]});
        for field in ["from", "value"] {
            if let Some(own) = operation.get(field) {
                told[field] = own.clone();
            }
        }
        let operation: PatchOperation =
            serde_json::from_value(told).map_err(|why| format!("JSONPath: {why}"))?;
        match patch::json::apply(&mut new, vec![operation]) {
            Ok(()) => {}
            Err(_) if is_test => return Ok(object),
            Err(status) => return Err(format!("JSONPath: {}", status.message)),
        }
    }
    Ok(new)
}
