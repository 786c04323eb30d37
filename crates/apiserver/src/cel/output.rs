//! What type the value of an expression has, as far as the expression itself says it.
//!
//! Documents are dynamic: of what is selected from them nothing is known before they are there.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

/// A type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// True or false.
    Bool,
    /// Text.
    String,
    /// A whole number.
    Int,
    /// A number.
    Double,
    /// Nothing.
    Null,
    /// A list.
    List,
    /// A map, or what is constructed.
    Map,
    /// Found out when it runs: what documents hold.
    Dyn,
    /// Something that is not followed here.
    Unknown,
}

impl Output {
    /// As messages have it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::String => "string",
            Self::Int => "int",
            Self::Double => "double",
            Self::Null => "null_type",
            Self::List => "list",
            Self::Map => "map",
            Self::Dyn | Self::Unknown => "dyn",
        }
    }

    /// Whether a value of this type may be one of that type where exactly that type is wanted.
    pub(crate) fn may_be(self, wanted: Self) -> bool {
        self == wanted || self == Self::Unknown
    }
}

/// The type of an expression; `variable` says that of a variable.
pub(super) fn of(expression: &IdedExpr, variable: &dyn Fn(&str) -> Output) -> Output {
    match &expression.expr {
        Expr::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => Output::Bool,
            LiteralValue::Double(_) => Output::Double,
            LiteralValue::Int(_) => Output::Int,
            LiteralValue::Null => Output::Null,
            LiteralValue::String(_) => Output::String,
            LiteralValue::Bytes(_) | LiteralValue::UInt(_) => Output::Unknown,
        },
        Expr::List(_) => Output::List,
        Expr::Map(_) | Expr::Struct(_) => Output::Map,
        Expr::Select(select) if select.test => Output::Bool,
        Expr::Ident(name) => variable(name),
        Expr::Select(select) => match &select.operand.expr {
            // The variables of a policy have the types of their expressions.
            Expr::Ident(name) if name == "variables" => Output::Unknown,
            _ => match of(&select.operand, variable) {
                Output::Dyn => Output::Dyn,
                _ => Output::Unknown,
            },
        },
        Expr::Call(call) => match call.func_name.as_str() {
            operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::IN => Output::Bool,
            operators::CONDITIONAL if call.args.len() == 3 => {
                match (of(&call.args[1], variable), of(&call.args[2], variable)) {
                    (one, other) if one == other => one,
                    _ => Output::Unknown,
                }
            }
            operators::ADD if call.args.len() == 2 => match of(&call.args[0], variable) {
                known @ (Output::String | Output::Int | Output::Double | Output::List) => known,
                _ => match of(&call.args[1], variable) {
                    known @ (Output::String | Output::Int | Output::Double | Output::List) => known,
                    Output::Dyn => Output::Dyn,
                    _ => Output::Unknown,
                },
            },
            "size" | "int" => Output::Int,
            "string" | "format" | "join" | "lowerAscii" | "upperAscii" | "trim" | "replace" => Output::String,
            "startsWith" | "endsWith" | "matches" | "contains" | "allowed" | "errored" => Output::Bool,
            "split" | "findAll" => Output::List,
            _ => Output::Unknown,
        },
        Expr::Comprehension(_) | Expr::Unspecified => Output::Unknown,
    }
}
