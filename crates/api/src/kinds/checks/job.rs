//! What is wrong with Job and CronJob.

use serde_json::Value;

use super::workload::label_selector;
use super::{cron, not_negative, one_of, pod_spec};
use crate::field::FieldError;
use crate::kinds::access::{at, flag, has, int, list, text};
use crate::kinds::path::Path;
use crate::names;
use crate::selector::LabelSelector;

const SPEC: Path<'static> = Path::Root("spec");

pub(in crate::kinds) fn job(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(object, "spec");
    job_spec(spec, &SPEC, errors);
    if has(spec, "selector") {
        label_selector(at(spec, "selector"), &SPEC.field("selector"), errors);
        let labels = at(at(at(spec, "template"), "metadata"), "labels");
        let selector: Option<LabelSelector> = serde_json::from_value(at(spec, "selector").clone()).ok();
        let get = |key: &str| labels.get(key).and_then(Value::as_str);
        if selector.is_some_and(|selector| !selector.matches_with(get)) {
            let template = SPEC.field("template");
            let path = template.field("metadata");
            let why = "`selector` does not match template `labels`";
            errors.push(FieldError::invalid(path.field("labels"), labels.clone(), why));
        }
    }
    let completions = int(spec, "completions").unwrap_or_default();
    if text(spec, "completionMode") == "Indexed" && completions > 0 {
        let name = text(at(object, "metadata"), "name");
        let host = format!("{name}-{}", completions - 1);
        if !names::dns_label(&host).is_empty() {
            let why = format!("will not able to create pod with invalid DNS label: {host}");
            errors.push(FieldError::invalid(Path::Root("metadata").field("name"), name, why));
        }
    }
}

fn job_spec(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
        "ttlSecondsAfterFinished",
    ] {
        not_negative(spec, name, path, errors);
    }
    one_of(spec, "completionMode", &["NonIndexed", "Indexed"], path, errors);
    one_of(spec, "podReplacementPolicy", &["Failed", "TerminatingOrFailed"], path, errors);
    managed_by(spec, path, errors);
    indexed(spec, path, errors);
    let template = path.field("template");
    pod_spec::template(at(spec, "template"), &template, errors);
    let pod = template.field("spec");
    let field = pod.field("restartPolicy");
    let policy = text(at(at(spec, "template"), "spec"), "restartPolicy");
    match policy {
        "OnFailure" | "Never" => {}
        "Always" | "" => {
            errors.push(FieldError::required(field, "valid values: \"OnFailure\", \"Never\""));
        }
        other => errors.push(FieldError::not_supported(field, other, &["OnFailure", "Never"])),
    }
    let failures = at(spec, "podFailurePolicy");
    if failures.is_null() {
        return;
    }
    if policy != "Never" {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.push(FieldError::invalid(field, policy, why));
    }
    failure_policy(failures, spec, &path.field("podFailurePolicy"), errors);
}

fn managed_by(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const LONGEST: usize = 63;
    if !has(spec, "managedBy") {
        return;
    }
    let manager = text(spec, "managedBy");
    let field = path.field("managedBy");
    let is_path = manager
        .split_once('/')
        .is_some_and(|(domain, rest)| names::dns_subdomain(domain).is_empty() && !rest.is_empty());
    if manager.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if !is_path {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(FieldError::invalid(field, manager, why));
    }
    if manager.len() > LONGEST {
        errors.push(FieldError::too_long(field, LONGEST));
    }
}

/// What only a job with indexes can say.
fn indexed(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MOST: i64 = 100_000;
    let is_indexed = text(spec, "completionMode") == "Indexed";
    let (completions, parallelism) = (int(spec, "completions"), int(spec, "parallelism").unwrap_or(1));
    let failed = int(spec, "maxFailedIndexes");
    if is_indexed {
        if completions.is_none() {
            errors.push(FieldError::required(path.field("completions"), "when completion mode is Indexed"));
        }
        if parallelism > MOST {
            let why = "must be less than or equal to 100000 when completion mode is Indexed";
            errors.push(FieldError::invalid(path.field("parallelism"), parallelism, why));
        }
        if let (Some(failed), Some(completions)) = (failed, completions)
            && failed > completions
        {
            let why = "must be less than or equal to completions";
            errors.push(FieldError::invalid(path.field("maxFailedIndexes"), failed, why));
        }
    } else {
        if let Some(limit) = int(spec, "backoffLimitPerIndex") {
            let why = "requires indexed completion mode";
            errors.push(FieldError::invalid(path.field("backoffLimitPerIndex"), limit, why));
        }
        if has(spec, "successPolicy") {
            let why = "requires indexed completion mode";
            let policy = at(spec, "successPolicy").clone();
            errors.push(FieldError::invalid(path.field("successPolicy"), policy, why));
        }
    }
    if failed.is_some() && !has(spec, "backoffLimitPerIndex") {
        let why = "when maxFailedIndexes is specified";
        errors.push(FieldError::required(path.field("backoffLimitPerIndex"), why));
    }
    let policy = at(spec, "successPolicy");
    if policy.is_null() {
        return;
    }
    let field = path.field("successPolicy");
    let field = field.field("rules");
    if list(policy, "rules").is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(field, why));
    }
    for (index, rule) in list(policy, "rules").iter().enumerate() {
        let path = field.index(index);
        if !has(rule, "succeededIndexes") && !has(rule, "succeededCount") {
            let why = "at least one of succeededCount or succeededIndexes must be specified";
            errors.push(FieldError::required(path, why));
        }
        not_negative(rule, "succeededCount", &path, errors);
        if let (Some(count), Some(completions)) = (int(rule, "succeededCount"), completions)
            && count > completions
        {
            let why =
                format!("must be less than or equal to {completions} (the number of specified completions)");
            errors.push(FieldError::invalid(path.field("succeededCount"), count, why));
        }
    }
}

fn failure_policy(policy: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MOST_RULES: usize = 20;
    let field = path.field("rules");
    let rules = list(policy, "rules");
    if rules.len() > MOST_RULES {
        errors.push(FieldError::too_many(field, rules.len(), MOST_RULES));
    }
    let pod = at(at(spec, "template"), "spec");
    let containers = list(pod, "containers").iter().chain(list(pod, "initContainers"));
    let known: Vec<&str> = containers.map(|container| text(container, "name")).collect();
    for (index, rule) in rules.iter().enumerate() {
        let path = field.index(index);
        let action = text(rule, "action");
        let supported: &[&str] = if has(spec, "backoffLimitPerIndex") {
            &["Count", "FailIndex", "FailJob", "Ignore"]
        } else {
            &["Count", "FailJob", "Ignore"]
        };
        if action.is_empty() {
            let why = format!("valid values: {}", quoted(supported));
            errors.push(FieldError::required(path.field("action"), why));
        } else if action == "FailIndex" && !has(spec, "backoffLimitPerIndex") {
            let why = "requires the backoffLimitPerIndex to be set";
            errors.push(FieldError::invalid(path.field("action"), action, why));
        } else if !supported.contains(&action) {
            errors.push(FieldError::not_supported(path.field("action"), action, supported));
        }
        let (codes, conditions) = (at(rule, "onExitCodes"), list(rule, "onPodConditions"));
        let why = match (codes.is_null(), conditions.is_empty()) {
            (false, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (true, true) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => "",
        };
        if !why.is_empty() {
            errors.push(FieldError::invalid(path, "", why));
        }
        if !codes.is_null() {
            exit_codes(codes, &known, &path.field("onExitCodes"), errors);
        }
        let field = path.field("onPodConditions");
        for (index, pattern) in conditions.iter().enumerate() {
            let path = field.index(index);
            let kind = text(pattern, "type");
            super::all_wrong(names::qualified(kind), kind, path.field("type"), errors);
            one_of(pattern, "status", &["False", "True", "Unknown"], &path, errors);
        }
    }
}

fn exit_codes(codes: &Value, containers: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MOST: usize = 255;
    let operator = text(codes, "operator");
    if operator.is_empty() {
        errors.push(FieldError::required(path.field("operator"), "valid values: \"In\", \"NotIn\""));
    } else {
        one_of(codes, "operator", &["In", "NotIn"], path, errors);
    }
    let name = text(codes, "containerName");
    if has(codes, "containerName") && !containers.contains(&name) {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(path.field("containerName"), name, why));
    }
    let field = path.field("values");
    let values: Vec<i64> = list(codes, "values").iter().filter_map(Value::as_i64).collect();
    if values.is_empty() {
        let why = "at least one value is required";
        errors.push(FieldError::invalid(field, values.clone(), why));
    } else if values.len() > MOST {
        errors.push(FieldError::too_many(field, values.len(), MOST));
    }
    for (index, value) in values.iter().enumerate() {
        if *value == 0 && operator == "In" {
            let why = "must not be 0 for the In operator";
            errors.push(FieldError::invalid(field.index(index), *value, why));
        }
        if values[..index].contains(value) {
            errors.push(FieldError::duplicate(field.index(index), *value));
        }
    }
    if values.windows(2).any(|pair| pair[0] > pair[1]) {
        errors.push(FieldError::invalid(field, values, "must be ordered"));
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

pub(in crate::kinds) fn job_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let old_status = at(old, "status");
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    let is_elastic =
        text(new, "completionMode") == "Indexed" && at(new, "completions") == at(new, "parallelism");
    for name in [
        "completions",
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        if at(new, name) != at(old, name) && !(name == "completions" && is_elastic) {
            errors.push(FieldError::immutable(SPEC.field(name), at(new, name)));
        }
    }
    // Where it runs may be told until it runs for the first time.
    let may_move = flag(old, "suspend") && !has(old_status, "startTime");
    let fixed =
        |spec: &Value| if may_move { unplaced(at(spec, "template")) } else { at(spec, "template").clone() };
    if fixed(new) != fixed(old) {
        errors.push(FieldError::immutable(SPEC.field("template"), at(new, "template")));
    }
}

/// A template without what says where its pods go, and how much they get.
fn unplaced(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("labels");
        metadata.shift_remove("annotations");
    }
    if let Some(spec) = template.get_mut("spec") {
        for name in ["containers", "initContainers"] {
            for container in spec.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten() {
                crate::kinds::access::remove(container, "resources");
            }
        }
        for name in ["nodeSelector", "tolerations", "schedulingGates", "affinity"] {
            crate::kinds::access::remove(spec, name);
        }
    }
    template
}

pub(in crate::kinds) fn cron_job(object: &Value, errors: &mut Vec<FieldError>) {
    /// What is left of a name's 63 characters after the eleven that each job adds.
    const LONGEST_NAME: usize = 52;
    let spec = at(object, "spec");
    let name = text(at(object, "metadata"), "name");
    if name.len() > LONGEST_NAME {
        let why = format!("must be no more than {LONGEST_NAME} characters");
        errors.push(FieldError::invalid(Path::Root("metadata").field("name"), name, why));
    }
    let schedule = text(spec, "schedule");
    if schedule.is_empty() {
        errors.push(FieldError::required(SPEC.field("schedule"), ""));
    } else if schedule.contains("TZ=") {
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(FieldError::invalid(SPEC.field("schedule"), schedule, why));
    } else if let Err(why) = cron::check(schedule) {
        errors.push(FieldError::invalid(SPEC.field("schedule"), schedule, why));
    }
    time_zone(spec, errors);
    for name in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        not_negative(spec, name, &SPEC, errors);
    }
    one_of(spec, "concurrencyPolicy", &["Allow", "Forbid", "Replace"], &SPEC, errors);
    let template = SPEC.field("jobTemplate");
    let path = template.field("spec");
    let job = at(at(spec, "jobTemplate"), "spec");
    job_spec(job, &path, errors);
    if has(job, "selector") {
        let selector = at(job, "selector").clone();
        errors.push(FieldError::invalid(
            path.field("selector"),
            selector,
            "`selector` will be auto-generated",
        ));
    }
    if flag(job, "manualSelector") {
        errors.push(FieldError::not_supported(path.field("manualSelector"), true, &["nil", "false"]));
    }
}

fn time_zone(spec: &Value, errors: &mut Vec<FieldError>) {
    let field = SPEC.field("timeZone");
    let Some(zone) = at(spec, "timeZone").as_str() else { return };
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'.');
    let why = if zone.is_empty() {
        "timeZone must be nil or non-empty string".to_owned()
    } else if zone.eq_ignore_ascii_case("local") {
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned()
    } else if !zone.bytes().all(is_plain) || zone.contains("..") {
        format!("unknown time zone {zone}")
    } else {
        return;
    };
    errors.push(FieldError::invalid(field, zone, why));
}
