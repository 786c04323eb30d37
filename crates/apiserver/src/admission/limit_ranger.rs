//! LimitRanger: the amounts that a namespace gives to containers which ask for none, and the bounds of what they ask.

use std::cmp::Ordering;

use api::quantity::Quantity;
use api::quota::{Amounts, amounts, of_containers};
use api::status::Status;
use serde_json::{Value, json};
use store::Bucket;

use super::{Operation, Request, items, text};
use crate::pipeline::Subresource;

/// Says what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// What is sure to fit into thousandths.
const MAX_MILLI: i64 = i64::MAX / 1000;

/// The items of all LimitRanges of the namespace, those of each by themselves.
fn ranges(request: &Request<'_>) -> Vec<Value> {
    if request.namespace.is_empty() {
        return Vec::new();
    }
    let bucket = Bucket::from("limitranges");
    if request.snapshot.list(&bucket, Some(request.namespace), None).next().is_none() {
        return Vec::new();
    }
    request.all("limitranges", Some(request.namespace))
}

/// Gives the usual amounts to containers of a new pod that name none.
pub(super) fn fill_in(request: &Request<'_>, pod: &mut Value) {
    for range in ranges(request) {
        let mut said = Vec::new();
        for (list, kind) in [("containers", "container"), ("initContainers", "init container")] {
            let Some(containers) = pod["spec"][list].as_array_mut() else { continue };
            for container in containers {
                for (from, to, word) in
                    [("defaultRequest", "requests", "request"), ("default", "limits", "limit")]
                {
                    let set = set_missing(container, &range, from, to);
                    if !set.is_empty() {
                        let name = text(container, "name");
                        said.push(format!("{} {word} for {kind} {name}", set.join(", ")));
                    }
                }
            }
        }
        if said.is_empty() {
            continue;
        }
        if !pod["metadata"]["annotations"].is_object() {
            pod["metadata"]["annotations"] = json!({});
        }
        pod["metadata"]["annotations"][ANNOTATION] =
            format!("LimitRanger plugin set: {}", said.join("; ")).into();
    }
}

/// The resources that were set, sorted.
fn set_missing(container: &mut Value, range: &Value, from: &str, to: &str) -> Vec<String> {
    let mut set = Vec::new();
    for limit in items(&range["spec"], "limits").filter(|limit| text(limit, "type") == "Container") {
        for (resource, amount) in limit[from].as_object().into_iter().flatten() {
            if container["resources"][to].get(resource).is_some_and(|own| !own.is_null()) {
                continue;
            }
            if !container["resources"].is_object() {
                container["resources"] = json!({});
            }
            if !container["resources"][to].is_object() {
                container["resources"][to] = json!({});
            }
            container["resources"][to][resource] = amount.clone();
            set.push(resource.clone());
        }
    }
    set.sort();
    set
}

/// Whether a pod or claim is within the bounds.
pub(super) fn check(request: &Request<'_>, object: &Value) -> Result<(), Status> {
    let is_pod = match (request.operation, request.subresource) {
        (Operation::Create, None) | (Operation::Update, Some(Subresource::Resize)) => {
            &*request.def.bucket == "pods"
        }
        _ => false,
    };
    let is_claim = request.operation != Operation::Delete && request.is_about("persistentvolumeclaims");
    if !is_pod && !is_claim {
        return Ok(());
    }
    for range in ranges(request) {
        let mut errors = Vec::new();
        for limit in items(&range["spec"], "limits") {
            match text(limit, "type") {
                "Container" if is_pod => {
                    let lists = ["containers", "initContainers"];
                    for container in lists.into_iter().flat_map(|list| items(&object["spec"], list)) {
                        let requests = amounts(&container["resources"]["requests"]);
                        let limits = amounts(&container["resources"]["limits"]);
                        errors.extend(violations("Container", limit, &requests, &limits));
                    }
                }
                "Pod" if is_pod => {
                    let requests = of_containers(object, "requests");
                    let limits = of_containers(object, "limits");
                    errors.extend(violations("Pod", limit, &requests, &limits));
                }
                "PersistentVolumeClaim" if is_claim => {
                    let requests = amounts(&object["spec"]["resources"]["requests"]);
                    errors.extend(of_claim(limit, &requests));
                }
                _ => {}
            }
        }
        match errors.as_slice() {
            [] => {}
            [one] => return Err(request.forbid(Some(object), one)),
            several => return Err(request.forbid(Some(object), format_args!("[{}]", several.join(", ")))),
        }
    }
    Ok(())
}

fn violations(kind: &str, limit: &Value, requests: &Amounts, limits: &Amounts) -> Vec<String> {
    let mut errors = Vec::new();
    for (name, least) in amounts(&limit["min"]) {
        let what = format!("minimum {name} usage per {kind} is {least}");
        match (requests.get(&name), limits.get(&name)) {
            (None, _) => errors.push(format!("{what}.  No request is specified")),
            (Some(request), _) if *request < least => {
                errors.push(format!("{what}, but request is {request}"));
            }
            (_, Some(limit)) if *limit < least => errors.push(format!("{what}, but limit is {limit}")),
            _ => {}
        }
    }
    for (name, most) in amounts(&limit["max"]) {
        let what = format!("maximum {name} usage per {kind} is {most}");
        match (requests.get(&name), limits.get(&name)) {
            (_, None) => errors.push(format!("{what}.  No limit is specified")),
            (_, Some(limit)) if *limit > most => errors.push(format!("{what}, but limit is {limit}")),
            (Some(request), _) if *request > most => {
                errors.push(format!("{what}, but request is {request}"));
            }
            _ => {}
        }
    }
    for (name, most) in amounts(&limit["maxLimitRequestRatio"]) {
        errors.extend(ratio(kind, &name, &most, requests.get(&name), limits.get(&name)));
    }
    errors
}

/// How far a limit may be above its request.
fn ratio(
    kind: &str,
    name: &str,
    most: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let what = format!("{name} max limit to request ratio per {kind} is {most}");
    let given = |amount: Option<&Quantity>| amount.copied().filter(|amount| amount.sign() != Ordering::Equal);
    let Some(request) = given(request) else {
        return Some(format!("{what}, but no request is specified or request is 0"));
    };
    let Some(limit) = given(limit) else {
        return Some(format!("{what}, but no limit is specified or limit is 0"));
    };
    let in_thousandths = [request, limit].iter().all(|amount| amount.value() <= MAX_MILLI);
    let number =
        |amount: &Quantity| if in_thousandths { amount.milli_value() } else { amount.value() } as f64;
    let ratio = number(&limit) / number(&request);
    (ratio > most.to_f64()).then(|| format!("{what}, but provided ratio is {ratio:.6}"))
}

fn of_claim(limit: &Value, requests: &Amounts) -> Vec<String> {
    let kind = "PersistentVolumeClaim";
    let mut errors = Vec::new();
    for (bound, word, wrong) in [("min", "minimum", Ordering::Less), ("max", "maximum", Ordering::Greater)] {
        for (name, amount) in amounts(&limit[bound]) {
            let what = format!("{word} {name} usage per {kind} is {amount}");
            match requests.get(&name) {
                None => errors.push(format!("{what}.  No request is specified")),
                Some(request) if request.cmp(&amount) == wrong => {
                    errors.push(format!("{what}, but request is {request}"));
                }
                Some(_) => {}
            }
        }
    }
    errors
}
