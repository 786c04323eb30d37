//! Which pod goes first, and what it is told. Pure.

use std::fmt::Write as _;

use api::quantity::Quantity;

use super::threshold::{Shortage, Signal};
use crate::admission::SYSTEM_PRIORITY;
use crate::container::resources::pod_requests;
use crate::pod::{Container, Pod};
use crate::runtime::ContainerUsage;

/// The name of the resource in requests.
fn request_name(signal: Signal) -> Option<&'static str> {
    match signal {
        Signal::Memory => Some("memory"),
        Signal::NodeFs | Signal::ImageFs => Some("ephemeral-storage"),
        Signal::NodeFsInodes | Signal::ImageFsInodes | Signal::Pid => None,
    }
}

fn used(signal: Signal, usage: &ContainerUsage) -> i64 {
    let amount = match signal {
        Signal::Memory => usage.cgroup.memory,
        Signal::Pid => usage.cgroup.processes,
        Signal::NodeFs | Signal::NodeFsInodes | Signal::ImageFs | Signal::ImageFsInodes => {
            usage.disk.unwrap_or(0)
        }
    };
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// A pod of the node, and what its containers use.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Of its containers.
    pub usage: Vec<&'a ContainerUsage>,
    /// Bytes that its volumes take of the node's disk.
    pub volumes: i64,
}

impl Candidate<'_> {
    fn used(&self, signal: Signal) -> i64 {
        let volumes = if matches!(signal, Signal::NodeFs | Signal::ImageFs) { self.volumes } else { 0 };
        self.usage.iter().map(|usage| used(signal, usage)).sum::<i64>().saturating_add(volumes)
    }

    fn requested(&self, signal: Signal) -> i64 {
        let requests = pod_requests(&self.pod.spec);
        request_name(signal).and_then(|name| requests.get(name)).map_or(0, Quantity::value)
    }
}

/// The pods in the order in which they go: those that use more than they asked for, those of low priority, those that
/// use most beyond their request. Pods of the system do not go.
pub fn rank<'a, 'b>(candidates: &'b [Candidate<'a>], signal: Signal) -> Vec<&'b Candidate<'a>> {
    let priority = |candidate: &Candidate<'_>| candidate.pod.spec.priority.unwrap_or(0);
    let mut order: Vec<_> =
        candidates.iter().filter(|candidate| priority(candidate) < SYSTEM_PRIORITY).collect();
    order.sort_by_cached_key(|candidate| {
        let (used, requested) = (candidate.used(signal), candidate.requested(signal));
        (used <= requested, priority(candidate), requested.saturating_sub(used), candidate.pod.key())
    });
    order
}

/// Why this pod goes, in the words of Kubernetes.
pub fn message(shortage: &Shortage, candidate: &Candidate<'_>) -> String {
    let mut text = shortage.to_string();
    let Some(name) = request_name(shortage.signal) else { return text };
    for usage in &candidate.usage {
        let Some(container) = container(candidate.pod, &usage.name) else { continue };
        let used = shortage.signal.amount(used(shortage.signal, usage));
        let request = container.resources.requests.get(name).copied().unwrap_or_else(|| Quantity::new(0));
        if used > request {
            let _infallible = write!(
                text,
                "Container {} was using {used}, request is {request}, has larger consumption of {name}. ",
                usage.name
            );
        }
    }
    text
}

fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    pod.spec.containers.iter().chain(&pod.spec.init_containers).find(|container| container.name == name)
}

/// What of a pod's own disk is used, against its limits: the message where one is exceeded. `volumes` are the sizes
/// of its emptyDirs on the disk, by their names.
pub fn over_limit(candidate: &Candidate<'_>, volumes: &[(String, i64)]) -> Option<String> {
    let pod = candidate.pod;
    for volume in &pod.spec.volumes {
        let limit = volume.empty_dir.as_ref().and_then(|source| source.size_limit);
        let size = volumes.iter().find(|(name, _)| *name == volume.name).map_or(0, |(_, size)| *size);
        if let Some(limit) = limit.filter(|limit| limit.value() > 0 && size > limit.value()) {
            return Some(format!(
                "Usage of EmptyDir volume \"{}\" exceeds the limit \"{limit}\". ",
                volume.name
            ));
        }
    }
    let limit_of = |container: &Container| container.resources.limits.get("ephemeral-storage").copied();
    let limits: Vec<_> = pod.spec.containers.iter().filter_map(limit_of).collect();
    if limits.len() == pod.spec.containers.len() {
        let total: i64 = limits.iter().map(Quantity::value).sum();
        if candidate.used(Signal::NodeFs) > total {
            return Some(format!(
                "Pod ephemeral local storage usage exceeds the total limit of containers {}. ",
                Quantity::bytes(total)
            ));
        }
    }
    candidate.usage.iter().find_map(|usage| {
        let limit = container(pod, &usage.name).and_then(limit_of)?;
        (used(Signal::NodeFs, usage) > limit.value()).then(|| {
            format!("Container {} exceeded its local ephemeral storage limit \"{limit}\". ", usage.name)
        })
    })
}

/// Whether [`over_limit`] could say anything: measuring costs.
pub fn has_limits(pod: &Pod) -> bool {
    pod.spec
        .volumes
        .iter()
        .any(|volume| volume.empty_dir.as_ref().is_some_and(|dir| dir.size_limit.is_some()))
        || pod.spec.containers.iter().any(|c| c.resources.limits.contains_key("ephemeral-storage"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::runtime::cgroup::Usage;

    fn pod(name: &str, priority: i32, resources: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "d", "uid": name},
            "spec": {
                "priority": priority, "containers": [{"name": "c", "resources": resources}],
                "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}],
            },
        }))
        .expect("a pod")
    }

    fn usage(name: &str, memory: u64, disk: u64) -> ContainerUsage {
        let cgroup = Usage { memory, ..Usage::default() };
        ContainerUsage {
            name: "c".into(),
            pod_uid: name.into(),
            cgroup,
            disk: Some(disk),
            ..Default::default()
        }
    }

    #[test]
    fn who_takes_more_than_it_asked_for_goes_first() {
        let asks = |memory: &str| json!({"requests": {"memory": memory}});
        let pods = [
            pod("modest", 0, asks("1Gi")),
            pod("greedy", 0, asks("1Mi")),
            pod("greedier", 0, json!({})),
            pod("important", 100, json!({})),
            pod("system", SYSTEM_PRIORITY, json!({})),
        ];
        let usages = [
            usage("modest", 900 << 20, 0),
            usage("greedy", 100 << 20, 0),
            usage("greedier", 200 << 20, 0),
            usage("important", 500 << 20, 0),
            usage("system", 500 << 20, 0),
        ];
        let candidates: Vec<Candidate<'_>> = pods
            .iter()
            .zip(&usages)
            .map(|(pod, usage)| Candidate { pod, usage: vec![usage], volumes: 0 })
            .collect();
        let order: Vec<&str> =
            rank(&candidates, Signal::Memory).iter().map(|c| c.pod.metadata.name.as_str()).collect();
        assert_eq!(order, ["greedier", "greedy", "important", "modest"]);
        let shortage = Shortage { signal: Signal::Memory, least: 100 << 20, available: 50 << 20, hard: true };
        assert_eq!(
            message(&shortage, &candidates[1]),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. \
             Container c was using 100Mi, request is 1Mi, has larger consumption of memory. "
        );
        assert_eq!(message(&shortage, &candidates[0]), shortage.to_string());
    }

    #[test]
    fn limits_of_the_disk_are_limits() {
        let limited = pod("p", 0, json!({"limits": {"ephemeral-storage": "10Mi"}}));
        let check = |disk: u64, volume: i64, expected: Option<&str>| {
            let usage = usage("p", 0, disk);
            let candidate = Candidate { pod: &limited, usage: vec![&usage], volumes: volume };
            let found = over_limit(&candidate, &[("v".to_owned(), volume)]);
            assert_eq!(found.as_deref(), expected);
        };
        check(9 << 20, 1 << 20, None);
        check(9 << 20, (1 << 20) + 1, Some("Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". "));
        let total = "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ";
        check((9 << 20) + 1, 1 << 20, Some(total));
        assert!(has_limits(&limited));
        assert!(!has_limits(&Pod::default()));
    }
}
