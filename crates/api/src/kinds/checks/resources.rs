//! What is wrong with amounts of resources: of containers, of whole pods, in limits and quotas.

use serde_json::Value;

use super::all_wrong;
use crate::field::FieldError;
use crate::kinds::access::{at, has, list, map, text};
use crate::kinds::metadata::NOT_NEGATIVE;
use crate::kinds::path::Path;
use crate::names;
use crate::quantity::Quantity;

/// The resources that a quota can bound by their plain name.
const QUOTA: [&str; 19] = [
    "configmaps",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// The resources that are counted.
const WHOLE: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// A resource of someone else's: with a domain that is not Kubernetes' own.
pub(super) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified(&format!("requests.{name}")).is_empty()
}

/// A resource of Kubernetes' own.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether less may be asked for than may be used.
pub(super) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// The names of resources have rules of their own for each place.
pub(super) type NameCheck = fn(&str, &Path<'_>, &mut Vec<FieldError>);

/// A name that Kubernetes knows, or that says whose it is.
pub(super) fn name(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let wrong = names::qualified(name);
    if wrong.is_empty() {
        let is_standard = QUOTA.contains(&name)
            || name == "storage"
            || is_huge_page(name)
            || name.starts_with("requests.hugepages-");
        if !name.contains('/') && !is_standard {
            let why = "must be a standard resource type or fully qualified";
            errors.push(FieldError::invalid(path, name, why));
        }
    } else {
        all_wrong(wrong, name, path, errors);
    }
}

/// A resource that a container can have.
pub(super) fn container_name(resource: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    name(resource, path, errors);
    if !resource.contains('/') {
        let is_known = matches!(resource, "cpu" | "memory" | "ephemeral-storage") || is_huge_page(resource);
        if !is_known {
            let why = "must be a standard resource for containers";
            errors.push(FieldError::invalid(path, resource, why));
        }
    } else if !is_native(resource) && !is_extended(resource) {
        errors.push(FieldError::invalid(path, resource, "doesn't follow extended resource name standard"));
    }
}

/// A resource that a pod can have as a whole.
pub(super) fn pod_name(resource: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    name(resource, path, errors);
    if errors.len() == before && !matches!(resource, "cpu" | "memory") && !is_huge_page(resource) {
        errors.push(FieldError::not_supported(path, resource, &["cpu", "hugepages-", "memory"]));
    }
}

/// A resource that a quota can bound.
pub(super) fn quota_name(resource: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    name(resource, path, errors);
    let is_known = QUOTA.contains(&resource)
        || is_huge_page(resource)
        || resource.starts_with("requests.hugepages-")
        || resource.contains('/');
    if !is_known {
        errors.push(FieldError::invalid(path, resource, "must be a standard resource for quota"));
    }
}

/// An amount of a resource: not less than nothing, and whole where it is counted.
pub(super) fn amount(
    resource: &str,
    value: &str,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) -> Option<Quantity> {
    let quantity = Quantity::parse(value).ok()?;
    if quantity.sign().is_lt() {
        errors.push(FieldError::invalid(path, value, NOT_NEGATIVE));
    }
    let is_whole = WHOLE.contains(&resource) || is_extended(resource);
    if is_whole && quantity.milli_value() % 1000 != 0 {
        errors.push(FieldError::invalid(path, value, "must be an integer"));
    }
    Some(quantity)
}

/// The entries of a resource list with their amounts, as text.
pub(super) fn entries<'a>(owner: &'a Value, name: &str) -> impl Iterator<Item = (&'a str, String)> {
    map(owner, name).map(|(resource, amount)| {
        (resource.as_str(), amount.as_str().map_or_else(|| amount.to_string(), str::to_owned))
    })
}

/// Requests and limits. `claims` are the names of the pod's claims for devices.
pub(super) fn requirements(
    resources: &Value,
    check: NameCheck,
    claims: &[&str],
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let (limits_field, requests_field) = (path.field("limits"), path.field("requests"));
    let mut limits: Vec<(&str, Quantity, String)> = Vec::new();
    let (mut has_memory, mut has_huge_pages) = (false, false);
    for (list, field) in [("limits", limits_field), ("requests", requests_field)] {
        for (resource, value) in entries(resources, list) {
            let own = field.key(resource);
            check(resource, &own, errors);
            let quantity = amount(resource, &value, &own, errors);
            has_memory |= matches!(resource, "cpu" | "memory");
            if is_huge_page(resource) {
                has_huge_pages = true;
                whole_pages(resource, &value, &own, errors);
            }
            let Some(quantity) = quantity else { continue };
            if list == "limits" {
                limits.push((resource, quantity, value));
                continue;
            }
            let limit = limits.iter().find(|(own, ..)| *own == resource);
            match limit {
                Some((_, limit, shown)) if quantity != *limit && !may_overcommit(resource) => {
                    let why = format!("must be equal to {resource} limit of {shown}");
                    errors.push(FieldError::invalid(requests_field, value, why));
                }
                Some((_, limit, shown)) if quantity > *limit => {
                    let why = format!("must be less than or equal to {resource} limit of {shown}");
                    errors.push(FieldError::invalid(requests_field, value, why));
                }
                None if !may_overcommit(resource) => {
                    let why = "Limit must be set for non overcommitable resources";
                    errors.push(FieldError::required(limits_field, why));
                }
                _ => {}
            }
        }
    }
    if has_huge_pages && !has_memory {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
    device_claims(resources, claims, &path.field("claims"), errors);
}

fn whole_pages(resource: &str, value: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let page = resource.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok());
    let (Some(page), Ok(quantity)) = (page, Quantity::parse(value)) else { return };
    let is_whole = page.value() > 0 && quantity.value() % page.value() == 0;
    if !is_whole {
        let why = format!("{quantity} is not positive integer multiple of {resource}");
        errors.push(FieldError::invalid(path, value, why));
    }
}

fn device_claims(resources: &Value, claims: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<String> = Vec::new();
    for (index, claim) in list(resources, "claims").iter().enumerate() {
        let path = path.index(index);
        let (name, request) = (text(claim, "name"), text(claim, "request"));
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        let key = if request.is_empty() { name.to_owned() } else { format!("{name}/{request}") };
        if !request.is_empty() {
            all_wrong(names::dns_label(request), request, path.field("request"), errors);
        }
        let overlaps = |other: &String| {
            *other == key || other == name || request.is_empty() && other.starts_with(&format!("{name}/"))
        };
        if seen.iter().any(overlaps) {
            errors.push(FieldError::duplicate(path, key.as_str()));
        }
        seen.push(key);
        if !claims.contains(&name) {
            let mut error = FieldError::not_found(path, name);
            error.detail = "must be one of the names in pod.spec.resourceClaims".to_owned();
            if claims.is_empty() {
                error.detail.push_str(" which is empty");
            } else {
                let mut sorted = claims.to_vec();
                sorted.sort_unstable();
                error.detail = format!("{}: {}", error.detail, sorted.join(", "));
            }
            errors.push(error);
        }
    }
}

/// What a pod asks for as a whole covers what its containers ask for.
pub(super) fn of_pod(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let whole = at(spec, "resources");
    if whole.is_null() {
        return;
    }
    if has(whole, "claims") {
        let why = "claims cannot be set for Resources at pod-level";
        errors.push(FieldError::forbidden(path.field("claims"), why));
    }
    requirements(whole, pod_name, &[], path, errors);
    let field = path.field("requests");
    let mut totals: Vec<(&str, Quantity)> = Vec::new();
    for container in list(spec, "containers") {
        for (resource, value) in entries(at(container, "resources"), "requests") {
            let Ok(quantity) = Quantity::parse(&value) else { continue };
            match totals.iter_mut().find(|(own, _)| *own == resource) {
                Some((_, total)) => *total = total.checked_add(&quantity).unwrap_or(*total),
                None => totals.push((resource, quantity)),
            }
        }
    }
    for (resource, total) in totals {
        let asked = Quantity::parse(text(at(whole, "requests"), resource)).unwrap_or_default();
        if total > asked {
            let why = format!("must be greater than or equal to aggregate container requests of {total}");
            errors.push(FieldError::invalid(field.key(resource), asked.to_string(), why));
        }
    }
    let containers = path.field("containers");
    for (index, container) in list(spec, "containers").iter().enumerate() {
        for (resource, value) in entries(at(container, "resources"), "limits") {
            let most = text(at(whole, "limits"), resource);
            let (Ok(limit), Ok(most_of_pod)) = (Quantity::parse(&value), Quantity::parse(most)) else {
                continue;
            };
            if limit > most_of_pod {
                let why = format!("must be less than or equal to pod limits of {most}");
                let at_index = containers.index(index);
                let own = at_index.key(resource);
                errors.push(FieldError::invalid(own.field("limits"), value, why));
            }
        }
    }
}
