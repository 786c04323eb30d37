//! Expressions in the Common Expression Language: compiled once, run on documents, stopped when they cost too much.
//!
//! The interpreter has no limit of its own, so each condition of a loop is wrapped in a call that counts: that is
//! where all the time of an expression goes, whatever macro made the loop. The functions that Kubernetes adds are in
//! [`library`]; the rules of custom resources, in [`crate::crd::rules`].

mod authorizer;
mod library;
mod net;
mod object;
mod output;
mod url;
mod value;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue};
use cel::context::VariableResolver;
use cel::objects::Value;
use cel::parser::{Macro, MacroExprHelper};
use cel::{Context, Env, ExecutionError, ParseError, extensions};

pub(crate) use authorizer::{Asker, Resource};
pub(crate) use output::Output;
pub(crate) use value::{escaped, of_schema, val_of_json};

/// What a loop calls for each of its steps; no expression can name it.
const TICK: &str = "@tick";

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    for extension in [extensions::strings, extensions::lists, extensions::math] {
        env.add_extension(extension).expect("the extensions have names of their own");
    }
    env.add_macro(Macro::receiver("bind", 3, bind)).expect("no other macro has that name");
    Arc::new(env)
});

/// `cel.bind(name, value, expression)`: a loop that never turns, whose result sees what it began with.
fn bind(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    arguments: &mut Vec<IdedExpr>,
) -> Result<Option<IdedExpr>, ParseError> {
    if !target.as_ref().is_some_and(|target| target.expr == Expr::Ident("cel".to_owned())) {
        return Ok(None);
    }
    let [name, _, _] = arguments.as_slice() else { return Ok(None) };
    let Expr::Ident(name) = name.expr.clone() else {
        return Err(helper.new_error(name.id, "cel.bind() variable names must be simple identifiers"));
    };
    let (result, value) = (arguments.pop().unwrap_or_default(), arguments.pop().unwrap_or_default());
    let never = helper.next_expr(Expr::Literal(LiteralValue::Boolean(false.into())));
    let step = helper.next_expr(Expr::Ident(name.clone()));
    let nothing = helper.next_expr(Expr::List(ListExpr::new(Vec::new())));
    Ok(Some(helper.next_expr(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: nothing,
        iter_var: "@unused".to_owned(),
        iter_var2: None,
        accu_var: name,
        accu_init: value,
        loop_cond: never,
        loop_step: step,
        result,
    })))))
}

/// What all expressions share: the functions. The variables of each are in a scope of its own below it.
static ROOT: LazyLock<Context<'static, 'static>> = LazyLock::new(|| {
    let mut context = Context::with_env(Arc::clone(&ENV));
    library::add(&mut context);
    authorizer::add(&mut context);
    let counted = context.add_function(TICK, |is_on: bool| match Meter::tick() {
        true => Ok(Value::Bool(is_on)),
        false => Err(ExecutionError::function_error(TICK, "cost")),
    });
    counted.expect("no other function has that name");
    context
});

thread_local! {
    /// The expressions that run on this thread, the innermost last: a variable may be an expression too.
    static METERS: RefCell<Vec<(Budget, Budget)>> = const { RefCell::new(Vec::new()) };
}

/// Counts the steps of one run.
struct Meter;

impl Meter {
    fn start(own: &Budget, all: &Budget) -> Self {
        METERS.with_borrow_mut(|meters| meters.push((own.clone(), all.clone())));
        Self
    }

    /// Counts a step; says whether there may be more.
    fn tick() -> bool {
        METERS.with_borrow(|meters| {
            let Some((own, all)) = meters.last() else { return false };
            own.spend(1);
            all.spend(1);
            !own.is_spent() && !all.is_spent()
        })
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        METERS.with_borrow_mut(|meters| meters.pop());
    }
}

/// An expression that does not compile, as Kubernetes tells it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CompileError(pub(crate) String);

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum RunError {
    /// It took more steps than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    Cost,
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// How many steps expressions may still take, together.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<AtomicI64>);

impl Budget {
    /// A budget of that many steps.
    pub(crate) fn new(steps: i64) -> Self {
        Self(Arc::new(AtomicI64::new(steps)))
    }

    /// Whether nothing is left.
    pub(crate) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) < 0
    }

    fn spend(&self, steps: i64) {
        self.0.fetch_sub(steps, Ordering::Relaxed);
    }
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    expression: Arc<IdedExpr>,
    mismatch: Option<String>,
    output: Output,
}

impl Program {
    /// Compiles an expression that may use these variables.
    pub(crate) fn compile(source: &str, variables: &[&str]) -> Result<Self, CompileError> {
        Self::made(source, variables, false)
    }

    /// As [`Program::compile`]; the expression may construct `Object{..}` and `JSONPatch{..}`.
    pub(crate) fn compile_mutation(source: &str, variables: &[&str]) -> Result<Self, CompileError> {
        Self::made(source, variables, true)
    }

    fn made(source: &str, variables: &[&str], constructs: bool) -> Result<Self, CompileError> {
        let program = ENV.compile(source).map_err(|errors| CompileError(errors.to_string()))?;
        let known = |name: &str| variables.contains(&name) || library::is_namespace(name);
        if let Some(unknown) = unknown_variable(program.expression(), &known, &mut Vec::new()) {
            return Err(undeclared(source, unknown));
        }
        let references = program.references();
        let mut functions = references.functions();
        functions.sort_unstable();
        if let Some(unknown) = functions.into_iter().find(|name| !library::is_known(name)) {
            return Err(undeclared(source, unknown));
        }
        let mut expression = program.expression().clone();
        if let Some(unknown) = object::unknown_type(&expression, constructs) {
            return Err(undeclared(source, unknown));
        }
        let mismatch = object::mismatch(&expression);
        object::as_maps(&mut expression);
        let output = output::of(&expression, &|_| Output::Dyn);
        count_loops(&mut expression);
        Ok(Self { expression: Arc::new(expression), mismatch, output })
    }

    /// What the expression constructs and should not: an `Object` of one field in the place of another.
    pub(crate) fn mismatch(&self) -> Option<&str> {
        self.mismatch.as_deref()
    }

    /// The type of its value, as far as it is known.
    pub(crate) fn output(&self) -> Output {
        self.output
    }

    /// The expression, for those who check what it selects.
    pub(crate) fn expression(&self) -> &IdedExpr {
        &self.expression
    }

    /// Whether the expression uses a variable.
    pub(crate) fn uses(&self, variable: &str) -> bool {
        self.expression.references().has_variable(variable)
    }

    /// Runs the expression: `limit` steps at most, and no more than the budget has.
    pub(crate) fn run(
        &self,
        variables: &HashMap<&str, Value>,
        limit: i64,
        budget: &Budget,
    ) -> Result<Value, RunError> {
        let mut context = ROOT.new_inner_scope();
        for (name, value) in variables {
            context.add_variable_from_value(*name, value.clone());
        }
        self.evaluate(&context, limit, budget)
    }

    /// As [`Program::run`]; the variables are asked for when they are needed.
    pub(crate) fn run_with(
        &self,
        variables: &dyn VariableResolver,
        limit: i64,
        budget: &Budget,
    ) -> Result<Value, RunError> {
        let mut context = ROOT.new_inner_scope();
        context.set_variable_resolver(variables);
        self.evaluate(&context, limit, budget)
    }

    fn evaluate(&self, context: &Context<'_, '_>, limit: i64, budget: &Budget) -> Result<Value, RunError> {
        let own = Budget::new(limit);
        budget.spend(1);
        let result = {
            let _meter = Meter::start(&own, budget);
            context.resolve(&self.expression)
        };
        // Whatever an expression makes of the failure of a step, it does not go on.
        if own.is_spent() || budget.is_spent() {
            return Err(RunError::Cost);
        }
        result.map_err(|error| RunError::Failed(told(&error)))
    }
}

/// The first variable that is neither known nor one of a macro's own.
fn unknown_variable<'a>(
    expression: &'a IdedExpr,
    known: &dyn Fn(&str) -> bool,
    scope: &mut Vec<&'a str>,
) -> Option<&'a str> {
    match &expression.expr {
        Expr::Ident(name) => (!known(name) && !scope.contains(&name.as_str())).then_some(name),
        Expr::Select(select) => unknown_variable(&select.operand, known, scope),
        Expr::Call(call) => {
            let parts = call.target.as_deref().into_iter().chain(&call.args);
            parts.into_iter().find_map(|part| unknown_variable(part, known, scope))
        }
        Expr::List(list) => list.elements.iter().find_map(|part| unknown_variable(part, known, scope)),
        Expr::Map(map) => map.entries.iter().find_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => unknown_variable(&entry.key, known, scope)
                .or_else(|| unknown_variable(&entry.value, known, scope)),
            EntryExpr::StructField(field) => unknown_variable(&field.value, known, scope),
        }),
        Expr::Struct(own) => own.entries.iter().find_map(|entry| match &entry.expr {
            EntryExpr::StructField(field) => unknown_variable(&field.value, known, scope),
            EntryExpr::MapEntry(entry) => unknown_variable(&entry.value, known, scope),
        }),
        Expr::Comprehension(inner) => {
            let outside = unknown_variable(&inner.iter_range, known, scope)
                .or_else(|| unknown_variable(&inner.accu_init, known, scope));
            let before = scope.len();
            scope.extend([inner.iter_var.as_str(), inner.accu_var.as_str()]);
            scope.extend(inner.iter_var2.as_deref());
            let inside = [&inner.loop_cond, &inner.loop_step, &inner.result]
                .into_iter()
                .find_map(|part| unknown_variable(part, known, scope));
            scope.truncate(before);
            outside.or(inside)
        }
        Expr::Unspecified | Expr::Literal(_) => None,
    }
}

fn undeclared(source: &str, name: &str) -> CompileError {
    let column = source.find(name).map_or(1, |place| place + 1);
    CompileError(format!("ERROR: <input>:1:{column}: undeclared reference to '{name}' (in container '')"))
}

/// An error in the words of Kubernetes' interpreter.
fn told(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::NoSuchOverload(_) | ExecutionError::UnsupportedBinaryOperator(..) => {
            "no such overload".to_owned()
        }
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::FunctionError { message, .. } => message.clone(),
        ExecutionError::IndexOutOfBounds(Value::Int(index)) => format!("index out of bounds: {index}"),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        other => other.to_string(),
    }
}

/// Has every loop of an expression count its steps.
fn count_loops(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Comprehension(inner) => {
            for part in [
                &mut inner.iter_range,
                &mut inner.accu_init,
                &mut inner.loop_cond,
                &mut inner.loop_step,
                &mut inner.result,
            ] {
                count_loops(part);
            }
            let condition = std::mem::take(&mut inner.loop_cond);
            let id = condition.id;
            let call = CallExpr { func_name: TICK.to_owned(), target: None, args: vec![condition] };
            inner.loop_cond = IdedExpr { id, expr: Expr::Call(call) };
        }
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| count_loops(target));
            call.args.iter_mut().for_each(count_loops);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(count_loops),
        Expr::Select(select) => count_loops(&mut select.operand),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| count_entry(&mut entry.expr)),
        Expr::Struct(own) => own.entries.iter_mut().for_each(|entry| count_entry(&mut entry.expr)),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn count_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => count_loops(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            count_loops(&mut entry.key);
            count_loops(&mut entry.value);
        }
    }
}

#[cfg(test)]
mod tests;
