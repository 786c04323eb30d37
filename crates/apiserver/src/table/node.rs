//! Nodes.

use serde_json::Value;

use super::cell::{self, NONE, list, text, text_or};
use super::{AGE, NAME, Printer, text as column, wide};

/// What stands where the node has not told.
const UNKNOWN: &str = "<unknown>";

pub(super) static NODE: Printer = Printer {
    columns: &[
        NAME,
        column("Status"),
        column("Roles"),
        AGE,
        column("Version"),
        wide("Internal-IP"),
        wide("External-IP"),
        wide("OS-Image"),
        wide("Kernel-Version"),
        wide("Container-Runtime"),
    ],
    cells: |object, now| {
        let info = &object["status"]["nodeInfo"];
        vec![
            cell::name(object),
            status(object).into(),
            roles(object).into(),
            cell::age(object, now),
            text(&info["kubeletVersion"]).into(),
            address(object, "InternalIP").into(),
            address(object, "ExternalIP").into(),
            text_or(&info["osImage"], UNKNOWN).into(),
            text_or(&info["kernelVersion"], UNKNOWN).into(),
            text_or(&info["containerRuntimeVersion"], UNKNOWN).into(),
        ]
    },
};

fn status(node: &Value) -> String {
    let ready = match cell::condition(node, "Ready") {
        Some(ready) if ready["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let closed = if node["spec"]["unschedulable"] == true { ",SchedulingDisabled" } else { "" };
    format!("{ready}{closed}")
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = node["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None => (key == "kubernetes.io/role").then(|| text(value)),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { NONE.to_owned() } else { roles.join(",") }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let found = list(&node["status"]["addresses"]).iter().find(|address| address["type"] == kind);
    found.map_or(NONE, |address| text(&address["address"]))
}
