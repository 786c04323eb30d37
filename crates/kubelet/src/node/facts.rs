//! What a node is: read once from the machine.

use std::path::Path;

use api::quantity::Quantity;
use serde_json::{Value, json};

use crate::pod::ResourceList;

/// How many pods a node takes; a /24 has room for twice as many, so that addresses can rest.
const MAX_PODS: i64 = 110;

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
}

impl Facts {
    /// Reads them. `root` is where pods write to.
    pub fn read(ips: Vec<String>, hostname: &str, port: u16, root: &Path) -> Self {
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
        }
    }

    /// What pods may use: all of it, so far.
    pub fn allocatable(&self) -> ResourceList {
        [
            ("cpu", Quantity::from_milli(self.milli_cpu)),
            ("memory", Quantity::bytes(self.memory)),
            ("ephemeral-storage", Quantity::bytes(self.storage)),
            ("pods", Quantity::new(MAX_PODS)),
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
        let amounts = serde_json::to_value(self.allocatable()).expect("amounts are texts");
        let mut addresses: Vec<Value> =
            self.ips.iter().map(|ip| json!({"type": "InternalIP", "address": ip})).collect();
        addresses.push(json!({"type": "Hostname", "address": self.hostname}));
        json!({
            "capacity": amounts, "allocatable": amounts, "addresses": addresses,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
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

    #[test]
    fn a_machine_has_cores_memory_and_a_disk() {
        let facts = Facts::read(vec!["192.0.2.1".into()], "n", 10250, Path::new("/"));
        assert!(facts.milli_cpu >= 1000 && facts.memory > 0 && facts.storage > 0);
        let status = facts.status("docker://20.10");
        assert_eq!(status["addresses"][0]["address"], "192.0.2.1");
        assert_eq!(status["capacity"]["pods"], "110");
        assert_ne!(status["nodeInfo"]["kernelVersion"], "");
    }
}
