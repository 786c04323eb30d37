//! Events in, decisions out.

use api::status::{Reason as StatusReason, Status};

use super::*;
use crate::testing::{node, pod_with};

fn pod(name: &str) -> Arc<Pod> {
    Arc::new(pod_with(name, "600m", "1Mi"))
}

fn bound(name: &str, node: &str) -> Arc<Pod> {
    let mut pod = pod_with(name, "600m", "1Mi");
    pod.spec.node_name = node.into();
    Arc::new(pod)
}

fn places(state: &mut State, now: Instant) -> Vec<String> {
    std::iter::from_fn(|| state.step(now))
        .map(|decision| match decision {
            Decision::Bind { pod, node } => format!("{}->{node}", pod.metadata.name),
            Decision::Prepare { pod, node, wanted } => {
                let volumes = wanted.iter().map(|wanted| match &wanted.volume {
                    Some(volume) => volume.metadata.name.clone(),
                    None => "new".to_owned(),
                });
                format!("{}~>{node} {}", pod.metadata.name, volumes.collect::<Vec<_>>().join(" "))
            }
            Decision::Unschedulable { pod, is_news, .. } => {
                format!("{} waits {is_news}", pod.metadata.name)
            }
        })
        .collect()
}

#[test]
fn a_pod_that_was_given_a_node_takes_its_room_at_once() {
    let (mut state, now) = (State::new(), Instant::now());
    state.handle(Event::Node(None, Some(node("n", "1", "1Gi"))), now);
    state.handle(Event::Pod(None, Some(pod("a"))), now);
    state.handle(Event::Pod(None, Some(pod("b"))), now);
    assert_eq!(places(&mut state, now), ["a->n", "b waits true"]);
    // A change that does not show the binding yet must not bring it back.
    state.handle(Event::Pod(Some(pod("a")), Some(pod("a"))), now);
    assert_eq!(places(&mut state, now), [""; 0]);
    state.handle(Event::Pod(Some(pod("a")), Some(bound("a", "n"))), now);
    state.handle(Event::Pod(Some(bound("a", "n")), None), now);
    let later = now + std::time::Duration::from_secs(1);
    assert_eq!(places(&mut state, later), ["b->n"]);
}

#[test]
fn a_binding_that_fails_gives_the_room_back_and_is_tried_again() {
    let (mut state, now) = (State::new(), Instant::now());
    state.handle(Event::Node(None, Some(node("n", "1", "1Gi"))), now);
    state.handle(Event::Pod(None, Some(pod("a"))), now);
    assert_eq!(places(&mut state, now), ["a->n"]);
    let error = ClientError::from(Status::failure(StatusReason::InternalError, "no"));
    state.handle(Event::Answered { uid: "uid-a".into(), result: Err(error) }, now);
    assert_eq!(state.snapshot().nodes()[0].requested.milli_cpu, 0);
    assert_eq!(places(&mut state, now), [""; 0]);
    let rested = state.queue().next_at().unwrap();
    assert_eq!(places(&mut state, rested), ["a->n"]);
}

#[test]
fn a_pod_that_is_gone_is_not_tried_again() {
    let (mut state, now) = (State::new(), Instant::now());
    state.handle(Event::Node(None, Some(node("n", "1", "1Gi"))), now);
    state.handle(Event::Pod(None, Some(pod("a"))), now);
    assert_eq!(places(&mut state, now), ["a->n"]);
    let error = ClientError::from(Status::not_found("", "pods", "a"));
    state.handle(Event::Answered { uid: "uid-a".into(), result: Err(error) }, now);
    assert_eq!(state.queue().lengths(), (0, 0, 0, 0));
}

#[test]
fn others_pods_and_heartbeats_are_left_alone_and_a_new_node_wakes() {
    let (mut state, now) = (State::new(), Instant::now());
    let mut other = pod_with("x", "1", "1Mi");
    other.spec.scheduler_name = "another".into();
    state.handle(Event::Pod(None, Some(Arc::new(other))), now);
    state.handle(Event::Pod(None, Some(pod("a"))), now);
    assert_eq!(places(&mut state, now), ["a waits true"]);
    let n = node("n", "500m", "1Gi");
    state.handle(Event::Node(None, Some(Arc::clone(&n))), now);
    let later = now + std::time::Duration::from_secs(1);
    assert_eq!(places(&mut state, later), ["a waits true"], "for another reason");
    state.handle(Event::Node(Some(Arc::clone(&n)), Some(n)), later);
    assert_eq!(state.queue().lengths(), (0, 0, 1, 0), "a heartbeat wakes no one");
    state.handle(Event::Node(None, Some(node("m", "1", "1Gi"))), later);
    assert_eq!(places(&mut state, later + std::time::Duration::from_secs(9)), ["a->m"]);
}

#[test]
fn the_important_push_the_others_out_once() {
    let (mut state, now) = (State::new(), Instant::now());
    state.handle(Event::Node(None, Some(node("n", "1", "1Gi"))), now);
    state.handle(Event::Pod(None, Some(bound("small", "n"))), now);
    let mut vip = pod_with("vip", "600m", "1Mi");
    vip.spec.priority = 10;
    state.handle(Event::Pod(None, Some(Arc::new(vip))), now);
    let Some(Decision::Unschedulable { preemption: Some(preemption), .. }) = state.step(now) else {
        panic!("it preempts")
    };
    assert_eq!(preemption.victims.len(), 1);
    state.queue.wake(Change::Node, now);
    let Some(Decision::Unschedulable { preemption, .. }) = state.step(now) else { panic!("it waits") };
    assert!(preemption.is_none(), "the victim is on its way out");
    state.handle(Event::Pod(Some(bound("small", "n")), None), now);
    assert_eq!(places(&mut state, now), ["vip->n"]);
}

fn claim(class: &str, more: serde_json::Value) -> Option<Arc<Claim>> {
    let mut claim = serde_json::json!({
        "metadata": {"name": "data", "namespace": "default", "uid": "c1"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Pending"},
    });
    api::patch::merge::merge(&mut claim, more);
    Some(Arc::new(serde_json::from_value(claim).unwrap()))
}

fn volume(name: &str, node: &str) -> Arc<Volume> {
    let term = serde_json::json!({"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
    ]});
    let volume = serde_json::json!({
        "metadata": {"name": name, "uid": name},
        "spec": {"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "static",
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}},
        "status": {"phase": "Available"},
    });
    Arc::new(serde_json::from_value(volume).unwrap())
}

fn class(name: &str, provisioner: &str, mode: &str) -> Event {
    let class = serde_json::json!({
        "metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode,
    });
    Event::Class(name.to_owned(), Some(Arc::new(serde_json::from_value(class).unwrap())))
}

fn data() -> NamespacedName {
    NamespacedName::new("default", "data")
}

fn with_claim(name: &str) -> Arc<Pod> {
    let mut pod = pod_with(name, "100m", "1Mi");
    let volume = serde_json::json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
    pod.spec.volumes.push(serde_json::from_value(volume).unwrap());
    Arc::new(pod)
}

/// Two nodes, of which the second has room for volumes, and a class of each kind.
fn with_storage() -> (State, Instant) {
    let (mut state, now) = (State::new(), Instant::now());
    let roomy = crate::testing::change(node("m", "1", "1Gi"), |node| {
        node.metadata.annotations.insert(NODE_LOCAL.into(), "/v".into());
    });
    for node in [node("a", "1", "1Gi"), roomy] {
        state.handle(Event::Node(None, Some(node)), now);
    }
    for event in [
        class("local", "coxswain.io/node-local", "WaitForFirstConsumer"),
        class("static", "kubernetes.io/no-provisioner", "WaitForFirstConsumer"),
        class("now", "example.com/disk", "Immediate"),
    ] {
        state.handle(event, now);
    }
    (state, now)
}

fn message(state: &mut State, now: Instant) -> String {
    match state.step(now) {
        Some(Decision::Unschedulable { error, .. }) => error.to_string(),
        other => panic!("it fits somewhere: {other:?}"),
    }
}

#[test]
fn a_claim_that_waits_gets_its_node_first_and_the_pod_follows_its_volume() {
    let (mut state, now) = with_storage();
    state.handle(Event::Claim(data(), claim("local", serde_json::json!({}))), now);
    state.handle(Event::Pod(None, Some(with_claim("a"))), now);
    assert_eq!(places(&mut state, now), ["a~>m new"]);
    state.handle(Event::Prepared { uid: "uid-a".into(), result: Ok(()) }, now);
    let selected = serde_json::json!({"metadata": {"annotations": {SELECTED_NODE: "m"}}});
    state.handle(Event::Claim(data(), claim("local", selected)), now);
    assert_eq!(places(&mut state, now), [""; 0]);
    // A second pod of the claim goes where the first one goes.
    state.handle(Event::Pod(None, Some(with_claim("b"))), now);
    assert_eq!(places(&mut state, now), ["b~>m new"]);
    let bound = serde_json::json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "pv"}});
    state.handle(Event::Volume("pv".into(), Some(volume("pv", "m"))), now);
    state.handle(Event::Claim(data(), claim("local", bound)), now);
    let mut placed = places(&mut state, now);
    placed.sort();
    assert_eq!(placed, ["a->m", "b->m"]);
    state.handle(Event::Pod(None, Some(with_claim("c"))), now);
    assert_eq!(places(&mut state, now), ["c->m"], "the volume is on that node");
}

#[test]
fn a_node_that_is_given_back_and_a_write_that_fails_are_tried_anew() {
    let (mut state, mut now) = with_storage();
    state.handle(Event::Claim(data(), claim("local", serde_json::json!({}))), now);
    state.handle(Event::Pod(None, Some(with_claim("a"))), now);
    assert_eq!(places(&mut state, now), ["a~>m new"]);
    let error = || Err(ClientError::from(Status::not_found("", "persistentvolumeclaims", "data")));
    state.handle(Event::Prepared { uid: "uid-a".into(), result: error() }, now);
    now = state.next_at().expect("it is tried again");
    assert_eq!(places(&mut state, now), ["a~>m new"]);
    let selected = serde_json::json!({"metadata": {"annotations": {SELECTED_NODE: "m"}}});
    state.handle(Event::Claim(data(), claim("local", selected)), now);
    state.handle(Event::Claim(data(), claim("local", serde_json::json!({}))), now);
    assert_eq!(places(&mut state, now), [""; 0]);
    now = state.next_at().expect("it is tried again");
    assert_eq!(places(&mut state, now), ["a~>m new"]);
    now = state.next_at().expect("it does not wait for ever");
    assert_eq!(places(&mut state, now), [""; 0]);
    assert!(state.next_at().is_some_and(|at| at < now + VOLUMES_TAKE), "it is tried again");
}

#[test]
fn one_volume_goes_to_one_claim_and_a_pod_goes_where_its_volume_is() {
    let (mut state, now) = with_storage();
    for (name, on) in [("v1", "a"), ("v2", "nowhere")] {
        state.handle(Event::Volume(name.into(), Some(volume(name, on))), now);
    }
    state.handle(Event::Claim(data(), claim("static", serde_json::json!({}))), now);
    state.handle(Event::Pod(None, Some(with_claim("x"))), now);
    assert_eq!(places(&mut state, now), ["x~>a v1"]);
    let second = serde_json::json!({"metadata": {"name": "more", "uid": "c2"}});
    state.handle(Event::Claim(NamespacedName::new("default", "more"), claim("static", second)), now);
    let mut pod = (*with_claim("y")).clone();
    pod.spec.volumes[0].persistent_volume_claim.as_mut().unwrap().claim_name = "more".into();
    state.handle(Event::Pod(None, Some(Arc::new(pod))), now);
    assert_eq!(
        message(&mut state, now),
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. \
         preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    );
}

#[test]
fn why_a_volume_keeps_a_pod_from_running_reads_as_in_kubernetes() {
    let unbound = "pod has unbound immediate PersistentVolumeClaims";
    let bound = serde_json::json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "pv", "accessModes": ["ReadWriteOncePod"]}});
    let going = serde_json::json!({"metadata": {"deletionTimestamp": "2026-11-24T00:00:00Z"}});
    let lost = serde_json::json!({"spec": {"volumeName": "pv"}, "status": {"phase": "Lost"}});
    for (claim, expected) in [
        (None, "persistentvolumeclaim \"data\" not found"),
        (claim("now", serde_json::json!({})), unbound),
        (claim("local", serde_json::json!({"spec": {"volumeName": "pv"}})), unbound),
        (claim("local", going), "persistentvolumeclaim \"data\" is being deleted"),
        (
            claim("local", lost),
            "persistentvolumeclaim \"data\" bound to non-existent persistentvolume \"pv\"",
        ),
    ] {
        let (mut state, now) = with_storage();
        state.handle(Event::Claim(data(), claim), now);
        state.handle(Event::Pod(None, Some(with_claim("a"))), now);
        let expected = format!(
            "0/2 nodes are available: {expected}. preemption: 0/2 nodes are available: 2 Preemption is not \
             helpful for scheduling."
        );
        assert_eq!(message(&mut state, now), expected);
    }
    let (mut state, now) = with_storage();
    state.handle(Event::Claim(data(), claim("local", bound)), now);
    state.handle(Event::Pod(None, Some(with_claim("a"))), now);
    assert!(message(&mut state, now).contains("2 node(s) unavailable due to one or more pvc(s) bound to"));
    state.handle(Event::Volume("pv".into(), Some(volume("pv", "x"))), now);
    let later = now + Duration::from_secs(10);
    assert!(message(&mut state, later).contains("2 node(s) had volume node affinity conflict"));
    state.handle(Event::Volume("pv".into(), Some(volume("pv", "m"))), later);
    let later = later + Duration::from_secs(10);
    assert_eq!(places(&mut state, later), ["a->m"]);
    state.handle(Event::Pod(None, Some(with_claim("b"))), later);
    assert!(message(&mut state, later).contains("with the same name and ReadWriteOncePod access mode"));
}
