//! One look at one pod, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use jiff::Timestamp;
use tracing::debug;

use super::{Failure, PodState, Shared, SyncError, sooner};
use crate::actions::{Observed, compute_pod_actions};
use crate::pod::{Container, Pod};
use crate::probe::Watched;
use crate::probe::run::ProbeContext;
use crate::runtime::{ContainerState, RuntimePod, SandboxState};

impl Shared {
    /// Brings one pod further. Says when to look again, where nothing else will wake it.
    pub(super) async fn sync(self: &Arc<Self>, uid: &str) -> Result<Option<Duration>, SyncError> {
        let state = self.state(uid);
        let mut state = state.lock().await;
        if let Some(mirror) = self.dependencies.pods.mirror(uid) {
            self.look_at_mirror(&mirror).await?;
            return Ok(None);
        }
        let current = self.dependencies.pods.by_uid(uid);
        let runtime = match self.dependencies.runtime.pod(uid).await {
            Ok(runtime) => runtime,
            // The connection wakes every pod when it is back; until then there is nothing to do.
            Err(error) if error.is_down() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        self.forget_ended_kills(&mut state, &runtime);
        let Some(pod) = current else {
            return self.remove(uid, &mut state, &runtime).await;
        };
        state.pod = Some(Arc::clone(&pod));
        let synced = if pod.metadata.is_being_deleted() {
            self.terminate(&mut state, &pod, &runtime).await
        } else {
            self.run(&mut state, &pod, runtime).await
        };
        match synced {
            Err(SyncError::Runtime(error)) if error.is_down() => Ok(None),
            synced => synced,
        }
    }

    /// The pod's object is gone: nothing of it may be left.
    async fn remove(
        self: &Arc<Self>,
        uid: &str,
        state: &mut PodState,
        runtime: &RuntimePod,
    ) -> Result<Option<Duration>, SyncError> {
        if self.end_pod(state, runtime, true).await? {
            self.tear_down(uid).await?;
            self.states.lock().remove(uid);
            self.taken.lock().remove(uid);
            self.evicted.lock().remove(uid);
        }
        Ok(None)
    }

    /// The pod's deletion was asked for: it ends, its last status is reported, and then its object goes.
    async fn terminate(
        self: &Arc<Self>,
        state: &mut PodState,
        pod: &Arc<Pod>,
        runtime: &RuntimePod,
    ) -> Result<Option<Duration>, SyncError> {
        let ended = self.end_pod(state, runtime, false).await?;
        self.report(state, pod, runtime, true).await?;
        if !ended {
            return Ok(None);
        }
        self.end_pod(state, runtime, true).await?;
        let uid = &pod.metadata.uid;
        self.tear_down(uid).await?;
        let control = &self.dependencies.control;
        match control.delete_pod(&pod.metadata.namespace, &pod.metadata.name, uid).await {
            Ok(()) => debug!(pod = %pod.key(), "pod has ended and is gone"),
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(None)
    }

    /// The pod is to run, as its spec says.
    async fn run(
        self: &Arc<Self>,
        state: &mut PodState,
        pod: &Arc<Pod>,
        mut runtime: RuntimePod,
    ) -> Result<Option<Duration>, SyncError> {
        self.show(pod).await;
        let now = self.dependencies.clock.now();
        let deadline = deadline(pod).filter(|_| !pod.is_terminal());
        if deadline.is_some_and(|at| at <= now) && state.failure.is_none() {
            let text = "Pod was active on the node longer than the specified deadline".to_owned();
            self.event(pod, "", EventType::Normal, "DeadlineExceeded", text.clone());
            state.failure =
                Some(Failure { reason: "DeadlineExceeded".to_owned(), message: text, ..Failure::default() });
        }
        let evicted = self.evicted.lock().remove(&pod.metadata.uid);
        if let Some(failure) = evicted.filter(|_| state.failure.is_none() && !pod.is_terminal()) {
            self.event(pod, "", EventType::Warning, &failure.reason, failure.message.clone());
            state.failure = Some(failure);
        }
        if !pod.is_terminal() && state.failure.is_none() {
            self.admit(state, pod, &runtime);
        }
        if pod.is_terminal() || state.failure.is_some() {
            self.end_pod(state, &runtime, false).await?;
            if state.failure.is_some() && !runtime.has_running() {
                self.report(state, pod, &runtime, false).await?;
            }
            return Ok(None);
        }
        let pod = &self.allocate(state, pod);
        self.collect_pulls(state, pod);
        let probes = self.prober.states(runtime.containers.iter().map(|record| record.id.as_str()));
        let observed = Observed { pod, runtime: &runtime, probes: &probes, problems: &state.problems, now };
        let actions = compute_pod_actions(&observed);
        let mut again = actions.requeue_after;
        let mut failed = None;
        if !actions.is_empty() {
            // What failed is told after the status: a pod whose volume is missing still says that it waits.
            failed = self.execute(state, pod, &runtime, &actions).await.err();
            runtime = self.dependencies.runtime.pod(&pod.metadata.uid).await?;
        }
        self.watch_probes(pod, &runtime, now);
        self.report(state, pod, &runtime, false).await?;
        if let Some(error) = failed {
            return Err(error);
        }
        again = sooner(again, self.refresh_volumes(state, pod, &runtime).await?);
        again = sooner(again, Self::next_pull_step(state));
        let until = deadline.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
        Ok(sooner(again, until))
    }

    /// Probes run for the containers that run, and for no others.
    fn watch_probes(&self, pod: &Pod, runtime: &RuntimePod, now: Timestamp) {
        let sandbox = runtime.sandboxes.iter().find(|sandbox| sandbox.state == SandboxState::Ready);
        let ip = if pod.spec.host_network {
            self.config.node.ips.first().and_then(|ip| ip.parse().ok())
        } else {
            sandbox.and_then(|sandbox| sandbox.ips.first().copied())
        };
        for record in &runtime.containers {
            let container = find(pod, &record.name).filter(|_| record.state == ContainerState::Running);
            let Some(container) = container.filter(|container| has_probes(container)) else {
                self.prober.forget(&record.id);
                continue;
            };
            if !self.prober.knows(&record.id) {
                let age = record.started_at.map(|started| now.duration_since(started));
                self.prober.watch(Watched {
                    id: record.id.clone(),
                    pod_uid: pod.metadata.uid.clone(),
                    container: container.clone(),
                    context: ProbeContext { ip },
                    age: age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default(),
                });
            }
        }
    }
}

/// When the pod must have ended.
fn deadline(pod: &Pod) -> Option<Timestamp> {
    let seconds = u64::try_from(pod.spec.active_deadline_seconds?).ok()?;
    pod.status.start_time?.0.checked_add(Duration::from_secs(seconds)).ok()
}

/// The container of that name in the spec.
pub(super) fn find<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    pod.spec.all_containers().find(|container| container.name == name)
}

fn has_probes(container: &Container) -> bool {
    container.startup_probe.is_some()
        || container.readiness_probe.is_some()
        || container.liveness_probe.is_some()
}
