//! Job: unless it says otherwise, its pods are those that carry its uid, so no two Jobs ever share one.

use serde_json::{Value, json};

/// Labels of a Job's pods, and of the Job. The short ones are the older.
const UID: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Makes the selector and the labels that it selects. The object has its name and its uid.
pub(super) fn select_by_uid(job: &mut Value) {
    if !job["spec"].is_object() || job["spec"]["manualSelector"].as_bool().unwrap_or(false) {
        return;
    }
    let text = |field: &str| job["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (name, uid) = (text("name"), text("uid"));
    let label = |labels: &mut Value| {
        if !labels.is_object() {
            *labels = json!({});
        }
        for (keys, value) in [(UID, &uid), (NAME, &name)] {
            for key in keys {
                labels[key] = value.as_str().into();
            }
        }
    };
    label(&mut job["metadata"]["labels"]);
    if job["spec"]["template"].is_object() {
        label(&mut job["spec"]["template"]["metadata"]["labels"]);
    }
    let selector = &mut job["spec"]["selector"];
    if !selector.is_object() {
        *selector = json!({});
    }
    if !selector["matchLabels"].is_object() {
        selector["matchLabels"] = json!({});
    }
    selector["matchLabels"][UID[0]] = uid.into();
}
