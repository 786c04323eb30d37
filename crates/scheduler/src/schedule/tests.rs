//! Pods and nodes in, decisions out.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::objects::{
    Affinity, ContainerPort, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodAffinity,
    PodAffinityTerm, PreferredSchedulingTerm, Taint, Toleration, TopologySpreadConstraint,
};
use crate::testing::{change, info, node, owned, pod, pod_with};
use api::selector::LabelSelector;

fn cluster(nodes: impl IntoIterator<Item = Arc<crate::objects::Node>>) -> Snapshot {
    let mut snapshot = Snapshot::new();
    nodes.into_iter().for_each(|node| snapshot.set_node(node));
    snapshot
}

fn place(snapshot: &Snapshot, pod: Pod) -> String {
    match schedule(snapshot, &info(pod), 0) {
        Ok(assignment) => assignment.node,
        Err(error) => error.to_string(),
    }
}

fn put(snapshot: &mut Snapshot, pod: Pod, node: &str) {
    snapshot.add_pod(info(pod), node);
}

fn web() -> LabelSelector {
    LabelSelector { match_labels: [("app".to_owned(), "web".to_owned())].into(), ..Default::default() }
}

fn labelled(name: &str) -> Pod {
    let mut pod = pod(name);
    pod.metadata.labels.insert("app".into(), "web".into());
    pod
}

#[test]
fn why_nothing_fits_reads_as_in_kubernetes() {
    let mut snapshot = cluster([node("a", "1", "1Gi")]);
    assert_eq!(place(&Snapshot::new(), pod("p")), "no nodes available to schedule pods");
    assert_eq!(
        place(&snapshot, pod_with("p", "2", "1Mi")),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
         1 Preemption is not helpful for scheduling."
    );
    put(&mut snapshot, pod_with("q", "900m", "1Gi"), "a");
    let pod = info(pod_with("p", "500m", "1Mi"));
    let mut error = schedule(&snapshot, &pod, 0).unwrap_err();
    assert!(preemption::preempt(&snapshot, &pod, &mut error).is_none());
    assert_eq!(
        error.to_string(),
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. preemption: 0/1 nodes are \
         available: 1 No preemption victims found for incoming pod."
    );
}

#[test]
fn every_filter_says_its_reason() {
    let tainted = |effect: &str| {
        let taint = Taint { key: "gone".into(), value: String::new(), effect: effect.into() };
        change(node("a", "1", "1Gi"), |node| node.spec.taints.push(taint))
    };
    let cordoned = change(node("a", "1", "1Gi"), |node| node.spec.unschedulable = true);
    let full = change(node("a", "1", "1Gi"), |node| {
        node.status.allocatable.insert("pods".into(), "0".parse().unwrap());
    });
    let mut selecting = pod("p");
    selecting.spec.node_selector.insert("disk".into(), "ssd".into());
    let mut naming = pod("p");
    naming.spec.node_name = "b".into();
    let mut gpu = pod_with("p", "0", "0");
    gpu.spec.containers[0].resources.requests.insert("example.com/gpu".into(), "1".parse().unwrap());
    for (node, pod, reason) in [
        (tainted("NoSchedule"), pod("p"), "node(s) had untolerated taint(s)"),
        (tainted("NoExecute"), pod("p"), "node(s) had untolerated taint(s)"),
        (cordoned, pod("p"), "node(s) were unschedulable"),
        (full, pod("p"), "Too many pods"),
        (node("a", "1", "1Gi"), selecting, "node(s) didn't match Pod's node affinity/selector"),
        (node("a", "1", "1Gi"), naming, "node(s) didn't match the requested node name"),
        (node("a", "1", "1Gi"), gpu, "Insufficient example.com/gpu"),
    ] {
        let text = place(&cluster([node]), pod);
        assert!(text.starts_with(&format!("0/1 nodes are available: 1 {reason}.")), "{text}");
    }
}

#[test]
fn tolerations_open_tainted_nodes_and_soft_taints_are_avoided() {
    let tainted = |name: &str, effect: &str| {
        let taint = Taint { key: "k".into(), value: "v".into(), effect: effect.into() };
        change(node(name, "1", "1Gi"), |node| node.spec.taints.push(taint))
    };
    let mut tolerant = pod("p");
    tolerant.spec.tolerations.push(Toleration { operator: "Exists".into(), ..Toleration::default() });
    assert_eq!(place(&cluster([tainted("a", "NoSchedule")]), tolerant), "a");
    let snapshot = cluster([tainted("a", "PreferNoSchedule"), node("b", "1", "1Gi")]);
    assert_eq!(place(&snapshot, pod("p")), "b");
}

#[test]
fn host_ports_are_taken_once() {
    let with_port = |name: &str, ip: &str, protocol: &str| {
        let mut pod = pod_with(name, "0", "0");
        pod.spec.containers[0].ports.push(ContainerPort {
            host_port: 80,
            host_ip: ip.into(),
            protocol: protocol.into(),
        });
        pod
    };
    let mut snapshot = cluster([node("a", "1", "1Gi")]);
    put(&mut snapshot, with_port("q", "127.0.0.1", "TCP"), "a");
    assert!(place(&snapshot, with_port("p", "", "TCP")).contains("free ports"));
    assert!(place(&snapshot, with_port("p", "127.0.0.1", "")).contains("free ports"));
    assert_eq!(place(&snapshot, with_port("p", "127.0.0.2", "TCP")), "a");
    assert_eq!(place(&snapshot, with_port("p", "", "UDP")), "a");
}

#[test]
fn pods_of_one_owner_are_spread_before_free_room_counts() {
    let mut snapshot = cluster([node("big", "64", "64Gi"), node("small", "4", "4Gi")]);
    put(&mut snapshot, owned(pod_with("one", "1", "1Gi"), "set"), "big");
    assert_eq!(place(&snapshot, owned(pod_with("two", "1", "1Gi"), "set"),), "small");
    assert_eq!(place(&snapshot, pod_with("other", "1", "1Gi")), "big");
}

#[test]
fn equal_nodes_take_turns() {
    let snapshot = cluster([node("a", "1", "1Gi"), node("b", "1", "1Gi"), node("c", "1", "1Gi")]);
    let at = |start| schedule(&snapshot, &info(pod("p")), start).unwrap().node;
    assert_eq!([at(0), at(1), at(2), at(3)], ["a", "b", "c", "a"]);
}

#[test]
fn preferred_affinity_outweighs_room() {
    let snapshot = cluster([
        node("big", "64", "64Gi"),
        change(node("ssd", "1", "1Gi"), |node| {
            node.metadata.labels.insert("disk".into(), "ssd".into());
        }),
    ]);
    let requirement =
        NodeSelectorRequirement { key: "disk".into(), operator: "In".into(), values: vec!["ssd".into()] };
    let term = NodeSelectorTerm { match_expressions: vec![requirement], match_fields: Vec::new() };
    let mut wishing = pod("p");
    wishing.spec.affinity.node_affinity = Some(NodeAffinity {
        required: None,
        preferred: vec![PreferredSchedulingTerm { weight: 1, preference: term }],
    });
    assert_eq!(place(&snapshot, wishing), "ssd");
}

#[test]
fn spread_constraints_are_kept() {
    let zoned = |name: &str, zone: &str| {
        change(node(name, "8", "8Gi"), |node| {
            node.metadata.labels.insert("zone".into(), zone.into());
        })
    };
    let mut snapshot = cluster([zoned("a", "x"), zoned("b", "y"), node("nowhere", "8", "8Gi")]);
    put(&mut snapshot, labelled("q"), "a");
    let mut spread = labelled("p");
    spread.spec.topology_spread_constraints.push(TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "zone".into(),
        when_unsatisfiable: "DoNotSchedule".into(),
        label_selector: Some(web()),
        ..TopologySpreadConstraint::default()
    });
    assert_eq!(place(&snapshot, spread.clone()), "b");
    snapshot.remove_node("b");
    snapshot.set_node(change(zoned("b", "y"), |node| node.spec.unschedulable = true));
    let text = place(&snapshot, spread);
    assert!(text.contains("1 node(s) didn't match pod topology spread constraints,"), "{text}");
    assert!(text.contains("1 node(s) didn't match pod topology spread constraints (missing"), "{text}");
}

#[test]
fn affinity_and_anti_affinity_between_pods() {
    let term = PodAffinityTerm {
        label_selector: Some(web()),
        topology_key: "kubernetes.io/hostname".into(),
        ..PodAffinityTerm::default()
    };
    let terms = PodAffinity { required: vec![term], preferred: Vec::new() };
    let near = Affinity { pod_affinity: Some(terms.clone()), ..Affinity::default() };
    let far = Affinity { pod_anti_affinity: Some(terms), ..Affinity::default() };
    let with = |mut pod: Pod, affinity: &Affinity| {
        pod.spec.affinity = affinity.clone();
        pod
    };
    let mut snapshot = cluster([node("a", "8", "8Gi"), node("b", "8", "8Gi")]);
    assert!(place(&snapshot, with(pod("p"), &near)).contains("pod affinity rules"));
    assert_eq!(place(&snapshot, with(labelled("p"), &near)), "a", "the first of a group goes anywhere");
    put(&mut snapshot, labelled("q"), "b");
    assert_eq!(place(&snapshot, with(pod("p"), &near)), "b");
    assert_eq!(place(&snapshot, with(pod("p"), &far)), "a");
    put(&mut snapshot, with(pod("guard"), &far), "a");
    let text = place(&snapshot, with(labelled("p"), &far));
    assert!(text.contains("1 node(s) didn't match pod anti-affinity rules"), "{text}");
    assert!(text.contains("1 node(s) didn't satisfy existing pods anti-affinity rules"), "{text}");
}

#[test]
fn preemption_takes_the_fewest_and_least_important() {
    let important = |name: &str, cpu: &str, priority: i32| {
        let mut pod = pod_with(name, cpu, "1Mi");
        pod.spec.priority = priority;
        pod
    };
    let mut snapshot = cluster([node("a", "2", "1Gi"), node("b", "2", "1Gi")]);
    put(&mut snapshot, important("a1", "1", 5), "a");
    put(&mut snapshot, important("a2", "1", 1), "a");
    put(&mut snapshot, important("b1", "2", 9), "b");
    let incoming = info(important("p", "1", 10));
    let mut error = schedule(&snapshot, &incoming, 0).unwrap_err();
    let preemption = preemption::preempt(&snapshot, &incoming, &mut error).unwrap();
    let victims: Vec<_> = preemption.victims.iter().map(|v| v.pod.metadata.name.as_str()).collect();
    assert_eq!((preemption.node.as_str(), &victims[..]), ("a", &["a2"][..]));
    for victim in &preemption.victims {
        snapshot.remove_pod(&victim.pod.metadata.uid);
    }
    assert_eq!(schedule(&snapshot, &incoming, 0).unwrap().node, "a");
}

proptest! {
    // A quarter of the usual number; PROPTEST_CASES asks for longer runs.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(4), ..ProptestConfig::default() })]

    #[test]
    fn no_node_is_ever_overcommitted(
        nodes in prop::collection::vec((1..8i64, 1..8i64), 1..12),
        pods in prop::collection::vec((0..3000i64, 0..3000i64, any::<bool>()), 1..80),
    ) {
        let mut snapshot = cluster(nodes.iter().enumerate().map(|(i, (cpu, memory))| {
            node(&format!("n{i}"), &cpu.to_string(), &format!("{memory}Gi"))
        }));
        for (i, (cpu, memory, goes)) in pods.into_iter().enumerate() {
            let pod = info(pod_with(&format!("p{i}"), &format!("{cpu}m"), &format!("{memory}Mi")));
            if let Ok(assignment) = schedule(&snapshot, &pod, i) {
                snapshot.add_pod(Arc::clone(&pod), &assignment.node);
            } else {
                for node in snapshot.nodes() {
                    let cpu_fits = node.requested.milli_cpu + pod.requests.milli_cpu <= node.allocatable.milli_cpu;
                    let memory_fits = node.requested.memory + pod.requests.memory <= node.allocatable.memory;
                    let fits = cpu_fits && memory_fits;
                    prop_assert!(!fits, "{} has room", node.name());
                }
            }
            if goes {
                snapshot.remove_pod(&format!("uid-p{}", i / 2));
            }
            for node in snapshot.nodes() {
                prop_assert!(node.requested.milli_cpu <= node.allocatable.milli_cpu);
                prop_assert!(node.requested.memory <= node.allocatable.memory);
            }
        }
    }
}
