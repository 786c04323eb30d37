//! The scheduler in its surroundings: informers bring events, one task decides, two tasks carry out.
//!
//! ```text
//! informers -> events -> decide (owns State) -> bindings -> bind: many in one call, answers come back as events
//!                                            -> failures -> tell: condition, event, preemption
//! ```

mod volumes;

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use api::time::Time;
use client::{
    Binding, Client, ClientError, DeleteOptions, EventRecorder, EventType, Informer, ObjectReference,
    PatchType,
};
use component::{ErrorChain, SharedClock, Shutdown, spawn};

use crate::Config;
use crate::metrics::Metrics;
use crate::objects::{Node, Pod};
use crate::schedule::preemption::Preemption;
use crate::state::{Decision, Event, State};
use volumes::{Preparer, ToPrepare, watch_storage};

/// The most bindings in one call.
const BINDINGS: usize = 512;
/// The most pods that are told of at the same time.
const TOLD_AT_ONCE: usize = 32;
/// After so many decisions in a row other tasks get their turn.
const DECISIONS: usize = 64;

/// A pod to be bound.
struct Assigned {
    pod: Arc<Pod>,
    node: String,
}

/// A pod that fits nowhere.
struct Failed {
    pod: Arc<Pod>,
    message: String,
    preemption: Option<Preemption>,
}

/// Starts the scheduler. Returns once it works; it ends with the daemon's shutdown.
pub async fn run(config: Config, daemon: component::Context) -> Result<(), ClientError> {
    let ready = daemon.health.register("informers");
    let client = Client::connect(&config.kubeconfig)?.with_field_manager("kube-scheduler");
    let shutdown = daemon.shutdown.clone();
    let recorder = EventRecorder::start(&client, "default-scheduler", "", daemon.clock.clone(), &shutdown);
    let (events, incoming) = mpsc::unbounded_channel();

    let sender = events.clone();
    let nodes = Informer::<Node>::new()
        .on_change(move |old, new| drop(sender.send(Event::Node(old.cloned(), new.cloned()))))
        .spawn(&client.api(), &shutdown);
    let sender = events.clone();
    let pods = Informer::<Pod>::new()
        .on_change(move |old, new| drop(sender.send(Event::Pod(old.cloned(), new.cloned()))))
        .spawn(&client.api(), &shutdown);
    let waits: [std::pin::Pin<Box<dyn Future<Output = ()> + Send>>; 2] = [
        Box::pin(async move { nodes.wait_synced().await }),
        Box::pin(async move { pods.wait_synced().await }),
    ];
    if !client::informer::wait_all_synced(waits, &shutdown).await {
        return Ok(());
    }
    if !watch_storage(&client, &events, &shutdown).await {
        return Ok(());
    }

    let (bindings, assigned) = mpsc::unbounded_channel();
    let (failures, failed) = mpsc::unbounded_channel();
    let (volumes, wanted) = mpsc::unbounded_channel();
    let preparer = Preparer { client: client.clone(), events: events.clone() };
    spawn(&shutdown, "prepare-volumes", preparer.run(wanted));
    let binder = Binder { client: client.clone(), recorder: recorder.clone(), events };
    spawn(&shutdown, "bind", binder.run(assigned));
    let teller = Teller { client, recorder, clock: daemon.clock };
    spawn(&shutdown, "tell", teller.run(failed));
    let decider =
        Decider { incoming, bindings, volumes, failures, metrics: Metrics::register(&daemon.metrics) };
    spawn(&shutdown, "decide", decider.run(shutdown.clone()));
    ready.ok();
    info!("scheduler works");
    Ok(())
}

struct Decider {
    incoming: UnboundedReceiver<Event>,
    bindings: UnboundedSender<Assigned>,
    volumes: UnboundedSender<ToPrepare>,
    failures: UnboundedSender<Failed>,
    metrics: Metrics,
}

impl Decider {
    async fn run(mut self, shutdown: Shutdown) {
        let mut state = State::new();
        let mut decisions = 0;
        loop {
            // All that has happened counts before anything is decided.
            let now = Instant::now();
            while let Ok(event) = self.incoming.try_recv() {
                state.handle(event, now);
            }
            if let Some(decision) = state.step(now) {
                self.carry_out(decision);
                decisions += 1;
                if decisions % DECISIONS == 0 {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            self.metrics.waiting(state.queue());
            let next = state.next_at();
            tokio::select! {
                () = shutdown.triggered() => return,
                event = self.incoming.recv() => match event {
                    Some(event) => state.handle(event, Instant::now()),
                    None => return,
                },
                () = sleep_until(next) => {}
            }
        }
    }

    fn carry_out(&self, decision: Decision) {
        match decision {
            Decision::Bind { pod, node } => {
                self.metrics.attempted(true);
                debug!(pod = %pod.metadata.namespaced_name(), %node, "assigned");
                drop(self.bindings.send(Assigned { pod, node }));
            }
            Decision::Prepare { pod, node, wanted } => {
                debug!(pod = %pod.metadata.namespaced_name(), %node, "assigned, but for its volumes");
                drop(self.volumes.send(ToPrepare { pod, node, wanted }));
            }
            Decision::Unschedulable { pod, error, is_news, preemption } => {
                self.metrics.attempted(false);
                if is_news || preemption.is_some() {
                    let message = error.to_string();
                    debug!(pod = %pod.metadata.namespaced_name(), %message, "fits nowhere");
                    drop(self.failures.send(Failed { pod, message, preemption }));
                }
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

struct Binder {
    client: Client,
    recorder: EventRecorder,
    events: UnboundedSender<Event>,
}

impl Binder {
    /// Binds all that has been assigned while the last call was under way.
    async fn run(self, mut assigned: UnboundedReceiver<Assigned>) {
        let mut batch = Vec::new();
        while assigned.recv_many(&mut batch, BINDINGS).await > 0 {
            let bindings = batch.iter().map(|Assigned { pod, node }| Binding {
                namespace: pod.metadata.namespace.clone(),
                pod: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
                node: node.clone(),
            });
            let results = match self.client.bind(bindings.collect()).await {
                Ok(results) => results,
                Err(error) => {
                    warn!(pods = batch.len(), error = %ErrorChain(&error), "bind pods");
                    let status = error.to_status();
                    batch.iter().map(|_| Err(ClientError::from(status.clone()))).collect()
                }
            };
            for (Assigned { pod, node }, result) in batch.drain(..).zip(results) {
                self.told(&pod, &node, &result);
                drop(self.events.send(Event::Answered { uid: pod.metadata.uid.clone(), result }));
            }
        }
    }

    fn told(&self, pod: &Pod, node: &str, result: &Result<(), ClientError>) {
        let name = pod.metadata.namespaced_name();
        match result {
            Ok(()) => {
                let message = format!("Successfully assigned {name} to {node}");
                self.recorder.event(&ObjectReference::of(pod), EventType::Normal, "Scheduled", message);
            }
            Err(error) if error.is_not_found() || error.is_conflict() => {
                debug!(pod = %name, %node, error = %ErrorChain(error), "not bound");
            }
            Err(error) => {
                warn!(pod = %name, %node, error = %ErrorChain(error), "not bound");
                let message = format!("binding rejected: {}", error.to_status());
                self.recorder.event(
                    &ObjectReference::of(pod),
                    EventType::Warning,
                    "FailedScheduling",
                    message,
                );
            }
        }
    }
}

struct Teller {
    client: Client,
    recorder: EventRecorder,
    clock: SharedClock,
}

impl Teller {
    async fn run(self, mut failed: UnboundedReceiver<Failed>) {
        let mut batch = Vec::new();
        while failed.recv_many(&mut batch, TOLD_AT_ONCE).await > 0 {
            join_all(batch.drain(..).map(|failed| self.tell(failed))).await;
        }
    }

    async fn tell(&self, failed: Failed) {
        let Failed { pod, message, preemption } = failed;
        let reference = ObjectReference::of(&*pod);
        self.recorder.event(&reference, EventType::Warning, "FailedScheduling", message.clone());
        let is = pod.status.conditions.iter().find(|condition| condition.r#type == "PodScheduled");
        let before = is.filter(|is| is.status == "False").and_then(|is| is.last_transition_time);
        let mut status = json!({"conditions": [{
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": before.unwrap_or(Time(self.clock.now())),
        }]});
        if let Some(preemption) = &preemption {
            status["nominatedNodeName"] = json!(preemption.node);
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
        let api = self.client.api::<Pod>();
        let meta = &pod.metadata;
        if let Err(error) = api.patch_status(&meta.namespace, &meta.name, PatchType::Strategic, &patch).await
        {
            debug!(pod = %meta.namespaced_name(), error = %ErrorChain(&error), "condition not written");
        }
        let Some(preemption) = preemption else { return };
        for victim in &preemption.victims {
            let meta = &victim.pod.metadata;
            match api.delete(&meta.namespace, &meta.name, &DeleteOptions::uid(&*meta.uid)).await {
                Ok(_) => {
                    let message =
                        format!("Preempted by pod {} on node {}", pod.metadata.uid, preemption.node);
                    let reference = ObjectReference::of(&*victim.pod);
                    self.recorder.event(&reference, EventType::Normal, "Preempted", message);
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    warn!(pod = %meta.namespaced_name(), error = %ErrorChain(&error), "victim not deleted");
                }
            }
        }
    }
}
