//! What the expressions of mutating policies construct: `Object{spec: Object.spec{replicas: 3}}` and
//! `JSONPatch{op: "add", path: "/a", value: 1}`.
//!
//! Both are maps to the interpreter. That an `Object` stands where its name says it does, is found out beforehand.

use cel::common::ast::operators::{ADD, CONDITIONAL};
use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, MapEntryExpr, MapExpr};
use cel::common::types::CelString;

use super::value::unescaped;

/// The type of a whole object; those of its fields are named by their path, as `Object.spec`.
const OBJECT: &str = "Object";
/// One operation of a patch.
const PATCH: &str = "JSONPatch";

fn is_object(name: &str) -> bool {
    name.strip_prefix(OBJECT).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The parts of an expression.
fn parts<'a>(expression: &'a IdedExpr, visit: &mut dyn FnMut(&'a IdedExpr)) {
    let entry = |entry: &'a IdedEntryExpr, visit: &mut dyn FnMut(&'a IdedExpr)| match &entry.expr {
        EntryExpr::StructField(field) => visit(&field.value),
        EntryExpr::MapEntry(entry) => {
            visit(&entry.key);
            visit(&entry.value);
        }
    };
    match &expression.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(visit),
        Expr::Comprehension(inner) => {
            [&inner.iter_range, &inner.accu_init, &inner.loop_cond, &inner.loop_step, &inner.result]
                .into_iter()
                .for_each(visit);
        }
        Expr::List(list) => list.elements.iter().for_each(visit),
        Expr::Select(select) => visit(&select.operand),
        Expr::Map(map) => map.entries.iter().for_each(|own| entry(own, visit)),
        Expr::Struct(own) => own.entries.iter().for_each(|own| entry(own, visit)),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

/// The first type that is constructed and does not exist.
pub(super) fn unknown_type(expression: &IdedExpr, constructs: bool) -> Option<&str> {
    if let Expr::Struct(own) = &expression.expr
        && !(constructs && (is_object(&own.type_name) || own.type_name == PATCH))
    {
        return Some(&own.type_name);
    }
    let mut unknown = None;
    parts(expression, &mut |part| unknown = unknown.or_else(|| unknown_type(part, constructs)));
    unknown
}

/// What stands where its name says it does not.
pub(super) fn mismatch(expression: &IdedExpr) -> Option<String> {
    found(expression, None)
}

fn found(expression: &IdedExpr, expected: Option<&str>) -> Option<String> {
    match &expression.expr {
        Expr::Struct(own) if is_object(&own.type_name) => {
            if let Some(expected) = expected.filter(|expected| *expected != own.type_name) {
                return Some(format!(
                    "unexpected type name {:?}, expected {expected:?}, which matches field name path from root Object type",
                    own.type_name
                ));
            }
            own.entries.iter().find_map(|entry| match &entry.expr {
                EntryExpr::StructField(field) => {
                    found(&field.value, Some(&format!("{}.{}", own.type_name, unescaped(&field.field))))
                }
                EntryExpr::MapEntry(_) => None,
            })
        }
        Expr::List(list) => list.elements.iter().find_map(|item| found(item, expected)),
        Expr::Call(call) if call.func_name == ADD => call.args.iter().find_map(|part| found(part, expected)),
        Expr::Call(call) if call.func_name == CONDITIONAL => {
            call.args.iter().skip(1).find_map(|part| found(part, expected))
        }
        Expr::Comprehension(inner) => found(&inner.loop_step, expected),
        _ => {
            let mut wrong = None;
            parts(expression, &mut |part| {
                if wrong.is_none() {
                    wrong = found(part, None);
                }
            });
            wrong
        }
    }
}

/// Makes maps of what is constructed.
pub(super) fn as_maps(expression: &mut IdedExpr) {
    if let Expr::Struct(own) = &mut expression.expr {
        let entries = std::mem::take(&mut own.entries);
        let entries = entries.into_iter().map(|entry| {
            let own = match entry.expr {
                EntryExpr::StructField(field) => {
                    let name = CelString::from(unescaped(&field.field));
                    let key = IdedExpr { id: entry.id, expr: Expr::Literal(LiteralValue::String(name)) };
                    MapEntryExpr { key, value: field.value, optional: field.optional }
                }
                EntryExpr::MapEntry(entry) => entry,
            };
            IdedEntryExpr { id: entry.id, expr: EntryExpr::MapEntry(own) }
        });
        expression.expr = Expr::Map(MapExpr { entries: entries.collect() });
    }
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| as_maps(target));
            call.args.iter_mut().for_each(as_maps);
        }
        Expr::Comprehension(inner) => {
            for part in [
                &mut inner.iter_range,
                &mut inner.accu_init,
                &mut inner.loop_cond,
                &mut inner.loop_step,
                &mut inner.result,
            ] {
                as_maps(part);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(as_maps),
        Expr::Select(select) => as_maps(&mut select.operand),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    as_maps(&mut entry.key);
                    as_maps(&mut entry.value);
                }
            }
        }
        Expr::Struct(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}
