//! What is used as text for Prometheus: `/metrics/cadvisor` with the names that cAdvisor gives its metrics, since
//! dashboards and alerts are written for them, and `/metrics/resource`, the few that autoscalers read. Pure.

use std::fmt::Write as _;

use rpc::v1::{ContainerStats, CpuStats, InterfaceStats, MemoryStats, PodStats, StatsResponse};

/// The type of both documents.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Nanoseconds in a second.
const NANOS: f64 = 1e9;

/// A text in the making: samples of one metric stand together, below what it is.
struct Text(String);

impl Text {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64, millis: Option<i64>) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(text));
        }
        self.0.push_str(if labels.is_empty() { " " } else { "} " });
        let _ = write!(self.0, "{value}");
        if let Some(millis) = millis.filter(|millis| *millis > 0) {
            let _ = write!(self.0, " {millis}");
        }
        self.0.push('\n');
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[allow(clippy::cast_precision_loss, reason = "a sample is a float, whatever it counts")]
fn float(value: u64) -> f64 {
    value as f64
}

fn seconds(nanos: u64) -> f64 {
    float(nanos) / NANOS
}

fn when(nanos: i64) -> f64 {
    seconds(u64::try_from(nanos).unwrap_or(0))
}

/// Everything that uses something: the node (without names) and the containers of pods.
struct Thing<'a> {
    pod: Option<&'a PodStats>,
    container: Option<&'a ContainerStats>,
    cpu: &'a CpuStats,
    memory: &'a MemoryStats,
}

impl Thing<'_> {
    fn labels(&self) -> Vec<(&'static str, &str)> {
        let container = self.container;
        vec![
            ("container", container.map_or("", |own| &own.name)),
            ("id", container.map_or("/", |own| &own.id)),
            ("image", container.map_or("", |own| &own.image)),
            ("namespace", self.pod.map_or("", |pod| &pod.namespace)),
            ("pod", self.pod.map_or("", |pod| &pod.name)),
        ]
    }
}

type Measure<T> = (&'static str, &'static str, &'static str, fn(&T) -> f64);

const CPU: &[Measure<CpuStats>] = &[
    ("container_cpu_user_seconds_total", "counter", "Cumulative user cpu time consumed in seconds.", |cpu| {
        seconds(cpu.user_nanos)
    }),
    (
        "container_cpu_system_seconds_total",
        "counter",
        "Cumulative system cpu time consumed in seconds.",
        |cpu| seconds(cpu.system_nanos),
    ),
];

/// Of things that have a quota only.
const QUOTA: &[Measure<CpuStats>] = &[
    ("container_cpu_cfs_periods_total", "counter", "Periods of the cpu quota that have passed.", |cpu| {
        float(cpu.periods)
    }),
    (
        "container_cpu_cfs_throttled_periods_total",
        "counter",
        "Periods of the cpu quota in which it was used up.",
        |cpu| float(cpu.throttled_periods),
    ),
    (
        "container_cpu_cfs_throttled_seconds_total",
        "counter",
        "For how long processes waited because the cpu quota was used up.",
        |cpu| seconds(cpu.throttled_nanos),
    ),
];

const MEMORY: &[Measure<MemoryStats>] = &[
    ("container_memory_usage_bytes", "gauge", "Memory in use, with all files kept in it.", |m| {
        float(m.usage)
    }),
    ("container_memory_working_set_bytes", "gauge", "Memory in use that is not given back easily.", |m| {
        float(m.working_set)
    }),
    ("container_memory_rss", "gauge", "Memory of the processes themselves.", |m| float(m.rss)),
    ("container_memory_cache", "gauge", "Files kept in memory.", |m| float(m.cache)),
    ("container_memory_mapped_file", "gauge", "Files mapped into memory.", |m| float(m.mapped_files)),
    ("container_memory_swap", "gauge", "Memory put out to the disk.", |m| float(m.swap)),
    ("container_memory_max_usage_bytes", "gauge", "The most memory that was in use.", |m| float(m.max_usage)),
    ("container_memory_failcnt", "counter", "How often the memory limit was met.", |m| float(m.limit_hits)),
    ("container_oom_events_total", "counter", "How often the kernel killed a process for its memory.", |m| {
        float(m.oom_kills)
    }),
];

const NETWORK: &[Measure<InterfaceStats>] = &[
    ("container_network_receive_bytes_total", "counter", "Bytes received.", |i| float(i.received_bytes)),
    ("container_network_receive_packets_total", "counter", "Packets received.", |i| {
        float(i.received_packets)
    }),
    ("container_network_receive_errors_total", "counter", "Errors while receiving.", |i| {
        float(i.received_errors)
    }),
    ("container_network_receive_packets_dropped_total", "counter", "Packets dropped while receiving.", |i| {
        float(i.received_dropped)
    }),
    ("container_network_transmit_bytes_total", "counter", "Bytes sent.", |i| float(i.sent_bytes)),
    ("container_network_transmit_packets_total", "counter", "Packets sent.", |i| float(i.sent_packets)),
    ("container_network_transmit_errors_total", "counter", "Errors while sending.", |i| float(i.sent_errors)),
    ("container_network_transmit_packets_dropped_total", "counter", "Packets dropped while sending.", |i| {
        float(i.sent_dropped)
    }),
];

const CONTAINER: &[Measure<ContainerStats>] = &[
    ("container_start_time_seconds", "gauge", "When it was started, in seconds since 1970.", |own| {
        when(own.started)
    }),
    ("container_processes", "gauge", "Processes and threads.", |own| float(own.processes)),
    ("container_spec_cpu_shares", "gauge", "Its weight for cpu.", |own| {
        own.cpu.as_ref().map_or(0.0, |cpu| float(cpu.shares))
    }),
    ("container_spec_memory_limit_bytes", "gauge", "Its memory limit; 0 for none.", |own| {
        own.memory.as_ref().map_or(0.0, |memory| float(memory.limit))
    }),
    ("container_last_seen", "gauge", "When it was seen last, in seconds since 1970.", |own| {
        own.cpu.as_ref().map_or(0.0, |cpu| when(cpu.time).floor())
    }),
];

/// `/metrics/cadvisor`.
pub fn cadvisor(stats: &StatsResponse) -> String {
    let mut text = Text(String::new());
    let things = things(stats);
    let name = "container_cpu_usage_seconds_total";
    text.metric(name, "counter", "Cumulative cpu time consumed in seconds.");
    for thing in &things {
        let mut labels = thing.labels();
        labels.insert(1, ("cpu", "total"));
        text.sample(name, &labels, seconds(thing.cpu.total_nanos), Some(thing.cpu.time / 1_000_000));
    }
    for (name, kind, help, of) in CPU {
        text.metric(name, kind, help);
        for thing in &things {
            text.sample(name, &thing.labels(), of(thing.cpu), Some(thing.cpu.time / 1_000_000));
        }
    }
    for (name, kind, help, of) in QUOTA {
        text.metric(name, kind, help);
        for thing in things.iter().filter(|thing| thing.cpu.quota > 0) {
            text.sample(name, &thing.labels(), of(thing.cpu), Some(thing.cpu.time / 1_000_000));
        }
    }
    for (name, kind, help, of) in MEMORY {
        text.metric(name, kind, help);
        for thing in &things {
            text.sample(name, &thing.labels(), of(thing.memory), Some(thing.memory.time / 1_000_000));
        }
    }
    let name = "container_memory_failures_total";
    text.metric(name, "counter", "Pages that were not at hand.");
    for thing in &things {
        let kinds = [("pgfault", thing.memory.page_faults), ("pgmajfault", thing.memory.major_page_faults)];
        for (kind, count) in kinds {
            let mut labels = thing.labels();
            labels.extend([("failure_type", kind), ("scope", "container")]);
            text.sample(name, &labels, float(count), Some(thing.memory.time / 1_000_000));
        }
    }
    let containers = || things.iter().filter_map(|thing| Some((thing, thing.container?)));
    for (name, kind, help, of) in CONTAINER {
        text.metric(name, kind, help);
        for (thing, container) in containers() {
            text.sample(name, &thing.labels(), of(container), None);
        }
    }
    let name = "container_fs_usage_bytes";
    text.metric(name, "gauge", "Bytes that it wrote to its root file system.");
    for (thing, container) in containers() {
        if let Some(bytes) = container.root_bytes {
            text.sample(name, &thing.labels(), float(bytes), None);
        }
    }
    network(&mut text, stats);
    let node = stats.node.clone().unwrap_or_default();
    text.metric("machine_memory_bytes", "gauge", "Memory of the machine.");
    text.sample("machine_memory_bytes", &[], float(node.memory.map_or(0, |memory| memory.limit)), None);
    text.0
}

fn network(text: &mut Text, stats: &StatsResponse) {
    for (name, kind, help, of) in NETWORK {
        text.metric(name, kind, help);
        let node = stats.node.iter().flat_map(|node| &node.interfaces).map(|own| (None, own));
        let pods = stats.pods.iter().flat_map(|pod| pod.interfaces.iter().map(move |own| (Some(pod), own)));
        for (pod, own) in node.chain(pods) {
            // The network is the pod's, not that of one of its containers.
            let labels = [
                ("container", ""),
                ("id", if pod.is_none() { "/" } else { "" }),
                ("image", ""),
                ("interface", &*own.name),
                ("namespace", pod.map_or("", |pod| &pod.namespace)),
                ("pod", pod.map_or("", |pod| &pod.name)),
            ];
            text.sample(name, &labels, of(own), None);
        }
    }
}

fn things(stats: &StatsResponse) -> Vec<Thing<'_>> {
    let mut things = Vec::new();
    if let Some((cpu, memory)) =
        stats.node.as_ref().and_then(|node| node.cpu.as_ref().zip(node.memory.as_ref()))
    {
        things.push(Thing { pod: None, container: None, cpu, memory });
    }
    for pod in &stats.pods {
        for container in &pod.containers {
            if let Some((cpu, memory)) = container.cpu.as_ref().zip(container.memory.as_ref()) {
                things.push(Thing { pod: Some(pod), container: Some(container), cpu, memory });
            }
        }
    }
    things
}

/// `/metrics/resource`.
pub fn resource(stats: &StatsResponse) -> String {
    let mut text = Text(String::new());
    let things = things(stats);
    let millis = |thing: &Thing<'_>| Some(thing.cpu.time / 1_000_000);
    let names = |thing: &Thing<'_>| {
        let (container, pod) = (thing.container, thing.pod);
        [
            ("container", container.map_or(String::new(), |own| own.name.clone())),
            ("namespace", pod.map_or(String::new(), |pod| pod.namespace.clone())),
            ("pod", pod.map_or(String::new(), |pod| pod.name.clone())),
        ]
    };
    let measures: [Measure<Thing<'_>>; 4] = [
        ("cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in core-seconds", |thing| {
            seconds(thing.cpu.total_nanos)
        }),
        ("memory_working_set_bytes", "gauge", "Current working set in bytes", |thing| {
            float(thing.memory.working_set)
        }),
        ("swap_usage_bytes", "gauge", "Current amount of swap in use in bytes", |thing| {
            float(thing.memory.swap)
        }),
        ("start_time_seconds", "gauge", "Start time since unix epoch in seconds", |thing| {
            thing.container.map_or(0.0, |own| when(own.started))
        }),
    ];
    for (name, kind, help, of) in measures {
        let full = format!("container_{name}");
        text.metric(&full, kind, &format!("{help}, of the container"));
        for thing in things.iter().filter(|thing| thing.container.is_some()) {
            let names = names(thing);
            let labels = names.each_ref().map(|(label, text)| (*label, text.as_str()));
            text.sample(&full, &labels, of(thing), millis(thing));
        }
        if name == "start_time_seconds" {
            continue;
        }
        let full = format!("pod_{name}");
        text.metric(&full, kind, &format!("{help}, of the pod"));
        for pod in &stats.pods {
            let own = || things.iter().filter(|thing| thing.pod.is_some_and(|own| own.uid == pod.uid));
            let labels = [("namespace", &*pod.namespace), ("pod", &*pod.name)];
            text.sample(&full, &labels, own().map(of).sum(), own().next().and_then(millis));
        }
        let full = format!("node_{name}");
        text.metric(&full, kind, &format!("{help}, of the node"));
        for thing in things.iter().filter(|thing| thing.pod.is_none()) {
            text.sample(&full, &[], of(thing), millis(thing));
        }
    }
    text.metric("resource_scrape_error", "gauge", "1 if there was an error while getting container metrics");
    text.sample("resource_scrape_error", &[], 0.0, None);
    text.0
}
