//! `/stats/summary`: what is used as one JSON document, in the words of Kubernetes' Summary API.

use jiff::Timestamp;
use rpc::v1::{
    ContainerStats, CpuStats, FsStats, InterfaceStats, MemoryStats, PodStats, StatsResponse, VolumeStats,
};
use serde_json::{Value, json};

/// The document. Pure.
pub fn summary(stats: &StatsResponse) -> Value {
    let node = stats.node.clone().unwrap_or_default();
    let now = node.cpu.as_ref().map_or(0, |cpu| cpu.time);
    let file_system = |fs: &Option<FsStats>| fs.as_ref().map(|fs| of_file_system(fs, None, now));
    json!({
        "node": {
            "nodeName": node.name,
            "startTime": time(node.started),
            "cpu": node.cpu.as_ref().map(cpu),
            "memory": node.memory.as_ref().map(memory),
            "network": network(&node.interfaces, now),
            "fs": file_system(&node.fs),
            "runtime": {"imageFs": file_system(&node.image_fs)},
            "rlimit": {"time": time(now), "maxpid": node.max_processes, "curproc": node.processes},
        },
        "pods": stats.pods.iter().map(|own| pod(own, node.fs.as_ref(), now)).collect::<Value>(),
    })
}

fn pod(pod: &PodStats, disk: Option<&FsStats>, now: i64) -> Value {
    let sum = |of: fn(&ContainerStats) -> u64| pod.containers.iter().map(of).sum::<u64>();
    let cpu_of = |of: fn(&CpuStats) -> u64| {
        pod.containers.iter().filter_map(|own| own.cpu.as_ref()).map(of).sum::<u64>()
    };
    let memory_of = |of: fn(&MemoryStats) -> u64| {
        pod.containers.iter().filter_map(|own| own.memory.as_ref()).map(of).sum::<u64>()
    };
    let used = pod.containers.iter().all(|own| own.root_bytes.is_some()).then(|| {
        let volumes: u64 = pod.volumes.iter().map(|own| own.used_bytes).sum();
        sum(|own| own.root_bytes.unwrap_or(0) + own.log_bytes) + volumes
    });
    let default = FsStats::default();
    let disk = disk.unwrap_or(&default);
    let volume = |volume: &VolumeStats| {
        let mut value = of_file_system(disk, Some(volume.used_bytes), now);
        value["name"] = volume.name.as_str().into();
        value
    };
    json!({
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": time(pod.started),
        "containers": pod.containers.iter().map(|own| container(own, disk, now)).collect::<Value>(),
        "cpu": {
            "time": time(now),
            "usageNanoCores": cpu_of(|cpu| cpu.nano_cores.unwrap_or(0)),
            "usageCoreNanoSeconds": cpu_of(|cpu| cpu.total_nanos),
        },
        "memory": {
            "time": time(now),
            "usageBytes": memory_of(|memory| memory.usage),
            "workingSetBytes": memory_of(|memory| memory.working_set),
            "rssBytes": memory_of(|memory| memory.rss),
            "pageFaults": memory_of(|memory| memory.page_faults),
            "majorPageFaults": memory_of(|memory| memory.major_page_faults),
        },
        "network": network(&pod.interfaces, now),
        "volume": pod.volumes.iter().map(volume).collect::<Value>(),
        "ephemeral-storage": used.map(|used| of_file_system(disk, Some(used), now)),
        "process_stats": {"process_count": sum(|own| own.processes)},
    })
}

fn container(own: &ContainerStats, disk: &FsStats, now: i64) -> Value {
    json!({
        "name": own.name,
        "startTime": time(own.started),
        "cpu": own.cpu.as_ref().map(cpu),
        "memory": own.memory.as_ref().map(memory),
        "rootfs": own.root_bytes.map(|bytes| of_file_system(disk, Some(bytes), now)),
        "logs": of_file_system(disk, Some(own.log_bytes), now),
    })
}

fn cpu(cpu: &CpuStats) -> Value {
    json!({
        "time": time(cpu.time),
        "usageNanoCores": cpu.nano_cores,
        "usageCoreNanoSeconds": cpu.total_nanos,
    })
}

fn memory(memory: &MemoryStats) -> Value {
    let mut value = json!({
        "time": time(memory.time),
        "usageBytes": memory.usage,
        "workingSetBytes": memory.working_set,
        "rssBytes": memory.rss,
        "pageFaults": memory.page_faults,
        "majorPageFaults": memory.major_page_faults,
    });
    if memory.limit > 0 {
        value["availableBytes"] = memory.limit.saturating_sub(memory.working_set).into();
    }
    value
}

/// The first interface stands for the pod; in a pod that is the only one.
fn network(interfaces: &[InterfaceStats], now: i64) -> Value {
    let fields = |own: &InterfaceStats| {
        json!({
            "name": own.name,
            "rxBytes": own.received_bytes, "rxErrors": own.received_errors,
            "txBytes": own.sent_bytes, "txErrors": own.sent_errors,
        })
    };
    let Some(first) = interfaces.first() else { return Value::Null };
    let mut value = fields(first);
    value["time"] = time(now);
    value["interfaces"] = interfaces.iter().map(fields).collect();
    value
}

/// What the file system has, and how much of it is used by what this is about; by all where nothing is said.
fn of_file_system(fs: &FsStats, used: Option<u64>, now: i64) -> Value {
    json!({
        "time": time(now),
        "availableBytes": fs.available_bytes,
        "capacityBytes": fs.capacity_bytes,
        "usedBytes": used.unwrap_or_else(|| fs.capacity_bytes.saturating_sub(fs.available_bytes)),
        "inodesFree": fs.inodes_free,
        "inodes": fs.inodes,
    })
}

fn time(nanos: i64) -> Value {
    let at = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
    api::time::Time(at).to_string().into()
}
