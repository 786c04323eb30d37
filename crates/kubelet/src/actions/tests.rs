//! Tables: a pod and what there is of it, and the next steps. After each, the steps are taken on paper and the
//! plan must come to rest.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::runtime::SandboxRecord;

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).expect("a time")
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
        "spec": spec,
    }))
    .expect("a pod")
}

fn plain(policy: &str) -> Pod {
    pod(json!({"restartPolicy": policy, "containers": [{"name": "main", "image": "a"}]}))
}

fn with_init(policy: &str) -> Pod {
    pod(json!({
        "restartPolicy": policy,
        "initContainers": [{"name": "one", "image": "i"}, {"name": "two", "image": "i"}],
        "containers": [{"name": "main", "image": "a"}],
    }))
}

fn with_sidecar() -> Pod {
    pod(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "side", "image": "s", "restartPolicy": "Always"}],
        "containers": [{"name": "main", "image": "a"}],
    }))
}

/// What there is, built up step by step.
struct World {
    pod: Pod,
    runtime: RuntimePod,
    probes: ProbeStates,
    problems: Problems,
}

impl World {
    fn new(pod: Pod) -> Self {
        Self { pod, runtime: RuntimePod::default(), probes: ProbeStates::new(), problems: Problems::new() }
    }

    fn sandbox(mut self, attempt: u32, state: SandboxState) -> Self {
        self.runtime.sandboxes.insert(
            0,
            SandboxRecord {
                id: format!("s{attempt}"),
                attempt,
                state,
                created_at: at(-1000),
                holds_network: state == SandboxState::Ready,
                ips: vec!["10.244.0.2".parse().expect("an address")],
                grace_seconds: 30,
            },
        );
        self
    }

    fn ready(self) -> Self {
        self.sandbox(0, SandboxState::Ready)
    }

    fn put(&mut self, name: &str, restarts: u32, state: ContainerState, code: i32) -> &mut ContainerRecord {
        let spec = self.pod.spec.containers.iter().chain(&self.pod.spec.init_containers);
        let hash = spec.clone().find(|c| c.name == name).map(spec_hash).unwrap_or_default();
        self.runtime.containers.insert(
            0,
            ContainerRecord {
                id: format!("{name}-{restarts}"),
                name: name.to_owned(),
                sandbox_id: self.runtime.sandboxes[0].id.clone(),
                state,
                restart_count: restarts,
                spec_hash: hash,
                backoff: Duration::ZERO,
                image: String::new(),
                image_id: String::new(),
                created_at: at(-100),
                started_at: (state != ContainerState::Created).then(|| at(-100)),
                finished_at: (state == ContainerState::Exited).then(|| at(-50)),
                exit_code: code,
                oom_killed: false,
                start_error: None,
                resources: None,
                termination_message: None,
            },
        );
        &mut self.runtime.containers[0]
    }

    fn runs(mut self, name: &str) -> Self {
        self.put(name, 0, ContainerState::Running, 0);
        self
    }

    fn exited(mut self, name: &str, code: i32) -> Self {
        self.put(name, 0, ContainerState::Exited, code);
        self
    }

    fn plan(&self) -> PodActions {
        compute_pod_actions(&Observed {
            pod: &self.pod,
            runtime: &self.runtime,
            probes: &self.probes,
            problems: &self.problems,
            now: at(0),
        })
    }

    /// Takes the steps on paper: what is killed has ended, what is started runs.
    fn apply(&mut self, actions: &PodActions) {
        for kill in &actions.kill {
            let record = self.runtime.containers.iter_mut().find(|record| record.id == kill.id);
            let record = record.expect("only what there is gets killed");
            record.state = ContainerState::Exited;
            record.exit_code = 137;
            record.finished_at = Some(at(0));
        }
        self.runtime.containers.retain(|record| !actions.remove_containers.contains(&record.id));
        for sandbox in &mut self.runtime.sandboxes {
            if actions.stop_sandboxes.contains(&sandbox.id) {
                sandbox.state = SandboxState::NotReady;
                sandbox.holds_network = false;
            }
        }
        self.runtime.sandboxes.retain(|sandbox| !actions.remove_sandboxes.contains(&sandbox.id));
        if let Some(attempt) = actions.create_sandbox {
            let world = std::mem::replace(self, Self::new(Pod::default()));
            *self = world.sandbox(attempt, SandboxState::Ready);
        }
        for start in &actions.start {
            self.runtime
                .containers
                .retain(|record| record.name != start.name || record.restart_count != start.restart_count);
            let record = self.put(&start.name, start.restart_count, ContainerState::Running, 0);
            record.backoff = start.backoff;
        }
        for record in &self.runtime.containers {
            let started = ProbeState { started: Some(true), ready: Some(true), alive: Some(true) };
            self.probes.insert(record.id.clone(), started);
        }
    }

    /// The names of what the plan starts.
    #[track_caller]
    fn starts(self, expected: &[(&str, u32, u64)]) -> PodActions {
        let actions = self.plan();
        let starts: Vec<(&str, u32, u64)> = actions
            .start
            .iter()
            .map(|start| (start.name.as_str(), start.restart_count, start.backoff.as_secs()))
            .collect();
        assert_eq!(starts, expected);
        self.rests();
        actions
    }

    #[track_caller]
    fn kills(self, expected: &[(&str, KillReason)]) -> PodActions {
        let actions = self.plan();
        let kills: Vec<(&str, KillReason)> =
            actions.kill.iter().map(|kill| (kill.name.as_str(), kill.reason)).collect();
        assert_eq!(kills, expected);
        self.rests();
        actions
    }

    #[track_caller]
    fn stays_at_rest(self) {
        let actions = self.plan();
        assert!(actions.is_empty(), "{actions:?}");
    }

    /// Plans and applies until nothing is left to do; a plan that never rests is a loop.
    #[track_caller]
    fn rests(mut self) {
        for _ in 0..8 {
            let actions = self.plan();
            if actions.is_empty() {
                return;
            }
            self.apply(&actions);
        }
        panic!("still not at rest: {:?}", self.plan());
    }
}

#[test]
fn a_new_pod_gets_a_sandbox_and_its_containers() {
    let actions = World::new(plain("Always")).starts(&[("main", 0, 0)]);
    assert_eq!(actions.create_sandbox, Some(0));
    assert!(!actions.sandbox_changed);
}

#[test]
fn a_pod_that_runs_is_left_alone() {
    World::new(plain("Always")).ready().runs("main").stays_at_rest();
}

#[test]
fn the_restart_policy_decides_what_an_exit_means() {
    let of = |policy: &str, code: i32| World::new(plain(policy)).ready().exited("main", code);
    for (policy, code) in [("Always", 0), ("Always", 1), ("OnFailure", 1)] {
        of(policy, code).starts(&[("main", 1, 10)]);
    }
    for (policy, code) in [("OnFailure", 0), ("Never", 0), ("Never", 1)] {
        let actions = of(policy, code).starts(&[]);
        assert_eq!(actions.stop_sandboxes, ["s0"], "{policy} {code}: the pod has ended");
    }
}

#[test]
fn init_containers_run_one_after_the_other() {
    let world = || World::new(with_init("Always"));
    world().starts(&[("one", 0, 0)]);
    world().ready().starts(&[("one", 0, 0)]);
    world().ready().runs("one").stays_at_rest();
    world().ready().exited("one", 0).starts(&[("two", 0, 0)]);
    world().ready().exited("one", 0).exited("two", 0).starts(&[("main", 0, 0)]);
    world().ready().exited("one", 1).starts(&[("one", 1, 10)]);
    world().ready().exited("one", 0).exited("two", 0).runs("main").stays_at_rest();
}

#[test]
fn an_init_container_that_fails_for_good_ends_the_pod() {
    let actions = World::new(with_init("Never")).ready().exited("one", 1).starts(&[]);
    assert_eq!(actions.stop_sandboxes, ["s0"]);
    let actions =
        World::new(with_init("Never")).sandbox(0, SandboxState::NotReady).exited("one", 1).starts(&[]);
    assert_eq!(actions.create_sandbox, None, "its sandbox is not made again");
}

#[test]
fn sidecars_go_first_come_back_and_end_last() {
    let world = || World::new(with_sidecar());
    world().starts(&[("side", 0, 0)]);
    world().ready().runs("side").starts(&[("main", 0, 0)]);
    world().ready().exited("side", 1).runs("main").starts(&[("side", 1, 10)]);
    world().ready().runs("side").exited("main", 0).kills(&[("side", KillReason::PodEnded)]);
    let mut waits = world().ready().runs("side");
    waits.pod.spec.init_containers[0].startup_probe = Some(crate::pod::Probe::default());
    waits.stays_at_rest();
}

#[test]
fn a_dead_sandbox_is_replaced_with_everything_in_it() {
    let actions = World::new(plain("Always"))
        .sandbox(0, SandboxState::NotReady)
        .exited("main", 137)
        .starts(&[("main", 1, 10)]);
    assert_eq!((actions.create_sandbox, actions.sandbox_changed), (Some(1), true));
    assert_eq!(actions.remove_sandboxes, ["s0"]);
    // What still runs in it ends first.
    let actions = World::new(plain("Always"))
        .sandbox(0, SandboxState::NotReady)
        .runs("main")
        .kills(&[("main", KillReason::SandboxChanged)]);
    assert_eq!(actions.create_sandbox, None);
    // Init containers run again in the new one.
    World::new(with_init("Always"))
        .sandbox(0, SandboxState::NotReady)
        .exited("one", 0)
        .exited("two", 0)
        .exited("main", 137)
        .starts(&[("one", 1, 10)]);
    // A pod that never restarts had its chance.
    let actions =
        World::new(plain("Never")).sandbox(0, SandboxState::NotReady).exited("main", 137).starts(&[]);
    assert_eq!(actions.create_sandbox, None);
}

#[test]
fn failing_probes_and_a_new_image_end_a_container() {
    let probe = Some(crate::pod::Probe::default());
    let world = |state: ProbeState| {
        let mut pod = plain("Always");
        pod.spec.containers[0].liveness_probe.clone_from(&probe);
        pod.spec.containers[0].startup_probe.clone_from(&probe);
        let mut world = World::new(pod).ready().runs("main");
        world.probes.insert("main-0".to_owned(), state);
        world
    };
    let state = |started, alive| ProbeState { started, ready: None, alive };
    world(state(Some(true), Some(false))).kills(&[("main", KillReason::Liveness)]);
    world(state(Some(false), None)).kills(&[("main", KillReason::Startup)]);
    world(state(Some(true), Some(true))).stays_at_rest();
    world(state(None, None)).stays_at_rest();
    let mut changed = World::new(plain("Never")).ready().runs("main");
    changed.pod.spec.containers[0].image = "b".to_owned();
    changed.kills(&[("main", KillReason::DefinitionChanged)]);
}

#[test]
fn restarts_wait_twice_as_long_each_time_up_to_five_minutes() {
    let mut expected = vec![0, 10, 20, 40, 80, 160, 300, 300];
    let mut backoff = Duration::ZERO;
    for (restarts, wait) in expected.drain(..).enumerate() {
        let mut world = World::new(plain("Always")).ready();
        let record = world.put("main", u32::try_from(restarts).expect("small"), ContainerState::Exited, 1);
        record.backoff = backoff;
        record.finished_at = Some(at(0));
        let actions = world.plan();
        if wait == 0 {
            assert_eq!(actions.requeue_after, None);
        } else {
            assert_eq!(actions.requeue_after, Some(Duration::from_secs(wait)));
            assert!(actions.is_empty(), "{actions:?}");
        }
        world.runtime.containers[0].finished_at = Some(at(-i64::try_from(wait).expect("small")));
        let actions = world.plan();
        assert_eq!(actions.start.len(), 1, "after {wait} s");
        backoff = actions.start[0].backoff;
    }
}

#[test]
fn ten_good_minutes_reset_the_back_off() {
    let mut world = World::new(plain("Always")).ready();
    let record = world.put("main", 7, ContainerState::Exited, 1);
    record.backoff = BACKOFF_MAX;
    record.started_at = Some(at(-601));
    record.finished_at = Some(at(0));
    world.starts(&[("main", 8, 10)]);
}

#[test]
fn a_container_that_could_not_be_started_waits_at_once() {
    let mut world = World::new(plain("Always")).ready();
    let record = world.put("main", 0, ContainerState::Exited, 128);
    record.start_error = Some("no such file".to_owned());
    record.started_at = None;
    record.finished_at = None;
    record.created_at = at(-4);
    let actions = world.plan();
    assert!(actions.is_empty());
    assert_eq!(actions.requeue_after, Some(Duration::from_secs(6)));
}

#[test]
fn problems_hold_a_start_back() {
    let problem = |retry_at| {
        let mut world = World::new(plain("Always")).ready();
        let problem = Problem { reason: "ErrImagePull", message: String::new(), retry_at };
        world.problems.insert("main".to_owned(), problem);
        world
    };
    let pulling = problem(None).plan();
    assert!(pulling.is_empty() && pulling.requeue_after.is_none());
    let waiting = problem(Some(at(7))).plan();
    assert!(waiting.is_empty());
    assert_eq!(waiting.requeue_after, Some(Duration::from_secs(7)));
    problem(Some(at(0))).starts(&[("main", 0, 0)]);
}

#[test]
fn what_a_killed_kubelet_left_half_made_is_made_again() {
    let mut world = World::new(plain("Always")).ready();
    world.put("main", 3, ContainerState::Created, 0).backoff = Duration::from_secs(40);
    world.starts(&[("main", 3, 40)]);
    // A newer sandbox that never got its network.
    let actions =
        World::new(plain("Always")).ready().runs("main").sandbox(1, SandboxState::NotReady).starts(&[]);
    assert_eq!(actions.remove_sandboxes, ["s1"]);
}

#[test]
fn a_container_removed_behind_our_back_counts_as_a_restart() {
    let mut pod = plain("Always");
    pod.status.container_statuses = vec![crate::pod::ContainerStatus {
        name: "main".into(),
        restart_count: 2,
        container_id: "docker://x".into(),
        ..Default::default()
    }];
    World::new(pod).ready().starts(&[("main", 3, 0)]);
}

#[test]
fn old_containers_go_but_for_the_one_before() {
    let mut world = World::new(plain("Always")).ready();
    for restarts in 0..4 {
        world.put("main", restarts, ContainerState::Exited, 1);
    }
    world.put("main", 4, ContainerState::Running, 0);
    let actions = world.starts(&[]);
    assert_eq!(actions.remove_containers, ["main-2", "main-1", "main-0"]);
}

#[test]
fn an_end_takes_containers_then_sidecars_then_the_sandbox_then_everything() {
    let world = World::new(with_sidecar()).ready().runs("side").runs("main");
    let names =
        |actions: &TerminationActions| actions.kill.iter().map(|kill| kill.name.clone()).collect::<Vec<_>>();
    let mut runtime = world.runtime.clone();
    let end = |runtime: &RuntimePod, name: &str| {
        let mut runtime = runtime.clone();
        for record in runtime.containers.iter_mut().filter(|record| record.name == name) {
            record.state = ContainerState::Exited;
        }
        runtime
    };
    assert_eq!(names(&compute_termination_actions(Some(&world.pod), &runtime, true)), ["main"]);
    runtime = end(&runtime, "main");
    assert_eq!(names(&compute_termination_actions(Some(&world.pod), &runtime, true)), ["side"]);
    runtime = end(&runtime, "side");
    let stop = compute_termination_actions(Some(&world.pod), &runtime, false);
    assert_eq!(stop.stop_sandboxes, ["s0"]);
    assert!(stop.remove_containers.is_empty());
    runtime.sandboxes[0].state = SandboxState::NotReady;
    runtime.sandboxes[0].holds_network = false;
    let again = compute_termination_actions(Some(&world.pod), &runtime, false);
    assert_eq!(again, TerminationActions::default());
    let all = compute_termination_actions(None, &runtime, true);
    assert_eq!(all.remove_containers.len(), 2);
    assert_eq!(all.remove_sandboxes, ["s0"]);
    let nothing = compute_termination_actions(None, &RuntimePod::default(), true);
    assert_eq!(nothing, TerminationActions::default());
}
