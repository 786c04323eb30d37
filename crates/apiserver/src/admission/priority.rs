//! Priority: a pod gets the number that its PriorityClass stands for, and there is one default class at most.

use api::status::Status;
use serde::Deserialize;
use serde_json::Value;
use store::Bucket;

use super::{Operation, Request, text};

const BUCKET: &str = "priorityclasses.scheduling.k8s.io";

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriorityClass {
    metadata: Name,
    value: i64,
    #[serde(default)]
    global_default: bool,
    #[serde(default)]
    preemption_policy: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Name {
    name: String,
}

/// Sets `spec.priority`, `priorityClassName` and `preemptionPolicy`.
pub(super) fn resolve(request: &Request<'_>, pod: &mut Value) -> Result<(), Status> {
    let read = |bytes: &[u8]| serde_json::from_slice::<PriorityClass>(bytes).ok();
    let wanted = pod["spec"]["priorityClassName"].as_str().unwrap_or_default();
    let class = if wanted.is_empty() {
        // Of several defaults the lowest counts.
        request
            .snapshot
            .list(&Bucket::from(BUCKET), None, None)
            .filter_map(|entry| read(&entry.value))
            .filter(|class| class.global_default)
            .min_by_key(|class| class.value)
    } else {
        let found = request.find(BUCKET, "", wanted).and_then(|entry| read(&entry.value));
        Some(found.ok_or_else(|| {
            request.forbid(Some(pod), format!("no PriorityClass with name {wanted} was found"))
        })?)
    };
    let value = class.as_ref().map_or(0, |class| class.value);
    let policy = class.as_ref().and_then(|class| class.preemption_policy.clone());
    let policy = policy.unwrap_or_else(|| "PreemptLowerPriority".to_owned());
    if let Some(given) = pod["spec"]["priority"].as_i64().filter(|given| *given != value) {
        return Err(request.forbid(
            Some(pod),
            format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
            ),
        ));
    }
    if let Some(given) = pod["spec"]["preemptionPolicy"].as_str().filter(|given| *given != policy) {
        return Err(request.forbid(
            Some(pod),
            format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
            ),
        ));
    }
    if let Some(class) = class {
        pod["spec"]["priorityClassName"] = class.metadata.name.into();
    }
    pod["spec"]["priority"] = value.into();
    pod["spec"]["preemptionPolicy"] = policy.into();
    Ok(())
}

/// Of several default classes nobody could say which one counts.
pub(super) fn check(request: &Request<'_>, class: &Value) -> Result<(), Status> {
    let about = request.operation != Operation::Delete && request.is_about(BUCKET);
    if !about || class["globalDefault"] != true {
        return Ok(());
    }
    let own = text(&class["metadata"], "name");
    let other = request
        .all(BUCKET, None)
        .into_iter()
        .find(|other| other["globalDefault"] == true && text(&other["metadata"], "name") != own);
    match other {
        None => Ok(()),
        Some(other) => Err(request.forbid(
            Some(class),
            format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                text(&other["metadata"], "name")
            ),
        )),
    }
}
