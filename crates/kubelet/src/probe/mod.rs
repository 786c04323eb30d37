//! Probes of running containers: one task with one timer queue for all of them.
//!
//! ```text
//! workers: watch(container) / forget(container) -> Prober -> timer queue -> run (bounded) -> count -> ProbeStates
//!                                                                                    -> wake the pod on a change
//! ```
//! Thresholds are counted by [`Counter`], which is pure; what a probe does is in [`run`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use component::{Shutdown, spawn};
use futures_util::StreamExt as _;
use parking_lot::RwLock;
use tokio::sync::mpsc;
use tokio_util::time::DelayQueue;

use crate::actions::ProbeStates;
use crate::pod::{Container, Probe};

pub mod grpc;
mod insecure;
pub mod run;

use run::{ProbeContext, Verdict};

/// Which of a container's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Until it has passed, the others rest.
    Startup,
    /// Whether the container shall get requests.
    Readiness,
    /// Whether the container lives.
    Liveness,
}

impl Kind {
    /// As events say it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// Counts verdicts against the thresholds of a probe. Pure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    last: Option<bool>,
    run: u32,
}

impl Counter {
    /// Takes a verdict; says the result where a threshold has been reached.
    pub fn count(&mut self, probe: &Probe, passed: bool) -> Option<bool> {
        if self.last == Some(passed) {
            self.run += 1;
        } else {
            (self.last, self.run) = (Some(passed), 1);
        }
        let threshold = if passed { probe.success_threshold() } else { probe.failure_threshold() };
        (self.run >= threshold).then_some(passed)
    }
}

/// A container whose probes are wanted.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Of the runtime.
    pub id: String,
    /// The uid of its pod.
    pub pod_uid: String,
    /// Its spec.
    pub container: Container,
    /// How it is reached.
    pub context: ProbeContext,
    /// How long it has been running.
    pub age: Duration,
}

/// Told of what probes find.
pub trait Listener: Send + Sync + 'static {
    /// The state of a container of this pod is another one now.
    fn changed(&self, pod_uid: &str);
    /// A probe failed; for the event.
    fn failed(&self, watched: &Watched, kind: Kind, message: &str);
}

/// Runs the probes of all containers. Clones share everything.
#[derive(Debug, Clone)]
pub struct Prober {
    states: Arc<RwLock<ProbeStates>>,
    sender: mpsc::UnboundedSender<Message>,
}

#[derive(Debug)]
enum Message {
    Watch(Box<Watched>),
    Forget(String),
    Result { id: String, kind: Kind, verdict: Verdict },
}

impl Prober {
    /// Starts the task.
    pub fn start(runner: Arc<dyn run::Runner>, listener: Arc<dyn Listener>, shutdown: &Shutdown) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let states = Arc::new(RwLock::new(ProbeStates::new()));
        let task = Task {
            states: Arc::clone(&states),
            containers: HashMap::new(),
            timers: DelayQueue::new(),
            sender: sender.clone(),
            runner,
            listener,
            shutdown: shutdown.clone(),
        };
        spawn(shutdown, "prober", task.run(receiver));
        Self { states, sender }
    }

    /// What the probes of these containers have found.
    pub fn states<'a>(&self, ids: impl Iterator<Item = &'a str>) -> ProbeStates {
        let states = self.states.read();
        ids.filter_map(|id| Some((id.to_owned(), *states.get(id)?))).collect()
    }

    /// Starts the probes of a container, if they do not run already.
    pub fn watch(&self, watched: Watched) {
        let _ends_with_the_daemon = self.sender.send(Message::Watch(Box::new(watched)));
    }

    /// Ends the probes of a container and forgets what they found.
    pub fn forget(&self, id: &str) {
        if self.states.write().remove(id).is_some() {
            let _ends_with_the_daemon = self.sender.send(Message::Forget(id.to_owned()));
        }
    }

    /// Whether the probes of a container run.
    pub fn knows(&self, id: &str) -> bool {
        self.states.read().contains_key(id)
    }
}

struct Task {
    states: Arc<RwLock<ProbeStates>>,
    containers: HashMap<String, Entry>,
    timers: DelayQueue<(String, Kind)>,
    sender: mpsc::UnboundedSender<Message>,
    runner: Arc<dyn run::Runner>,
    listener: Arc<dyn Listener>,
    shutdown: Shutdown,
}

struct Entry {
    watched: Arc<Watched>,
    counters: BTreeMap<Kind, Counter>,
}

impl Task {
    async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<Message>) {
        let shutdown = self.shutdown.clone();
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                message = receiver.recv() => match message {
                    Some(message) => self.handle(message),
                    None => return,
                },
                Some(expired) = self.timers.next(), if !self.timers.is_empty() => {
                    let (id, kind) = expired.into_inner();
                    self.due(id, kind);
                }
            }
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Watch(watched) => self.watch(*watched),
            Message::Forget(id) => {
                self.containers.remove(&id);
            }
            Message::Result { id, kind, verdict } => self.result(id, kind, verdict),
        }
    }

    fn watch(&mut self, watched: Watched) {
        let id = watched.id.clone();
        if self.containers.contains_key(&id) {
            return;
        }
        self.states.write().entry(id.clone()).or_default();
        for kind in [Kind::Startup, Kind::Readiness, Kind::Liveness] {
            let Some(probe) = kind.of(&watched.container) else { continue };
            let initial = Duration::from_secs(probe.initial_delay_seconds.into());
            self.timers.insert((id.clone(), kind), initial.saturating_sub(watched.age));
        }
        self.containers.insert(id, Entry { watched: Arc::new(watched), counters: BTreeMap::new() });
    }

    /// A probe's time has come.
    fn due(&mut self, id: String, kind: Kind) {
        let Some(entry) = self.containers.get(&id) else { return };
        let Some(probe) = kind.of(&entry.watched.container) else { return };
        let started = self.states.read().get(&id).and_then(|state| state.started) == Some(true);
        let has_startup = entry.watched.container.startup_probe.is_some();
        match kind {
            // A startup probe that has passed has done its work.
            Kind::Startup if started => return,
            Kind::Readiness | Kind::Liveness if has_startup && !started => {
                let period = Duration::from_secs(probe.period_seconds().into());
                self.timers.insert((id, kind), period);
                return;
            }
            Kind::Startup | Kind::Readiness | Kind::Liveness => {}
        }
        let (runner, sender, watched) =
            (Arc::clone(&self.runner), self.sender.clone(), Arc::clone(&entry.watched));
        let probe = probe.clone();
        spawn(&self.shutdown, "probe", async move {
            let verdict = runner.run(&watched, &probe).await;
            let _ends_with_the_daemon = sender.send(Message::Result { id, kind, verdict });
        });
    }

    fn result(&mut self, id: String, kind: Kind, verdict: Verdict) {
        let Some(entry) = self.containers.get_mut(&id) else { return };
        let watched = Arc::clone(&entry.watched);
        let Some(probe) = kind.of(&watched.container) else { return };
        let period = Duration::from_secs(probe.period_seconds().into());
        self.timers.insert((id.clone(), kind), period);
        let passed = match &verdict {
            Verdict::Success => true,
            Verdict::Failure(message) => {
                self.listener.failed(&watched, kind, message);
                false
            }
            // The node could not ask: that says nothing about the container.
            Verdict::Unknown(_) => return,
        };
        let Some(result) = entry.counters.entry(kind).or_default().count(probe, passed) else { return };
        let mut states = self.states.write();
        let Some(state) = states.get_mut(&id) else { return };
        let field = match kind {
            Kind::Startup => &mut state.started,
            Kind::Readiness => &mut state.ready,
            Kind::Liveness => &mut state.alive,
        };
        if *field != Some(result) {
            *field = Some(result);
            drop(states);
            self.listener.changed(&watched.pod_uid);
        }
    }
}

#[cfg(test)]
mod tests;
