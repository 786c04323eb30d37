//! The question that a webhook is asked, and how its answer is read.

use api::status::{Reason, Status};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::PatchOperation;
use serde::Deserialize;

use crate::admission::quoted;

/// Versions of the question that can be asked, the best first.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// The version in which a webhook is asked.
pub(super) fn version(accepted: &[String]) -> Option<&'static str> {
    VERSIONS.into_iter().find(|version| accepted.iter().any(|own| own == version))
}

/// What a webhook said.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The Status of a refusal.
    pub denied: Option<Status>,
    /// What it changes.
    pub patch: Vec<PatchOperation>,
    /// For the user.
    pub warnings: Vec<String>,
    /// For the audit log.
    pub audit: Vec<(String, String)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    response: Option<Response>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    status: Option<Said>,
    patch: Option<String>,
    patch_type: Option<String>,
    warnings: Option<Vec<String>>,
    audit_annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    message: String,
    reason: String,
    code: i64,
    details: Option<api::status::Details>,
}

/// Reads an answer. What is wrong with it is told as text.
pub(super) fn read(
    bytes: &[u8],
    version: &str,
    uid: &str,
    webhook: &str,
    mutates: bool,
) -> Result<Verdict, String> {
    let invalid = |why: String| format!("received invalid webhook response: {why}");
    let review: Review = serde_json::from_slice(bytes).map_err(|error| {
        format!("failed to call webhook: couldn't get version/kind; json parse error: {error}")
    })?;
    let wanted = format!("admission.k8s.io/{version}");
    if review.api_version != wanted || review.kind != "AdmissionReview" {
        let got = match review.api_version.is_empty() {
            true => format!("/, Kind={}", review.kind),
            false => format!("{}, Kind={}", review.api_version, review.kind),
        };
        return Err(invalid(format!(
            "expected webhook response of {wanted}, Kind=AdmissionReview, got {got}"
        )));
    }
    let response = review.response.ok_or_else(|| invalid("webhook response was absent".to_owned()))?;
    if version == "v1" && response.uid != uid {
        return Err(invalid(format!("expected response.uid={}, got {}", quoted(uid), quoted(&response.uid))));
    }
    let has_patch = response.patch.as_ref().is_some_and(|patch| !patch.is_empty());
    if !mutates && version == "v1" {
        if has_patch {
            return Err(invalid("validating webhook may not return response.patch".to_owned()));
        }
        if response.patch_type.is_some() {
            return Err(invalid("validating webhook may not return response.patchType".to_owned()));
        }
    }
    let mut verdict = Verdict {
        warnings: response.warnings.unwrap_or_default(),
        audit: response
            .audit_annotations
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (format!("{webhook}/{key}"), value))
            .collect(),
        ..Verdict::default()
    };
    if !response.allowed {
        verdict.denied = Some(denied(webhook, response.status.unwrap_or_default()));
        return Ok(verdict);
    }
    if mutates && let Some(patch) = response.patch.filter(|patch| !patch.is_empty()) {
        match response.patch_type.as_deref() {
            Some("JSONPatch") => {}
            None if version != "v1" => {}
            None => {
                return Err(invalid("webhook returned response.patch but not response.patchType".to_owned()));
            }
            Some("") => {
                return Err(invalid("webhook returned invalid response.patchType of \"\"".to_owned()));
            }
            Some(other) => return Err(format!("unsupported patch type {}", quoted(other))),
        }
        let bytes = STANDARD.decode(patch).map_err(|error| invalid(error.to_string()))?;
        verdict.patch = api::patch::json::decode(&bytes).map_err(|status| invalid(status.message))?;
    }
    Ok(verdict)
}

/// The refusal that the user gets: the webhook's own, with its name before it.
fn denied(webhook: &str, said: Said) -> Status {
    let by = format!("admission webhook {} denied the request", quoted(webhook));
    let message = match (said.message.as_str(), said.reason.as_str()) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    let reason: Option<Reason> = serde_json::from_value(said.reason.into()).ok();
    let mut status = Status::failure(reason.unwrap_or(Reason::BadRequest), message);
    status.reason = reason;
    // A refusal is never told as a success.
    status.code = u16::try_from(said.code).ok().filter(|code| (400..600).contains(code)).unwrap_or(400);
    status.details = said.details.map(Box::new);
    status
}
