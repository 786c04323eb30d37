//! The options of requests that come as text, and what Kubernetes says when they are wrong.

use api::codec::FieldValidation;
use api::status::{Cause, Details, Reason, Status};
use serde_json::Value;

use super::types::{Answer, Body, DeleteOptions, Propagation};

/// Reads the values of `dryRun`; `kind` is as `CreateOptions`.
pub fn dry_run<S: AsRef<str>>(kind: &str, values: &[S]) -> Answer<bool> {
    let values: Vec<&str> = values.iter().map(AsRef::as_ref).filter(|value| !value.is_empty()).collect();
    if values.iter().all(|value| *value == "All") {
        return Ok(!values.is_empty());
    }
    let shown = serde_json::to_string(&values).unwrap_or_default();
    Err(invalid(
        kind,
        "dryRun",
        "FieldValueNotSupported",
        &format!("Unsupported value: {shown}: supported values: \"All\""),
    ))
}

/// Reads `fieldValidation`; `kind` is as `CreateOptions`.
pub fn field_validation(kind: &str, value: &str) -> Answer<Option<FieldValidation>> {
    match value {
        "" => Ok(None),
        "Ignore" => Ok(Some(FieldValidation::Ignore)),
        "Warn" => Ok(Some(FieldValidation::Warn)),
        "Strict" => Ok(Some(FieldValidation::Strict)),
        other => Err(invalid(
            kind,
            "fieldValidation",
            "FieldValueNotSupported",
            &format!(
                "Unsupported value: \"{}\": supported values: \"Ignore\", \"Warn\", \"Strict\"",
                shortened(other)
            ),
        )),
    }
}

/// Says that one option of a request is wrong. `kind` is as `ListOptions`.
pub(super) fn invalid(kind: &str, field: &str, reason: &str, message: &str) -> Status {
    Status::failure(Reason::Invalid, format!("{kind}.meta.k8s.io \"\" is invalid: {field}: {message}"))
        .with_details(Details {
            group: "meta.k8s.io".to_owned(),
            kind: kind.to_owned(),
            causes: vec![Cause {
                reason: reason.to_owned(),
                message: message.to_owned(),
                field: field.to_owned(),
            }],
            ..Details::default()
        })
}

/// Reads a resource version: empty is none.
pub(super) fn resource_version(text: &str) -> Answer<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    parse_u64(text).map(Some).map_err(|why| {
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: \"{0}\": strconv.ParseUint: parsing \"{0}\": {why}",
            shortened(text)
        ))
    })
}

fn parse_u64(text: &str) -> Result<u64, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("invalid syntax");
    }
    text.parse().map_err(|_| "value out of range")
}

/// What is repeated to the sender is not longer than it needs to be.
pub(super) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(256);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl DeleteOptions {
    /// Reads the body of a deletion, a `v1` DeleteOptions; an empty body asks for nothing special.
    pub fn decode(body: &Body) -> Answer<Self> {
        if body.bytes.is_empty() {
            return Ok(Self::default());
        }
        let value = super::object::decode_loose(body)?;
        if let Some(kind) = value.get("kind").and_then(Value::as_str)
            && kind != "DeleteOptions"
        {
            return Err(Status::bad_request(format!(
                "decoding body failed: expected a DeleteOptions, got \"{}\"",
                shortened(kind)
            )));
        }
        let text = |field: &Value, name: &str| match field {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(Status::bad_request(format!("DeleteOptions: {name} must be a string"))),
        };
        let propagation = match text(&value["propagationPolicy"], "propagationPolicy")? {
            None => None,
            Some(policy) => Some(Propagation::parse(&policy).ok_or_else(|| {
                invalid(
                    "DeleteOptions",
                    "propagationPolicy",
                    "FieldValueNotSupported",
                    &format!(
                        "Unsupported value: \"{}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
                        shortened(&policy)
                    ),
                )
            })?),
        };
        let orphan = match &value["orphanDependents"] {
            Value::Null => None,
            Value::Bool(orphan) => Some(*orphan),
            _ => return Err(Status::bad_request("DeleteOptions: orphanDependents must be a boolean")),
        };
        if orphan.is_some() && propagation.is_some() {
            return Err(invalid(
                "DeleteOptions",
                "propagationPolicy",
                "FieldValueInvalid",
                "Invalid value: \"object\": orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        let grace_period_seconds = match &value["gracePeriodSeconds"] {
            Value::Null => None,
            number => Some(number.as_i64().ok_or_else(|| {
                Status::bad_request("DeleteOptions: gracePeriodSeconds must be a whole number")
            })?),
        };
        let dry_runs: Vec<String> = match &value["dryRun"] {
            Value::Null => Vec::new(),
            Value::Array(values) => {
                values.iter().map(|value| value.as_str().unwrap_or_default().to_owned()).collect()
            }
            _ => return Err(Status::bad_request("DeleteOptions: dryRun must be a list")),
        };
        let preconditions = &value["preconditions"];
        Ok(Self {
            dry_run: dry_run("DeleteOptions", &dry_runs)?,
            grace_period_seconds,
            propagation: propagation
                .or(orphan.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background })),
            uid: text(&preconditions["uid"], "preconditions.uid")?,
            resource_version: text(&preconditions["resourceVersion"], "preconditions.resourceVersion")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dry_run_is_all_or_an_error() {
        assert_eq!(dry_run::<&str>("CreateOptions", &[]).ok(), Some(false));
        assert_eq!(dry_run("CreateOptions", &["All"]).ok(), Some(true));
        let status = dry_run("CreateOptions", &["Yes"]).unwrap_err();
        assert_eq!(
            status.message,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Yes\"]: supported values: \"All\""
        );
    }

    #[test]
    fn delete_options_are_read_and_contradictions_refused() {
        let options = DeleteOptions::decode(&Body::json(
            r#"{"kind":"DeleteOptions","gracePeriodSeconds":0,"orphanDependents":true,"preconditions":{"uid":"u"}}"#,
        ))
        .expect("options");
        assert_eq!(options.grace_period_seconds, Some(0));
        assert_eq!(options.propagation, Some(Propagation::Orphan));
        assert_eq!(options.uid.as_deref(), Some("u"));
        for (body, code) in [
            (r#"{"orphanDependents":true,"propagationPolicy":"Orphan"}"#, 422),
            (r#"{"propagationPolicy":"Soon"}"#, 422),
            (r#"{"gracePeriodSeconds":"x"}"#, 400),
            (r#"{"kind":"Pod"}"#, 400),
            (r#"{"#, 400),
            ("[]", 400),
        ] {
            assert_eq!(DeleteOptions::decode(&Body::json(body)).unwrap_err().code, code, "{body}");
        }
    }

    #[test]
    fn a_version_that_is_no_number_is_refused() {
        assert_eq!(resource_version("").ok(), Some(None));
        assert_eq!(resource_version("12").ok(), Some(Some(12)));
        assert_eq!(
            resource_version("abc").unwrap_err().message,
            "invalid resource version: resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax"
        );
        assert_eq!(resource_version("+1").unwrap_err().code, 400);
        assert_eq!(resource_version("99999999999999999999").unwrap_err().code, 400);
    }
}
