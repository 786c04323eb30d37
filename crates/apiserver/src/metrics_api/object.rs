//! NodeMetrics and PodMetrics, of what a kubelet says. Pure.

use api::quantity::Quantity;
use api::time::Time;
use jiff::Timestamp;
use rpc::v1::{CpuStats, MemoryStats, NodeStats, PodStats};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const API_VERSION: &str = "metrics.k8s.io/v1beta1";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Labelled {
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    labels: Map<String, Value>,
}

/// What a node uses; nothing where there is no rate yet.
pub(super) fn node(stats: &NodeStats, stored: &[u8], now: Timestamp) -> Option<Value> {
    let (cpu, memory) = (stats.cpu.as_ref()?, stats.memory.as_ref()?);
    let mut object = head("NodeMetrics", stored, now);
    object["timestamp"] = time(cpu.time);
    object["window"] = window(cpu.window).into();
    object["usage"] = usage(cpu, memory)?;
    Some(object)
}

/// What the containers of a pod use; nothing where that is not known of all of them.
pub(super) fn pod(stats: &PodStats, stored: &[u8], now: Timestamp) -> Option<Value> {
    let mut object = head("PodMetrics", stored, now);
    // The newest measurement, and the shortest window: what is true of all of them.
    let cpu = || stats.containers.iter().filter_map(|own| own.cpu.as_ref());
    object["timestamp"] = time(cpu().map(|cpu| cpu.time).max()?);
    object["window"] = window(cpu().map(|cpu| cpu.window).min()?).into();
    let container = |own: &rpc::v1::ContainerStats| {
        let usage = usage(own.cpu.as_ref()?, own.memory.as_ref()?)?;
        Some(json!({"name": own.name, "usage": usage}))
    };
    object["containers"] = stats.containers.iter().map(container).collect::<Option<Vec<Value>>>()?.into();
    Some(object)
}

fn head(kind: &str, stored: &[u8], now: Timestamp) -> Value {
    let Metadata { name, namespace, labels } =
        serde_json::from_slice::<Labelled>(stored).unwrap_or_default().metadata;
    let mut metadata = json!({"name": name});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    metadata["creationTimestamp"] = Time(now).to_string().into();
    if !labels.is_empty() {
        metadata["labels"] = labels.into();
    }
    json!({"kind": kind, "apiVersion": API_VERSION, "metadata": metadata})
}

fn usage(cpu: &CpuStats, memory: &MemoryStats) -> Option<Value> {
    let cores = Quantity::parse(&format!("{}n", cpu.nano_cores?)).ok()?;
    let bytes = Quantity::bytes(i64::try_from(memory.working_set).unwrap_or(i64::MAX));
    Some(json!({"cpu": cores.to_string(), "memory": bytes.to_string()}))
}

fn time(nanos: i64) -> Value {
    let at = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
    Time(at).to_string().into()
}

/// A duration as Go writes it, in milliseconds.
fn window(nanos: i64) -> String {
    let millis = nanos / 1_000_000;
    let (minutes, seconds, rest) = (millis / 60_000, millis / 1000 % 60, millis % 1000);
    let fraction = format!(".{rest:03}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    match (minutes, seconds) {
        (0, 0) if rest > 0 => format!("{rest}ms"),
        (0, _) => format!("{seconds}{fraction}s"),
        _ => format!("{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use rpc::v1::ContainerStats;

    use super::*;

    #[test]
    fn windows_are_written_as_go_does() {
        for (nanos, text) in [
            (1_000_000_000, "1s"),
            (10_062_000_000, "10.062s"),
            (1_500_000_000, "1.5s"),
            (250_000_000, "250ms"),
            (75_000_000_000, "1m15s"),
            (0, "0s"),
        ] {
            assert_eq!(window(nanos), text);
        }
    }

    #[test]
    fn usage_is_told_in_the_units_of_kubernetes() {
        let now = "2026-11-24T12:00:10Z".parse().expect("a time");
        let cpu = CpuStats {
            time: 1_795_521_600_000_000_000,
            nano_cores: Some(12_345_678),
            window: 10_000_000_000,
            ..CpuStats::default()
        };
        let memory = MemoryStats { working_set: 8208 << 10, ..MemoryStats::default() };
        let stats = NodeStats { cpu: Some(cpu), memory: Some(memory), ..NodeStats::default() };
        let stored = br#"{"metadata":{"name":"n1","labels":{"zone":"a"}}}"#;
        assert_eq!(
            node(&stats, stored, now),
            Some(json!({
                "kind": "NodeMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
                "metadata": {
                    "name": "n1", "creationTimestamp": "2026-11-24T12:00:10Z", "labels": {"zone": "a"},
                },
                "timestamp": "2026-11-24T12:00:00Z", "window": "10s",
                "usage": {"cpu": "12345678n", "memory": "8208Ki"},
            }))
        );
        let container = |name: &str, window| ContainerStats {
            name: name.into(),
            cpu: Some(CpuStats { window, ..cpu }),
            memory: Some(memory),
            ..ContainerStats::default()
        };
        let mut stats = PodStats {
            containers: vec![container("a", 10_000_000_000), container("b", 4_000_000_000)],
            ..PodStats::default()
        };
        let stored = br#"{"metadata":{"name":"p","namespace":"shop"}}"#;
        let made = pod(&stats, stored, now).expect("known");
        assert_eq!((&made["window"], &made["metadata"]["namespace"]), (&json!("4s"), &json!("shop")));
        assert_eq!(made["containers"][1]["name"], "b");
        stats.containers[0].cpu = Some(CpuStats { nano_cores: None, ..cpu });
        assert_eq!(pod(&stats, stored, now), None, "half of a pod is no answer");
    }
}
