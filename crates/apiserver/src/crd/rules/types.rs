//! Whether a rule selects fields that there are: the part of type checking that finds most mistakes.
//!
//! The schema of an expression is followed as far as it is known: through selections, indexes, and the variables of
//! macros. What is not known is not held against a rule.

use api::structural::Structural;
use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr};

use crate::cel::escaped;

/// What `self` is.
pub(super) struct Known<'a> {
    pub(super) schema: &'a Structural,
    /// Whether it is a whole object, which has metadata too.
    pub(super) is_root: bool,
}

struct Checker<'a> {
    known: &'a Known<'a>,
    /// The variables of macros, with what they are elements of.
    scope: Vec<(String, Option<&'a Structural>)>,
    problem: Option<String>,
}

/// The first field that is selected and does not exist.
pub(super) fn problem(expression: &IdedExpr, source: &str, known: &Known<'_>) -> Option<String> {
    let mut checker = Checker { known, scope: Vec::new(), problem: None };
    checker.expression(expression);
    let name = checker.problem?;
    let column = source.find(&format!(".{name}")).map_or(1, |place| place + 1);
    Some(format!("ERROR: <input>:1:{column}: undefined field '{name}'"))
}

/// Whether a path such as `.a.b` leads to a field.
pub(super) fn has_path(schema: &Structural, path: &str) -> bool {
    let mut at = schema;
    for step in path.trim_start_matches('.').split(['.', '[']) {
        let name = step.trim_end_matches(']').trim_matches(['\'', '"']);
        match at.field(name) {
            Some(own) => at = own,
            None => return at.keeps_unknown(),
        }
    }
    path.starts_with(['.', '['])
}

/// What a field of that name is, and whether there can be one.
fn select<'a>(schema: &'a Structural, name: &str) -> Result<Option<&'a Structural>, ()> {
    if let Some((_, own)) = schema.properties.iter().find(|(own, _)| escaped(own) == name) {
        return Ok(Some(own));
    }
    match schema.additional.as_deref() {
        Some(own) => Ok(Some(own)),
        None if schema.ty == "object" && !schema.preserve && !schema.embedded => Err(()),
        None => Ok(None),
    }
}

impl<'a> Checker<'a> {
    fn variable(&self, name: &str) -> Option<&'a Structural> {
        match self.scope.iter().rev().find(|(own, _)| own == name) {
            Some((_, schema)) => *schema,
            None => matches!(name, "self" | "oldSelf").then_some(self.known.schema),
        }
    }

    /// Checks an expression; says what its value is, where that is known.
    fn expression(&mut self, expression: &IdedExpr) -> Option<&'a Structural> {
        match &expression.expr {
            Expr::Ident(name) => self.variable(name),
            Expr::Select(selected) => {
                let schema = self.expression(&selected.operand)?;
                let is_self = std::ptr::eq(schema, self.known.schema) && self.known.is_root;
                if is_self && matches!(selected.field.as_str(), "metadata" | "apiVersion" | "kind") {
                    return None;
                }
                match select(schema, &selected.field) {
                    Ok(found) => found,
                    Err(()) => {
                        self.problem.get_or_insert(selected.field.clone());
                        None
                    }
                }
            }
            Expr::Call(call) => {
                let target = call.target.as_ref().and_then(|target| self.expression(target));
                let first = call.args.first().and_then(|first| self.expression(first));
                for argument in call.args.iter().skip(1) {
                    self.expression(argument);
                }
                // An index leads to an element.
                match (call.func_name.as_str(), first, target) {
                    ("_[_]", Some(of), _) => of.items.as_deref().or(of.additional.as_deref()),
                    ("@tick", first, _) => first,
                    _ => None,
                }
            }
            Expr::Comprehension(inner) => {
                self.comprehension(inner);
                None
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.expression(element);
                }
                None
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.expression(&entry.key);
                        self.expression(&entry.value);
                    }
                }
                None
            }
            Expr::Struct(_) | Expr::Literal(_) | Expr::Unspecified => None,
        }
    }

    fn comprehension(&mut self, inner: &ComprehensionExpr) {
        let range = self.expression(&inner.iter_range);
        self.expression(&inner.accu_init);
        let before = self.scope.len();
        // The elements of a list; of a map its keys, which are texts.
        let element = range.and_then(|range| range.items.as_deref());
        match &inner.iter_var2 {
            None => self.scope.push((inner.iter_var.clone(), element)),
            Some(second) => {
                let value = range.and_then(|range| range.items.as_deref().or(range.additional.as_deref()));
                self.scope.push((inner.iter_var.clone(), None));
                self.scope.push((second.clone(), value));
            }
        }
        self.scope.push((inner.accu_var.clone(), None));
        self.expression(&inner.loop_cond);
        self.expression(&inner.loop_step);
        self.expression(&inner.result);
        self.scope.truncate(before);
    }
}
