//! What is wrong with what makes pods that run for ever: Deployment, ReplicaSet, ReplicationController, StatefulSet,
//! DaemonSet.

use serde_json::{Value, json};

use super::{not_negative, one_of, pod_spec};
use crate::field::FieldError;
use crate::intstr::IntOrString;
use crate::kinds::access::{at, has, int, list, map, text};
use crate::kinds::metadata;
use crate::kinds::path::Path;
use crate::names;
use crate::selector::LabelSelector;

const SPEC: Path<'static> = Path::Root("spec");

pub(in crate::kinds) fn deployment(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(object, "spec");
    selected_template(spec, "deployment", errors);
    for name in ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        not_negative(spec, name, &SPEC, errors);
    }
    let ready = int(spec, "minReadySeconds").unwrap_or_default();
    if let Some(deadline) =
        int(spec, "progressDeadlineSeconds").filter(|deadline| *deadline >= 0 && *deadline <= ready)
    {
        let why = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid(SPEC.field("progressDeadlineSeconds"), deadline, why));
    }
    let strategy = at(spec, "strategy");
    let path = SPEC.field("strategy");
    one_of(strategy, "type", &["Recreate", "RollingUpdate"], &path, errors);
    let rolling = path.field("rollingUpdate");
    match text(strategy, "type") {
        "Recreate" if has(strategy, "rollingUpdate") => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(FieldError::forbidden(rolling, why));
        }
        "RollingUpdate" => rolling_update(at(strategy, "rollingUpdate"), &rolling, errors),
        _ => {}
    }
}

fn rolling_update(rolling: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["maxUnavailable", "maxSurge"] {
        amount(at(rolling, name), &path.field(name), errors);
    }
    if is_nothing(at(rolling, "maxUnavailable")) && is_nothing(at(rolling, "maxSurge")) {
        let value = at(rolling, "maxUnavailable").clone();
        errors.push(FieldError::invalid(
            path.field("maxUnavailable"),
            value,
            "may not be 0 when `maxSurge` is 0",
        ));
    }
    not_beyond_all(at(rolling, "maxUnavailable"), &path.field("maxUnavailable"), errors);
}

/// There is no more than all.
pub(super) fn not_beyond_all(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if percent(value).is_some_and(|percent| percent > 100) {
        errors.push(FieldError::invalid(path, value.clone(), "must not be greater than 100%"));
    }
}

/// A number or a percentage that is not less than zero.
fn amount(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(written) if percent(value).is_none() => {
            let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
            errors.push(FieldError::invalid(path, written.as_str(), why));
        }
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => {
            errors.push(FieldError::invalid(path, value.clone(), metadata::NOT_NEGATIVE));
        }
        _ => {}
    }
}

fn percent(value: &Value) -> Option<u32> {
    let digits = value.as_str()?.strip_suffix('%')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64() == Some(0),
        other => percent(other) == Some(0),
    }
}

pub(in crate::kinds) fn replica_set(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(object, "spec");
    selected_template(spec, "replicaset", errors);
    not_negative(spec, "replicas", &SPEC, errors);
    not_negative(spec, "minReadySeconds", &SPEC, errors);
}

pub(in crate::kinds) fn replication_controller(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(object, "spec");
    not_negative(spec, "replicas", &SPEC, errors);
    not_negative(spec, "minReadySeconds", &SPEC, errors);
    if map(spec, "selector").next().is_none() {
        errors.push(FieldError::required(SPEC.field("selector"), ""));
    }
    if !has(spec, "template") {
        errors.push(FieldError::required(SPEC.field("template"), ""));
        return;
    }
    let labels = at(at(at(spec, "template"), "metadata"), "labels");
    if !map(spec, "selector").all(|(key, value)| labels.get(key) == Some(value)) {
        mismatch(labels, errors);
    }
    runs_forever(spec, "ReplicationController", errors);
}

pub(in crate::kinds) fn daemon_set(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(object, "spec");
    selected_template(spec, "daemonset", errors);
    not_negative(spec, "minReadySeconds", &SPEC, errors);
    not_negative(spec, "revisionHistoryLimit", &SPEC, errors);
    let strategy = at(spec, "updateStrategy");
    let path = SPEC.field("updateStrategy");
    match text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => rolling_nodes(at(strategy, "rollingUpdate"), &path.field("rollingUpdate"), errors),
        _ => {
            let shown =
                json!({"Type": text(strategy, "type"), "RollingUpdate": at(strategy, "rollingUpdate")});
            errors.push(FieldError::not_supported(path, shown, &["RollingUpdate", "OnDelete"]));
        }
    }
}

/// On a node there is the old pod, the new one, or for a while both.
fn rolling_nodes(rolling: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if rolling.is_null() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let (unavailable, surge) = (at(rolling, "maxUnavailable"), at(rolling, "maxSurge"));
    for name in ["maxUnavailable", "maxSurge"] {
        amount(at(rolling, name), &path.field(name), errors);
        not_beyond_all(at(rolling, name), &path.field(name), errors);
    }
    let has_surge = !surge.is_null() && !is_nothing(surge);
    if has_surge && !is_nothing(unavailable) {
        let why = "may not be set when maxUnavailable is non-zero";
        errors.push(FieldError::invalid(path.field("maxSurge"), surge.clone(), why));
    } else if !has_surge && is_nothing(unavailable) {
        let why = "cannot be 0 when maxSurge is 0";
        errors.push(FieldError::invalid(path.field("maxUnavailable"), unavailable.clone(), why));
    }
}

pub(in crate::kinds) fn stateful_set(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(object, "spec");
    selected_template(&with_claimed_volumes(spec), "statefulset", errors);
    for name in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        not_negative(spec, name, &SPEC, errors);
    }
    let policy = text(spec, "podManagementPolicy");
    if !matches!(policy, "OrderedReady" | "Parallel") {
        let why = "must be 'OrderedReady' or 'Parallel'";
        errors.push(FieldError::invalid(SPEC.field("podManagementPolicy"), policy, why));
    }
    if let Some(start) = int(at(spec, "ordinals"), "start").filter(|start| *start < 0) {
        errors.push(FieldError::invalid(SPEC.field("ordinals.start"), start, metadata::NOT_NEGATIVE));
    }
    let retention = at(spec, "persistentVolumeClaimRetentionPolicy");
    let field = SPEC.field("persistentVolumeClaimRetentionPolicy");
    for name in ["whenDeleted", "whenScaled"] {
        one_of(retention, name, &["Retain", "Delete"], &field, errors);
    }
    let strategy = at(spec, "updateStrategy");
    let path = SPEC.field("updateStrategy");
    let rolling = at(strategy, "rollingUpdate");
    let field = path.field("rollingUpdate");
    match text(strategy, "type") {
        "" => errors.push(FieldError::required(path, "")),
        "OnDelete" => {
            if !rolling.is_null() {
                let why = "only allowed for updateStrategy 'RollingUpdate'";
                errors.push(FieldError::invalid(field, rolling.clone(), why));
            }
        }
        "RollingUpdate" => {
            not_negative(rolling, "partition", &field, errors);
            let most = at(rolling, "maxUnavailable");
            let field = field.field("maxUnavailable");
            amount(most, &field, errors);
            not_beyond_all(most, &field, errors);
            if !most.is_null() && is_nothing(most) {
                errors.push(FieldError::invalid(field, most.clone(), "cannot be 0"));
            }
        }
        other => {
            let shown = json!({"Type": other, "RollingUpdate": rolling});
            errors.push(FieldError::invalid(path, shown, "must be 'RollingUpdate' or 'OnDelete'"));
        }
    }
}

pub(in crate::kinds) fn controller_revision(revision: &Value, errors: &mut Vec<FieldError>) {
    if !has(revision, "data") {
        errors.push(FieldError::required("data", "data is mandatory"));
    }
    if let Some(number) = int(revision, "revision").filter(|number| *number < 0) {
        errors.push(FieldError::invalid("revision", number, metadata::NOT_NEGATIVE));
    }
}

pub(in crate::kinds) fn controller_revision_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if at(new, "data") != at(old, "data") {
        errors.push(FieldError::immutable("data", at(new, "data")));
    }
}

/// The spec, in whose template each claim template is a volume, as it will be in the pods.
fn with_claimed_volumes(spec: &Value) -> std::borrow::Cow<'_, Value> {
    let claims = list(spec, "volumeClaimTemplates");
    let names: Vec<&str> = claims.iter().map(|claim| text(at(claim, "metadata"), "name")).collect();
    let mut spec = std::borrow::Cow::Borrowed(spec);
    let has_template = at(at(&spec, "template"), "spec").is_object();
    if names.is_empty() || !has_template {
        return spec;
    }
    let pod = &mut spec.to_mut()["template"]["spec"];
    if !pod["volumes"].is_array() {
        pod["volumes"] = Value::Array(Vec::new());
    }
    if let Some(volumes) = pod["volumes"].as_array_mut() {
        volumes.retain(|volume| !names.contains(&text(volume, "name")));
        volumes.extend(names.iter().map(|name| serde_json::json!({"name": name, "emptyDir": {}})));
    }
    spec
}

pub(in crate::kinds) fn stateful_set_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const MAY_CHANGE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |object| -> Vec<(String, Value)> {
        let mut fields: Vec<_> = map(object, "spec")
            .filter(|(name, _)| !MAY_CHANGE.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        fields.sort_by(|(left, _), (right, _)| left.cmp(right));
        fields
    };
    if fixed(new) != fixed(old) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden(SPEC, why));
    }
}

/// The selector of these may not change: pods would be lost.
pub(in crate::kinds) fn selector_stays(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (at(at(new, "spec"), "selector"), at(at(old, "spec"), "selector"));
    if new != old {
        errors.push(FieldError::immutable(SPEC.field("selector"), new));
    }
}

/// A selector and a template that carries what it selects, whose pods are restarted for ever.
fn selected_template(spec: &Value, what: &str, errors: &mut Vec<FieldError>) {
    let selector = at(spec, "selector");
    let path = SPEC.field("selector");
    let labels = at(at(at(spec, "template"), "metadata"), "labels");
    let parsed: Option<LabelSelector> = serde_json::from_value(selector.clone()).ok();
    let is_empty =
        map(selector, "matchLabels").next().is_none() && list(selector, "matchExpressions").is_empty();
    if selector.is_null() {
        errors.push(FieldError::required(path, ""));
    } else if is_empty {
        // Both have always been told of the kind that makes the other.
        let what = if what == "replicaset" { "deployment" } else { what };
        let why = format!("empty selector is invalid for {what}");
        errors.push(FieldError::invalid(path, selector.clone(), why));
    } else {
        label_selector(selector, &path, errors);
    }
    let get = |key: &str| labels.get(key).and_then(Value::as_str);
    let selects =
        !selector.is_null() && !is_empty && parsed.is_some_and(|selector| selector.matches_with(get));
    if !is_empty && !selects || selector.is_null() {
        mismatch(labels, errors);
    }
    match what {
        "daemonset" => runs_forever(spec, "DaemonSet", errors),
        // Volumes that the set makes for each pod are not in its template, which is checked when pods are made.
        "statefulset" => {
            let template = at(spec, "template");
            let (own, path) = (at(template, "metadata"), SPEC.field("template"));
            metadata::labels(at(own, "labels"), &path.field("labels"), errors);
            metadata::annotations(own, &path.field("annotations"), errors);
            always(spec, "StatefulSet", errors);
        }
        _ => runs_forever(spec, "ReplicaSet", errors),
    }
}

/// Of an expression.
pub(super) const NO_OPERATOR: &str = "not a valid selector operator";

/// What is wrong with a label selector.
pub(super) fn label_selector(selector: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    metadata::labels(at(selector, "matchLabels"), &path.field("matchLabels"), errors);
    let field = path.field("matchExpressions");
    for (index, expression) in list(selector, "matchExpressions").iter().enumerate() {
        let path = field.index(index);
        set_operator(expression, &path, errors);
        let key = text(expression, "key");
        super::all_wrong(names::qualified(key), key, path.field("key"), errors);
    }
}

/// What is wrong with the operator of an expression about a set of values.
pub(super) fn set_operator(expression: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let is_empty = list(expression, "values").is_empty();
    match text(expression, "operator") {
        "In" | "NotIn" if is_empty => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(path.field("values"), why));
        }
        "Exists" | "DoesNotExist" if !is_empty => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(path.field("values"), why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.push(FieldError::invalid(path.field("operator"), other, NO_OPERATOR)),
    }
}

fn mismatch(labels: &Value, errors: &mut Vec<FieldError>) {
    let template = SPEC.field("template");
    let path = template.field("metadata");
    let why = "`selector` does not match template `labels`";
    errors.push(FieldError::invalid(path.field("labels"), labels.clone(), why));
}

fn runs_forever(spec: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    let path = SPEC.field("template");
    pod_spec::template(at(spec, "template"), &path, errors);
    always(spec, kind, errors);
}

/// What runs for ever is always started anew, and has no end.
fn always(spec: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    let path = SPEC.field("template");
    let pod = at(at(spec, "template"), "spec");
    let path = path.field("spec");
    let policy = text(pod, "restartPolicy");
    if policy != "Always" {
        errors.push(FieldError::not_supported(path.field("restartPolicy"), policy, &["Always"]));
    }
    if has(pod, "activeDeadlineSeconds") {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden(path.field("activeDeadlineSeconds"), why));
    }
}

/// A number of pods, or a share of them.
pub(super) fn count_of_pods(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if serde_json::from_value::<IntOrString>(value.clone()).is_ok() {
        amount(value, path, errors);
    }
}
