//! Tables: what there is of a pod, and the status that says so.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::actions::{ProbeState, ProbeStates, Problem, Problems};
use crate::runtime::{RuntimePod, SandboxRecord};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "generation": 2},
        "spec": spec,
    }))
    .expect("a pod")
}

fn plain(policy: &str) -> Pod {
    pod(json!({"restartPolicy": policy, "containers": [{"name": "main", "image": "a"}]}))
}

fn record(name: &str, state: RuntimeState, code: i32) -> ContainerRecord {
    let image = if name == "main" { "a" } else { "i" };
    let container = Container { name: name.into(), image: image.into(), ..Container::default() };
    ContainerRecord {
        id: format!("{name}-id"),
        name: name.to_owned(),
        sandbox_id: "s0".to_owned(),
        state,
        restart_count: 0,
        spec_hash: spec_hash(&container),
        backoff: Duration::ZERO,
        image: image.to_owned(),
        image_id: "docker://sha256:1".to_owned(),
        created_at: at(-100),
        started_at: Some(at(-90)),
        finished_at: (state == RuntimeState::Exited).then(|| at(-5)),
        exit_code: code,
        oom_killed: false,
        start_error: None,
        resources: None,
        termination_message: None,
    }
}

fn runs(name: &str) -> ContainerRecord {
    record(name, RuntimeState::Running, 0)
}

fn exited(name: &str, code: i32) -> ContainerRecord {
    record(name, RuntimeState::Exited, code)
}

#[derive(Default)]
struct World {
    probes: ProbeStates,
    problems: Problems,
    ending: bool,
}

impl World {
    fn status(&self, pod: &Pod, containers: Vec<ContainerRecord>) -> PodStatus {
        let sandbox = SandboxRecord {
            id: "s0".to_owned(),
            attempt: 0,
            state: SandboxState::Ready,
            created_at: at(-100),
            holds_network: true,
            ips: vec!["10.244.0.2".parse().expect("an address")],
            grace_seconds: 30,
        };
        let runtime = RuntimePod { sandboxes: vec![sandbox], containers, ..RuntimePod::default() };
        let (probes, problems) = (&self.probes, &self.problems);
        let observed = Observed { pod, runtime: &runtime, probes, problems, now: at(0) };
        let host_ips = ["192.0.2.1".to_owned()];
        let input = StatusInput { host_ips: &host_ips, ending: self.ending, ..StatusInput::default() };
        let status = compute_status(&observed, &input);
        // Said of what was said already, it is the same: a status that never settles would be sent for ever.
        let told = Pod { status: status.clone(), ..pod.clone() };
        let observed = Observed { pod: &told, ..observed };
        assert_eq!(compute_status(&observed, &input), status);
        status
    }
}

fn condition<'a>(status: &'a PodStatus, name: &str) -> &'a PodCondition {
    status.conditions.iter().find(|condition| condition.r#type == name).expect("a condition")
}

fn waiting(status: &ContainerStatus) -> &str {
    status.state.waiting.as_ref().map_or("", |waiting| waiting.reason.as_str())
}

#[test]
fn a_pod_that_runs_is_ready_and_has_its_addresses() {
    let status = World::default().status(&plain("Always"), vec![runs("main")]);
    assert_eq!(status.phase, PodPhase::Running);
    assert_eq!((status.pod_ip.as_str(), status.host_ip.as_str()), ("10.244.0.2", "192.0.2.1"));
    assert_eq!(status.qos_class, "BestEffort");
    assert_eq!(status.observed_generation, Some(2));
    for name in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(condition(&status, name).status, "True", "{name}");
    }
    let container = &status.container_statuses[0];
    assert!(container.ready && container.started == Some(true));
    assert_eq!(container.container_id, "docker://main-id");
}

#[test]
fn a_pod_has_not_ended_while_a_sidecar_of_it_runs() {
    let side = json!({"name": "side", "image": "i", "restartPolicy": "Always"});
    let pod = pod(json!({
        "restartPolicy": "Never", "initContainers": [side], "containers": [{"name": "main", "image": "a"}],
    }));
    let status = World::default().status(&pod, vec![runs("side"), exited("main", 0)]);
    assert_eq!(status.phase, PodPhase::Running);
    let status = World::default().status(&pod, vec![exited("side", 137), exited("main", 0)]);
    assert_eq!(status.phase, PodPhase::Succeeded);
}

#[test]
fn resources_in_force_are_told_until_new_ones_are() {
    let limits = json!({"cpu": "200m", "memory": "48Mi"});
    let pod = pod(json!({"containers": [{"name": "main", "image": "a", "resources": {"limits": limits}}]}));
    let told = |resources| {
        let record = ContainerRecord { resources, ..runs("main") };
        let status = World::default().status(&pod, vec![record]).container_statuses.remove(0);
        let limits = status.resources.expect("resources").limits;
        (limits["cpu"].to_string(), limits["memory"].to_string())
    };
    let has = |cpu_quota, memory| {
        Some(crate::runtime::Resources {
            cpu_shares: Some(204),
            cpu_quota: Some(cpu_quota),
            memory: Some(memory),
        })
    };
    assert_eq!(told(has(10_000, 32 << 20)), ("100m".to_owned(), "32Mi".to_owned()));
    assert_eq!(told(has(20_000, 48 << 20)), ("200m".to_owned(), "48Mi".to_owned()));
    assert_eq!(told(None), ("200m".to_owned(), "48Mi".to_owned()));
}

#[test]
fn the_phase_follows_the_exit_codes_and_the_restart_policy() {
    for (policy, code, phase) in [
        ("Always", 0, PodPhase::Running),
        ("Always", 1, PodPhase::Running),
        ("OnFailure", 0, PodPhase::Succeeded),
        ("OnFailure", 1, PodPhase::Running),
        ("Never", 0, PodPhase::Succeeded),
        ("Never", 1, PodPhase::Failed),
    ] {
        let status = World::default().status(&plain(policy), vec![exited("main", code)]);
        assert_eq!(status.phase, phase, "{policy} {code}");
    }
    let ending = World { ending: true, ..World::default() };
    assert_eq!(ending.status(&plain("Always"), vec![exited("main", 0)]).phase, PodPhase::Succeeded);
    assert_eq!(ending.status(&plain("Always"), vec![exited("main", 1)]).phase, PodPhase::Failed);
}

#[test]
fn ends_are_told_with_their_reason() {
    let terminated = |change: fn(&mut ContainerRecord), code| {
        let mut record = exited("main", code);
        change(&mut record);
        let status = World::default().status(&plain("Never"), vec![record]);
        let terminated = status.container_statuses[0].state.terminated.clone().expect("it has ended");
        (terminated.reason, terminated.exit_code)
    };
    assert_eq!(terminated(|_| {}, 0), ("Completed".to_owned(), 0));
    assert_eq!(terminated(|_| {}, 3), ("Error".to_owned(), 3));
    assert_eq!(terminated(|record| record.oom_killed = true, 137), ("OOMKilled".to_owned(), 137));
    let start_error: fn(&mut ContainerRecord) = |record| record.start_error = Some("no such file".to_owned());
    assert_eq!(terminated(start_error, 127), ("StartError".to_owned(), 128));
}

#[test]
fn a_crash_loop_waits_in_the_words_of_kubernetes() {
    let mut crashed = exited("main", 1);
    crashed.restart_count = 3;
    crashed.backoff = Duration::from_secs(80);
    let status = World::default().status(&plain("Always"), vec![crashed]);
    let container = &status.container_statuses[0];
    assert_eq!(waiting(container), "CrashLoopBackOff");
    assert_eq!(
        container.state.waiting.as_ref().map(|waiting| waiting.message.as_str()),
        Some("back-off 1m20s restarting failed container=main pod=web_default(u1)")
    );
    assert_eq!(container.last_state.terminated.as_ref().map(|ended| ended.exit_code), Some(1));
    assert_eq!(container.restart_count, 3);
    let ready = condition(&status, "Ready");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "ContainersNotReady"));
    assert_eq!(ready.message, "containers with unready status: [main]");
}

#[test]
fn what_a_container_waits_for_is_its_reason() {
    let status = World::default().status(&plain("Always"), vec![]);
    assert_eq!(waiting(&status.container_statuses[0]), "ContainerCreating");
    assert_eq!(status.phase, PodPhase::Pending);
    let problem = Problem { reason: "ErrImagePull", message: "no".into(), retry_at: None };
    let world = World { problems: [("main".to_owned(), problem)].into(), ..World::default() };
    let status = world.status(&plain("Always"), vec![]);
    assert_eq!(waiting(&status.container_statuses[0]), "ErrImagePull");
}

#[test]
fn init_containers_hold_the_pod_back() {
    let pod = pod(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "one", "image": "i"}],
        "containers": [{"name": "main", "image": "a"}],
    }));
    let status = World::default().status(&pod, vec![runs("one")]);
    assert_eq!(
        (status.phase, waiting(&status.container_statuses[0])),
        (PodPhase::Pending, "PodInitializing")
    );
    let initialized = condition(&status, "Initialized");
    assert_eq!(initialized.message, "containers with incomplete status: [one]");
    assert_eq!(World::default().status(&pod, vec![exited("one", 1)]).phase, PodPhase::Failed);
    let status = World::default().status(&pod, vec![runs("main"), exited("one", 0)]);
    assert_eq!(status.phase, PodPhase::Running);
    assert_eq!(condition(&status, "Initialized").status, "True");
}

#[test]
fn readiness_follows_the_probe_and_outlives_a_restart_of_the_kubelet() {
    let mut pod = plain("Always");
    pod.spec.containers[0].readiness_probe = Some(crate::pod::Probe::default());
    let is_ready = |pod: &Pod, ready: Option<bool>| {
        let state = ProbeState { ready, ..ProbeState::default() };
        let world = World { probes: [("main-id".to_owned(), state)].into(), ..World::default() };
        world.status(pod, vec![runs("main")]).container_statuses[0].ready
    };
    assert!(!is_ready(&pod, None));
    assert!(!is_ready(&pod, Some(false)));
    assert!(is_ready(&pod, Some(true)));
    pod.status.container_statuses = vec![ContainerStatus {
        name: "main".into(),
        container_id: "docker://main-id".into(),
        ready: true,
        started: Some(true),
        ..ContainerStatus::default()
    }];
    assert!(is_ready(&pod, None), "the last report holds until the probe has spoken");
    assert!(!is_ready(&pod, Some(false)));
}

#[test]
fn conditions_of_others_and_the_times_of_changes_are_kept() {
    let mut pod = plain("Always");
    pod.spec.readiness_gates =
        serde_json::from_value(json!([{"conditionType": "example.com/gate"}])).expect("a gate");
    let status = World::default().status(&pod, vec![runs("main")]);
    let ready = condition(&status, "Ready");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "ReadinessGatesNotReady"));
    let set = |name: &str, since| PodCondition {
        r#type: name.into(),
        status: "True".into(),
        last_transition_time: Some(Time(at(since))),
        ..PodCondition::default()
    };
    pod.status.conditions = vec![set("example.com/gate", -40), set("ContainersReady", -50)];
    let status = World::default().status(&pod, vec![runs("main")]);
    assert_eq!(condition(&status, "Ready").status, "True");
    assert_eq!(condition(&status, "Ready").last_transition_time, Some(Time(at(0))));
    assert_eq!(condition(&status, "ContainersReady").last_transition_time, Some(Time(at(-50))));
    assert_eq!(condition(&status, "example.com/gate").status, "True");
}

#[test]
fn durations_are_printed_as_go_prints_them() {
    for (seconds, text) in [(0, "0s"), (10, "10s"), (80, "1m20s"), (300, "5m0s"), (3661, "1h1m1s")] {
        assert_eq!(go_duration(seconds), text);
    }
}
