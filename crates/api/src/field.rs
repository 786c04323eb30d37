//! What is wrong with a field of an object, in the words of Kubernetes, and how that becomes a Status.

use std::fmt;

use serde_json::Value;

use crate::registry::ResourceDef;
use crate::status::{Cause, Details, Reason, Status, qualified};

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// As `spec.containers[0].image`.
    pub field: String,
    /// What is wrong.
    pub problem: Problem,
    /// A sentence for people; may be empty.
    pub detail: String,
}

/// The ways in which a field can be wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    /// There must be a value.
    Required,
    /// The value is not allowed.
    Invalid(Value),
    /// The value is none of a few.
    NotSupported(Value),
    /// The value occurs twice.
    Duplicate(Value),
    /// What the value names does not exist.
    NotFound(Value),
    /// There may be no value, or no change.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// There are too many values; the number there is.
    TooMany(usize),
    /// The value is of another type.
    TypeInvalid(Value),
    /// The server failed to check.
    Internal,
}

impl Problem {
    /// The word of `metav1.CauseType`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid(_) => "FieldValueInvalid",
            Self::NotSupported(_) => "FieldValueNotSupported",
            Self::Duplicate(_) => "FieldValueDuplicate",
            Self::NotFound(_) => "FieldValueNotFound",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany(_) => "FieldValueTooMany",
            Self::TypeInvalid(_) => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }
}

impl FieldError {
    fn new(field: impl fmt::Display, problem: Problem, detail: impl Into<String>) -> Self {
        Self { field: field.to_string(), problem, detail: detail.into() }
    }

    /// There must be a value.
    pub fn required(field: impl fmt::Display, detail: impl Into<String>) -> Self {
        Self::new(field, Problem::Required, detail)
    }

    /// The value is not allowed.
    pub fn invalid(field: impl fmt::Display, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(field, Problem::Invalid(value.into()), detail)
    }

    /// The value is none of `supported`.
    pub fn not_supported(field: impl fmt::Display, value: impl Into<Value>, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|word| quote(word)).collect();
        let detail =
            if list.is_empty() { String::new() } else { format!("supported values: {}", list.join(", ")) };
        Self::new(field, Problem::NotSupported(value.into()), detail)
    }

    /// The value occurs twice.
    pub fn duplicate(field: impl fmt::Display, value: impl Into<Value>) -> Self {
        Self::new(field, Problem::Duplicate(value.into()), "")
    }

    /// What the value names does not exist.
    pub fn not_found(field: impl fmt::Display, value: impl Into<Value>) -> Self {
        Self::new(field, Problem::NotFound(value.into()), "")
    }

    /// There may be no value, or no change.
    pub fn forbidden(field: impl fmt::Display, detail: impl Into<String>) -> Self {
        Self::new(field, Problem::Forbidden, detail)
    }

    /// The value is longer than `most` bytes.
    pub fn too_long(field: impl fmt::Display, most: usize) -> Self {
        Self::new(field, Problem::TooLong, format!("may not be more than {most} bytes"))
    }

    /// There are more than `most` values.
    pub fn too_many(field: impl fmt::Display, found: usize, most: usize) -> Self {
        let items = if most == 1 { "item" } else { "items" };
        Self::new(field, Problem::TooMany(found), format!("must have at most {most} {items}"))
    }

    /// The value may not change.
    pub fn immutable(field: impl fmt::Display, value: &Value) -> Self {
        Self::invalid(field, value.clone(), "field is immutable")
    }

    /// The message without the field: `Invalid value: 0: must be …`.
    pub fn body(&self) -> String {
        let mut text = match &self.problem {
            Problem::Required => "Required value".to_owned(),
            Problem::Invalid(value) => format!("Invalid value: {}", show(value)),
            Problem::NotSupported(value) => format!("Unsupported value: {}", show(value)),
            Problem::Duplicate(value) => format!("Duplicate value: {}", show(value)),
            Problem::NotFound(value) => format!("Not found: {}", show(value)),
            Problem::Forbidden => "Forbidden".to_owned(),
            Problem::TooLong => "Too long".to_owned(),
            Problem::TooMany(found) => format!("Too many: {found}"),
            Problem::TypeInvalid(value) => format!("Invalid value: {}", show(value)),
            Problem::Internal => "Internal error".to_owned(),
        };
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// Text in quotes, as Go's `%q` writes it.
pub fn quote(text: &str) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value as the messages show it: text quoted, all else as JSON.
pub fn show(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        // Go's encoder escapes what could end a script element.
        Value::Array(_) | Value::Object(_) => {
            value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
        }
    }
}

/// The Status of an object of a resource that is not valid.
pub fn invalid(def: &ResourceDef, name: &str, errors: impl AsRef<[FieldError]>) -> Status {
    invalid_kind(&def.group, &def.kind, name, errors.as_ref())
}

/// The Status of an object of a kind that is not valid.
pub fn invalid_kind(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Status {
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    let all = match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let cause = |error: &FieldError| Cause {
        reason: error.problem.reason().to_owned(),
        message: error.body(),
        field: error.field.clone(),
    };
    Status::failure(Reason::Invalid, format!("{} {} is invalid: {all}", qualified(group, kind), quote(name)))
        .with_details(Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes: errors.iter().map(cause).collect(),
            ..Details::default()
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_problem_reads_as_in_kubernetes() {
        let cases = [
            (FieldError::required("spec.containers", ""), "spec.containers: Required value"),
            (
                FieldError::invalid("a.port", 70000, "must be between 1 and 65535, inclusive"),
                "a.port: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ),
            (
                FieldError::not_supported("p", "ICMP", &["SCTP", "TCP"]),
                "p: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\"",
            ),
            (FieldError::duplicate("n", "c"), "n: Duplicate value: \"c\""),
            (FieldError::not_found("n", "v\"\n"), "n: Not found: \"v\\\"\\n\""),
            (FieldError::forbidden("s", "may not"), "s: Forbidden: may not"),
            (FieldError::too_long("n", 63), "n: Too long: may not be more than 63 bytes"),
            (FieldError::too_many("n", 4, 3), "n: Too many: 4: must have at most 3 items"),
            (
                FieldError::immutable("s", &json!({"a": "<b>"})),
                "s: Invalid value: {\"a\":\"\\u003cb\\u003e\"}: field is immutable",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn several_errors_are_listed_and_repeated_ones_told_once() {
        let one = FieldError::required("a", "");
        let two = FieldError::required("b", "why");
        let status = invalid_kind("apps", "Deployment", "x", &[one.clone(), two, one.clone()]);
        assert_eq!(
            status.message,
            "Deployment.apps \"x\" is invalid: [a: Required value, b: Required value: why]"
        );
        assert_eq!(status.details.expect("details").causes.len(), 3);
        assert_eq!(invalid_kind("", "Pod", "x", &[one]).message, "Pod \"x\" is invalid: a: Required value");
    }
}
