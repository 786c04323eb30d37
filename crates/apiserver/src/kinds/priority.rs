//! The priority of a pod: the number that its PriorityClass stands for.

use std::sync::Arc;

use api::status::Status;
use serde::Deserialize;
use serde_json::Value;
use store::{Bucket, Key, Snapshot};

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
pub(super) fn resolve(snapshot: &Snapshot, pod: &mut Value, name: &str) -> Result<(), Status> {
    let bucket = Bucket::new(Arc::from(BUCKET));
    let read = |bytes: &[u8]| serde_json::from_slice::<PriorityClass>(bytes).ok();
    let wanted = pod["spec"]["priorityClassName"].as_str().unwrap_or_default();
    let class = if wanted.is_empty() {
        // Of several defaults the lowest counts.
        snapshot
            .list(&bucket, None, None)
            .filter_map(|entry| read(&entry.value))
            .filter(|class| class.global_default)
            .min_by_key(|class| class.value)
    } else {
        let found = snapshot.get(&Key::new(&bucket, "", wanted)).and_then(|entry| read(&entry.value));
        Some(found.ok_or_else(|| {
            super::forbidden("pods", name, &format!("no PriorityClass with name {wanted} was found"))
        })?)
    };
    let value = class.as_ref().map_or(0, |class| class.value);
    let policy = class.as_ref().and_then(|class| class.preemption_policy.clone());
    let policy = policy.unwrap_or_else(|| "PreemptLowerPriority".to_owned());
    if let Some(given) = pod["spec"]["priority"].as_i64().filter(|given| *given != value) {
        return Err(super::forbidden(
            "pods",
            name,
            &format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
            ),
        ));
    }
    if let Some(given) = pod["spec"]["preemptionPolicy"].as_str().filter(|given| *given != policy) {
        return Err(super::forbidden(
            "pods",
            name,
            &format!(
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
