//! The expressions of webhooks and policies: what they may name, how they run, and what is told where they fail.
//!
//! A document becomes a value of the language once for a request, when the first expression asks for it; the
//! variables of a policy are run when the first expression asks for them, and once.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use api::registry::ResourceDef;
use cel::ExecutionError;
use cel::common::traits::Indexer;
use cel::common::types::{CelString, DYN_TYPE, Type};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::objects::Value as Cel;
use serde::Deserialize;
use serde_json::Value;

use super::Question;
use super::matching::name_of;
use crate::cel::{Asker, Budget, CompileError, Program, Resource, RunError, val_of_json};

/// How many steps one expression may take.
const STEPS: i64 = 100_000;
/// How many steps the expressions of one policy may take on one request, together.
pub(super) const POLICY_STEPS: i64 = 300_000;
/// How many steps the conditions of one webhook or policy may take, together.
const CONDITION_STEPS: i64 = 75_000;

/// What conditions may name.
pub(super) const CONDITION_VARIABLES: [&str; 4] = ["object", "oldObject", "request", "authorizer"];

/// What the expressions of policies may name.
pub(super) const POLICY_VARIABLES: [&str; 7] =
    ["object", "oldObject", "request", "authorizer", "namespaceObject", "variables", "params"];

/// An expression with its text.
#[derive(Debug)]
pub(super) struct Expression {
    pub source: String,
    pub program: Result<Program, CompileError>,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// All of them together took too long: none is run any more.
    Spent,
    /// It failed, as messages have it.
    Failed(String),
}

impl Failure {
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Spent => {
                "validation failed due to running out of cost budget, no further validation rules will be run"
            }
            Self::Failed(why) => why,
        }
    }
}

impl Expression {
    pub(super) fn new(source: &str, variables: &[&str]) -> Self {
        Self { source: source.to_owned(), program: Program::compile(source, variables) }
    }

    /// One that may construct objects.
    pub(super) fn mutation(source: &str, variables: &[&str]) -> Self {
        Self { source: source.to_owned(), program: Program::compile_mutation(source, variables) }
    }

    pub(super) fn run(&self, scope: &dyn VariableResolver, budget: &Budget) -> Result<Cel, Failure> {
        let program = self
            .program
            .as_ref()
            .map_err(|why| Failure::Failed(format!("compilation error: compilation failed: {why}")))?;
        program.run_with(scope, STEPS, budget).map_err(|why| match why {
            RunError::Cost if budget.is_spent() => Failure::Spent,
            why => Failure::Failed(format!("expression '{}' resulted in error: {why}", self.source)),
        })
    }
}

/// An expression with a name, as in `matchConditions` and `variables`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub name: String,
    pub expression: String,
}

/// The conditions of a webhook or a policy, compiled when they are needed for the first time.
#[derive(Debug, Default)]
pub(super) struct Conditions(OnceLock<Vec<Expression>>);

impl Conditions {
    /// Whether all hold. Where one does not, the others may fail; else the first failures are told.
    pub(super) fn hold(
        &self,
        sources: &[Named],
        variables: &[&str],
        scope: &dyn VariableResolver,
    ) -> Result<bool, String> {
        let made = || sources.iter().map(|own| Expression::new(&own.expression, variables)).collect();
        let budget = Budget::new(CONDITION_STEPS);
        let mut failed: Vec<String> = Vec::new();
        for condition in self.0.get_or_init(made) {
            match condition.run(scope, &budget) {
                Ok(Cel::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(Failure::Spent) => return Err(Failure::Spent.message().to_owned()),
                Err(Failure::Failed(why)) => {
                    if !failed.contains(&why) {
                        failed.push(why);
                    }
                }
            }
        }
        match failed.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}

/// A document, and the value that it becomes.
pub(super) struct Document<'a> {
    json: Cow<'a, Value>,
    made: OnceLock<Box<dyn Val>>,
}

impl<'a> Document<'a> {
    pub(super) fn owned(json: Value) -> Self {
        Self { json: Cow::Owned(json), made: OnceLock::new() }
    }

    fn lent(json: Option<&'a Value>) -> Self {
        match json {
            Some(json) => Self { json: Cow::Borrowed(json), made: OnceLock::new() },
            None => Self::owned(Value::Null),
        }
    }

    fn value(&self) -> &dyn Val {
        &**self.made.get_or_init(|| val_of_json(&self.json))
    }
}

/// What all expressions about a request in one version have in common.
pub(super) struct Inputs<'a> {
    object: Document<'a>,
    old: Document<'a>,
    request: Document<'a>,
    namespace: OnceLock<Box<dyn Val>>,
    question: &'a Question<'a>,
    asker: Asker,
    resource: Resource,
    authorizer: OnceLock<Box<dyn Val>>,
    requested: OnceLock<Box<dyn Val>>,
}

impl<'a> Inputs<'a> {
    /// The documents are as they are shown in the version of `def`.
    pub(super) fn new(
        question: &'a Question<'a>,
        def: &ResourceDef,
        object: Option<&'a Value>,
        old: Option<&'a Value>,
    ) -> Self {
        let request = &question.request;
        let asker = Asker { authorizer: question.authorizer.clone(), user: Arc::new(request.user.clone()) };
        let mut described = question.described(def, object);
        described["uid"] = "".into();
        let resource = Resource {
            group: def.group.to_string(),
            resource: def.plural.to_string(),
            subresource: request.subresource.map_or("", |part| part.as_str()).to_owned(),
            namespace: request.namespace.to_owned(),
            name: name_of(request, object).to_owned(),
        };
        Self {
            object: Document::lent(object),
            old: Document::lent(old),
            request: Document::owned(described),
            namespace: OnceLock::new(),
            question,
            asker,
            resource,
            authorizer: OnceLock::new(),
            requested: OnceLock::new(),
        }
    }

    /// The namespace of the object, where it is in one.
    fn namespace(&self) -> &dyn Val {
        let request = &self.question.request;
        let read = || {
            let is_in = request.def.namespaced && !request.namespace.is_empty();
            let entry = is_in.then(|| request.find("namespaces", "", request.namespace)).flatten();
            let mut namespace = entry.and_then(super::read).unwrap_or_default();
            if let Some(metadata) = namespace.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.shift_remove("managedFields");
            }
            val_of_json(&namespace)
        };
        &**self.namespace.get_or_init(read)
    }
}

impl VariableResolver for Inputs<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        Some(CowVal::Borrowed(match name {
            "object" => self.object.value(),
            "oldObject" => self.old.value(),
            "request" => self.request.value(),
            "namespaceObject" => self.namespace(),
            "authorizer" => &**self.authorizer.get_or_init(|| val(self.asker.value())),
            "authorizer.requestResource" => {
                &**self.requested.get_or_init(|| val(self.asker.of_resource(self.resource.clone())))
            }
            _ => return None,
        }))
    }
}

fn val(value: Cel) -> Box<dyn Val> {
    // Nothing but functions as values cannot be converted.
    value.try_into().unwrap_or_else(|_| val_of_json(&Value::Null))
}

/// The variables of a policy, with their expressions.
pub(super) type Composed = [(String, Expression)];

/// What the expressions of a policy have beside: its parameter and its variables.
pub(super) struct Scope<'a> {
    inputs: &'a Inputs<'a>,
    params: &'a Document<'a>,
    composed: &'a Composed,
    made: Vec<OnceLock<Result<Box<dyn Val>, String>>>,
    budget: Budget,
}

impl<'a> Scope<'a> {
    pub(super) fn new(inputs: &'a Inputs<'a>, params: &'a Document<'a>, composed: &'a Composed) -> Self {
        let made = composed.iter().map(|_| OnceLock::new()).collect();
        Self { inputs, params, composed, made, budget: Budget::new(POLICY_STEPS) }
    }

    /// What the expressions may still take.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    fn variable(&self, name: &str) -> Result<&dyn Val, ExecutionError> {
        let place = self.composed.iter().position(|(own, _)| own == name);
        let place = place.ok_or_else(|| ExecutionError::NoSuchKey(Arc::new(name.to_owned())))?;
        let run = || {
            let expression = &self.composed[place].1;
            let failed = |why: String| format!("composited variable {name:?} fails to evaluate: {why}");
            let program = expression.program.as_ref().map_err(|why| {
                format!("composited variable {name:?} fails to compile: compilation failed: {why}")
            })?;
            // Only variables before it may be named, so that there is an end.
            let before = Before { scope: self, count: place };
            let value =
                program.run_with(&before, STEPS, &self.budget).map_err(|why| failed(why.to_string()))?;
            Ok(val(value))
        };
        match self.made[place].get_or_init(run) {
            Ok(value) => Ok(&**value),
            Err(why) => Err(ExecutionError::function_error("variables", why)),
        }
    }

    fn resolve_before<'b>(&'b self, name: &str, count: usize) -> Option<CowVal<'b, 'b>> {
        match name {
            "variables" => Some(CowVal::owned(Variables { scope: self, count })),
            "params" => Some(CowVal::Borrowed(self.params.value())),
            _ => self.inputs.resolve(name),
        }
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        self.resolve_before(name, self.composed.len())
    }
}

/// The scope of a variable.
struct Before<'a> {
    scope: &'a Scope<'a>,
    count: usize,
}

impl VariableResolver for Before<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        self.scope.resolve_before(name, self.count)
    }
}

/// The value `variables`.
#[derive(Clone, Copy)]
struct Variables<'a> {
    scope: &'a Scope<'a>,
    count: usize,
}

impl fmt::Debug for Variables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.scope.composed.iter().map(|(name, _)| name)).finish()
    }
}

impl Val for Variables<'_> {
    fn get_type(&self) -> &Type {
        &DYN_TYPE
    }

    fn cel_type() -> &'static Type {
        &DYN_TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Indexer for Variables<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name =
            index.downcast_ref::<CelString<'_>>().map(|name| name.inner().to_owned()).unwrap_or_default();
        let known = self.scope.composed[..self.count].iter().any(|(own, _)| *own == name);
        match known {
            true => Ok(CowVal::Borrowed(self.scope.variable(&name)?)),
            false => Err(ExecutionError::NoSuchKey(Arc::new(name))),
        }
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}
