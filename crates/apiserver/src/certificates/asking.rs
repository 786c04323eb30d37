//! What the verbs do with a request for a certificate: who asks is what the server saw, and each part of the answer is
//! written where it belongs. Who may ask, approve and sign is for [`crate::admission`] to say.

use api::field::FieldError;
use api::kinds;
use api::registry::ResourceDef;
use api::status::Status;
use api::time::Time;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::request::Requested;
use super::{BUCKET, text};
use crate::pipeline::UserInfo;

/// Writes who asks into a new request, and refuses what is none.
pub(crate) fn begin(def: &ResourceDef, request: &mut Value, user: &UserInfo) -> Result<(), Status> {
    if &*def.bucket != BUCKET {
        return Ok(());
    }
    let Some(spec) = request["spec"].as_object_mut() else { return Ok(()) };
    for (field, value) in [
        ("username", Some(json!(user.name))),
        ("uid", Some(json!(user.uid)).filter(|_| !user.uid.is_empty())),
        ("groups", Some(json!(user.groups)).filter(|_| !user.groups.is_empty())),
        ("extra", Some(json!(user.extra)).filter(|_| !user.extra.is_empty())),
    ] {
        match value {
            Some(value) => drop(spec.insert(field.to_owned(), value)),
            None => drop(spec.shift_remove(field)),
        }
    }
    Requested::read(&request["spec"]).map_err(|why| {
        let bytes = request["spec"]["request"].clone();
        kinds::invalid(
            def,
            text(&request["metadata"], "name"),
            &[FieldError::invalid("spec.request", bytes, why)],
        )
    })?;
    Ok(())
}

/// Makes a changed approval ready: of the answer only conditions are taken.
pub(crate) fn judged(new: &mut Value, old: &Value, now: Timestamp) {
    let conditions = new["status"]["conditions"].take();
    new["status"] = old["status"].clone();
    if !new["status"].is_object() {
        new["status"] = json!({});
    }
    new["status"]["conditions"] = conditions;
    date(new, old, now);
}

/// Makes a changed status ready: whether it is approved is not said here.
pub(crate) fn reported(new: &mut Value, old: &Value, now: Timestamp) {
    let is_judgement = |own: &&Value| matches!(own["type"].as_str(), Some("Approved" | "Denied"));
    let all = |of: &Value| of["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let mut conditions: Vec<Value> = all(old).iter().filter(is_judgement).cloned().collect();
    conditions.extend(all(new).iter().filter(|own| !is_judgement(own)).cloned());
    if !new["status"].is_object() {
        new["status"] = json!({});
    }
    match conditions.is_empty() {
        true => drop(new["status"].as_object_mut().map(|status| status.shift_remove("conditions"))),
        false => new["status"]["conditions"] = conditions.into(),
    }
    date(new, old, now);
}

/// Writes the times that are missing in conditions.
fn date(new: &mut Value, old: &Value, now: Timestamp) {
    let now = Time(now).to_string();
    let before = old["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for own in new["status"]["conditions"].as_array_mut().into_iter().flatten() {
        if text(own, "lastUpdateTime").is_empty() {
            own["lastUpdateTime"] = now.clone().into();
        }
        let same =
            before.iter().find(|other| other["type"] == own["type"] && other["status"] == own["status"]);
        match same {
            Some(same) if !same["lastTransitionTime"].is_null() => {
                own["lastTransitionTime"] = same["lastTransitionTime"].clone();
            }
            _ if text(own, "lastTransitionTime").is_empty() => own["lastTransitionTime"] = now.clone().into(),
            _ => {}
        }
    }
    if let Some(status) = new["status"].as_object_mut() {
        status.retain(|_, value| !value.is_null());
    }
}
