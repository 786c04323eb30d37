//! Docker Engine as the runtime of a node, through bollard; nothing outside this folder names either.
//!
//! A sandbox is a container of the pause program ([`pause`]) without a network of Docker's; CNI plugins put the
//! pod's interface into its namespace. The pod's containers join its network and IPC. What the kubelet must know
//! again is in labels ([`labels`]); several nodes may share one engine, since each sees its own label only.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::{
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;

use super::image::RegistryConfig;
use super::{
    Answer, ContainerConfig, ContainerUsage, ExecOutput, Image, ImagePull, LogOptions, NodeImage,
    NodeResources, PodResources, Port, Process, Resources, Runtime, RuntimeError, RuntimeEvent, RuntimePod,
    RuntimeVersion, SandboxConfig, SandboxRecord, Signal, StreamOptions, groups,
};
use crate::cni::{self, Network};
use crate::config::{GroupSettings, LogLimits};

mod container;
mod exec;
mod hijack;
mod images;
mod labels;
pub mod pause;
mod port;
mod sandbox;
mod streams;
mod tree;
mod unpack;
mod usage;

/// No answer of the engine takes longer; pulls and streams only begin within it.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What the runtime must know of its node.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// As `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// The node's name: the containers of others are not ours.
    pub node: String,
    /// Defaults and mirrors of images.
    pub registry: RegistryConfig,
    /// How much of each log is kept.
    pub logs: LogLimits,
    /// How the control groups of pods are arranged.
    pub groups: GroupSettings,
}

/// Docker Engine.
#[derive(Debug)]
pub struct DockerRuntime {
    config: DockerConfig,
    /// The least `oom_score_adj` that this machine lets us ask for.
    least_oom_score: i64,
    network: Arc<Network>,
    connection: tokio::sync::Mutex<Option<Docker>>,
    /// Containers that have ended do not change: they are inspected once.
    ended: Mutex<HashMap<String, Arc<ContainerInspectResponse>>>,
    /// The sandbox image is known to be there.
    pause_ready: tokio::sync::Mutex<bool>,
    /// Held while the files of an image are taken out of it.
    unpacking: tokio::sync::Mutex<()>,
    /// Once the engine has said which driver it has.
    groups: tokio::sync::Mutex<Option<Option<groups::Groups>>>,
}

impl DockerRuntime {
    /// Nothing is connected yet: the engine may come later.
    pub fn new(config: DockerConfig, network: Network) -> Self {
        Self {
            config,
            least_oom_score: least_oom_score(),
            network: Arc::new(network),
            connection: tokio::sync::Mutex::new(None),
            ended: Mutex::default(),
            pause_ready: tokio::sync::Mutex::new(false),
            unpacking: tokio::sync::Mutex::default(),
            groups: tokio::sync::Mutex::default(),
        }
    }

    /// Raises the score of a container to the least that is possible here.
    fn raise_oom_score(&self, body: &mut bollard::models::ContainerCreateBody) {
        if let Some(score) = body.host_config.as_mut().and_then(|config| config.oom_score_adj.as_mut()) {
            *score = (*score).max(self.least_oom_score);
        }
    }

    /// The pod network.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    async fn docker(&self) -> Result<Docker, RuntimeError> {
        let mut connection = self.connection.lock().await;
        if let Some(docker) = &*connection {
            return Ok(docker.clone());
        }
        let docker = connect(&self.config.endpoint).await?;
        *connection = Some(docker.clone());
        Ok(docker)
    }

    async fn list(&self, uid: Option<&str>) -> Result<Vec<RuntimePod>, RuntimeError> {
        let docker = self.docker().await?;
        let mut wanted = vec![format!("{}={}", labels::NODE, self.config.node)];
        wanted.extend(uid.map(|uid| format!("{}={uid}", labels::POD_UID)));
        let filters = HashMap::from([("label", wanted)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let summaries = docker.list_containers(Some(options)).await.map_err(failed)?;
        let inspected =
            futures_util::future::join_all(summaries.iter().map(|summary| self.inspect(&docker, summary)))
                .await;
        let mut pods: HashMap<String, RuntimePod> = HashMap::new();
        for inspect in inspected {
            // Removed since it was listed.
            let Some(inspect) = inspect? else { continue };
            let label = |name: &str| labels::get(&inspect, name);
            let uid = label(labels::POD_UID).to_owned();
            let pod = pods.entry(uid.clone()).or_insert_with(|| RuntimePod {
                uid,
                namespace: label(labels::POD_NAMESPACE).to_owned(),
                name: label(labels::POD_NAME).to_owned(),
                ..RuntimePod::default()
            });
            if label(labels::TYPE) == labels::TYPE_SANDBOX {
                pod.sandboxes.push(labels::sandbox_record(&inspect, &self.network));
            } else {
                pod.containers.push(labels::container_record(&inspect));
            }
        }
        let mut pods: Vec<RuntimePod> = pods.into_values().collect();
        for pod in &mut pods {
            pod.sandboxes.sort_by_key(|sandbox| std::cmp::Reverse((sandbox.attempt, sandbox.created_at)));
            pod.containers.sort_by_key(|record| std::cmp::Reverse((record.restart_count, record.created_at)));
        }
        pods.sort_by(|a, b| a.uid.cmp(&b.uid));
        if uid.is_none() {
            let present: Vec<&str> = summaries.iter().filter_map(|summary| summary.id.as_deref()).collect();
            self.ended.lock().retain(|id, _| present.contains(&id.as_str()));
        }
        Ok(pods)
    }

    async fn inspect(
        &self,
        docker: &Docker,
        summary: &ContainerSummary,
    ) -> Result<Option<Arc<ContainerInspectResponse>>, RuntimeError> {
        use bollard::models::ContainerSummaryStateEnum as State;
        let Some(id) = summary.id.as_deref() else { return Ok(None) };
        let has_ended = matches!(summary.state, Some(State::EXITED | State::DEAD));
        if has_ended && let Some(known) = self.ended.lock().get(id) {
            return Ok(Some(Arc::clone(known)));
        }
        match docker.inspect_container(id, None).await.map_err(failed) {
            Ok(inspect) => {
                let inspect = Arc::new(inspect);
                let ran = inspect.state.as_ref().is_some_and(|state| state.running == Some(false));
                if has_ended && ran {
                    self.ended.lock().insert(id.to_owned(), Arc::clone(&inspect));
                }
                Ok(Some(inspect))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let docker = self.docker().await?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = docker.remove_container(id, Some(options)).await.map_err(failed);
        self.ended.lock().remove(id);
        match removed {
            Ok(()) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            // Somebody else removes it at this moment.
            Err(RuntimeError::Failed(message)) if message.contains("already in progress") => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Without CAP_SYS_RESOURCE nothing on this machine may go below the score it was started with, and `runc` fails at
/// the attempt: containers then do without protection from the kernel's out-of-memory killer.
fn least_oom_score() -> i64 {
    const CAP_SYS_RESOURCE: u32 = 24;
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let status = read("/proc/self/status");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(u64::MAX);
    if effective & (1 << CAP_SYS_RESOURCE) != 0 {
        return -1000;
    }
    read("/proc/self/oom_score_adj").trim().parse().unwrap_or(0)
}

/// Connects and agrees on a version of the engine's API.
async fn connect(endpoint: &str) -> Result<Docker, RuntimeError> {
    let seconds = TIMEOUT.as_secs();
    let docker = match endpoint.strip_prefix("unix://") {
        Some(path) => Docker::connect_with_unix(path, seconds, bollard::API_DEFAULT_VERSION),
        None => Docker::connect_with_http(endpoint, seconds, bollard::API_DEFAULT_VERSION),
    };
    docker.map_err(failed)?.negotiate_version().await.map_err(failed)
}

/// What an error of bollard means for us.
fn failed(error: bollard::errors::Error) -> RuntimeError {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError { status_code: 404, message } => RuntimeError::NotFound(message),
        Error::DockerResponseServerError { message, .. } => RuntimeError::Failed(message),
        Error::DockerStreamError { error } => RuntimeError::Failed(error),
        Error::RequestTimeoutError => RuntimeError::Failed("the engine did not answer in time".to_owned()),
        Error::IOError { err } => RuntimeError::Down(err.to_string()),
        Error::HyperResponseError { err } => RuntimeError::Down(component::ErrorChain(&err).to_string()),
        Error::HyperLegacyError { err } => RuntimeError::Down(component::ErrorChain(&err).to_string()),
        Error::SocketNotFoundError(path) => RuntimeError::Down(format!("{path} does not exist")),
        other => RuntimeError::Failed(other.to_string()),
    }
}

impl Runtime for DockerRuntime {
    fn version(&self) -> Answer<'_, RuntimeVersion> {
        Box::pin(async {
            let docker = self.docker().await?;
            let version = docker.version().await.map_err(failed)?;
            Ok(RuntimeVersion { name: "docker".to_owned(), version: version.version.unwrap_or_default() })
        })
    }

    fn list_pods(&self) -> Answer<'_, Vec<RuntimePod>> {
        Box::pin(self.list(None))
    }

    fn pod<'a>(&'a self, uid: &'a str) -> Answer<'a, RuntimePod> {
        Box::pin(async move {
            let pods = self.list(Some(uid)).await?;
            Ok(pods
                .into_iter()
                .next()
                .unwrap_or_else(|| RuntimePod { uid: uid.to_owned(), ..Default::default() }))
        })
    }

    fn run_sandbox<'a>(&'a self, config: &'a SandboxConfig) -> Answer<'a, SandboxRecord> {
        Box::pin(self.make_sandbox(config))
    }

    fn stop_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.end_sandbox(id))
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.network.del(id, false).await.map_err(network_failed)?;
            self.remove(id).await
        })
    }

    fn create_container<'a>(
        &'a self,
        sandbox_id: &'a str,
        config: &'a ContainerConfig,
    ) -> Answer<'a, String> {
        Box::pin(self.make_container(sandbox_id, config))
    }

    fn start_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.docker().await?.start_container(id, None).await.map_err(failed) })
    }

    fn update_container<'a>(&'a self, id: &'a str, resources: Resources) -> Answer<'a, ()> {
        Box::pin(self.give(id, resources))
    }

    fn set_pod_resources<'a>(&'a self, uid: &'a str, given: PodResources) -> Answer<'a, ()> {
        Box::pin(self.set_group(uid, given))
    }

    fn forget_pod<'a>(&'a self, uid: &'a str) -> Answer<'a, ()> {
        Box::pin(self.remove_group(uid))
    }

    fn set_node_resources(&self, given: NodeResources) -> Answer<'_, ()> {
        Box::pin(self.set_tree(given))
    }

    fn signal_container<'a>(&'a self, id: &'a str, signal: Signal) -> Answer<'a, ()> {
        Box::pin(async move {
            let docker = self.docker().await?;
            let name = match signal {
                Signal::Kill => "SIGKILL".to_owned(),
                Signal::Stop => {
                    let inspect = docker.inspect_container(id, None).await.map_err(failed)?;
                    inspect
                        .config
                        .and_then(|config| config.stop_signal)
                        .filter(|signal| !signal.is_empty())
                        .unwrap_or_else(|| "SIGTERM".to_owned())
                }
            };
            let options = KillContainerOptionsBuilder::default().signal(&name).build();
            match docker.kill_container(id, Some(options)).await.map_err(failed) {
                Err(RuntimeError::Failed(message)) if message.contains("is not running") => Ok(()),
                Err(error) if error.is_not_found() => Ok(()),
                result => result,
            }
        })
    }

    fn remove_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.remove(id))
    }

    fn image<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Image>> {
        Box::pin(self.find_image(name))
    }

    fn images(&self) -> Answer<'_, Vec<NodeImage>> {
        Box::pin(self.list_images())
    }

    fn remove_image<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.delete_image(id))
    }

    fn image_folder(&self) -> Answer<'_, Option<PathBuf>> {
        Box::pin(async {
            let info = self.docker().await?.info().await.map_err(failed)?;
            Ok(info.docker_root_dir.map(PathBuf::from))
        })
    }

    fn unpack_image<'a>(&'a self, name: &'a str, folder: &'a Path) -> Answer<'a, ()> {
        Box::pin(self.unpack(name, folder))
    }

    fn usage(&self, disk: bool) -> Answer<'_, Vec<ContainerUsage>> {
        Box::pin(self.usage_of_containers(disk))
    }

    fn pull_image<'a>(&'a self, pull: &'a ImagePull) -> Answer<'a, Image> {
        Box::pin(self.pull(pull))
    }

    fn exec<'a>(&'a self, id: &'a str, command: &'a [String], timeout: Duration) -> Answer<'a, ExecOutput> {
        Box::pin(self.run_in(id, command, timeout))
    }

    fn logs(&self, id: &str, options: LogOptions) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
        streams::logs(self.config.endpoint.clone(), id.to_owned(), options)
    }

    fn open_exec<'a>(
        &'a self,
        id: &'a str,
        command: &'a [String],
        options: StreamOptions,
    ) -> Answer<'a, Process> {
        Box::pin(self.start_process(id, command, options))
    }

    fn attach<'a>(&'a self, id: &'a str, options: StreamOptions) -> Answer<'a, Process> {
        Box::pin(self.join_process(id, options))
    }

    fn connect_port<'a>(&'a self, sandbox_id: &'a str, port: u16) -> Answer<'a, Port> {
        Box::pin(self.dial(sandbox_id, port))
    }

    fn events(&self) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
        streams::events(self.config.endpoint.clone(), self.config.node.clone())
    }

    fn configure_network<'a>(&'a self, pod_cidrs: &'a [String]) -> Answer<'a, ()> {
        Box::pin(async move {
            self.network.configure(pod_cidrs).await.map_err(network_failed)?;
            cni::host::allow_forwarding(self.network.bridge()).await.map_err(RuntimeError::Network)
        })
    }

    fn repair_network(&self) -> Answer<'_, ()> {
        Box::pin(async {
            if self.network.is_configured().await {
                cni::host::allow_forwarding(self.network.bridge()).await.map_err(RuntimeError::Network)?;
            }
            Ok(())
        })
    }

    fn collect_garbage(&self) -> Answer<'_, usize> {
        Box::pin(async move {
            self.remove_stray_unpacked().await?;
            self.network
                .collect_garbage(|| async {
                    let pods = self.list(None).await.map_err(Garbage)?;
                    let sandboxes = pods.into_iter().flat_map(|pod| pod.sandboxes);
                    Ok::<_, Garbage>(sandboxes.map(|sandbox| sandbox.id).collect())
                })
                .await
                .map_err(|Garbage(error)| error)
        })
    }
}

/// Carries either kind of error out of the garbage collector.
struct Garbage(RuntimeError);

impl From<cni::NetworkError> for Garbage {
    fn from(error: cni::NetworkError) -> Self {
        Self(network_failed(error))
    }
}

fn network_failed(error: cni::NetworkError) -> RuntimeError {
    RuntimeError::Network(component::ErrorChain(&error).to_string())
}
