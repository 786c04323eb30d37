//! What a node is: read once from the machine.

use std::path::Path;

use api::quantity::Quantity;
use serde_json::{Value, json};

use crate::container::resources::cpu_shares;
use crate::pod::ResourceList;
use crate::pressure::threshold::{EvictionConfig, Signal};
use crate::runtime::Resources;

/// What of the node is not for pods.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// For the system and for us.
    pub reserved: ResourceList,
    /// How many pods it takes; a /24 has room for twice as many as Kubernetes' 110, so that addresses can rest.
    pub max_pods: i64,
    /// How many for each core; 0 for any number.
    pub pods_per_core: i64,
    /// What hard thresholds keep back.
    pub eviction: EvictionConfig,
}

/// What a node is.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its addresses.
    pub ips: Vec<String>,
    /// Its host name.
    pub hostname: String,
    /// The port of the kubelet.
    pub port: u16,
    /// Cores, in thousandths.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of the file system that pods write to.
    pub storage: i64,
    machine_id: String,
    boot_id: String,
    kernel: String,
    os_image: String,
    limits: Limits,
}

impl Facts {
    /// Reads them. `root` is where pods write to.
    pub fn read(ips: Vec<String>, hostname: &str, port: u16, root: &Path, limits: Limits) -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let memory = text("/proc/meminfo");
        let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib: i64 = memory.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let storage = nix::sys::statvfs::statvfs(root).map_or(0, |fs| fs.blocks() * fs.fragment_size());
        let release = text("/etc/os-release");
        let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
        Self {
            ips,
            hostname: hostname.to_owned(),
            port,
            milli_cpu: i64::try_from(cores).unwrap_or(1) * 1000,
            memory: kib * 1024,
            storage: i64::try_from(storage).unwrap_or(i64::MAX),
            machine_id: text("/etc/machine-id").trim().to_owned(),
            boot_id: text("/proc/sys/kernel/random/boot_id").trim().to_owned(),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            os_image: name.trim_matches('"').to_owned(),
            limits,
        }
    }

    /// What pods may use: what there is, without what is reserved and what hard thresholds keep back.
    pub fn allocatable(&self) -> ResourceList {
        let mut list = self.capacity();
        for (name, amount) in &mut list {
            let capacity = amount.value();
            let kept_back = match name.as_str() {
                "memory" => self.limits.eviction.kept_back(Signal::Memory, capacity),
                "ephemeral-storage" => self.limits.eviction.kept_back(Signal::NodeFs, capacity),
                _ => 0,
            };
            let reserved = self.limits.reserved.get(name).copied().unwrap_or_else(|| Quantity::new(0));
            let taken = reserved.checked_add(&Quantity::new(kept_back)).unwrap_or(reserved);
            let left = amount.checked_sub(&taken).filter(|left| !left.sign().is_lt());
            *amount = left.unwrap_or_else(|| Quantity::new(0));
        }
        list
    }

    /// What pods may use together before the kernel steps in: what is not reserved. What hard thresholds keep back is
    /// looked after by eviction.
    pub fn for_pods(&self) -> Resources {
        let reserved =
            |name: &str| self.limits.reserved.get(name).copied().unwrap_or_else(|| Quantity::new(0));
        let milli = self.milli_cpu.saturating_sub(reserved("cpu").milli_value()).max(0);
        let memory = self.memory.saturating_sub(reserved("memory").value());
        Resources {
            cpu_shares: Some(cpu_shares(milli)),
            cpu_quota: None,
            memory: Some(memory).filter(|bytes| *bytes > 0),
        }
    }

    /// What there is.
    pub fn capacity(&self) -> ResourceList {
        let per_core = self.limits.pods_per_core * self.milli_cpu / 1000;
        let pods = if per_core > 0 { self.limits.max_pods.min(per_core) } else { self.limits.max_pods };
        [
            ("cpu", Quantity::from_milli(self.milli_cpu)),
            ("memory", Quantity::bytes(self.memory)),
            ("ephemeral-storage", Quantity::bytes(self.storage)),
            ("pods", Quantity::new(pods)),
        ]
        .map(|(name, amount)| (name.to_owned(), amount))
        .into()
    }

    /// The labels that every node has.
    pub fn labels(&self, name: &str) -> Value {
        let architecture = architecture();
        json!({
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux", "kubernetes.io/arch": architecture,
            "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": architecture,
        })
    }

    /// The status, but for its conditions. `runtime` is as `docker://20.10.24`.
    pub fn status(&self, runtime: &str) -> Value {
        let text = |amounts: ResourceList| serde_json::to_value(amounts).expect("amounts are texts");
        let mut addresses: Vec<Value> =
            self.ips.iter().map(|ip| json!({"type": "InternalIP", "address": ip})).collect();
        addresses.push(json!({"type": "Hostname", "address": self.hostname}));
        json!({
            "capacity": text(self.capacity()), "allocatable": text(self.allocatable()), "addresses": addresses,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "features": {"supplementalGroupsPolicy": false},
            "nodeInfo": {
                "machineID": self.machine_id, "systemUUID": self.machine_id, "bootID": self.boot_id,
                "kernelVersion": self.kernel, "osImage": self.os_image, "containerRuntimeVersion": runtime,
                "kubeletVersion": "v1.36.0", "kubeProxyVersion": "v1.36.0",
                "operatingSystem": "linux", "architecture": architecture(),
            },
        })
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pressure::threshold::{Amount, Threshold};

    fn limits() -> Limits {
        let threshold = |signal, least| Threshold { signal, least, grace: None, reclaim: None };
        let thresholds = vec![
            threshold(Signal::Memory, Amount::Value(100 << 20)),
            threshold(Signal::NodeFs, Amount::Part(0.1)),
        ];
        Limits {
            reserved: [("cpu".to_owned(), Quantity::from_milli(250))].into(),
            max_pods: 110,
            pods_per_core: 0,
            eviction: EvictionConfig { thresholds, ..EvictionConfig::default() },
        }
    }

    #[test]
    fn pods_may_use_what_is_not_kept_back() {
        let mut facts = Facts::read(Vec::new(), "n", 0, Path::new("/"), limits());
        (facts.milli_cpu, facts.memory, facts.storage) = (2000, 1 << 30, 1000);
        let allocatable = facts.allocatable();
        assert_eq!(allocatable["cpu"].milli_value(), 1750);
        assert_eq!(allocatable["memory"].value(), (1 << 30) - (100 << 20));
        assert_eq!(allocatable["ephemeral-storage"].value(), 900);
        assert_eq!(allocatable["pods"].value(), 110);
        let together = facts.for_pods();
        assert_eq!((together.cpu_shares, together.memory), (Some(1792), Some(1 << 30)));
        facts.limits.pods_per_core = 10;
        assert_eq!(facts.allocatable()["pods"].value(), 20);
        facts.memory = 1 << 20;
        assert_eq!(facts.allocatable()["memory"].value(), 0, "never less than nothing");
        assert_eq!(facts.capacity()["memory"].value(), 1 << 20);
    }

    #[test]
    fn a_machine_has_cores_memory_and_a_disk() {
        let facts = Facts::read(vec!["192.0.2.1".into()], "n", 10250, Path::new("/"), limits());
        assert!(facts.milli_cpu >= 1000 && facts.memory > 0 && facts.storage > 0);
        let status = facts.status("docker://20.10");
        assert_eq!(status["addresses"][0]["address"], "192.0.2.1");
        assert_eq!(status["capacity"]["pods"], "110");
        assert_ne!(status["nodeInfo"]["kernelVersion"], "");
    }
}
