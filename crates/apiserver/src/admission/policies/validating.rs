//! What validating policies say of a write.

use std::collections::BTreeMap;

use api::status::{Cause, Reason, Status};
use cel::objects::Value as Cel;
use serde_json::{Value, json};

use super::config::{Binding, Check, Policy};
use super::{Policies, concerned, is_bound, param_kind, params};
use crate::admission::Question;
use crate::admission::expressions::{Document, Failure, Inputs, POLICY_VARIABLES, Scope};
use crate::audit::{self, Level};

/// The longest message that an expression may make.
const LONGEST_MESSAGE: usize = 5 * 1024;
/// The longest value of an annotation; the rest of a longer one is cut off.
const LONGEST_ANNOTATION: usize = 10 * 1024;

/// What a check said.
enum Decision {
    Admit,
    Deny { message: String, reason: String },
}

impl Decision {
    /// What a failure means.
    fn failed(policy: &Policy, why: &str) -> Self {
        match policy.ignores_failure() {
            true => Self::Admit,
            false => Self::Deny { message: why.to_owned(), reason: String::new() },
        }
    }
}

/// A refusal.
struct Denied {
    policy: String,
    binding: Option<String>,
    message: String,
    reason: String,
}

impl Denied {
    /// What is set up wrongly refuses, unless its policy ignores that.
    fn misconfigured(policy: &Policy, binding: Option<&Binding>, why: &str) -> Option<Self> {
        let what = if binding.is_some() { "binding" } else { "policy" };
        (!policy.ignores_failure()).then(|| Self {
            policy: policy.metadata.name.clone(),
            binding: binding.map(|binding| binding.metadata.name.clone()),
            message: format!("failed to configure {what}: {why}"),
            reason: String::new(),
        })
    }

    fn status(&self, question: &Question<'_>, object: Option<&Value>) -> Status {
        let with =
            self.binding.as_ref().map(|binding| format!(" with binding '{binding}'")).unwrap_or_default();
        let message =
            format!("ValidatingAdmissionPolicy '{}'{with} denied request: {}", self.policy, self.message);
        let mut status = question.request.forbid(object, &message);
        let (reason, code) = match self.reason.as_str() {
            "Unauthorized" => (Reason::Unauthorized, 401),
            "Forbidden" => (Reason::Forbidden, 403),
            "RequestEntityTooLarge" => (Reason::RequestEntityTooLarge, 413),
            _ => (Reason::Invalid, 422),
        };
        status.reason = Some(reason);
        status.code = code;
        if let Some(details) = &mut status.details {
            details.causes.push(Cause { message, ..Cause::default() });
        }
        status
    }
}

impl Policies {
    /// Lets policies judge a write.
    pub(crate) fn judge(
        &self,
        question: &Question<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let snapshot = question.request.snapshot;
        let candidate = question.candidate(object, old);
        if candidate.is_exempt() {
            return Ok(());
        }
        let bindings = self.validating_bindings.all(snapshot);
        let mut denied: Vec<Denied> = Vec::new();
        for policy in self.validating.all(snapshot) {
            let own = bindings.iter().filter(|binding| binding.spec.policy_name == policy.metadata.name);
            let mut own = own.peekable();
            if own.peek().is_none() {
                continue;
            }
            let Some(def) = concerned(&policy, &candidate) else { continue };
            let kind = match param_kind(&policy, question) {
                Ok(kind) => kind,
                Err(why) => {
                    denied.extend(Denied::misconfigured(&policy, None, &why));
                    continue;
                }
            };
            let (shown, shown_old) = (question.shown(def, object), question.shown(def, old));
            let inputs = Inputs::new(question, def, shown.as_ref(), shown_old.as_ref());
            let mut annotations = Annotations::default();
            for binding in own.filter(|binding| is_bound(binding, &candidate)) {
                let params = match params(question, object, kind.as_ref(), binding) {
                    Ok(params) => params,
                    Err(why) => {
                        denied.extend(Denied::misconfigured(&policy, Some(binding), &why));
                        continue;
                    }
                };
                let mut run = Run { policy: &policy, binding, warnings, denied: &mut denied };
                for param in params {
                    let param = Document::owned(param);
                    run.judge(&Scope::new(&inputs, &param, &policy.compiled().variables), &mut annotations);
                }
            }
            annotations.publish(&policy.metadata.name);
        }
        denied.first().map_or(Ok(()), |denied| Err(denied.status(question, object.or(old))))
    }
}

/// One policy with one binding.
struct Run<'a> {
    policy: &'a Policy,
    binding: &'a Binding,
    warnings: &'a mut Vec<String>,
    denied: &'a mut Vec<Denied>,
}

impl Run<'_> {
    fn judge(&mut self, scope: &Scope<'_>, annotations: &mut Annotations) {
        let policy = self.policy;
        let conditions = &policy.spec.match_conditions;
        match policy.conditions.hold(conditions, &POLICY_VARIABLES, scope) {
            Ok(true) => {}
            Ok(false) => return,
            // Where failures are ignored, what cannot be decided does not match.
            Err(why) => return self.act(0, Decision::failed(policy, &why)),
        }
        let compiled = policy.compiled();
        for (index, check) in compiled.checks.iter().enumerate() {
            match decide(policy, check, scope) {
                Ok(decision) => self.act(index, decision),
                Err(why) => return self.act(0, Decision::failed(policy, &why)),
            }
        }
        for (key, expression) in &compiled.annotations {
            let value = match expression.run(scope, scope.budget()) {
                Ok(Cel::String(value)) => Ok(value.trim().to_owned()),
                Ok(Cel::Null) => Ok(String::new()),
                Ok(other) => Err(format!(
                    "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                    expression.source,
                    other.type_of()
                )),
                Err(why) => Err(why.message().to_owned()),
            };
            match value {
                Ok(value) if value.is_empty() => {}
                Ok(value) => annotations.add(key, value),
                Err(why) => {
                    if let Decision::Deny { message, reason } = Decision::failed(policy, &why) {
                        self.deny(message, reason);
                    }
                }
            }
        }
    }

    fn deny(&mut self, message: String, reason: String) {
        self.denied.push(Denied {
            policy: self.policy.metadata.name.clone(),
            binding: Some(self.binding.metadata.name.clone()),
            message,
            reason,
        });
    }

    /// Does what the binding says is to be done.
    fn act(&mut self, index: usize, decision: Decision) {
        let Decision::Deny { message, reason } = decision else { return };
        let (policy, binding) = (&self.policy.metadata.name, &self.binding.metadata.name);
        let actions = &self.binding.spec.validation_actions;
        for action in actions {
            match action.as_str() {
                "Deny" => self.deny(message.clone(), reason.clone()),
                "Warn" => self.warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {message}"
                )),
                "Audit" => {
                    let told = json!([{
                        "message": message,
                        "policy": policy,
                        "binding": binding,
                        "expressionIndex": index,
                        "validationActions": actions,
                    }]);
                    let key = "validation.policy.admission.k8s.io/validation_failure";
                    audit::annotate(Level::Metadata, key, told.to_string());
                }
                _ => {}
            }
        }
    }
}

/// What a check says; what is told where nothing can be said any more.
fn decide(policy: &Policy, check: &Check, scope: &Scope<'_>) -> Result<Decision, String> {
    match check.expression.run(scope, scope.budget()) {
        Ok(Cel::Bool(true)) => Ok(Decision::Admit),
        Ok(_) => Ok(Decision::Deny { message: message(check, scope), reason: check.reason.clone() }),
        Err(Failure::Spent) => Err(Failure::Spent.message().to_owned()),
        Err(Failure::Failed(why)) => Ok(Decision::failed(policy, &why)),
    }
}

/// What is told where a check does not hold: what its expression makes, else its message, else itself.
fn message(check: &Check, scope: &Scope<'_>) -> String {
    let made = check.message_expression.as_ref().and_then(|own| own.run(scope, scope.budget()).ok());
    if let Some(Cel::String(made)) = made {
        let made = made.trim();
        if !made.is_empty() && made.len() <= LONGEST_MESSAGE && !made.contains('\n') {
            return made.to_owned();
        }
    }
    match check.message.as_str() {
        "" => format!("failed expression: {}", check.expression.source.trim()),
        message => message.to_owned(),
    }
}

/// What a policy tells the audit log, of all its bindings.
#[derive(Default)]
struct Annotations(BTreeMap<String, Vec<String>>);

impl Annotations {
    fn add(&mut self, key: &str, mut value: String) {
        if value.len() > LONGEST_ANNOTATION {
            let end = (0..=LONGEST_ANNOTATION).rev().find(|end| value.is_char_boundary(*end));
            value.truncate(end.unwrap_or_default());
        }
        let values = self.0.entry(key.to_owned()).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }

    fn publish(self, policy: &str) {
        for (key, values) in self.0 {
            audit::annotate(Level::Metadata, format!("{policy}/{key}"), values.join(", "));
        }
    }
}
