//! The configuration file: a `KubeletConfiguration`, as far as its fields mean something here, and our `registry`.
//!
//! Defaults are those of Kubernetes. What the fields come to is checked when the kubelet starts: [`File::settings`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use api::quantity::Quantity;
use serde::Deserialize;

use crate::node::facts::Limits;
use crate::pod::ResourceList;
use crate::pressure::images::CollectorConfig;
use crate::pressure::threshold::{EvictionConfig, parse_thresholds};
use crate::runtime::image::RegistryConfig;

/// The port that the apiserver asks a kubelet on.
const PORT: u16 = 10250;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct File {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) cluster_domain: String,
    #[serde(rename = "clusterDNS")]
    pub(super) cluster_dns: Vec<String>,
    pub(super) registry: RegistryConfig,
    max_pods: i64,
    pods_per_core: i64,
    system_reserved: ResourceList,
    kube_reserved: ResourceList,
    eviction_hard: BTreeMap<String, String>,
    eviction_soft: BTreeMap<String, String>,
    eviction_soft_grace_period: BTreeMap<String, String>,
    eviction_minimum_reclaim: BTreeMap<String, String>,
    eviction_pressure_transition_period: String,
    eviction_max_pod_grace_period: i64,
    #[serde(rename = "imageGCHighThresholdPercent")]
    image_gc_high_threshold_percent: u8,
    #[serde(rename = "imageGCLowThresholdPercent")]
    image_gc_low_threshold_percent: u8,
    #[serde(rename = "imageMinimumGCAge")]
    image_minimum_gc_age: String,
    #[serde(rename = "imageMaximumGCAge")]
    image_maximum_gc_age: String,
    container_log_max_size: Quantity,
    container_log_max_files: u32,
    serialize_image_pulls: bool,
    max_parallel_image_pulls: Option<usize>,
    allowed_unsafe_sysctls: Vec<String>,
    static_pod_path: PathBuf,
    file_check_frequency: String,
    #[serde(rename = "cgroupsPerQOS")]
    cgroups_per_qos: bool,
    cgroup_root: String,
    enforce_node_allocatable: Vec<String>,
    pod_pids_limit: i64,
}

impl Default for File {
    fn default() -> Self {
        let hard = [
            ("memory.available", "100Mi"),
            ("nodefs.available", "10%"),
            ("nodefs.inodesFree", "5%"),
            ("imagefs.available", "15%"),
            ("imagefs.inodesFree", "5%"),
        ];
        Self {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: PORT,
            cluster_domain: "cluster.local".to_owned(),
            cluster_dns: Vec::new(),
            registry: RegistryConfig::default(),
            max_pods: 110,
            pods_per_core: 0,
            system_reserved: ResourceList::new(),
            kube_reserved: ResourceList::new(),
            eviction_hard: hard.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            eviction_soft: BTreeMap::new(),
            eviction_soft_grace_period: BTreeMap::new(),
            eviction_minimum_reclaim: BTreeMap::new(),
            eviction_pressure_transition_period: "5m".to_owned(),
            eviction_max_pod_grace_period: 0,
            image_gc_high_threshold_percent: 85,
            image_gc_low_threshold_percent: 80,
            image_minimum_gc_age: "2m".to_owned(),
            image_maximum_gc_age: "0s".to_owned(),
            container_log_max_size: Quantity::bytes(10 << 20),
            container_log_max_files: 5,
            serialize_image_pulls: true,
            max_parallel_image_pulls: None,
            allowed_unsafe_sysctls: Vec::new(),
            static_pod_path: PathBuf::new(),
            file_check_frequency: "20s".to_owned(),
            cgroups_per_qos: true,
            cgroup_root: "/".to_owned(),
            enforce_node_allocatable: vec!["pods".to_owned()],
            pod_pids_limit: -1,
        }
    }
}

/// How much of a container's log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes of one file.
    pub max_size: i64,
    /// Files.
    pub max_files: u32,
}

/// How the control groups of pods are arranged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// The group that all of them are below; `None` leaves containers where the engine puts them.
    pub root: Option<String>,
    /// Whether pods together are kept to what is not reserved.
    pub enforce_allocatable: bool,
    /// The most processes of a pod.
    pub pod_pids: Option<i64>,
}

/// What the file says of how the node is run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) eviction: EvictionConfig,
    pub(crate) images: CollectorConfig,
    pub(crate) logs: LogLimits,
    pub(crate) groups: GroupSettings,
    /// How many images are pulled at a time; `None` for as many as are wanted.
    pub(crate) parallel_pulls: Option<usize>,
    pub(crate) allowed_unsafe_sysctls: Vec<String>,
    /// The folder of static pods, and how often it is looked at.
    pub(crate) static_pods: Option<(PathBuf, Duration)>,
}

impl File {
    fn groups(&self) -> Result<GroupSettings, String> {
        let mut enforce_allocatable = false;
        for what in &self.enforce_node_allocatable {
            match what.as_str() {
                "none" => {}
                "pods" => enforce_allocatable = true,
                // The groups of the system and of ourselves are not ours to limit.
                other => return Err(format!("enforceNodeAllocatable: \"{other}\" is not served")),
            }
        }
        Ok(GroupSettings {
            root: self.cgroups_per_qos.then(|| self.cgroup_root.clone()),
            enforce_allocatable,
            pod_pids: Some(self.pod_pids_limit).filter(|limit| *limit > 0),
        })
    }

    /// What the fields come to; the error says which is wrong.
    pub(super) fn settings(&self) -> Result<Settings, String> {
        let duration = |field: &str, text: &str| {
            parse_duration(text).ok_or_else(|| format!("{field}: invalid duration \"{text}\""))
        };
        if self.image_gc_low_threshold_percent > self.image_gc_high_threshold_percent
            || self.image_gc_high_threshold_percent > 100
        {
            return Err("imageGCHighThresholdPercent must be at most 100 and at least the low one".to_owned());
        }
        let mut grace = BTreeMap::new();
        for (signal, text) in &self.eviction_soft_grace_period {
            grace.insert(signal.as_str(), duration("evictionSoftGracePeriod", text)?);
        }
        let mut thresholds = parse_thresholds(&self.eviction_hard, &self.eviction_minimum_reclaim, |_| None)?;
        for signal in self.eviction_soft.keys() {
            if !grace.contains_key(signal.as_str()) {
                return Err(format!(
                    "grace period must be specified for the soft eviction threshold {signal}"
                ));
            }
        }
        thresholds.extend(parse_thresholds(&self.eviction_soft, &self.eviction_minimum_reclaim, |signal| {
            grace.get(signal).copied()
        })?);
        let eviction = EvictionConfig {
            thresholds,
            transition: duration(
                "evictionPressureTransitionPeriod",
                &self.eviction_pressure_transition_period,
            )?,
            max_pod_grace: Duration::from_secs(
                u64::try_from(self.eviction_max_pod_grace_period).unwrap_or(0),
            ),
        };
        let mut reserved = self.system_reserved.clone();
        for (name, amount) in &self.kube_reserved {
            let sum = reserved.get(name).map_or(Some(*amount), |known| known.checked_add(amount));
            reserved.insert(name.clone(), sum.ok_or_else(|| format!("kubeReserved: {name} is too much"))?);
        }
        let max_age = duration("imageMaximumGCAge", &self.image_maximum_gc_age)?;
        Ok(Settings {
            limits: Limits {
                reserved,
                max_pods: self.max_pods,
                pods_per_core: self.pods_per_core,
                eviction: eviction.clone(),
            },
            eviction,
            images: CollectorConfig {
                high: self.image_gc_high_threshold_percent,
                low: self.image_gc_low_threshold_percent,
                min_age: duration("imageMinimumGCAge", &self.image_minimum_gc_age)?,
                max_age: (!max_age.is_zero()).then_some(max_age),
            },
            logs: LogLimits {
                max_size: self.container_log_max_size.value().max(1),
                max_files: self.container_log_max_files.max(2),
            },
            groups: self.groups()?,
            parallel_pulls: match (self.serialize_image_pulls, self.max_parallel_image_pulls) {
                (true, Some(count)) if count > 1 => {
                    return Err("maxParallelImagePulls must be 1 with serializeImagePulls".to_owned());
                }
                (true, _) => Some(1),
                (false, count) => count.filter(|count| *count > 0),
            },
            allowed_unsafe_sysctls: self.allowed_unsafe_sysctls.clone(),
            static_pods: if self.static_pod_path.as_os_str().is_empty() {
                None
            } else {
                Some((
                    self.static_pod_path.clone(),
                    duration("fileCheckFrequency", &self.file_check_frequency)?,
                ))
            },
        })
    }
}

/// A duration as Go prints it: `1h30m`, `90s`, `250ms`, `0`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        sum += number
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(sum).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, seconds) in
            [("5m0s", 300.0), ("1h30m", 5400.0), ("250ms", 0.25), ("0", 0.0), ("1.5s", 1.5)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "5", "m", "5x", "-5s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn fields_that_make_no_sense_are_named() {
        let check = |text: &str, complaint: &str| {
            let file: File = serde_saphyr::from_str(text).expect("a file");
            assert_eq!(file.settings().expect_err(text), complaint);
        };
        check(
            "evictionSoft: {memory.available: 1Gi}",
            "grace period must be specified for the soft eviction threshold memory.available",
        );
        check(
            "evictionHard: {memory.available: much}",
            "eviction threshold memory.available: \"much\" is no amount",
        );
        check("evictionHard: {moon.available: 1Gi}", "unknown eviction signal \"moon.available\"");
        check(
            "enforceNodeAllocatable: [kube-reserved]",
            "enforceNodeAllocatable: \"kube-reserved\" is not served",
        );
        check("imageMinimumGCAge: soon", "imageMinimumGCAge: invalid duration \"soon\"");
    }

    #[test]
    fn what_is_reserved_adds_up() {
        let text = "{systemReserved: {cpu: 200m, memory: 1Gi}, kubeReserved: {cpu: '1'}, serializeImagePulls: false}";
        let file: File = serde_saphyr::from_str(text).expect("a file");
        let settings = file.settings().expect("it makes sense");
        assert_eq!(settings.limits.reserved["cpu"].milli_value(), 1200);
        assert_eq!(settings.limits.reserved["memory"].value(), 1 << 30);
        assert_eq!(settings.parallel_pulls, None);
        assert_eq!(settings.eviction.thresholds.len(), 5);
    }
}
