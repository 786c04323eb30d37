//! What the node and its pods use now: measured when somebody asks, from the files of the kernel.
//!
//! ```text
//! Runtime::usage, machine ─> Collector ─> StatsResponse ─┬─ server (gRPC, for the apiserver's metrics API)
//!                                                        ├─ summary     /stats/summary
//!                                                        └─ exposition  /metrics/cadvisor, /metrics/resource
//! ```
//! The message of the contract is the model: nothing here knows more than it says. Rates need two measurements; the
//! one before serves where it is neither too young nor too old, and else a second one is taken a moment later. Nothing
//! is measured while nobody asks.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use component::{Metrics, SharedClock};
use jiff::Timestamp;
use rpc::v1::{
    ContainerStats, CpuStats, InterfaceStats, MemoryStats, NodeStats, PodStats, StatsResponse, VolumeStats,
};

use tracing::debug;

use crate::pods::Pods;
use crate::runtime::{ContainerUsage, InterfaceUsage, Runtime, RuntimeError};

mod exposition;
mod machine;
mod summary;
#[cfg(test)]
mod tests;

pub use exposition::{cadvisor, resource};
pub use machine::{Machine, RealMachine};
pub use summary::summary;

/// The shortest time between two measurements that a rate is made of.
const LEAST_WINDOW: Duration = Duration::from_secs(1);

/// An older measurement says too little of the present.
const MOST_WINDOW: Duration = Duration::from_secs(90);

/// For how long an answer serves others who ask.
const FRESH: Duration = Duration::from_millis(500);

/// For how long what is known of the disk serves: finding it takes the engine a while.
const DISK_FRESH: Duration = Duration::from_secs(60);

/// Measures.
pub struct Collector {
    /// The node's name.
    pub node: String,
    /// The containers.
    pub runtime: Arc<dyn Runtime>,
    /// The pods of this node.
    pub pods: Pods,
    /// The node itself.
    pub machine: Arc<dyn Machine>,
    /// The time.
    pub clock: SharedClock,
    /// The kubelet's root.
    pub root: PathBuf,
    /// What was measured before.
    pub history: tokio::sync::Mutex<History>,
}

/// What was measured before.
#[derive(Default)]
pub struct History {
    /// Nanoseconds of cpu by container; those of the node by the empty name.
    sample: Option<(Timestamp, HashMap<String, u64>)>,
    last: Option<Arc<StatsResponse>>,
    /// What containers and volumes take of the disk.
    disk: Option<(Timestamp, Arc<Disk>)>,
    /// Where images are, once the runtime has said it.
    images: Option<PathBuf>,
}

/// What containers wrote, by id, and what volumes take, by uid of the pod.
#[derive(Default)]
struct Disk {
    written: HashMap<String, u64>,
    volumes: HashMap<String, Vec<(String, i64)>>,
}

impl Collector {
    /// What is used now; what of the disk only where that is asked for.
    pub async fn collect(&self, disk: bool) -> Result<Arc<StatsResponse>, RuntimeError> {
        let mut history = self.history.lock().await;
        let age = |at: Timestamp| Duration::try_from(self.clock.now().duration_since(at)).unwrap_or_default();
        if let Some(((at, _), last)) = history.sample.as_ref().zip(history.last.as_ref())
            && age(*at) < FRESH
            && !disk
        {
            return Ok(Arc::clone(last));
        }
        if disk && history.disk.as_ref().is_none_or(|(at, _)| age(*at) >= DISK_FRESH) {
            history.disk = Some((self.clock.now(), Arc::new(self.disk().await?)));
        }
        if history.images.is_none() {
            history.images = self.runtime.image_folder().await?;
        }
        let images = history.images.clone();
        if history.sample.as_ref().is_none_or(|(at, _)| age(*at) > MOST_WINDOW) {
            history.sample = Some(self.measure(images.clone()).await?.cpu());
        }
        let since = history.sample.as_ref().map_or(Duration::ZERO, |(at, _)| age(*at));
        // Not a poll: the second end of the window.
        tokio::time::sleep(LEAST_WINDOW.saturating_sub(since)).await;
        let measured = self.measure(images).await?;
        let of_disk = history.disk.as_ref().filter(|_| disk).map(|(_, disk)| Arc::clone(disk));
        let answer = Arc::new(self.tell(&measured, history.sample.as_ref(), of_disk.as_deref()));
        history.sample = Some(measured.cpu());
        history.last = Some(Arc::clone(&answer));
        Ok(answer)
    }

    async fn measure(&self, images: Option<PathBuf>) -> Result<Measured, RuntimeError> {
        let machine = Arc::clone(&self.machine);
        let node = tokio::task::spawn_blocking(move || machine.read(images.as_deref())).await;
        let node = node.map_err(|error| RuntimeError::Failed(error.to_string()))?;
        let containers = self.runtime.usage(false).await?;
        Ok(Measured { at: self.clock.now(), node, containers })
    }

    async fn disk(&self) -> Result<Disk, RuntimeError> {
        let usage = self.runtime.usage(true).await?;
        let written = usage.iter().map(|own| (own.id.clone(), own.disk.unwrap_or(0).saturating_sub(own.log)));
        let mut disk = Disk { written: written.collect(), ..Disk::default() };
        for pod in self.pods.list() {
            let folder = crate::volumes::PodFolder::new(&self.root, &pod.metadata.uid).empty_dirs();
            let sizes =
                tokio::task::spawn_blocking(move || crate::pressure::folder_sizes(&folder, &[])).await;
            disk.volumes.insert(pod.metadata.uid.clone(), sizes.unwrap_or_default());
        }
        Ok(disk)
    }

    fn tell(
        &self,
        measured: &Measured,
        before: Option<&(Timestamp, HashMap<String, u64>)>,
        disk: Option<&Disk>,
    ) -> StatsResponse {
        let at = measured.at;
        let mut node = NodeStats { name: self.node.clone(), ..measured.node.clone() };
        if let Some(cpu) = &mut node.cpu {
            cpu.time = nanos(at);
            set_rate(cpu, before.map(|(then, all)| (*then, all.get("").copied())), at, None);
        }
        if let Some(memory) = &mut node.memory {
            memory.time = nanos(at);
        }
        let mut pods: Vec<PodStats> = Vec::new();
        for usage in &measured.containers {
            // Of a pod that is gone something may still be ending.
            let Some(pod) = self.pods.by_uid(&usage.pod_uid) else { continue };
            let mut container = container(usage, at);
            if let Some(cpu) = &mut container.cpu {
                let known = before.map(|(then, all)| (*then, all.get(&usage.id).copied()));
                set_rate(cpu, known, at, usage.started_at);
            }
            container.root_bytes = disk.map(|disk| disk.written.get(&usage.id).copied().unwrap_or(0));
            match pods.iter_mut().find(|known| known.uid == usage.pod_uid) {
                Some(known) => known.containers.push(container),
                None => pods.push(PodStats {
                    namespace: pod.metadata.namespace.clone(),
                    name: pod.metadata.name.clone(),
                    uid: usage.pod_uid.clone(),
                    started: pod.status.start_time.map_or(0, |time| nanos(time.0)),
                    containers: vec![container],
                    interfaces: usage.interfaces.iter().map(interface).collect(),
                    volumes: disk.map(|disk| volumes(disk, &usage.pod_uid)).unwrap_or_default(),
                }),
            }
        }
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        for pod in &mut pods {
            pod.containers.sort_by(|a, b| a.name.cmp(&b.name));
        }
        StatsResponse { node: Some(node), pods }
    }
}

/// Serves what is used at the kubelet's metrics address, in the forms that programs know.
pub fn serve(collector: &Arc<Collector>, metrics: &Metrics) {
    let page = |path, disk, media, write: fn(&StatsResponse) -> String| {
        let collector = Arc::clone(collector);
        metrics.serve_page(path, move || {
            let collector = Arc::clone(&collector);
            Box::pin(async move {
                match collector.collect(disk).await {
                    Ok(stats) => (media, write(&stats)),
                    Err(error) => {
                        debug!(%error, path, "nothing can be measured");
                        (media, write(&StatsResponse::default()))
                    }
                }
            })
        });
    };
    page("/metrics/cadvisor", true, exposition::CONTENT_TYPE, cadvisor);
    page("/metrics/resource", false, exposition::CONTENT_TYPE, resource);
    page("/stats/summary", true, "application/json", |stats| summary(stats).to_string());
}

/// One measurement.
struct Measured {
    at: Timestamp,
    node: NodeStats,
    containers: Vec<ContainerUsage>,
}

impl Measured {
    fn cpu(&self) -> (Timestamp, HashMap<String, u64>) {
        let mut all: HashMap<String, u64> =
            self.containers.iter().map(|own| (own.id.clone(), own.cgroup.cpu_nanos)).collect();
        all.insert(String::new(), self.node.cpu.as_ref().map_or(0, |cpu| cpu.total_nanos));
        (self.at, all)
    }
}

/// Writes down the rate since the measurement before; of what is younger than that, the rate of all its life.
fn set_rate(
    cpu: &mut CpuStats,
    before: Option<(Timestamp, Option<u64>)>,
    at: Timestamp,
    started: Option<Timestamp>,
) {
    let (then, used) = match (before, started) {
        (Some((then, Some(total))), _) => (then, total),
        (_, Some(started)) => (started, 0),
        (_, None) => return,
    };
    let window = nanos(at).saturating_sub(nanos(then));
    let Some(divisor) = u128::try_from(window).ok().filter(|window| *window > 0) else { return };
    let spent = u128::from(cpu.total_nanos.saturating_sub(used));
    cpu.nano_cores = Some(u64::try_from(spent * 1_000_000_000 / divisor).unwrap_or(u64::MAX));
    cpu.window = window;
}

fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn container(usage: &ContainerUsage, at: Timestamp) -> ContainerStats {
    let (group, time) = (&usage.cgroup, nanos(at));
    ContainerStats {
        name: usage.name.clone(),
        id: usage.id.clone(),
        image: usage.image.clone(),
        started: usage.started_at.map_or(0, nanos),
        cpu: Some(CpuStats {
            time,
            total_nanos: group.cpu_nanos,
            user_nanos: group.user_nanos,
            system_nanos: group.system_nanos,
            nano_cores: None,
            window: 0,
            periods: group.periods,
            throttled_periods: group.throttled_periods,
            throttled_nanos: group.throttled_nanos,
            shares: usage.resources.cpu_shares.and_then(|shares| shares.try_into().ok()).unwrap_or(0),
            quota: usage.resources.cpu_quota.unwrap_or(0),
        }),
        memory: Some(MemoryStats {
            time,
            usage: group.memory_total,
            working_set: group.memory,
            rss: group.rss,
            cache: group.cache,
            mapped_files: group.mapped_files,
            swap: group.swap,
            page_faults: group.page_faults,
            major_page_faults: group.major_page_faults,
            max_usage: group.memory_max,
            limit: group.memory_limit,
            limit_hits: group.limit_hits,
            oom_kills: group.oom_kills,
        }),
        processes: group.processes,
        root_bytes: None,
        log_bytes: usage.log,
    }
}

fn interface(usage: &InterfaceUsage) -> InterfaceStats {
    let ([received_bytes, received_packets, received_errors, received_dropped], sent) =
        (usage.received, usage.sent);
    let [sent_bytes, sent_packets, sent_errors, sent_dropped] = sent;
    InterfaceStats {
        name: usage.name.clone(),
        received_bytes,
        received_packets,
        received_errors,
        received_dropped,
        sent_bytes,
        sent_packets,
        sent_errors,
        sent_dropped,
    }
}

fn volumes(disk: &Disk, uid: &str) -> Vec<VolumeStats> {
    let known = disk.volumes.get(uid).map(Vec::as_slice).unwrap_or_default();
    let volume = |(name, bytes): &(String, i64)| VolumeStats {
        name: name.clone(),
        used_bytes: u64::try_from(*bytes).unwrap_or(0),
    };
    known.iter().map(volume).collect()
}
