//! Rates, and the documents that are written of them.

use std::path::Path;

use client::Informer;
use component::Shutdown;
use rpc::v1::FsStats;
use serde_json::json;

use super::*;
use crate::pod::Pod;
use crate::workers::UID;

#[test]
fn a_rate_is_what_was_spent_since_the_measurement_before_or_since_the_start() {
    let at = |second: i64| Timestamp::from_second(second).expect("a time");
    let rate = |before: Option<(Timestamp, Option<u64>)>, started: Option<Timestamp>| {
        let mut cpu = CpuStats { total_nanos: 3_000_000_000, ..CpuStats::default() };
        set_rate(&mut cpu, before, at(110), started);
        cpu.nano_cores.map(|rate| (rate, cpu.window / 1_000_000_000))
    };
    assert_eq!(rate(Some((at(100), Some(1_000_000_000))), None), Some((200_000_000, 10)));
    assert_eq!(rate(Some((at(100), None)), Some(at(104))), Some((500_000_000, 6)), "younger than that");
    assert_eq!(rate(Some((at(100), None)), None), None);
    assert_eq!(rate(Some((at(110), Some(0))), None), None, "no time has passed");
    assert_eq!(rate(Some((at(100), Some(4_000_000_000))), None), Some((0, 10)), "it began anew");
}

fn stats() -> StatsResponse {
    let cpu = |total| CpuStats {
        time: 1_700_000_000_500_000_000,
        total_nanos: total,
        nano_cores: Some(250_000_000),
        window: 1_000_000_000,
        ..CpuStats::default()
    };
    let memory = |set| MemoryStats {
        time: 1_700_000_000_500_000_000,
        usage: set + 10,
        working_set: set,
        limit: 100,
        ..MemoryStats::default()
    };
    StatsResponse {
        node: Some(NodeStats {
            name: "n".into(),
            started: 1_600_000_000_000_000_000,
            cpu: Some(cpu(9_000_000_000)),
            memory: Some(memory(70)),
            fs: Some(FsStats { capacity_bytes: 100, available_bytes: 40, inodes: 9, inodes_free: 8 }),
            ..NodeStats::default()
        }),
        pods: vec![PodStats {
            namespace: "shop".into(),
            name: "web".into(),
            uid: "u1".into(),
            containers: ["a", "b"]
                .map(|name| ContainerStats {
                    name: name.into(),
                    id: format!("id-{name}"),
                    image: "app:1".into(),
                    cpu: Some(cpu(1_500_000_000)),
                    memory: Some(memory(30)),
                    root_bytes: Some(5),
                    log_bytes: 2,
                    ..ContainerStats::default()
                })
                .into(),
            interfaces: vec![InterfaceStats { name: "eth0".into(), received_bytes: 7, ..Default::default() }],
            volumes: vec![VolumeStats { name: "scratch".into(), used_bytes: 6 }],
            ..PodStats::default()
        }],
    }
}

#[test]
fn the_summary_adds_up_what_the_containers_of_a_pod_use() {
    let summary = summary(&stats());
    let node = &summary["node"];
    assert_eq!((&node["nodeName"], &node["cpu"]["usageNanoCores"]), (&json!("n"), &json!(250_000_000)));
    assert_eq!(node["fs"]["usedBytes"], 60);
    assert_eq!(node["memory"]["availableBytes"], 30);
    let pod = &summary["pods"][0];
    assert_eq!(pod["podRef"], json!({"name": "web", "namespace": "shop", "uid": "u1"}));
    assert_eq!(pod["cpu"]["usageCoreNanoSeconds"], 3_000_000_000_u64);
    assert_eq!(pod["memory"]["workingSetBytes"], 60);
    assert_eq!(pod["ephemeral-storage"]["usedBytes"], 20, "twice 5 + 2, and the volume");
    assert_eq!(pod["network"]["rxBytes"], 7);
    assert_eq!(pod["containers"][1]["rootfs"]["usedBytes"], 5);
    assert_eq!(pod["containers"][1]["cpu"]["time"], "2023-11-14T22:13:20Z");
}

#[test]
fn the_metrics_have_the_names_and_labels_that_dashboards_ask_for() {
    let cadvisor = cadvisor(&stats());
    for line in [
        "container_cpu_usage_seconds_total{container=\"a\",cpu=\"total\",id=\"id-a\",image=\"app:1\",namespace=\"shop\",pod=\"web\"} 1.5 1700000000500",
        "container_memory_working_set_bytes{container=\"\",id=\"/\",image=\"\",namespace=\"\",pod=\"\"} 70 1700000000500",
        "container_network_receive_bytes_total{container=\"\",id=\"\",image=\"\",interface=\"eth0\",namespace=\"shop\",pod=\"web\"} 7",
        "container_fs_usage_bytes{container=\"b\",id=\"id-b\",image=\"app:1\",namespace=\"shop\",pod=\"web\"} 5",
        "machine_memory_bytes 100",
    ] {
        assert!(cadvisor.lines().any(|own| own == line), "{line} is not in\n{cadvisor}");
    }
    assert!(!cadvisor.contains("cfs_periods_total{"), "there is no quota");
    let resource = resource(&stats());
    for line in [
        "node_cpu_usage_seconds_total 9 1700000000500",
        "pod_memory_working_set_bytes{namespace=\"shop\",pod=\"web\"} 60 1700000000500",
        "container_cpu_usage_seconds_total{container=\"a\",namespace=\"shop\",pod=\"web\"} 1.5 1700000000500",
        "resource_scrape_error 0",
    ] {
        assert!(resource.lines().any(|own| own == line), "{line} is not in\n{resource}");
    }
}

/// Half of a core, always.
struct Busy(tokio::time::Instant);

impl Machine for Busy {
    fn read(&self, _: Option<&Path>) -> NodeStats {
        let total_nanos = u64::try_from(self.0.elapsed().as_nanos() / 2).expect("a short test");
        let cpu = CpuStats { total_nanos, ..CpuStats::default() };
        NodeStats { cpu: Some(cpu), memory: Some(MemoryStats::default()), ..NodeStats::default() }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_question_waits_for_a_window_and_the_next_one_does_not() {
    let clock = crate::testing::TokioClock::at("2026-11-24T00:00:00Z".parse().expect("a time"));
    let shutdown = Shutdown::new();
    let control = crate::testing::FakeControlPlane::default();
    let store = Informer::<Pod>::new()
        .index(UID, |pod: &Pod| vec![pod.metadata.uid.clone()])
        .spawn_from(control.source(), &shutdown);
    let collector = Collector {
        node: "n".into(),
        runtime: Arc::new(crate::testing::FakeRuntime::new(Arc::new(clock), &shutdown)),
        pods: Pods::new(store),
        machine: Arc::new(Busy(tokio::time::Instant::now())),
        clock: Arc::new(clock),
        root: PathBuf::from("/nowhere"),
        history: tokio::sync::Mutex::default(),
    };
    let rate = |stats: &StatsResponse| stats.node.as_ref().and_then(|node| node.cpu).expect("cpu");
    let began = clock.elapsed();
    let first = rate(&collector.collect(false).await.expect("measured"));
    assert_eq!((first.nano_cores, first.window), (Some(500_000_000), 1_000_000_000));
    assert_eq!(clock.elapsed() - began, LEAST_WINDOW);
    let again = collector.collect(false).await.expect("measured");
    assert_eq!(rate(&again), first, "a moment later it is the same answer");
    tokio::time::advance(Duration::from_secs(10)).await;
    let before = clock.elapsed();
    let second = rate(&collector.collect(false).await.expect("measured"));
    assert_eq!((second.nano_cores, second.window), (Some(500_000_000), 10_000_000_000));
    assert_eq!(clock.elapsed(), before, "the measurement before serves");
    shutdown.trigger();
}
