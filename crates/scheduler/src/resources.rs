//! What a pod needs and a node has, as numbers.

use std::collections::BTreeMap;

use api::quantity::Quantity;

use crate::objects::{Container, Pod, ResourceList};

/// What a container without a request is taken to need when nodes are compared (never when they are filtered).
const DEFAULT_MILLI_CPU: i64 = 100;
/// The same for memory.
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts of everything that is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// Everything else, whole units, by name: `nvidia.com/gpu`, `hugepages-2Mi`.
    pub extended: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads the amounts of an object. The number of pods is not among them.
    pub fn of(list: &ResourceList) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list {
            resources.set(name, quantity);
        }
        resources
    }

    fn set(&mut self, name: &str, quantity: &Quantity) {
        match name {
            "cpu" => self.milli_cpu = quantity.milli_value(),
            "memory" => self.memory = quantity.value(),
            "ephemeral-storage" => self.ephemeral_storage = quantity.value(),
            "pods" => {}
            _ => {
                self.extended.insert(name.to_owned(), quantity.value());
            }
        }
    }

    /// Adds what another needs.
    pub fn add(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.saturating_add(other.milli_cpu);
        self.memory = self.memory.saturating_add(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.saturating_add(other.ephemeral_storage);
        for (name, amount) in &other.extended {
            let sum = self.extended.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Takes off what another needed.
    pub fn subtract(&mut self, other: &Self) {
        self.milli_cpu -= other.milli_cpu;
        self.memory -= other.memory;
        self.ephemeral_storage -= other.ephemeral_storage;
        for (name, amount) in &other.extended {
            if let Some(sum) = self.extended.get_mut(name) {
                *sum -= amount;
            }
        }
    }

    /// Raises each amount to that of another.
    fn raise_to(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory = self.memory.max(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.max(other.ephemeral_storage);
        for (name, amount) in &other.extended {
            let most = self.extended.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }
}

/// What a pod needs on its node: its containers and sidecars together, or, where that is more, an init container
/// beside the sidecars started before it; and the overhead of its sandbox.
pub fn requests(pod: &Pod) -> Resources {
    let mut needed = sum(pod, |container| Resources::of(&container.resources.requests));
    for (name, quantity) in &pod.spec.resources.requests {
        // Requests of the whole pod stand in for those of its containers.
        needed.set(name, quantity);
    }
    needed.add(&Resources::of(&pod.spec.overhead));
    needed
}

/// The same with a default for what asks for nothing, so that such pods spread, too: thousandths of a core and bytes.
pub fn scored_requests(pod: &Pod) -> (i64, i64) {
    let needed = sum(pod, |container| {
        let mut needed = Resources::of(&container.resources.requests);
        if needed.milli_cpu == 0 {
            needed.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if needed.memory == 0 {
            needed.memory = DEFAULT_MEMORY;
        }
        needed
    });
    (needed.milli_cpu, needed.memory)
}

fn sum(pod: &Pod, of: impl Fn(&Container) -> Resources) -> Resources {
    let mut running = Resources::default();
    pod.spec.containers.iter().for_each(|container| running.add(&of(container)));
    let mut sidecars = Resources::default();
    let mut starting = Resources::default();
    for container in &pod.spec.init_containers {
        let needed = of(container);
        if container.restart_policy == "Always" {
            running.add(&needed);
            sidecars.add(&needed);
            starting.raise_to(&sidecars);
        } else {
            let mut beside = sidecars.clone();
            beside.add(&needed);
            starting.raise_to(&beside);
        }
    }
    running.raise_to(&starting);
    running
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_pod_needs_the_most_that_runs_at_one_time() {
        let cpu = |init: &[(&str, bool)], containers: &[&str]| {
            let mut pod = testing::pod("a");
            pod.spec.containers = containers.iter().map(|cpu| testing::container(cpu, "0")).collect();
            pod.spec.init_containers = init
                .iter()
                .map(|(cpu, sidecar)| {
                    let mut container = testing::container(cpu, "0");
                    container.restart_policy = if *sidecar { "Always".into() } else { String::new() };
                    container
                })
                .collect();
            requests(&pod).milli_cpu
        };
        assert_eq!(cpu(&[], &["100m", "200m"]), 300);
        assert_eq!(cpu(&[("1", false), ("500m", false)], &["300m"]), 1000, "init containers run one by one");
        assert_eq!(cpu(&[("100m", true)], &["300m"]), 400, "a sidecar runs beside");
        assert_eq!(
            cpu(&[("100m", true), ("1", false)], &["300m"]),
            1100,
            "an init container beside a sidecar"
        );
        assert_eq!(cpu(&[("1", false), ("100m", true)], &["300m"]), 1000, "and not beside a later one");
    }

    #[test]
    fn overhead_counts_and_the_pod_s_own_requests_stand_in() {
        let mut pod = testing::pod("a");
        pod.spec.containers = vec![testing::container("100m", "1Mi")];
        pod.spec.overhead.insert("cpu".into(), "10m".parse().unwrap());
        assert_eq!(requests(&pod).milli_cpu, 110);
        pod.spec.resources.requests.insert("cpu".into(), "2".parse().unwrap());
        assert_eq!(requests(&pod).milli_cpu, 2010);
    }

    #[test]
    fn what_asks_for_nothing_still_counts_when_nodes_are_compared() {
        let mut pod = testing::pod("a");
        pod.spec.containers = vec![Container::default()];
        assert_eq!(requests(&pod), Resources::default());
        assert_eq!(scored_requests(&pod), (100, 200 * 1024 * 1024));
    }
}
