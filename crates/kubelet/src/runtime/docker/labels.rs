//! What is written to containers so that they are found again, and how it is read back.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use jiff::Timestamp;

use crate::cni::Network;
use crate::runtime::{
    ContainerConfig, ContainerRecord, ContainerState, Resources, SandboxConfig, SandboxRecord, SandboxState,
};

pub(super) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(super) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(super) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(super) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub(super) const TYPE: &str = "io.kubernetes.docker.type";
pub(super) const TYPE_SANDBOX: &str = "podsandbox";
pub(super) const TYPE_CONTAINER: &str = "container";
const SANDBOX_ID: &str = "io.kubernetes.sandbox.id";
const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
const HASH: &str = "io.kubernetes.container.hash";
const TERMINATION_MESSAGE: &str = "io.kubernetes.container.terminationMessagePath";
/// Whose containers they are: several nodes may share one engine.
pub(super) const NODE: &str = "coxswain.node";
/// Milliseconds to wait after the container's end.
const BACKOFF: &str = "coxswain.backoff";
/// The number of the sandbox.
const ATTEMPT: &str = "coxswain.attempt";
/// Seconds between SIGTERM and SIGKILL.
const GRACE: &str = "coxswain.grace";
/// Whether the sandbox shares the node's network.
const HOST_NETWORK: &str = "coxswain.host-network";

pub(super) fn of_sandbox(node: &str, config: &SandboxConfig) -> HashMap<String, String> {
    [
        (POD_NAME, config.name.clone()),
        (POD_NAMESPACE, config.namespace.clone()),
        (POD_UID, config.uid.clone()),
        (CONTAINER_NAME, "POD".to_owned()),
        (TYPE, TYPE_SANDBOX.to_owned()),
        (NODE, node.to_owned()),
        (ATTEMPT, config.attempt.to_string()),
        (GRACE, config.grace_seconds.to_string()),
        (HOST_NETWORK, config.host_network.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

pub(super) fn of_container(
    node: &str,
    sandbox_id: &str,
    config: &ContainerConfig,
) -> HashMap<String, String> {
    let message = config.termination_message.as_ref();
    [
        (POD_NAME, config.pod_name.clone()),
        (POD_NAMESPACE, config.pod_namespace.clone()),
        (POD_UID, config.pod_uid.clone()),
        (CONTAINER_NAME, config.name.clone()),
        (TYPE, TYPE_CONTAINER.to_owned()),
        (NODE, node.to_owned()),
        (SANDBOX_ID, sandbox_id.to_owned()),
        (RESTART_COUNT, config.restart_count.to_string()),
        (HASH, config.spec_hash.clone()),
        (BACKOFF, config.backoff.as_millis().to_string()),
        (TERMINATION_MESSAGE, message.map(|path| path.display().to_string()).unwrap_or_default()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

pub(super) fn get<'a>(inspect: &'a ContainerInspectResponse, name: &str) -> &'a str {
    let labels = inspect.config.as_ref().and_then(|config| config.labels.as_ref());
    labels.and_then(|labels| labels.get(name)).map_or("", String::as_str)
}

fn number<T: std::str::FromStr + Default>(inspect: &ContainerInspectResponse, name: &str) -> T {
    get(inspect, name).parse().unwrap_or_default()
}

/// Docker writes the first year for what has not happened.
fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse::<Timestamp>().ok().filter(|time| time.as_second() > 0)
}

fn created(inspect: &ContainerInspectResponse) -> Timestamp {
    time(inspect.created.as_deref()).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn sandbox_record(inspect: &ContainerInspectResponse, network: &Network) -> SandboxRecord {
    let id = inspect.id.clone().unwrap_or_default();
    let runs = inspect.state.as_ref().is_some_and(|state| state.running == Some(true));
    let addresses = network.addresses(&id);
    let on_host = get(inspect, HOST_NETWORK) == "true";
    // Without an address the kubelet was killed between making the sandbox and attaching it.
    let usable = runs && (on_host || addresses.as_ref().is_some_and(|ips| !ips.is_empty()));
    SandboxRecord {
        attempt: number(inspect, ATTEMPT),
        state: if usable { SandboxState::Ready } else { SandboxState::NotReady },
        created_at: created(inspect),
        holds_network: addresses.is_some() || (runs && !usable),
        ips: addresses.unwrap_or_default(),
        grace_seconds: number(inspect, GRACE),
        id,
    }
}

pub(super) fn container_record(inspect: &ContainerInspectResponse) -> ContainerRecord {
    let state = inspect.state.clone().unwrap_or_default();
    let error = state.error.clone().filter(|error| !error.is_empty());
    let started_at = time(state.started_at.as_deref());
    let runs = state.running == Some(true);
    let start_error = error.filter(|_| !runs && started_at.is_none());
    let message = get(inspect, TERMINATION_MESSAGE);
    let image = inspect.config.as_ref().and_then(|config| config.image.clone()).unwrap_or_default();
    ContainerRecord {
        id: inspect.id.clone().unwrap_or_default(),
        name: get(inspect, CONTAINER_NAME).to_owned(),
        sandbox_id: get(inspect, SANDBOX_ID).to_owned(),
        state: if runs {
            ContainerState::Running
        } else if started_at.is_none() && start_error.is_none() {
            ContainerState::Created
        } else {
            ContainerState::Exited
        },
        restart_count: number(inspect, RESTART_COUNT),
        spec_hash: get(inspect, HASH).to_owned(),
        backoff: Duration::from_millis(number(inspect, BACKOFF)),
        image,
        image_id: get(inspect, IMAGE_REFERENCE).to_owned(),
        created_at: created(inspect),
        started_at,
        finished_at: time(state.finished_at.as_deref()).filter(|_| !runs),
        exit_code: state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        start_error,
        termination_message: (!message.is_empty()).then(|| PathBuf::from(message)),
        resources: inspect.host_config.as_ref().map(|config| {
            let given = |amount: Option<i64>| amount.filter(|amount| *amount > 0);
            Resources {
                cpu_shares: given(config.cpu_shares),
                cpu_quota: given(config.cpu_quota),
                memory: given(config.memory),
            }
        }),
    }
}

/// On whose node a container was made for the files of its image; no pod has it.
pub(super) const FILES_OF: &str = "coxswain.files-of-image";

/// What `status.imageID` says of the container: known when it is made, and not asked for again.
pub(super) const IMAGE_REFERENCE: &str = "coxswain.image-reference";
