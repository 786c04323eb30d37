//! Fields of the pod and amounts of its resources, as `fieldRef` and `resourceFieldRef` name them.

use std::collections::BTreeMap;

use api::quantity::Quantity;

use crate::pod::{FieldRef, Pod, ResourceFieldRef, ResourceList};

/// What of the node appears in pods.
#[derive(Debug, Clone, Default)]
pub struct NodeFacts {
    /// Its addresses, the first one first.
    pub ips: Vec<String>,
    /// What pods may use of it.
    pub allocatable: ResourceList,
}

/// The text of a field of the pod. `pod_ips` are those of its sandbox.
pub fn field_value(
    pod: &Pod,
    node: &NodeFacts,
    pod_ips: &[String],
    field: &FieldRef,
) -> Result<String, String> {
    let path = field.field_path.as_str();
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match map {
            "metadata.labels" => &pod.metadata.labels,
            "metadata.annotations" => &pod.metadata.annotations,
            _ => return Err(format!("fieldPath \"{path}\" does not support subscript")),
        };
        return Ok(map.get(key).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        "metadata.uid" => pod.metadata.uid.clone(),
        "metadata.labels" => lines(&pod.metadata.labels),
        "metadata.annotations" => lines(&pod.metadata.annotations),
        "spec.nodeName" => pod.spec.node_name.clone(),
        "spec.serviceAccountName" => pod.spec.service_account_name.clone(),
        "status.hostIP" => node.ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => node.ips.join(","),
        "status.podIP" => pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// The amount of a resource of a container, in units of the divisor, rounded up. A limit that is not set is what
/// the node has.
pub fn resource_value(
    pod: &Pod,
    node: &NodeFacts,
    container: &str,
    field: &ResourceFieldRef,
) -> Result<String, String> {
    let name = if field.container_name.is_empty() { container } else { &field.container_name };
    let mut all = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    let resources = &all
        .find(|container| container.name == name)
        .ok_or_else(|| format!("container {name} not found"))?
        .resources;
    let (list, resource) = match field.resource.split_once('.') {
        Some(("limits", resource)) => (&resources.limits, resource),
        Some(("requests", resource)) => (&resources.requests, resource),
        _ => return Err(format!("unsupported container resource : {}", field.resource)),
    };
    let is_limit = field.resource.starts_with("limits.");
    let amount = list
        .get(resource)
        .or_else(|| node.allocatable.get(resource).filter(|_| is_limit))
        .cloned()
        .unwrap_or_else(|| Quantity::new(0));
    let divisor = field.divisor.filter(|divisor| !divisor.is_zero()).unwrap_or_else(|| Quantity::new(1));
    let (amount, divisor) = if resource == "cpu" {
        (amount.milli_value(), divisor.milli_value())
    } else {
        (amount.value(), divisor.value())
    };
    Ok(((amount + divisor - 1) / divisor.max(1)).to_string())
}
