//! The status of a pod as Kubernetes writes it: [`compute_status`], a pure function of what was observed.
//!
//! Reasons and messages are those of Kubernetes, since people and programs compare them.

use std::collections::HashMap;

use api::quantity::Quantity;
use api::time::Time;
use jiff::Timestamp;

use crate::actions::{
    Observed, is_started, restart_at, restart_delay, restart_policy, should_restart, spec_hash,
};
use crate::container::resources::{limits, milli_of_quota};
use crate::pod::{
    Container, ContainerState, ContainerStatus, Ip, Pod, PodCondition, PodPhase, PodStatus,
    ResourceRequirements, RestartPolicy, Running, Terminated, qos_class,
};
use crate::runtime::{ContainerRecord, ContainerState as RuntimeState, SandboxState};
use crate::workers::Failure;

/// Words that programs compare.
pub mod reasons {
    /// Waiting for the sandbox, volumes or image.
    pub const CONTAINER_CREATING: &str = "ContainerCreating";
    /// Waiting for the init containers.
    pub const POD_INITIALIZING: &str = "PodInitializing";
    /// It ends again and again.
    pub const CRASH_LOOP_BACK_OFF: &str = "CrashLoopBackOff";
    /// The last pull failed.
    pub const ERR_IMAGE_PULL: &str = "ErrImagePull";
    /// The last pull failed, and the next one waits.
    pub const IMAGE_PULL_BACK_OFF: &str = "ImagePullBackOff";
    /// The policy is Never and the image is absent.
    pub const ERR_IMAGE_NEVER_PULL: &str = "ErrImageNeverPull";
    /// The name of the image is none.
    pub const INVALID_IMAGE_NAME: &str = "InvalidImageName";
    /// Something that its configuration refers to is absent or wrong.
    pub const CREATE_CONTAINER_CONFIG_ERROR: &str = "CreateContainerConfigError";
    /// The runtime did not make it.
    pub const CREATE_CONTAINER_ERROR: &str = "CreateContainerError";
    /// The runtime did not start it.
    pub const RUN_CONTAINER_ERROR: &str = "RunContainerError";
}

/// A change of a pod's resources that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResizeCondition {
    /// [`Self::PENDING`] or [`Self::IN_PROGRESS`].
    pub r#type: &'static str,
    /// `Deferred`, `Infeasible` or `Error`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl ResizeCondition {
    /// The node has no room for it.
    pub const PENDING: &'static str = "PodResizePending";
    /// It was granted, and the runtime has not done it.
    pub const IN_PROGRESS: &'static str = "PodResizeInProgress";
}

/// What a status says beside the observed state.
#[derive(Clone, Default)]
pub struct StatusInput<'a> {
    /// The addresses of the node.
    pub host_ips: &'a [String],
    /// The pod is being ended; containers are not started again.
    pub ending: bool,
    /// It was ended by the kubelet for a reason (a deadline): phase Failed.
    pub failure: Option<&'a Failure>,
    /// How far a change of resources has come.
    pub resize: &'a [ResizeCondition],
    /// Container id to the text it left.
    pub termination_messages: Option<&'a HashMap<String, String>>,
}

/// Computes the status of a pod. Pure.
pub fn compute_status(observed: &Observed<'_>, input: &StatusInput<'_>) -> PodStatus {
    let Observed { pod, runtime, now, .. } = *observed;
    let statuses = |containers: &[Container], role: Role| -> Vec<ContainerStatus> {
        if input.failure.is_some_and(|failure| failure.rejected) {
            return Vec::new();
        }
        containers.iter().map(|container| container_status(observed, input, container, role)).collect()
    };
    let init_statuses = statuses(&pod.spec.init_containers, Role::Init);
    let main_statuses = statuses(&pod.spec.containers, Role::Main);
    let (phase, reason, message) = match input.failure {
        Some(failure) => (PodPhase::Failed, failure.reason.clone(), failure.message.clone()),
        None => {
            let phase = phase(pod, &init_statuses, &main_statuses, input.ending && !runtime.has_running());
            (phase, pod.status.reason.clone(), pod.status.message.clone())
        }
    };
    let sandbox = runtime.sandboxes.iter().find(|sandbox| sandbox.state == SandboxState::Ready);
    let mut pod_ips: Vec<Ip> = match sandbox {
        Some(_) if pod.spec.host_network => {
            input.host_ips.iter().take(2).map(|ip| Ip { ip: ip.clone() }).collect()
        }
        Some(sandbox) => sandbox.ips.iter().map(|ip| Ip { ip: ip.to_string() }).collect(),
        None => Vec::new(),
    };
    if pod_ips.is_empty() && (input.ending || matches!(phase, PodPhase::Succeeded | PodPhase::Failed)) {
        pod_ips.clone_from(&pod.status.pod_ips);
    }
    let generation = (pod.metadata.generation != 0).then_some(pod.metadata.generation);
    let mut status = PodStatus {
        observed_generation: generation,
        phase,
        conditions: Vec::new(),
        message,
        reason,
        host_ip: input.host_ips.first().cloned().unwrap_or_default(),
        host_ips: input.host_ips.iter().map(|ip| Ip { ip: ip.clone() }).collect(),
        pod_ip: pod_ips.first().map(|ip| ip.ip.clone()).unwrap_or_default(),
        pod_ips,
        start_time: pod.status.start_time.or(Some(Time(now))),
        init_container_statuses: init_statuses,
        container_statuses: main_statuses,
        ephemeral_container_statuses: statuses(&pod.spec.ephemeral_containers, Role::Ephemeral),
        qos_class: qos_class(&pod.spec).as_str().to_owned(),
    };
    let sandbox_ready = sandbox.is_some_and(|sandbox| pod.spec.host_network || !sandbox.ips.is_empty());
    status.conditions = conditions(pod, &status, sandbox_ready, now);
    resize(pod, &mut status, input.resize, now);
    if let Some(failure) = input.failure.filter(|failure| failure.disrupted) {
        disrupted(&mut status, failure, now);
    }
    status
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Init,
    Main,
    Ephemeral,
}

fn container_status(
    observed: &Observed<'_>,
    input: &StatusInput<'_>,
    container: &Container,
    role: Role,
) -> ContainerStatus {
    let Observed { pod, runtime, probes, problems, now } = *observed;
    let reported = reported(pod, &container.name);
    let init = role == Role::Init;
    let waiting_by_default = if pod.spec.init_containers.is_empty() || role == Role::Ephemeral {
        reasons::CONTAINER_CREATING
    } else {
        reasons::POD_INITIALIZING
    };
    let record = runtime.latest(&container.name);
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone(),
        started: Some(false),
        ..ContainerStatus::default()
    };
    let problem = problems.get(&container.name).filter(|_| !input.ending);
    let Some(record) = record else {
        status.state = match problem {
            Some(problem) => ContainerState::waiting(problem.reason, problem.message.clone()),
            None => ContainerState::waiting(waiting_by_default, ""),
        };
        if let Some(reported) = reported.filter(|reported| !reported.container_id.is_empty()) {
            // It ran and the runtime no longer has it: what is known of it is what was reported.
            status.restart_count = reported.restart_count;
            status.last_state.clone_from(if reported.state.terminated.is_some() {
                &reported.state
            } else {
                &reported.last_state
            });
            if input.ending || pod.is_terminal() {
                status.state = std::mem::take(&mut status.last_state);
                status.container_id.clone_from(&reported.container_id);
                status.image_id.clone_from(&reported.image_id);
                if status.state == ContainerState::default() {
                    status.state.terminated = Some(Terminated {
                        exit_code: 137,
                        reason: "ContainerStatusUnknown".to_owned(),
                        message: "The container could not be located when the pod was terminated".to_owned(),
                        ..Terminated::default()
                    });
                }
            }
        }
        return status;
    };
    if role != Role::Ephemeral && container.resources != ResourceRequirements::default() {
        status.allocated_resources.clone_from(&container.resources.requests);
        status.resources = Some(in_force(container, record));
    }
    if !record.image.is_empty() {
        status.image.clone_from(&record.image);
    }
    status.image_id.clone_from(&record.image_id);
    status.container_id = container_id(record);
    status.restart_count = i32::try_from(record.restart_count).unwrap_or(i32::MAX);
    if let Some(previous) = runtime.previous(&container.name) {
        status.last_state.terminated = Some(terminated(previous, input));
    }
    match record.state {
        RuntimeState::Running => {
            let same = reported.filter(|reported| reported.container_id == status.container_id);
            let probe = probes.get(&record.id).copied().unwrap_or_default();
            // Before the first result of a probe after a restart of the kubelet, the last report holds.
            let started = is_started(container, record, probes)
                || (probe.started.is_none() && same.is_some_and(|same| same.started == Some(true)));
            let ready = match (container.readiness_probe.is_some(), probe.ready) {
                (false, _) => true,
                (true, Some(ready)) => ready,
                (true, None) => same.is_some_and(|same| same.ready),
            };
            status.state.running = Some(Running { started_at: record.started_at.map(Time) });
            status.started = Some(started);
            status.ready = (role == Role::Main || container.is_sidecar()) && started && ready;
        }
        RuntimeState::Created => {
            status.state = match problem {
                Some(problem) => ContainerState::waiting(problem.reason, problem.message.clone()),
                None => ContainerState::waiting(waiting_by_default, ""),
            };
        }
        RuntimeState::Exited => {
            let policy = restart_policy(pod, container);
            let is_done_init = init && !container.is_sidecar() && record.exit_code == 0;
            let restarts = !input.ending
                && input.failure.is_none()
                && !is_done_init
                && role != Role::Ephemeral
                && (should_restart(policy, record, &spec_hash(container)))
                && !(init && policy == RestartPolicy::Never);
            let ended = terminated(record, input);
            let waiting = if !restarts {
                None
            } else if let Some(problem) = problem {
                Some(ContainerState::waiting(problem.reason, problem.message.clone()))
            } else if restart_at(record) > now {
                Some(match &record.start_error {
                    Some(error) if record.backoff.is_zero() => {
                        ContainerState::waiting(reasons::RUN_CONTAINER_ERROR, error.clone())
                    }
                    _ => ContainerState::waiting(
                        reasons::CRASH_LOOP_BACK_OFF,
                        back_off_message(pod, &container.name, record),
                    ),
                })
            } else {
                None
            };
            match waiting {
                Some(waiting) => {
                    status.state = waiting;
                    status.last_state.terminated = Some(ended);
                }
                None => status.state.terminated = Some(ended),
            }
            status.ready = is_done_init;
        }
    }
    status
}

/// The words of a container that waits to be started again.
pub fn back_off_message(pod: &Pod, container: &str, record: &ContainerRecord) -> String {
    format!(
        "back-off {} restarting failed container={container} pod={}_{}({})",
        go_duration(restart_delay(record).as_secs()),
        pod.metadata.name,
        pod.metadata.namespace,
        pod.metadata.uid
    )
}

/// Whole seconds as Go prints a duration: `10s`, `1m20s`, `5m0s`.
pub fn go_duration(seconds: u64) -> String {
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn container_id(record: &ContainerRecord) -> String {
    format!("docker://{}", record.id)
}

fn reported<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = &pod.status;
    let all = status.init_container_statuses.iter().chain(&status.container_statuses);
    all.chain(&status.ephemeral_container_statuses).find(|status| status.name == name)
}

fn terminated(record: &ContainerRecord, input: &StatusInput<'_>) -> Terminated {
    let reason = match (&record.start_error, record.oom_killed, record.exit_code) {
        (Some(_), _, _) => "StartError",
        (None, true, _) => "OOMKilled",
        (None, false, 0) => "Completed",
        (None, false, _) => "Error",
    };
    let message = match &record.start_error {
        Some(error) => error.clone(),
        None => input.termination_messages.and_then(|all| all.get(&record.id)).cloned().unwrap_or_default(),
    };
    let epoch = Some(Time(Timestamp::UNIX_EPOCH));
    Terminated {
        exit_code: if record.start_error.is_some() { 128 } else { record.exit_code },
        signal: None,
        reason: reason.to_owned(),
        message,
        started_at: record.started_at.map(Time).or(epoch),
        finished_at: record.finished_at.map(Time).or(Some(Time(record.created_at))),
        container_id: container_id(record),
    }
}

/// The phase that follows from the statuses of the containers.
fn phase(pod: &Pod, init: &[ContainerStatus], main: &[ContainerStatus], ended: bool) -> PodPhase {
    let policy = pod.spec.restart_policy;
    let main_has_run = main.iter().any(|status| !status.container_id.is_empty());
    let mut init_is_pending = false;
    for (container, status) in pod.spec.init_containers.iter().zip(init) {
        if container.is_sidecar() {
            init_is_pending |= status.started != Some(true) && !main_has_run;
            continue;
        }
        match &status.state.terminated {
            Some(terminated) if terminated.exit_code == 0 => {}
            Some(_) if policy == RestartPolicy::Never || ended => return PodPhase::Failed,
            Some(_) | None => init_is_pending |= !main_has_run,
        }
    }
    let (mut waiting, mut running, mut stopped, mut succeeded) = (0, 0, 0, 0);
    let mut again = false;
    for (container, status) in pod.spec.containers.iter().zip(main) {
        let failed = status.state.terminated.as_ref().is_none_or(|ended| ended.exit_code != 0);
        again |= match restart_policy(pod, container) {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => failed,
            RestartPolicy::Never => false,
        };
        if status.state.running.is_some() {
            running += 1;
        } else if let Some(terminated) = &status.state.terminated {
            stopped += 1;
            succeeded += usize::from(terminated.exit_code == 0);
        } else if status.last_state.terminated.is_some() {
            stopped += 1;
        } else {
            waiting += 1;
        }
    }
    if ended && stopped > 0 {
        // Nothing will be started again: the pod has come to its end, whatever its restart policy.
        return if succeeded == main.len() { PodPhase::Succeeded } else { PodPhase::Failed };
    }
    // A sidecar that is still ending keeps its pod from having ended: whoever sees the end must see all of it.
    let side_runs = init.iter().any(|status| status.state.running.is_some());
    if init_is_pending || waiting > 0 {
        PodPhase::Pending
    } else if running > 0 || (side_runs && stopped > 0) {
        PodPhase::Running
    } else if stopped > 0 {
        if again {
            PodPhase::Running
        } else if stopped == succeeded {
            PodPhase::Succeeded
        } else {
            PodPhase::Failed
        }
    } else {
        PodPhase::Pending
    }
}

const TRUE: &str = "True";
const FALSE: &str = "False";

fn conditions(pod: &Pod, status: &PodStatus, sandbox_ready: bool, now: Timestamp) -> Vec<PodCondition> {
    let initialized = initialized(pod, status);
    let containers_ready = containers_ready(pod, status);
    let ready = ready(pod, &containers_ready);
    let sandbox = if sandbox_ready { (TRUE, "", String::new()) } else { (FALSE, "", String::new()) };
    let computed = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", (TRUE, "", String::new())),
    ];
    let mut conditions: Vec<PodCondition> = computed
        .into_iter()
        .map(|(name, (value, reason, message))| {
            let before = pod.status.conditions.iter().find(|condition| condition.r#type == name);
            let since = before
                .filter(|before| before.status == value)
                .and_then(|before| before.last_transition_time)
                .unwrap_or(Time(now));
            PodCondition {
                r#type: name.to_owned(),
                observed_generation: status.observed_generation,
                status: value.to_owned(),
                last_probe_time: None,
                last_transition_time: Some(since),
                reason: reason.to_owned(),
                message,
            }
        })
        .collect();
    // Conditions of others (readiness gates, the scheduler, evictions) stay as they are.
    let others = pod
        .status
        .conditions
        .iter()
        .filter(|other| conditions.iter().all(|condition| condition.r#type != other.r#type));
    let others: Vec<PodCondition> = others.cloned().collect();
    conditions.extend(others);
    conditions
}

/// What the kernel was told of: what was given, unless a change of that has not got there yet.
fn in_force(container: &Container, record: &ContainerRecord) -> ResourceRequirements {
    let mut given = container.resources.clone();
    let Some(has) = record.resources.filter(|_| record.state == RuntimeState::Running) else { return given };
    let wanted = limits(container);
    if let Some(bytes) = has.memory.filter(|_| has.memory != wanted.memory) {
        given.limits.insert("memory".to_owned(), Quantity::bytes(bytes));
    }
    if let Some(quota) = has.cpu_quota.filter(|_| has.cpu_quota != wanted.cpu_quota) {
        given.limits.insert("cpu".to_owned(), Quantity::from_milli(milli_of_quota(quota)));
    }
    given
}

/// Says how far a change of resources has come, and nothing once it is done.
fn resize(pod: &Pod, status: &mut PodStatus, resize: &[ResizeCondition], now: Timestamp) {
    let ours = [ResizeCondition::PENDING, ResizeCondition::IN_PROGRESS];
    status.conditions.retain(|condition| !ours.contains(&condition.r#type.as_str()));
    for condition in resize {
        let before = pod.status.conditions.iter().find(|before| before.r#type == condition.r#type);
        status.conditions.push(PodCondition {
            r#type: condition.r#type.to_owned(),
            observed_generation: status.observed_generation,
            status: TRUE.to_owned(),
            last_probe_time: None,
            last_transition_time: before.and_then(|before| before.last_transition_time).or(Some(Time(now))),
            reason: condition.reason.to_owned(),
            message: condition.message.clone(),
        });
    }
}

/// Says that the pod had to make room.
fn disrupted(status: &mut PodStatus, failure: &Failure, now: Timestamp) {
    const TYPE: &str = "DisruptionTarget";
    if status.conditions.iter().any(|condition| condition.r#type == TYPE && condition.status == TRUE) {
        return;
    }
    status.conditions.retain(|condition| condition.r#type != TYPE);
    status.conditions.push(PodCondition {
        r#type: TYPE.to_owned(),
        observed_generation: status.observed_generation,
        status: TRUE.to_owned(),
        last_probe_time: None,
        last_transition_time: Some(Time(now)),
        reason: "TerminationByKubelet".to_owned(),
        message: failure.message.clone(),
    });
}

type Verdict = (&'static str, &'static str, String);

fn initialized(pod: &Pod, status: &PodStatus) -> Verdict {
    if status.phase == PodPhase::Succeeded {
        return (TRUE, "PodCompleted", String::new());
    }
    let main_has_run = status.container_statuses.iter().any(|status| !status.container_id.is_empty());
    let incomplete: Vec<&str> = pod
        .spec
        .init_containers
        .iter()
        .zip(&status.init_container_statuses)
        .filter(|(container, status)| {
            !main_has_run && if container.is_sidecar() { status.started != Some(true) } else { !status.ready }
        })
        .map(|(container, _)| container.name.as_str())
        .collect();
    if incomplete.is_empty() {
        (TRUE, "", String::new())
    } else {
        let names = incomplete.join(" ");
        (FALSE, "ContainersNotInitialized", format!("containers with incomplete status: [{names}]"))
    }
}

fn containers_ready(pod: &Pod, status: &PodStatus) -> Verdict {
    match status.phase {
        PodPhase::Succeeded => return (FALSE, "PodCompleted", String::new()),
        PodPhase::Failed => return (FALSE, "PodFailed", String::new()),
        PodPhase::Pending | PodPhase::Running | PodPhase::Unknown => {}
    }
    let sidecars = pod.spec.init_containers.iter().zip(&status.init_container_statuses);
    let unready: Vec<&str> = sidecars
        .filter(|(container, _)| container.is_sidecar())
        .map(|(_, status)| status)
        .chain(&status.container_statuses)
        .filter(|status| !status.ready)
        .map(|status| status.name.as_str())
        .collect();
    if unready.is_empty() {
        (TRUE, "", String::new())
    } else {
        let names = unready.join(" ");
        (FALSE, "ContainersNotReady", format!("containers with unready status: [{names}]"))
    }
}

fn ready(pod: &Pod, containers_ready: &Verdict) -> Verdict {
    if containers_ready.0 != TRUE {
        return containers_ready.clone();
    }
    let mut unmet = Vec::new();
    for gate in &pod.spec.readiness_gates {
        let condition = pod.status.conditions.iter().find(|c| c.r#type == gate.condition_type);
        match condition {
            None => unmet.push(format!(
                "corresponding condition of pod readiness gate \"{}\" does not exist.",
                gate.condition_type
            )),
            Some(condition) if condition.status != TRUE => unmet.push(format!(
                "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                gate.condition_type, condition.status
            )),
            Some(_) => {}
        }
    }
    if unmet.is_empty() {
        (TRUE, "", String::new())
    } else {
        (FALSE, "ReadinessGatesNotReady", unmet.join(", "))
    }
}

#[cfg(test)]
mod tests;
