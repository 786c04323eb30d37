//! Job: how often it runs and how often it may fail.

use serde_json::Value;

use super::access::{fill, has, list_mut, map, object_mut, set, text};
use super::{COUNTED, Rules, checks, template};

pub(super) const RULES: Rules = Rules {
    default,
    validate: checks::job::job,
    validate_update: checks::job::job_update,
    validate_status: checks::status::job,
    ..COUNTED
};

fn default(job: &mut Value) {
    let Some(spec) = object_mut(job, "spec") else { return };
    default_spec(spec);
    if let Some(labels) = template::labels_of(spec)
        && let Some(metadata) = object_mut(job, "metadata")
        && map(metadata, "labels").next().is_none()
    {
        set(metadata, "labels", labels);
    }
}

fn default_spec(spec: &mut Value) {
    if !has(spec, "completions") && !has(spec, "parallelism") {
        set(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    // With a limit per index the whole job may fail as often as its indexes may.
    fill(spec, "backoffLimit", if has(spec, "backoffLimitPerIndex") { i32::MAX } else { 6 });
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "manualSelector", false);
    fill(
        spec,
        "podReplacementPolicy",
        if has(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" },
    );
    template::default_in(spec);
    if let Some(policy) = spec.get_mut("podFailurePolicy") {
        let patterns = list_mut(policy, "rules").flat_map(|rule| list_mut(rule, "onPodConditions"));
        for pattern in patterns {
            if text(pattern, "status").is_empty() {
                set(pattern, "status", "True");
            }
        }
    }
}
