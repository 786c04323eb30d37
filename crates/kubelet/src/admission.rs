//! Whether a node takes a pod that was bound to it: [`admit`], a pure function.
//!
//! The scheduler has looked at all this; but pods are bound by others too, and the node may have changed since. Reasons
//! and messages are those of Kubernetes, since programs compare them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::container::resources::pod_requests;
use crate::node::{Node, Taint};
use crate::pod::{Pod, QosClass, ResourceList, Toleration, qos_class};
use crate::pressure::threshold::Condition;

mod affinity;

/// Sysctls that touch nothing outside of their pod.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// The priority from which on pods belong to the system.
pub const SYSTEM_PRIORITY: i32 = 2_000_000_000;

/// All that the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Admission<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Those that the node has taken and that have not ended.
    pub others: &'a [Arc<Pod>],
    /// The node's object, where it is known.
    pub node: Option<&'a Node>,
    /// What pods may use of it.
    pub allocatable: &'a ResourceList,
    /// Sysctls that the operator allows.
    pub allowed_sysctls: &'a [String],
    /// What the node runs out of.
    pub pressure: &'a BTreeSet<Condition>,
}

/// Why the node does not take the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// As `OutOfcpu`.
    pub reason: String,
    /// For people.
    pub message: String,
}

fn reject(reason: impl Into<String>, message: impl Into<String>) -> Result<(), Rejection> {
    Err(Rejection { reason: reason.into(), message: message.into() })
}

/// Decides. Pure.
pub fn admit(input: &Admission<'_>) -> Result<(), Rejection> {
    pressure(input)?;
    groups(input)?;
    sysctls(input)?;
    resources(input)?;
    let predicate = |name: &str, why: &str| reject(name, format!("Predicate {name} failed: {why}"));
    if let Some(node) = input.node {
        if !affinity::matches(input.pod, node) {
            return predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
        }
        let evicts = |taint: &&Taint| taint.effect == "NoExecute";
        let tolerated =
            |taint: &Taint| input.pod.spec.tolerations.iter().any(|toleration| tolerates(toleration, taint));
        if node.spec.taints.iter().filter(evicts).any(|taint| !tolerated(taint)) {
            return predicate("TaintToleration", "node(s) had taints that the pod doesn't tolerate");
        }
    }
    if ports_collide(input) {
        return predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports");
    }
    Ok(())
}

/// A node that runs out of something takes no more pods; of memory, it takes those that say how much they need.
fn pressure(input: &Admission<'_>) -> Result<(), Rejection> {
    if input.pressure.is_empty() || input.pod.spec.priority.unwrap_or(0) >= SYSTEM_PRIORITY {
        return Ok(());
    }
    if input.pressure.iter().all(|condition| *condition == Condition::Memory) {
        let taint = Taint {
            key: "node.kubernetes.io/memory-pressure".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        if qos_class(&input.pod.spec) != QosClass::BestEffort
            || input.pod.spec.tolerations.iter().any(|toleration| tolerates(toleration, &taint))
        {
            return Ok(());
        }
    }
    let names: Vec<&str> = input.pressure.iter().map(|condition| condition.name()).collect();
    reject("Evicted", format!("The node had condition: [{}]. ", names.join(" ")))
}

/// Docker gives a process the groups that its image names, too: who must not have those cannot be run here.
fn groups(input: &Admission<'_>) -> Result<(), Rejection> {
    let security = input.pod.spec.security_context.as_ref();
    if security.and_then(|own| own.supplemental_groups_policy.as_deref()) == Some("Strict") {
        let why = "SupplementalGroupsPolicy=Strict is not supported in this node";
        return reject("SupplementalGroupsPolicyNotSupported", why);
    }
    Ok(())
}

fn sysctls(input: &Admission<'_>) -> Result<(), Rejection> {
    let spec = &input.pod.spec;
    let forbidden = |why: String| reject("SysctlForbidden", format!("forbidden sysctl: {why}"));
    for sysctl in spec.security_context.iter().flat_map(|security| &security.sysctls) {
        let name = sysctl.name.replace('/', ".");
        if spec.host_network && name.starts_with("net.") {
            return forbidden(format!("\"{name}\" not allowed with host net enabled"));
        }
        let is_ipc =
            ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."].iter().any(|p| name.starts_with(p));
        if spec.host_ipc && is_ipc {
            return forbidden(format!("\"{name}\" not allowed with host ipc enabled"));
        }
        let is_allowed = SAFE_SYSCTLS.contains(&name.as_str())
            || input.allowed_sysctls.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == *pattern,
            });
        if !is_allowed {
            return forbidden(format!("\"{name}\" not allowlisted"));
        }
    }
    Ok(())
}

fn resources(input: &Admission<'_>) -> Result<(), Rejection> {
    match shortage(input.pod, input.others, input.allocatable) {
        Some((name, message, _)) => reject(format!("OutOf{name}"), message),
        None => Ok(()),
    }
}

/// Whether a pod that runs may have what it wants now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    /// It may.
    Enough,
    /// Others have it.
    NotNow(String),
    /// The node is too small.
    Never(String),
}

/// Looks for room for a pod that wants other resources than it was given. Pure.
pub fn room(pod: &Pod, others: &[Arc<Pod>], allocatable: &ResourceList) -> Room {
    match shortage(pod, others, allocatable) {
        None => Room::Enough,
        Some((name, _, (requested, capacity))) if requested > capacity => Room::Never(format!(
            "Node didn't have enough capacity: {name}, requested: {requested}, capacity: {capacity}"
        )),
        Some((_, message, _)) => Room::NotNow(message),
    }
}

/// The first resource that a pod cannot have, what there is to say about it, and how much was requested and is there.
fn shortage(
    pod: &Pod,
    others: &[Arc<Pod>],
    allocatable: &ResourceList,
) -> Option<(String, String, (i64, i64))> {
    let used: Vec<ResourceList> = others.iter().map(|other| pod_requests(&other.spec)).collect();
    let mut wanted = pod_requests(&pod.spec);
    wanted.insert("pods".to_owned(), api::quantity::Quantity::new(1));
    for (name, capacity) in allocatable {
        let units = |amount: &api::quantity::Quantity| {
            if name == "cpu" { amount.milli_value() } else { amount.value() }
        };
        let requested = wanted.get(name).map_or(0, units);
        let used: i64 = if name == "pods" {
            i64::try_from(used.len()).unwrap_or(i64::MAX)
        } else {
            used.iter().filter_map(|list| list.get(name)).map(units).sum()
        };
        let capacity = units(capacity);
        if requested > 0 && used.saturating_add(requested) > capacity {
            let message = format!(
                "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
            );
            return Some((name.clone(), message, (requested, capacity)));
        }
    }
    None
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    (toleration.effect.is_empty() || toleration.effect == taint.effect)
        && (toleration.key.is_empty() || toleration.key == taint.key)
        && match toleration.operator.as_str() {
            "Exists" => true,
            _ => !toleration.key.is_empty() && toleration.value == taint.value,
        }
}

/// Protocol, address and port of each port of the node that a pod wants.
fn host_ports(pod: &Pod) -> impl Iterator<Item = (&str, &str, u16)> {
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
    let ports = pod.spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
    let host_network = pod.spec.host_network;
    ports.filter_map(move |port| {
        let number = if port.host_port == 0 && host_network { port.container_port } else { port.host_port };
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        (number != 0).then_some((protocol, port.host_ip.as_str(), number))
    })
}

fn ports_collide(input: &Admission<'_>) -> bool {
    let any = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
    let wanted: Vec<_> = host_ports(input.pod).collect();
    input.others.iter().flat_map(|other| host_ports(other)).any(|(protocol, ip, port)| {
        wanted.iter().any(|(p, i, n)| (*p, *n) == (protocol, port) && (any(i) || any(ip) || *i == ip))
    })
}

#[cfg(test)]
mod tests;
