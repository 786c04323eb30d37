//! Requests and limits as the kernel is told of them.

use api::quantity::Quantity;

use crate::pod::{Container, Pod, PodSpec, QosClass, ResourceList, qos_class};
use crate::runtime::Resources;

/// The weight of one core.
const SHARES_PER_CPU: i64 = 1024;
/// The least weight that the kernel takes.
const MIN_SHARES: i64 = 2;
/// The period that quotas refer to, in microseconds.
const QUOTA_PERIOD: i64 = 100_000;
/// The least quota that the kernel takes.
const MIN_QUOTA: i64 = 1000;

/// The relative weight for an amount of cpu.
pub fn cpu_shares(milli: i64) -> i64 {
    if milli == 0 { MIN_SHARES } else { (milli * SHARES_PER_CPU / 1000).clamp(MIN_SHARES, 262_144) }
}

/// Microseconds per period for an amount of cpu.
pub fn cpu_quota(milli: i64) -> i64 {
    (milli * QUOTA_PERIOD / 1000).max(MIN_QUOTA)
}

/// The amount of cpu of so many microseconds per period.
pub fn milli_of_quota(quota: i64) -> i64 {
    quota.saturating_mul(1000) / QUOTA_PERIOD
}

/// What a container is given.
pub fn limits(container: &Container) -> Resources {
    let resources = &container.resources;
    let positive = |amount: i64| Some(amount).filter(|amount| *amount > 0);
    let limit = resources.limits.get("cpu").and_then(|cpu| positive(cpu.milli_value()));
    let request = resources.requests.get("cpu").map(|cpu| cpu.milli_value()).or(limit);
    let memory = resources.limits.get("memory").and_then(|memory| positive(memory.value()));
    Resources { cpu_shares: Some(cpu_shares(request.unwrap_or(0))), cpu_quota: limit.map(cpu_quota), memory }
}

/// Who goes first when the node has no memory left: pods without requests, then those that ask for little.
pub fn oom_score_adj(pod: &Pod, container: &Container, node_memory: i64) -> i64 {
    match qos_class(&pod.spec) {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let request = container.resources.requests.get("memory").map_or(0, |memory| memory.value());
            let share = if node_memory > 0 { 1000 * request / node_memory } else { 0 };
            (1000 - share).clamp(3, 999)
        }
    }
}

/// What a pod asks for: its containers together, or the most demanding moment of its initialization, and what its
/// sandbox costs.
pub fn pod_requests(spec: &PodSpec) -> ResourceList {
    let mut main = ResourceList::new();
    for container in &spec.containers {
        add(&mut main, &requests(container));
    }
    let (mut sidecars, mut initial) = (ResourceList::new(), ResourceList::new());
    for container in &spec.init_containers {
        let own = requests(container);
        if container.is_sidecar() {
            add(&mut main, &own);
            add(&mut sidecars, &own);
            at_least(&mut initial, &sidecars);
        } else {
            let mut moment = sidecars.clone();
            add(&mut moment, &own);
            at_least(&mut initial, &moment);
        }
    }
    at_least(&mut main, &initial);
    if let Some(of_pod) = &spec.resources {
        main.extend(of_pod.requests.iter().map(|(name, amount)| (name.clone(), *amount)));
    }
    add(&mut main, &spec.overhead);
    main
}

/// What a pod may use as a whole: the weight of its requests, and its limits where every container has one.
pub fn pod_limits(spec: &PodSpec) -> Resources {
    let requests = pod_requests(spec);
    let amount = |list: &ResourceList, name: &str| {
        let units = |amount: &Quantity| if name == "cpu" { amount.milli_value() } else { amount.value() };
        list.get(name).map(units).filter(|amount| *amount > 0)
    };
    let of_pod = spec.resources.as_ref().map(|resources| &resources.limits);
    let limit = |name: &str| {
        if let Some(limit) = of_pod.and_then(|limits| amount(limits, name)) {
            return Some(limit);
        }
        let all = spec.init_containers.iter().chain(&spec.containers);
        if !all.map(|container| amount(&container.resources.limits, name)).all(|limit| limit.is_some()) {
            return None;
        }
        let (mut main, mut sidecars, mut initial) = (0_i64, 0_i64, 0_i64);
        for container in &spec.init_containers {
            let own = amount(&container.resources.limits, name).unwrap_or(0);
            initial = initial.max(sidecars.saturating_add(own));
            if container.is_sidecar() {
                sidecars = sidecars.saturating_add(own);
            }
        }
        for container in &spec.containers {
            main = main.saturating_add(amount(&container.resources.limits, name).unwrap_or(0));
        }
        let overhead = amount(&spec.overhead, name).unwrap_or(0);
        Some(main.saturating_add(sidecars).max(initial).saturating_add(overhead))
    };
    Resources {
        cpu_shares: Some(cpu_shares(amount(&requests, "cpu").unwrap_or(0))),
        cpu_quota: limit("cpu").map(cpu_quota),
        memory: limit("memory"),
    }
}

/// A limit without a request asks for as much.
fn requests(container: &Container) -> ResourceList {
    let mut list = container.resources.limits.clone();
    list.extend(container.resources.requests.iter().map(|(name, amount)| (name.clone(), *amount)));
    list
}

fn add(sum: &mut ResourceList, more: &ResourceList) {
    for (name, amount) in more {
        let known = sum.entry(name.clone()).or_insert_with(|| Quantity::new(0));
        *known = known.checked_add(amount).unwrap_or(*known);
    }
}

fn at_least(list: &mut ResourceList, other: &ResourceList) {
    for (name, amount) in other {
        let known = list.entry(name.clone()).or_insert(*amount);
        *known = (*known).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_limited_where_all_of_its_containers_are() {
        let spec = |init: &[&str], main: &[&str]| -> PodSpec {
            let container = |limits: &&str| {
                let limits: serde_json::Value = serde_json::from_str(limits).expect("limits");
                serde_json::json!({"name": "c", "resources": {"limits": limits}})
            };
            let containers = |list: &[&str]| list.iter().map(container).collect::<Vec<_>>();
            let spec =
                serde_json::json!({"initContainers": containers(init), "containers": containers(main)});
            serde_json::from_value(spec).expect("a spec")
        };
        let (small, big) = (r#"{"cpu":"500m","memory":"1Mi"}"#, r#"{"cpu":"2","memory":"1Mi"}"#);
        let found = pod_limits(&spec(&[], &[small, small]));
        assert_eq!(
            found,
            Resources { cpu_shares: Some(1024), cpu_quota: Some(100_000), memory: Some(2 << 20) }
        );
        let found = pod_limits(&spec(&[big], &[small]));
        assert_eq!(
            (found.cpu_quota, found.memory),
            (Some(200_000), Some(1 << 20)),
            "the first one needs more"
        );
        let found = pod_limits(&spec(&[], &[small, r#"{"memory":"1Mi"}"#]));
        assert_eq!((found.cpu_quota, found.memory), (None, Some(2 << 20)));
        let found = pod_limits(&spec(&["{}"], &[small]));
        assert_eq!((found.cpu_shares, found.cpu_quota, found.memory), (Some(512), None, None));
        let found = pod_limits(&spec(&[], &["{}"]));
        assert_eq!(found.cpu_shares, Some(2));
    }

    #[test]
    fn cpu_becomes_shares_and_quota() {
        for (milli, shares, quota) in
            [(0, 2, 1000), (1, 2, 1000), (100, 102, 10_000), (1000, 1024, 100_000), (2500, 2560, 250_000)]
        {
            assert_eq!((cpu_shares(milli), cpu_quota(milli)), (shares, quota), "{milli}m");
        }
    }

    #[test]
    fn a_pod_asks_for_its_most_demanding_moment() {
        let cpu = |spec: serde_json::Value| {
            let spec: PodSpec = serde_json::from_value(spec).expect("a spec");
            pod_requests(&spec).get("cpu").map_or(0, |cpu| cpu.milli_value())
        };
        let asks = |milli: i64| serde_json::json!({"resources": {"requests": {"cpu": format!("{milli}m")}}});
        let sidecar = |milli: i64| {
            let mut container = asks(milli);
            container["restartPolicy"] = "Always".into();
            container
        };
        assert_eq!(cpu(serde_json::json!({"containers": [asks(100), asks(200)]})), 300);
        let big_init = serde_json::json!({"containers": [asks(100)], "initContainers": [asks(500)]});
        assert_eq!(cpu(big_init), 500);
        let mixed = serde_json::json!({
            "containers": [asks(100)], "overhead": {"cpu": "10m"},
            "initContainers": [sidecar(50), asks(400), sidecar(30), asks(10)],
        });
        assert_eq!(cpu(mixed), 460);
        let limit = serde_json::json!({"containers": [{"resources": {"limits": {"cpu": "70m"}}}]});
        assert_eq!(cpu(limit), 70);
    }

    #[test]
    fn the_oom_score_follows_the_qos_class() {
        let pod = |resources: serde_json::Value| -> Pod {
            serde_json::from_value(serde_json::json!({
                "spec": {"containers": [{"name": "c", "resources": resources}]}
            }))
            .expect("a pod")
        };
        let gigabyte = 1 << 30;
        for (resources, class, score) in [
            (serde_json::json!({}), QosClass::BestEffort, 1000),
            (serde_json::json!({"requests": {"memory": "256Mi"}}), QosClass::Burstable, 750),
            (serde_json::json!({"requests": {"cpu": "1"}}), QosClass::Burstable, 999),
            (serde_json::json!({"requests": {"memory": "1Gi"}}), QosClass::Burstable, 3),
            (
                serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}),
                QosClass::Guaranteed,
                -997,
            ),
            (serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}}), QosClass::Guaranteed, -997),
        ] {
            let pod = pod(resources);
            assert_eq!(qos_class(&pod.spec), class);
            assert_eq!(oom_score_adj(&pod, &pod.spec.containers[0], gigabyte), score);
        }
    }
}
