//! Pods on a runtime without containers, under paused time: what happens when, seen from the pod's status.

use std::collections::VecDeque;

use client::Informer;
use component::spawn;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::*;
use crate::pod::{ContainerStatus, PodPhase};
use crate::pods::folder::Folder;
use crate::pods::mirrored;
use crate::pressure::Guard;
use crate::pressure::images::CollectorConfig;
use crate::pressure::threshold::{Amount, Condition, EvictionConfig, Level, Levels, Signal, Threshold};
use crate::probe::run::RealRunner;
use crate::runtime::RuntimeEvent;
use crate::testing::FakeSignals;
use crate::testing::{FakeControlPlane, FakeRuntime, Life, Script, TokioClock};

mod debug;
mod pressure;
mod resize;
mod statics;

/// Longer than anything here takes; the time is not real.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);

/// A node with its apiserver; the kubelet on it may be started again.
struct World {
    runtime: FakeRuntime,
    signals: FakeSignals,
    cpu: &'static str,
    readiness: Arc<watch::Sender<Readiness>>,
    control: FakeControlPlane,
    clock: TokioClock,
    root: tempfile::TempDir,
    machine: Shutdown,
    kubelet: Shutdown,
}

impl World {
    fn start() -> Self {
        let clock = TokioClock::at("2026-11-24T00:00:00Z".parse().expect("a time"));
        let machine = Shutdown::new();
        let mut world = Self {
            runtime: FakeRuntime::new(Arc::new(clock), &machine),
            signals: FakeSignals::default(),
            cpu: "4",
            readiness: Arc::new(watch::Sender::new(Readiness::default())),
            control: FakeControlPlane::default(),
            clock,
            root: tempfile::tempdir().expect("a folder"),
            machine,
            kubelet: Shutdown::new(),
        };
        world.control.set_clock(clock);
        world.start_kubelet();
        world
    }

    /// Ends the kubelet and starts another one, which knows nothing.
    fn start_kubelet(&mut self) {
        self.kubelet.trigger();
        self.kubelet = Shutdown::new();
        let queue = WorkQueue::<String>::new();
        let wake = queue.clone();
        let store = Informer::<Pod>::new()
            .index(UID, |pod: &Pod| vec![pod.metadata.uid.clone()])
            .on_change(move |old, new| {
                for pod in [old, new].into_iter().flatten() {
                    wake.add(pod.metadata.uid.clone());
                    if let Some(of) = mirrored(pod) {
                        wake.add(of.to_owned());
                    }
                }
            })
            .spawn_from(self.control.source(), &self.kubelet);
        let pods = Pods::new(store.clone());
        let folder = Folder {
            path: self.root.path().join("manifests"),
            period: Duration::from_secs(20),
            node: "n1".to_owned(),
            pods: pods.clone(),
            queue: queue.clone(),
        };
        let runtime: Arc<dyn Runtime> = Arc::new(self.runtime.clone());
        let control: Arc<dyn ControlPlane> = Arc::new(self.control.clone());
        let listener =
            ProbeListener { queue: queue.clone(), pods: pods.clone(), control: Arc::clone(&control) };
        let runner = RealRunner { runtime: Arc::clone(&runtime) };
        let prober = Prober::start(Arc::new(runner), Arc::new(listener), &self.kubelet);
        let config = WorkerConfig {
            root: self.root.path().to_owned(),
            registry: RegistryConfig::default(),
            node: NodeFacts {
                ips: vec!["192.0.2.1".to_owned()],
                allocatable: serde_json::from_value(json!({"cpu": self.cpu, "memory": "4Gi"}))
                    .expect("amounts"),
            },
            node_memory: 1 << 30,
            node_resources: Resources::default(),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            parallel_pulls: Some(1),
            // A mount would outlive the test.
            secrets_in_memory: false,
            allowed_unsafe_sysctls: Vec::new(),
        };
        let dependencies = Dependencies {
            runtime: Arc::clone(&runtime),
            control,
            pods: pods.clone(),
            node: watch::channel(None).1,
            pressure: self.readiness.subscribe(),
            clock: Arc::new(self.clock),
            shutdown: self.kubelet.clone(),
        };
        let stop = self.kubelet.clone();
        let guard = self.guard(&runtime, &pods);
        let kubelet = self.kubelet.clone();
        spawn(&self.kubelet, "runtime-events", async move {
            store.wait_synced().await;
            folder.start(&kubelet).await;
            let workers = Workers::start(config, dependencies, queue.clone(), prober);
            guard(workers.clone()).start(&kubelet);
            let mut events = runtime.events();
            loop {
                let event = tokio::select! {
                    () = stop.triggered() => return,
                    event = events.next() => event,
                };
                match event {
                    Some(Ok(RuntimeEvent::Connected)) => workers.sweep().await.expect("it answers"),
                    Some(Ok(RuntimeEvent::PodChanged { uid })) => queue.add(uid),
                    Some(Err(_)) | None => return,
                }
            }
        });
    }

    fn guard(&self, runtime: &Arc<dyn Runtime>, pods: &Pods) -> impl FnOnce(Workers) -> Guard + use<> {
        let least = |signal, least| Threshold { signal, least, grace: None, reclaim: None };
        let (signals, readiness) = (Arc::new(self.signals.clone()), Arc::clone(&self.readiness));
        let (clock, root) = (self.clock, self.root.path().to_owned());
        let (runtime, pods) = (Arc::clone(runtime), pods.clone());
        move |workers| Guard {
            eviction: EvictionConfig {
                thresholds: vec![
                    least(Signal::Memory, Amount::Value(100 << 20)),
                    least(Signal::NodeFs, Amount::Part(0.1)),
                ],
                transition: Duration::from_secs(300),
                max_pod_grace: Duration::ZERO,
            },
            collector: CollectorConfig {
                high: 85,
                low: 80,
                min_age: Duration::from_secs(120),
                max_age: None,
            },
            signals,
            runtime,
            pods,
            workers,
            readiness,
            clock: Arc::new(clock),
            root,
        }
    }

    fn pressure(&self) -> std::collections::BTreeSet<Condition> {
        self.readiness.borrow().pressure.clone()
    }

    fn create(&self, uid: &str, spec: Value) {
        let metadata = json!({"name": "web", "namespace": "default", "uid": uid});
        self.control.put(json!({"metadata": metadata, "spec": spec}));
    }

    /// Waits for a state of the pod `web`, and says after how many seconds since the start it was there.
    #[track_caller]
    fn until(&self, what: impl Fn(Option<&Pod>) -> bool) -> impl Future<Output = u64> {
        let place = std::panic::Location::caller();
        async move {
            let mut changes = self.control.changes();
            let wait = changes.wait_for(|_| what(self.control.pod("web").as_ref()));
            if tokio::time::timeout(PATIENCE, wait).await.is_err() {
                panic!("{place}: it stays {:#?}", self.control.pod("web").map(|pod| pod.status));
            }
            self.clock.elapsed().as_secs()
        }
    }

    /// Waits for a state of the pod's first container.
    #[track_caller]
    fn until_main(&self, what: impl Fn(&ContainerStatus) -> bool) -> impl Future<Output = u64> {
        self.until(move |pod| pod.and_then(|pod| pod.status.container_statuses.first()).is_some_and(&what))
    }

    #[track_caller]
    fn until_phase(&self, phase: PodPhase) -> impl Future<Output = u64> {
        self.until(move |pod| pod.is_some_and(|pod| pod.status.phase == phase))
    }

    fn status(&self) -> PodStatus {
        self.control.pod("web").expect("the pod is there").status
    }

    fn count(calls: &[String], start: &str) -> usize {
        calls.iter().filter(|call| call.starts_with(start)).count()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kubelet.trigger();
        self.machine.trigger();
    }
}

fn spec(policy: &str, more: Value) -> Value {
    let mut container =
        json!({"name": "main", "image": "app:1", "terminationMessagePath": "/dev/termination-log"});
    for (key, value) in more.as_object().into_iter().flatten() {
        container[key] = value.clone();
    }
    json!({"restartPolicy": policy, "containers": [container]})
}

fn is_ready(status: &ContainerStatus) -> bool {
    status.ready && status.state.running.is_some()
}

fn waits_for(reason: &'static str) -> impl Fn(&ContainerStatus) -> bool {
    move |status| status.state.waiting.as_ref().is_some_and(|waiting| waiting.reason == reason)
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_started_and_gets_an_address() {
    let world = World::start();
    let slow =
        Script { pull_time: Duration::from_secs(7), start_time: Duration::from_secs(3), ..Script::default() };
    world.runtime.script("app:1", slow);
    world.create("u1", spec("Always", json!({})));
    world.until_main(waits_for("ContainerCreating")).await;
    assert_eq!(world.until_main(is_ready).await, 10, "the pull and the start take their time");
    let status = world.status();
    assert_eq!(status.phase, PodPhase::Running);
    assert!(status.pod_ip.starts_with("10.244."), "{}", status.pod_ip);
    assert_eq!(world.runtime.take_calls(), ["sandbox web#0", "pull app:1", "create main#0", "start main#0"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_again_and_again_waits_twice_as_long_each_time() {
    let world = World::start();
    world.runtime.script("app:1", Script::exits(Duration::from_secs(1), 3));
    world.create("u1", spec("Always", json!({})));
    let mut starts = Vec::new();
    for restarts in 0..9 {
        let runs = move |status: &ContainerStatus| status.restart_count == restarts && is_ready(status);
        starts.push(world.until_main(runs).await);
    }
    let waits: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0] - 1).collect();
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    world.until_main(waits_for("CrashLoopBackOff")).await;
    // Ten good minutes, and the waiting begins anew.
    let good = Life::Exits { after: Duration::from_secs(700), code: 3 };
    let bad = Life::Exits { after: Duration::from_secs(1), code: 3 };
    world.runtime.change("app:1", |script| script.lives = VecDeque::from([good, bad]));
    let nth = |count| move |status: &ContainerStatus| status.restart_count == count && is_ready(status);
    let ran = world.until_main(nth(9)).await;
    let again = world.until_main(nth(10)).await;
    assert_eq!(again - ran, 700, "what ran well is started again at once");
    let after = world.until_main(nth(11)).await;
    assert_eq!(after - again, 1 + 10);
}

#[tokio::test(start_paused = true)]
async fn exit_codes_and_the_restart_policy_decide_how_a_pod_ends() {
    for (policy, code, phase) in [
        ("Never", 0, PodPhase::Succeeded),
        ("Never", 1, PodPhase::Failed),
        ("OnFailure", 0, PodPhase::Succeeded),
    ] {
        let world = World::start();
        world.runtime.script("app:1", Script::exits(Duration::from_secs(5), code));
        world.create("u1", spec(policy, json!({})));
        world.until_phase(phase).await;
        let status = world.status();
        let ended = status.container_statuses[0].state.terminated.clone().expect("it has ended");
        assert_eq!(ended.exit_code, code, "{policy}");
        assert_eq!(World::count(&world.runtime.take_calls(), "start"), 1, "{policy}");
    }
    let world = World::start();
    let lives = [1, 0].map(|code| Life::Exits { after: Duration::from_secs(1), code });
    world.runtime.script("app:1", Script { lives: lives.into(), ..Script::default() });
    world.create("u1", spec("OnFailure", json!({})));
    world.until_phase(PodPhase::Succeeded).await;
    assert_eq!(world.status().container_statuses[0].restart_count, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_pull_is_told_and_tried_again_later_and_later() {
    let world = World::start();
    let errors = ["no such image"; 3].map(str::to_owned).into();
    world.runtime.script("app:1", Script { pull_errors: errors, ..Script::default() });
    world.create("u1", spec("Always", json!({})));
    world.until_main(waits_for("ErrImagePull")).await;
    let told = world.until_main(waits_for("ImagePullBackOff")).await;
    assert_eq!(told, 2, "a failure is called by its own name for a moment");
    assert_eq!(world.status().phase, PodPhase::Pending);
    assert_eq!(world.until_main(is_ready).await, 10 + 20 + 40);
    let events = world.control.take_events();
    let failed = "Failed: Failed to pull image \"app:1\": no such image";
    assert_eq!(events.iter().filter(|event| *event == failed).count(), 3, "{events:#?}");
    assert!(events.iter().any(|event| event == "BackOff: Back-off pulling image \"app:1\""), "{events:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_deleted_gets_its_grace_and_then_is_killed() {
    // A container that listens; one that does not; one that is given less than it asked for.
    for (stop_time, grace, takes, killed) in
        [(Some(4), 30, 4, false), (None, 30, 30, true), (None, 5, 5, true)]
    {
        let world = World::start();
        let stop_time = stop_time.map(Duration::from_secs);
        world.runtime.script("app:1", Script { stop_time, ..Script::default() });
        world.create("u1", spec("Always", json!({})));
        let ran = world.until_main(is_ready).await;
        world.control.delete("web", component::Clock::now(&world.clock), grace);
        let gone = world.until(|pod| pod.is_none()).await;
        assert_eq!(gone - ran, takes, "{stop_time:?} {grace}");
        let calls = world.runtime.take_calls();
        assert_eq!((World::count(&calls, "stop"), World::count(&calls, "kill")), (1, killed.into()));
        assert!(world.runtime.pods().is_empty(), "nothing is left in the runtime");
        let folder = world.root.path().join("pods/u1");
        assert!(!folder.exists(), "nor on the disk");
    }
}

#[tokio::test(start_paused = true)]
async fn a_liveness_probe_that_fails_restarts_the_container() {
    let world = World::start();
    let probe = json!({"exec": {"command": ["alive"]}, "periodSeconds": 5, "failureThreshold": 3});
    world.create("u1", spec("Always", json!({"livenessProbe": probe})));
    let ran = world.until_main(is_ready).await;
    world.runtime.change("app:1", |script| script.exec_code = 1);
    // The first restart comes at once: that nothing runs in between may be seen or not.
    world.until_main(|status| status.restart_count == 1).await;
    world.runtime.change("app:1", |script| script.exec_code = 0);
    let again = world.until_main(|status| status.restart_count == 1 && is_ready(status)).await;
    assert!((10..=25).contains(&(again - ran)), "three periods of five seconds: {}", again - ran);
    let events = world.control.take_events();
    let killing = "Killing: Container main failed liveness probe, will be restarted";
    assert!(events.iter().any(|event| event == killing), "{events:#?}");
    assert!(events.iter().any(|event| event == "Unhealthy: Liveness probe failed: said the command"));
}

#[tokio::test(start_paused = true)]
async fn readiness_comes_and_goes_without_a_restart() {
    let world = World::start();
    world.runtime.script("app:1", Script { exec_code: 1, ..Script::default() });
    let probe = json!({"exec": {"command": ["ready"]}, "periodSeconds": 5, "failureThreshold": 1});
    world.create("u1", spec("Always", json!({"readinessProbe": probe})));
    world.until_main(|status| status.state.running.is_some() && !status.ready).await;
    let is = |value: &'static str| {
        move |pod: Option<&Pod>| {
            let mut conditions = pod.into_iter().flat_map(|pod| &pod.status.conditions);
            conditions.any(|condition| condition.r#type == "Ready" && condition.status == value)
        }
    };
    world.until(is("False")).await;
    world.runtime.change("app:1", |script| script.exec_code = 0);
    world.until(is("True")).await;
    world.runtime.change("app:1", |script| script.exec_code = 1);
    world.until(is("False")).await;
    assert_eq!(world.status().container_statuses[0].restart_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_kubelet_that_is_started_again_disturbs_nothing_and_misses_nothing() {
    let mut world = World::start();
    let probe = json!({"exec": {"command": ["ready"]}, "periodSeconds": 5});
    world.create("u1", spec("Always", json!({"readinessProbe": probe})));
    world.until_main(is_ready).await;
    let before = world.status();
    world.runtime.take_calls();
    world.start_kubelet();
    // Long enough for every probe and every look.
    let later = tokio::time::timeout(Duration::from_secs(60), world.until_main(|status| !status.ready)).await;
    assert!(later.is_err(), "it was ready all the time");
    assert_eq!(world.runtime.take_calls(), [""; 0]);
    assert_eq!(world.status(), before);
    // What ends while nobody looks is seen by the next one, and the waits go on where they were.
    world.runtime.script("app:1", Script::exits(Duration::from_secs(1), 1));
    world.control.remove("web");
    world.until(|pod| pod.is_none()).await;
    world.create("u2", spec("Always", json!({})));
    world.until_main(|status| status.restart_count == 2 && is_ready(status)).await;
    let ended = world.until_main(waits_for("CrashLoopBackOff")).await;
    world.start_kubelet();
    let again = world.until_main(|status| status.restart_count == 3 && is_ready(status)).await;
    assert_eq!(again - ended, 20, "the back-off is remembered by the container");
}

#[tokio::test(start_paused = true)]
async fn a_pod_made_anew_under_the_same_name_is_another_pod() {
    let world = World::start();
    world.runtime.script("app:1", Script { stop_time: None, ..Script::default() });
    world.create("u1", spec("Always", json!({})));
    world.until_main(is_ready).await;
    let first = world.status();
    // Forced: the object goes at once, while its container has all its grace before it.
    world.control.remove("web");
    world.create("u2", spec("Always", json!({})));
    world.until_main(is_ready).await;
    let second = world.status();
    assert_ne!(first.container_statuses[0].container_id, second.container_statuses[0].container_id);
    assert_eq!(second.container_statuses[0].restart_count, 0);
    let u2_only = async {
        let mut events = world.runtime.events();
        while world.runtime.pods().iter().any(|pod| pod.uid == "u1") {
            events.next().await.expect("the runtime lives").expect("it tells");
        }
    };
    tokio::time::timeout(PATIENCE, u2_only).await.expect("the first pod goes in the end");
    assert_eq!(world.status(), second, "and the second one does not notice");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_long_before_it_dies_and_a_config_map_is_followed() {
    let world = World::start();
    world.control.put_config_map("settings", &[("color", "red")]);
    let mut spec = spec("Always", json!({}));
    spec["serviceAccountName"] = json!("robot");
    spec["volumes"] = json!([{"name": "v", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": "settings"}},
    ]}}]);
    world.create("u1", spec);
    world.until_main(is_ready).await;
    let folder = world.root.path().join("pods/u1/volumes/kubernetes.io~projected/v");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
    assert_eq!((read("token"), read("color")), ("robot-1".to_owned(), "red".to_owned()));
    let bound = &world.control.token_requests()[0]["spec"]["boundObjectRef"];
    assert_eq!(bound, &json!({"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u1"}));
    world.control.put_config_map("settings", &[("color", "blue")]);
    pass(90).await;
    assert_eq!((read("token"), read("color")), ("robot-1".to_owned(), "blue".to_owned()));
    pass(3600 - 90 - 600).await;
    assert_eq!(read("token"), "robot-2");
    assert_eq!(world.control.token_requests().len(), 2, "each is asked for once");
}

/// Lets that many seconds pass, in which the kubelet does what it does.
async fn pass(seconds: u64) {
    let _over = tokio::time::timeout(Duration::from_secs(seconds), std::future::pending::<()>()).await;
}

fn ended_with(policy: &'static str, file: &[u8], log: &'static [u8], code: i32) -> (World, Value) {
    let world = World::start();
    let script =
        Script { last_words: file.to_vec(), log: log.into(), ..Script::exits(Duration::from_secs(1), code) };
    world.runtime.script("app:1", script);
    (world, spec("Never", json!({"terminationMessagePolicy": policy})))
}

#[tokio::test(start_paused = true)]
async fn last_words_come_from_the_file_or_else_from_the_log() {
    let fallback = "FallbackToLogsOnError";
    for (policy, file, log, code, said) in [
        ("File", &b"bye"[..], &b"line\n"[..], 1, "bye"),
        ("File", b"", b"line\n", 1, ""),
        (fallback, b"bye", b"line\n", 1, "bye"),
        (fallback, b"", b"line\nlast\n", 1, "line\nlast\n"),
        (fallback, b"", b"line\n", 0, ""),
    ] {
        let (world, spec) = ended_with(policy, file, log, code);
        world.create("u1", spec);
        world.until_phase(if code == 0 { PodPhase::Succeeded } else { PodPhase::Failed }).await;
        let ended = world.status().container_statuses[0].state.terminated.clone().expect("it has ended");
        assert_eq!(ended.message, said, "{policy} {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_end_of_long_last_words_is_told() {
    let file = [vec![b'a'; 5000], vec![b'b'; 4000]].concat();
    let (world, spec) = ended_with("File", &file, b"", 1);
    world.create("u1", spec);
    world.until_phase(PodPhase::Failed).await;
    let ended = world.status().container_statuses[0].state.terminated.clone().expect("it has ended");
    assert_eq!(ended.message, [vec!["a"; 96], vec!["b"; 4000]].concat().concat());
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_sleeps_holds_back_the_stop_signal() {
    let world = World::start();
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 7}}}});
    world.create("u1", spec("Always", hook));
    let ran = world.until_main(is_ready).await;
    world.control.delete("web", component::Clock::now(&world.clock), 30);
    let gone = world.until(|pod| pod.is_none()).await;
    assert_eq!(gone - ran, 7);
}

#[tokio::test(start_paused = true)]
async fn a_hook_of_a_kind_that_is_not_served_fails() {
    let world = World::start();
    let hook = json!({"lifecycle": {
        "postStart": {"tcpSocket": {"port": 80}}, "preStop": {"tcpSocket": {"port": 80}},
    }});
    world.create("u1", spec("Never", hook));
    world.until_phase(PodPhase::Failed).await;
    let events = world.control.take_events();
    let failed = "FailedPostStartHook: PostStartHook failed: invalid handler: only exec, httpGet and sleep are supported";
    assert!(events.iter().any(|event| event == failed), "{events:#?}");
    assert_eq!(World::count(&world.runtime.take_calls(), "stop main"), 1, "it gets its grace");
}

#[tokio::test(start_paused = true)]
async fn a_claim_leads_to_a_folder_that_goes_when_its_volume_is_gone() {
    let mut world = World::start();
    let mut spec = spec("Always", json!({}));
    spec["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    world.control.put_claim(json!({"metadata": {"name": "data", "uid": "c1"}}), None);
    world.create("u1", spec);
    pass(5).await;
    let events = world.control.take_events();
    let expected = "FailedMount: MountVolume.SetUp failed for volume \"v\" : error processing PVC \
                    default/data: PVC is not bound";
    assert!(events.iter().any(|event| event == expected), "{events:?}");
    let folder = world.root.path().join("local-volumes/pvc-c1");
    let bind = |world: &World, policy: &str| {
        let made_by = json!({"pv.kubernetes.io/provisioned-by": "coxswain.io/node-local"});
        world.control.put_claim(
            json!({"metadata": {"name": "data", "uid": "c1"}, "spec": {"volumeName": "pvc-c1"},
                "status": {"phase": "Bound"}}),
            Some(json!({
                "metadata": {"name": "pvc-c1", "annotations": made_by},
                "spec": {"local": {"path": folder}, "claimRef": {"uid": "c1"},
                    "persistentVolumeReclaimPolicy": policy},
            })),
        );
    };
    bind(&world, "Delete");
    world.until_main(is_ready).await;
    std::fs::write(folder.join("file"), "kept").expect("the volume is there");
    world.control.remove("web");
    pass(120).await;
    let look = async |world: &mut World| {
        // A kubelet that starts looks at everything.
        world.start_kubelet();
        pass(120).await;
        folder.join("file").exists()
    };
    assert!(look(&mut world).await, "the volume outlives the pod");
    bind(&world, "Retain");
    assert!(look(&mut world).await);
    world.control.remove_claim("data");
    assert!(look(&mut world).await, "what is retained outlives the volume");
    bind(&world, "Delete");
    assert!(look(&mut world).await);
    world.control.remove_claim("data");
    assert!(!look(&mut world).await, "and what is not does not");
}
