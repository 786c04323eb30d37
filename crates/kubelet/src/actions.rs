//! What to do next for one pod: [`compute_pod_actions`], a pure function.
//!
//! It sees the pod, what the runtime holds of it, what the probes found and what went wrong before, and names
//! every step; [`crate::workers`] takes the steps and asks again. A pod that is as it should be gives an empty
//! plan. Ends of pods (deletion, deadline) are planned by [`compute_termination_actions`].

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::container::resources::limits;
use crate::pod::{Container, Pod, RestartPolicy};
use crate::runtime::{ContainerRecord, ContainerState, Resources, RuntimePod, SandboxState};

/// The first wait before a container is started again.
pub const BACKOFF_INITIAL: Duration = Duration::from_secs(10);
/// The longest wait.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A container that ran for as long as this has recovered: the next wait is the first again.
pub const BACKOFF_RESET: Duration = Duration::from_secs(600);

/// What the probes of one container have found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProbeState {
    /// Whether the startup probe has passed; `None` before its first result.
    pub started: Option<bool>,
    /// Whether the readiness probe passes; `None` before its first result.
    pub ready: Option<bool>,
    /// Whether the liveness probe passes; `None` before its first result.
    pub alive: Option<bool>,
}

/// Container id to what its probes have found.
pub type ProbeStates = BTreeMap<String, ProbeState>;

/// Why a container is not started now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The waiting reason, as `ErrImagePull`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Not before; `None` while something is under way whose end will wake the pod.
    pub retry_at: Option<Timestamp>,
}

/// Container name to its problem.
pub type Problems = BTreeMap<String, Problem>;

/// All that a decision about a pod depends on.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// What is wanted, and what was reported last.
    pub pod: &'a Pod,
    /// What there is.
    pub runtime: &'a RuntimePod,
    /// What the probes say.
    pub probes: &'a ProbeStates,
    /// What went wrong.
    pub problems: &'a Problems,
    /// The time.
    pub now: Timestamp,
}

/// The steps that bring a pod to its spec, in the order in which they are taken: kill, remove, make the sandbox,
/// start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodActions {
    /// Containers to end, with their grace period; what follows from their end is planned when it is seen.
    pub kill: Vec<KillContainer>,
    /// Running containers whose resources are to be others.
    pub resize: Vec<ResizeContainer>,
    /// The sandbox has gone while containers were left: they are all in `kill`.
    pub sandbox_changed: bool,
    /// Containers whose logs are no longer of use.
    pub remove_containers: Vec<String>,
    /// Sandboxes to stop (and give their network back).
    pub stop_sandboxes: Vec<String>,
    /// Sandboxes to remove.
    pub remove_sandboxes: Vec<String>,
    /// The attempt number of a sandbox to make.
    pub create_sandbox: Option<u32>,
    /// Containers to start, in the sandbox just made or the ready one.
    pub start: Vec<StartContainer>,
    /// When time alone will change the plan.
    pub requeue_after: Option<Duration>,
}

impl PodActions {
    /// Whether nothing is to be done now.
    pub fn is_empty(&self) -> bool {
        *self == Self { requeue_after: self.requeue_after, ..Self::default() }
    }
}

/// A container to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillContainer {
    /// Of the runtime.
    pub id: String,
    /// In the spec.
    pub name: String,
    /// Why; for the event.
    pub reason: KillReason,
}

/// A container that is given other resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResizeContainer {
    /// Of the runtime.
    pub id: String,
    /// In the spec.
    pub name: String,
    /// What it is to have.
    pub resources: Resources,
}

/// Why a container is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    /// Its liveness probe fails.
    Liveness,
    /// Its startup probe failed.
    Startup,
    /// Its spec is another one now.
    DefinitionChanged,
    /// It is given other resources, and wants to begin anew with them.
    Resized,
    /// Its sandbox has ended.
    SandboxChanged,
    /// The pod is to end, or has.
    PodEnded,
}

/// A container to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartContainer {
    /// In the spec.
    pub name: String,
    /// How often it was started before.
    pub restart_count: u32,
    /// What to wait after its end, to be written to the new container.
    pub backoff: Duration,
}

/// The hash that tells whether a running container is still the one of the spec. Only the image of a container
/// can change while its pod lives.
pub fn spec_hash(container: &Container) -> String {
    let mut hasher = Sha256::new();
    hasher.update(container.name.as_bytes());
    hasher.update([0]);
    hasher.update(container.image.as_bytes());
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// How long after its end a container is started again.
pub fn restart_delay(record: &ContainerRecord) -> Duration {
    if record.start_error.is_some() {
        return record.backoff.max(BACKOFF_INITIAL);
    }
    if has_recovered(record) { Duration::ZERO } else { record.backoff }
}

/// The wait that follows the end of the container started after `record`.
fn next_backoff(record: &ContainerRecord) -> Duration {
    if has_recovered(record) || record.backoff.is_zero() {
        BACKOFF_INITIAL
    } else {
        (record.backoff * 2).min(BACKOFF_MAX)
    }
}

fn has_recovered(record: &ContainerRecord) -> bool {
    match (record.started_at, record.finished_at) {
        (Some(started), Some(finished)) => {
            finished.duration_since(started)
                > jiff::SignedDuration::try_from(BACKOFF_RESET).unwrap_or_default()
        }
        _ => false,
    }
}

/// When a container that has ended may be started again.
pub fn restart_at(record: &ContainerRecord) -> Timestamp {
    let ended = record.finished_at.unwrap_or(record.created_at);
    ended.checked_add(restart_delay(record)).unwrap_or(Timestamp::MAX)
}

/// Whether a container that has ended is to be started again.
pub fn should_restart(policy: RestartPolicy, record: &ContainerRecord, hash: &str) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => record.exit_code != 0 || record.spec_hash != hash,
        RestartPolicy::Never => record.spec_hash != hash,
    }
}

/// When a container is started again: as it says itself, or as its pod says.
pub fn restart_policy(pod: &Pod, container: &Container) -> RestartPolicy {
    container.restart_policy.unwrap_or(pod.spec.restart_policy)
}

/// Whether the startup probe of a running container has passed, or there is none.
pub fn is_started(container: &Container, record: &ContainerRecord, probes: &ProbeStates) -> bool {
    container.startup_probe.is_none()
        || probes.get(&record.id).is_some_and(|probe| probe.started == Some(true))
}

/// Decides the next steps for a pod that is to run. Pure.
pub fn compute_pod_actions(observed: &Observed<'_>) -> PodActions {
    let mut planner = Planner { observed, actions: PodActions::default() };
    planner.plan();
    planner.actions
}

struct Planner<'a> {
    observed: &'a Observed<'a>,
    actions: PodActions,
}

impl Planner<'_> {
    fn plan(&mut self) {
        let Observed { pod, runtime, .. } = *self.observed;
        let ready = runtime.sandboxes.iter().position(|sandbox| sandbox.state == SandboxState::Ready);
        let Some(ready) = ready else {
            self.without_sandbox();
            return;
        };
        // A newer sandbox than the ready one never came up; an older one is left from a crash.
        for (index, sandbox) in runtime.sandboxes.iter().enumerate() {
            if index != ready {
                self.actions.stop_sandboxes.push(sandbox.id.clone());
                self.actions.remove_sandboxes.push(sandbox.id.clone());
            }
        }
        let sandbox = runtime.sandboxes[ready].id.as_str();
        for record in &runtime.containers {
            let stray = record.sandbox_id != sandbox
                || !pod.spec.all_containers().any(|container| container.name == record.name);
            if record.state == ContainerState::Running && stray {
                self.kill(record, KillReason::SandboxChanged);
            }
        }
        self.remove_old_containers();
        self.ephemeral_containers();
        if self.init_containers(Some(sandbox)) {
            self.main_containers();
        }
    }

    /// What is added to a pod for a look into it is started once, whatever the others do.
    fn ephemeral_containers(&mut self) {
        let Observed { pod, runtime, .. } = *self.observed;
        for container in &pod.spec.ephemeral_containers {
            let mut reported = pod.status.ephemeral_container_statuses.iter();
            let has_run = reported.any(|s| s.name == container.name && !s.container_id.is_empty());
            match runtime.latest(&container.name) {
                None if !has_run => self.start(container),
                Some(record) if record.state == ContainerState::Created => self.start(container),
                Some(_) | None => {}
            }
        }
    }

    /// No sandbox is ready: end what is left in dead ones, then make a new one if anything is to be started.
    fn without_sandbox(&mut self) {
        let Observed { pod, runtime, .. } = *self.observed;
        for record in &runtime.containers {
            if record.state == ContainerState::Running {
                self.kill(record, KillReason::SandboxChanged);
            }
        }
        if !self.actions.kill.is_empty() {
            self.actions.sandbox_changed = true;
            return;
        }
        // A pod that never restarts has had its one chance once a container of it has run.
        let is_over = pod
            .spec
            .containers
            .iter()
            .all(|container| restart_policy(pod, container) == RestartPolicy::Never)
            && pod.spec.containers.iter().any(|container| {
                runtime.latest(&container.name).is_some_and(|record| record.state == ContainerState::Exited)
            });
        let wanted = pod.spec.containers.iter().any(|container| {
            runtime.latest(&container.name).is_none_or(|record| {
                record.state != ContainerState::Exited
                    || should_restart(restart_policy(pod, container), record, &spec_hash(container))
            })
        });
        let init_failed = pod.spec.restart_policy == RestartPolicy::Never
            && pod.spec.init_containers.iter().filter(|c| !c.is_sidecar()).any(|container| {
                runtime
                    .latest(&container.name)
                    .is_some_and(|record| record.state == ContainerState::Exited && record.exit_code != 0)
            });
        if is_over || !wanted || init_failed {
            self.stop_networks();
            return;
        }
        self.actions.sandbox_changed = !runtime.sandboxes.is_empty();
        for sandbox in &runtime.sandboxes {
            self.actions.stop_sandboxes.push(sandbox.id.clone());
            self.actions.remove_sandboxes.push(sandbox.id.clone());
        }
        let attempt = runtime.sandboxes.iter().map(|sandbox| sandbox.attempt + 1).max().unwrap_or(0);
        self.actions.create_sandbox = Some(attempt);
        if self.init_containers(None) {
            self.main_containers();
        }
    }

    fn stop_networks(&mut self) {
        for sandbox in &self.observed.runtime.sandboxes {
            if sandbox.state == SandboxState::Ready || sandbox.holds_network {
                self.actions.stop_sandboxes.push(sandbox.id.clone());
            }
        }
    }

    /// Plans the init containers, in order; returns whether the main containers may be started. `sandbox` is the
    /// ready one; init containers run once in each.
    fn init_containers(&mut self, sandbox: Option<&str>) -> bool {
        let Observed { pod, runtime, probes, .. } = *self.observed;
        let in_sandbox = |record: &&ContainerRecord| Some(record.sandbox_id.as_str()) == sandbox;
        let main_has_run = pod.spec.containers.iter().any(|container| {
            runtime
                .latest(&container.name)
                .filter(in_sandbox)
                .is_some_and(|r| r.state != ContainerState::Created)
        });
        for container in &pod.spec.init_containers {
            let record = runtime.latest(&container.name).filter(in_sandbox);
            let state = record.map(|record| (record, record.state));
            if container.is_sidecar() {
                match state {
                    Some((record, ContainerState::Running)) => {
                        if self.kill_if_unhealthy(container, record) {
                            continue;
                        }
                        if !main_has_run && !is_started(container, record, probes) {
                            return false;
                        }
                    }
                    Some((_, ContainerState::Created | ContainerState::Exited)) | None => {
                        if self.all_main_are_done() {
                            continue;
                        }
                        self.start(container);
                        if !main_has_run {
                            return false;
                        }
                    }
                }
                continue;
            }
            if main_has_run {
                continue;
            }
            match state {
                Some((_, ContainerState::Running)) => return false,
                Some((record, ContainerState::Exited)) if record.exit_code == 0 => {}
                Some((_, ContainerState::Exited)) if pod.spec.restart_policy == RestartPolicy::Never => {
                    self.end_pod();
                    return false;
                }
                Some((_, ContainerState::Exited | ContainerState::Created)) | None => {
                    self.start(container);
                    return false;
                }
            }
        }
        true
    }

    fn main_containers(&mut self) {
        let Observed { pod, runtime, .. } = *self.observed;
        if self.all_main_are_done() {
            self.end_pod();
            return;
        }
        for container in &pod.spec.containers {
            match runtime.latest(&container.name) {
                Some(record) if record.state == ContainerState::Running => {
                    self.kill_if_unhealthy(container, record);
                }
                Some(record)
                    if record.state == ContainerState::Exited
                        && !should_restart(restart_policy(pod, container), record, &spec_hash(container)) => {
                }
                Some(_) | None => self.start(container),
            }
        }
    }

    fn all_main_are_done(&self) -> bool {
        let Observed { pod, runtime, .. } = *self.observed;
        pod.spec.containers.iter().all(|container| {
            runtime.latest(&container.name).is_some_and(|record| {
                record.state == ContainerState::Exited
                    && !should_restart(restart_policy(pod, container), record, &spec_hash(container))
            })
        })
    }

    /// Everything that had to run has run: end the sidecars, then the sandbox.
    fn end_pod(&mut self) {
        for record in &self.observed.runtime.containers {
            if record.state == ContainerState::Running {
                self.kill(record, KillReason::PodEnded);
            }
        }
        if self.actions.kill.is_empty() {
            self.stop_networks();
        }
    }

    fn kill_if_unhealthy(&mut self, container: &Container, record: &ContainerRecord) -> bool {
        let probe = self.observed.probes.get(&record.id).copied().unwrap_or_default();
        let reason = if record.spec_hash != spec_hash(container) {
            KillReason::DefinitionChanged
        } else if container.startup_probe.is_some() && probe.started == Some(false) {
            KillReason::Startup
        } else if container.liveness_probe.is_some() && probe.alive == Some(false) {
            KillReason::Liveness
        } else if let Some(wanted) = resized(container, record) {
            if !restarts_when_resized(container, record, wanted) {
                let (id, name) = (record.id.clone(), record.name.clone());
                self.actions.resize.push(ResizeContainer { id, name, resources: wanted });
                return false;
            }
            KillReason::Resized
        } else {
            return false;
        };
        self.kill(record, reason);
        true
    }

    fn kill(&mut self, record: &ContainerRecord, reason: KillReason) {
        if self.actions.kill.iter().all(|kill| kill.id != record.id) {
            self.actions.kill.push(KillContainer {
                id: record.id.clone(),
                name: record.name.clone(),
                reason,
            });
        }
    }

    /// Plans a start, unless a back-off or a problem says later.
    fn start(&mut self, container: &Container) {
        let Observed { pod, runtime, problems, now, .. } = *self.observed;
        let mut wait_until = None;
        if let Some(problem) = problems.get(&container.name) {
            match problem.retry_at {
                None => return,
                Some(at) => wait_until = Some(at),
            }
        }
        let (restart_count, backoff) = match runtime.latest(&container.name) {
            Some(record) if record.state == ContainerState::Exited => {
                wait_until = wait_until.max(Some(restart_at(record)));
                (record.restart_count + 1, next_backoff(record))
            }
            // Made and never started (the kubelet was killed in between): it is made again.
            Some(record) => (record.restart_count, record.backoff),
            None => (restarts_reported(pod, &container.name), Duration::ZERO),
        };
        if let Some(at) = wait_until.filter(|at| *at > now) {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
            let sooner = self.actions.requeue_after.map_or(wait, |earlier| earlier.min(wait));
            self.actions.requeue_after = Some(sooner);
            return;
        }
        self.actions.start.push(StartContainer { name: container.name.clone(), restart_count, backoff });
    }

    /// Of each name the newest two are kept: the one there is, and its predecessor's log.
    fn remove_old_containers(&mut self) {
        let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
        for record in &self.observed.runtime.containers {
            let count = kept.entry(&record.name).or_default();
            *count += 1;
            if *count > 2 && record.state != ContainerState::Running {
                self.actions.remove_containers.push(record.id.clone());
            }
        }
    }
}

/// What a running container is to have, where that is not what it has.
fn resized(container: &Container, record: &ContainerRecord) -> Option<Resources> {
    let wanted = limits(container);
    record.resources.is_some_and(|has| has != wanted).then_some(wanted)
}

/// Whether a container wants to begin anew when this changes.
fn restarts_when_resized(container: &Container, record: &ContainerRecord, wanted: Resources) -> bool {
    let has = record.resources.unwrap_or(wanted);
    container.resize_policy.iter().filter(|policy| policy.restart_policy == "RestartContainer").any(
        |policy| match policy.resource_name.as_str() {
            "cpu" => (has.cpu_shares, has.cpu_quota) != (wanted.cpu_shares, wanted.cpu_quota),
            "memory" => has.memory != wanted.memory,
            _ => false,
        },
    )
}

/// The restart count of a container that has vanished from the runtime: one more than was reported for it.
fn restarts_reported(pod: &Pod, name: &str) -> u32 {
    let statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    statuses
        .filter(|status| status.name == name && !status.container_id.is_empty())
        .map(|status| u32::try_from(status.restart_count).unwrap_or(0) + 1)
        .next()
        .unwrap_or(0)
}

/// The steps that end a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TerminationActions {
    /// Containers to end, with their grace period. The other steps wait for their end.
    pub kill: Vec<KillContainer>,
    /// Sandboxes to stop.
    pub stop_sandboxes: Vec<String>,
    /// Containers to remove.
    pub remove_containers: Vec<String>,
    /// Sandboxes to remove.
    pub remove_sandboxes: Vec<String>,
}

/// Decides how to end a pod: containers, then sandboxes; with `remove`, nothing is left. Sidecars end after the
/// main containers, the last one first. Pure.
pub fn compute_termination_actions(
    pod: Option<&Pod>,
    runtime: &RuntimePod,
    remove: bool,
) -> TerminationActions {
    let mut actions = TerminationActions::default();
    let sidecars: Vec<&str> = pod
        .map(|pod| {
            pod.spec.init_containers.iter().filter(|c| c.is_sidecar()).map(|c| c.name.as_str()).collect()
        })
        .unwrap_or_default();
    let running = || runtime.containers.iter().filter(|record| record.state == ContainerState::Running);
    let is_sidecar = |record: &&ContainerRecord| sidecars.contains(&record.name.as_str());
    let mut victims: Vec<&ContainerRecord> = running().filter(|record| !is_sidecar(record)).collect();
    if victims.is_empty() {
        let last = sidecars.iter().rev().find_map(|name| running().find(|record| record.name == *name));
        victims.extend(last);
    }
    actions.kill.extend(victims.into_iter().map(|record| KillContainer {
        id: record.id.clone(),
        name: record.name.clone(),
        reason: KillReason::PodEnded,
    }));
    if !actions.kill.is_empty() {
        return actions;
    }
    for sandbox in &runtime.sandboxes {
        if sandbox.state == SandboxState::Ready || sandbox.holds_network {
            actions.stop_sandboxes.push(sandbox.id.clone());
        }
    }
    if remove {
        actions.remove_containers = runtime.containers.iter().map(|record| record.id.clone()).collect();
        actions.remove_sandboxes = runtime.sandboxes.iter().map(|sandbox| sandbox.id.clone()).collect();
    }
    actions
}

#[cfg(test)]
mod tests;
