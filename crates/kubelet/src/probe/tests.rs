//! Thresholds, and the prober under paused time with a scripted runner.

use std::collections::VecDeque;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::actions::ProbeState;

fn probe(success: u32, failure: u32) -> Probe {
    Probe { success_threshold: success, failure_threshold: failure, period_seconds: 1, ..Probe::default() }
}

#[test]
fn a_result_needs_as_many_equal_verdicts_as_its_threshold() {
    let mut counter = Counter::default();
    let probe = probe(2, 3);
    let verdicts = [true, true, false, false, true, false, false, false, false, true, true];
    let results: Vec<_> = verdicts.into_iter().map(|passed| counter.count(&probe, passed)).collect();
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(results, [None, yes, None, None, None, None, None, no, no, None, yes]);
}

/// Answers by the first word of the command: `ok`, `bad`, or from the list where it is `script`.
#[derive(Default)]
struct Script(Mutex<VecDeque<Verdict>>);

impl run::Runner for Script {
    fn run<'a>(&'a self, _: &'a Watched, probe: &'a Probe) -> BoxFuture<'a, Verdict> {
        let word = probe.exec.as_ref().and_then(|exec| exec.command.first()).map_or("", String::as_str);
        let verdict = match word {
            "bad" => Verdict::Failure("no".to_owned()),
            "script" => self.0.lock().pop_front().unwrap_or(Verdict::Success),
            _ => Verdict::Success,
        };
        Box::pin(async { verdict })
    }
}

struct Heard {
    changes: mpsc::UnboundedSender<String>,
    failures: Mutex<Vec<String>>,
}

impl Listener for Heard {
    fn changed(&self, pod_uid: &str) {
        self.changes.send(pod_uid.to_owned()).expect("the test listens");
    }

    fn failed(&self, _: &Watched, kind: Kind, message: &str) {
        self.failures.lock().push(format!("{} {message}", kind.title()));
    }
}

fn watched(container: serde_json::Value) -> Watched {
    Watched {
        id: "c1".into(),
        pod_uid: "u1".into(),
        container: serde_json::from_value(container).expect("a container"),
        context: ProbeContext::default(),
        age: Duration::ZERO,
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_waits_for_startup_and_liveness_fails_after_its_threshold() {
    let script = [Verdict::Failure("no".to_owned()), Verdict::Success];
    let runner = Arc::new(Script(Mutex::new(script.into())));
    let (changes, mut heard) = mpsc::unbounded_channel();
    let listener = Arc::new(Heard { changes, failures: Mutex::default() });
    let shutdown = Shutdown::new();
    let prober = Prober::start(runner, listener.clone(), &shutdown);
    let each_second =
        |word: &str| json!({"exec": {"command": [word]}, "periodSeconds": 1, "failureThreshold": 3});
    prober.watch(watched(json!({
        "name": "c", "startupProbe": each_second("script"), "readinessProbe": each_second("ok"),
        "livenessProbe": each_second("bad"),
    })));
    let state = |prober: &Prober| prober.states(["c1"].into_iter()).get("c1").copied().unwrap_or_default();
    assert_eq!(heard.recv().await.as_deref(), Some("u1"));
    assert_eq!(state(&prober), ProbeState { started: Some(true), ready: None, alive: None });
    heard.recv().await.expect("readiness passes");
    heard.recv().await.expect("liveness fails three times");
    let now = state(&prober);
    assert_eq!((now.started, now.ready, now.alive), (Some(true), Some(true), Some(false)));
    assert_eq!(listener.failures.lock().first().map(String::as_str), Some("Startup no"));
    prober.forget("c1");
    assert!(!prober.knows("c1"));
    shutdown.trigger();
}

#[tokio::test(start_paused = true)]
async fn what_the_node_could_not_ask_changes_nothing() {
    let runner = Arc::new(Script(Mutex::new([Verdict::Unknown("down".into()), Verdict::Success].into())));
    let (changes, mut heard) = mpsc::unbounded_channel();
    let listener = Arc::new(Heard { changes, failures: Mutex::default() });
    let shutdown = Shutdown::new();
    let prober = Prober::start(runner, listener.clone(), &shutdown);
    prober.watch(watched(
        json!({"name": "c", "readinessProbe": {"exec": {"command": ["script"]}, "periodSeconds": 1}}),
    ));
    heard.recv().await.expect("the second verdict counts");
    assert!(listener.failures.lock().is_empty());
    shutdown.trigger();
}
