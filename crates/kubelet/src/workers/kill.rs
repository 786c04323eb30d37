//! Ends containers: the hook, the stop signal, the grace period, the kill. A task for each, whose end is seen as the
//! container's own end.

use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use component::spawn;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::sync::find;
use super::{PodState, Shared};
use crate::actions::{KillContainer, KillReason};
use crate::pod::Pod;
use crate::runtime::{ContainerState, RuntimePod, SandboxState, Signal};

/// What a container gets after its hook has used up the grace period.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// Between a kill and the next one, should the first have been lost.
const KILL_AGAIN: Duration = Duration::from_secs(10);

/// A container that is being ended.
pub(super) struct Kill {
    grace: Duration,
    task: JoinHandle<()>,
}

impl Drop for Kill {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// Ends a container, if it is not being ended already; a shorter grace period than before counts.
    pub(super) fn kill(
        self: &Arc<Self>,
        state: &mut PodState,
        pod: Option<&Arc<Pod>>,
        runtime: &RuntimePod,
        kill: &KillContainer,
    ) {
        let container = pod.and_then(|pod| find(pod, &kill.name));
        let probe_grace = match kill.reason {
            KillReason::Liveness => container.and_then(|c| c.liveness_probe.as_ref()),
            KillReason::Startup => container.and_then(|c| c.startup_probe.as_ref()),
            KillReason::DefinitionChanged
            | KillReason::Resized
            | KillReason::SandboxChanged
            | KillReason::PodEnded => None,
        }
        .and_then(|probe| probe.termination_grace_period_seconds);
        let of_sandbox = runtime.sandboxes.first().map_or(30, |sandbox| sandbox.grace_seconds);
        let grace = probe_grace.unwrap_or_else(|| pod.map_or(of_sandbox, |pod| pod.grace_seconds()));
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        let grace =
            state.failure.as_ref().and_then(|failure| failure.grace).map_or(grace, |most| grace.min(most));
        if state.kills.get(&kill.id).is_some_and(|known| known.grace <= grace) {
            return;
        }
        if let Some(pod) = pod.filter(|_| !state.kills.contains_key(&kill.id)) {
            self.event(pod, &kill.name, EventType::Normal, "Killing", message(kill));
        }
        self.prober.forget(&kill.id);
        let hooked = container
            .and_then(|container| Some((container.clone(), container.lifecycle.as_ref()?.pre_stop.clone()?)));
        let sandbox = runtime.sandboxes.iter().find(|sandbox| sandbox.state == SandboxState::Ready);
        let ip = sandbox.and_then(|sandbox| sandbox.ips.first().copied());
        let (this, id, pod) = (Arc::clone(self), kill.id.clone(), pod.cloned());
        let task = spawn(&self.dependencies.shutdown, "kill", async move {
            let started = tokio::time::Instant::now();
            if let (Some((container, hook)), Some(pod), false) = (hooked, &pod, grace.is_zero()) {
                let ran = tokio::time::timeout(grace, this.pre_stop(pod, &container, &id, &hook, ip)).await;
                if ran.is_err() {
                    debug!(container = %id, "the preStop hook took the whole grace period");
                }
            }
            let left = grace.saturating_sub(started.elapsed());
            let left = if grace.is_zero() { grace } else { left.max(LEAST_GRACE) };
            this.signal(&id, if left.is_zero() { Signal::Kill } else { Signal::Stop }).await;
            tokio::time::sleep(left).await;
            loop {
                this.signal(&id, Signal::Kill).await;
                tokio::time::sleep(KILL_AGAIN).await;
            }
        });
        state.kills.insert(kill.id.clone(), Kill { grace, task });
    }

    pub(super) async fn signal(&self, id: &str, signal: Signal) {
        if let Err(error) = self.dependencies.runtime.signal_container(id, signal).await {
            warn!(container = %id, ?signal, %error, "cannot signal the container");
        }
    }

    /// Drops the tasks of containers that have ended.
    pub(super) fn forget_ended_kills(&self, state: &mut PodState, runtime: &RuntimePod) {
        let runs = |id: &str| {
            runtime.containers.iter().any(|record| record.id == id && record.state == ContainerState::Running)
        };
        state.kills.retain(|id, _| runs(id));
    }
}

fn message(kill: &KillContainer) -> String {
    let name = &kill.name;
    match kill.reason {
        KillReason::Liveness => format!("Container {name} failed liveness probe, will be restarted"),
        KillReason::Startup => format!("Container {name} failed startup probe, will be restarted"),
        KillReason::DefinitionChanged => format!("Container {name} definition changed, will be restarted"),
        KillReason::Resized => format!("Container {name} resize requires restart"),
        KillReason::SandboxChanged | KillReason::PodEnded => format!("Stopping container {name}"),
    }
}
