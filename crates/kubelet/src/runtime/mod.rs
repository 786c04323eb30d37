//! What the kubelet asks of a container runtime, in its own words.
//!
//! The trait is shaped like the Container Runtime Interface: a pod sandbox owns the pod's network and holds its
//! namespaces; containers live in it; nothing here waits for a container to end. [`docker`] is the runtime of
//! today; another one (CRI, our own, one without containers for tests) is one more implementation.
//!
//! **The runtime is the memory**: everything that the kubelet must know again after it was killed (which pod a
//! container is of, how often it was started, how long to wait before it is started again) is written to the
//! container when it is made, and read back by [`Runtime::pod`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use crate::pod::QosClass;

pub mod cgroup;
pub mod docker;
pub mod groups;
pub mod image;
pub mod keyring;
mod streams;

pub use groups::{NodeResources, PodResources};
pub use image::{Credentials, Image};
pub use streams::{Control, Duplex, Input, Output, Outputs, Port, Process, StreamOptions, TerminalSize};

/// The future of a runtime's answer.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, RuntimeError>>;

/// Why the runtime did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// It cannot be reached: everything else is unknown.
    #[error("container runtime is down: {0}")]
    Down(String),
    /// The container, sandbox or image is not there.
    #[error("{0} not found")]
    NotFound(String),
    /// The pod's network could not be set up.
    #[error("{0}")]
    Network(String),
    /// It refused or failed.
    #[error("{0}")]
    Failed(String),
}

impl RuntimeError {
    /// Whether the runtime as a whole is away.
    pub fn is_down(&self) -> bool {
        matches!(self, Self::Down(_))
    }

    /// Whether what was named is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

/// What the runtime holds of one pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuntimePod {
    /// The uid of the pod.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Newest first.
    pub sandboxes: Vec<SandboxRecord>,
    /// Newest first.
    pub containers: Vec<ContainerRecord>,
}

impl RuntimePod {
    /// Whether nothing of the pod is left.
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }

    /// The newest container of that name.
    pub fn latest(&self, name: &str) -> Option<&ContainerRecord> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The container before the newest of that name.
    pub fn previous(&self, name: &str) -> Option<&ContainerRecord> {
        self.containers.iter().filter(|container| container.name == name).nth(1)
    }

    /// Whether any container still runs.
    pub fn has_running(&self) -> bool {
        self.containers.iter().any(|container| container.state == ContainerState::Running)
    }
}

/// Whether a sandbox holds its namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxState {
    /// It runs, and its network is up.
    Ready,
    /// It has ended, or its network never came up.
    NotReady,
}

/// A sandbox as the runtime knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxRecord {
    /// Given by the runtime.
    pub id: String,
    /// Counts the sandboxes of the pod, from 0.
    pub attempt: u32,
    /// Whether it can be used.
    pub state: SandboxState,
    /// When it was made.
    pub created_at: Timestamp,
    /// The pod's addresses; empty on the node's network.
    pub ips: Vec<IpAddr>,
    /// Whether it has an address (or ports of the node) to give back.
    pub holds_network: bool,
    /// Seconds between SIGTERM and SIGKILL, for pods that are no longer known to the apiserver.
    pub grace_seconds: i64,
}

/// What of cpu and memory a container is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Relative weight.
    pub cpu_shares: Option<i64>,
    /// Microseconds per 100 ms.
    pub cpu_quota: Option<i64>,
    /// Bytes.
    pub memory: Option<i64>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// It was made and not started.
    Created,
    /// It runs.
    Running,
    /// It has ended, or could not be started.
    Exited,
}

/// A container as the runtime knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerRecord {
    /// Given by the runtime.
    pub id: String,
    /// The name in the pod's spec.
    pub name: String,
    /// The sandbox that it was made in.
    pub sandbox_id: String,
    /// What it does.
    pub state: ContainerState,
    /// How often a container of this name was started before.
    pub restart_count: u32,
    /// Of the spec that it was made from.
    pub spec_hash: String,
    /// How long after its end the next one may start.
    pub backoff: Duration,
    /// The image's name.
    pub image: String,
    /// The image's digest or id.
    pub image_id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What it returned.
    pub exit_code: i32,
    /// Whether the kernel killed it for its memory.
    pub oom_killed: bool,
    /// Why it could not be started.
    pub start_error: Option<String>,
    /// Where on the node its termination message is.
    pub termination_message: Option<PathBuf>,
    /// What it is given now, where the runtime knows.
    pub resources: Option<Resources>,
}

/// A TCP or UDP port of the node that leads to the pod.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// On the node.
    pub host_port: u16,
    /// In the pod.
    pub container_port: u16,
    /// `tcp` or `udp`, in small letters.
    pub protocol: String,
    /// The address of the node that it is bound to; empty for all.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// What a sandbox is made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SandboxConfig {
    /// The uid of the pod.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Counts the sandboxes of the pod.
    pub attempt: u32,
    /// The host name inside.
    pub hostname: String,
    /// Whether it shares the node's network.
    pub host_network: bool,
    /// Whether it shares the node's processes.
    pub host_pid: bool,
    /// Whether it shares the node's IPC.
    pub host_ipc: bool,
    /// Ports of the node that lead here.
    pub port_mappings: Vec<PortMapping>,
    /// Kernel settings of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// How the kernel is to treat it.
    pub qos: QosClass,
    /// The program that makes its containers, where that is another than usual.
    pub handler: Option<String>,
    /// Seconds between SIGTERM and SIGKILL, written down for later.
    pub grace_seconds: i64,
}

/// What is mounted below a mount that refuses writing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Below {
    /// May be written to where it can.
    #[default]
    AsItIs,
    /// Refuses writing too, where the runtime knows how.
    ReadOnlyIfPossible,
    /// Refuses writing too.
    ReadOnly,
}

/// Something of the node that is seen inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On the node.
    pub host_path: PathBuf,
    /// In the container.
    pub container_path: String,
    /// Whether writing is refused.
    pub read_only: bool,
    /// What then is below it.
    pub below: Below,
    /// `rprivate`, `rslave` or `rshared`.
    pub propagation: &'static str,
}

/// Which processes a container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PidNamespace {
    /// Its own.
    #[default]
    Container,
    /// Those of its pod.
    Pod,
    /// Those of another container, with this id.
    Of(String),
    /// Those of the node.
    Node,
}

/// A filter of system calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// None.
    #[default]
    Unconfined,
    /// The runtime's own.
    RuntimeDefault,
    /// This one.
    Profile(String),
}

/// What a container is made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerConfig {
    /// The uid of the pod.
    pub pod_uid: String,
    /// Its namespace.
    pub pod_namespace: String,
    /// Its name.
    pub pod_name: String,
    /// The name in the spec.
    pub name: String,
    /// How often a container of this name was started before.
    pub restart_count: u32,
    /// Of the spec.
    pub spec_hash: String,
    /// How long after its end the next one may start.
    pub backoff: Duration,
    /// The image's name, as the runtime knows it.
    pub image: String,
    /// What `status.imageID` will say.
    pub image_reference: String,
    /// Overrides the entry point of the image, where not empty.
    pub command: Vec<String>,
    /// Overrides the command of the image, where not empty.
    pub args: Vec<String>,
    /// The environment, in order.
    pub env: Vec<(String, String)>,
    /// Overrides the one of the image, where not empty.
    pub working_dir: String,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// `user[:group]`, where given.
    pub user: Option<String>,
    /// More groups.
    pub supplemental_groups: Vec<i64>,
    /// All of the node's devices and capabilities.
    pub privileged: bool,
    /// Whether the root file system refuses writing.
    pub read_only_root: bool,
    /// Whether setuid programs gain nothing.
    pub no_new_privileges: bool,
    /// Which system calls are refused.
    pub seccomp: Seccomp,
    /// Another AppArmor profile than the engine's own.
    pub apparmor: Option<String>,
    /// Parts of an SELinux label, as `level:s0`.
    pub selinux: Vec<String>,
    /// Whether all of `/proc` is seen.
    pub unmasked_proc: bool,
    /// Another signal than the image's to end it with.
    pub stop_signal: Option<String>,
    /// Capabilities to add.
    pub capabilities_add: Vec<String>,
    /// Capabilities to take away.
    pub capabilities_drop: Vec<String>,
    /// Of cpu and memory.
    pub resources: Resources,
    /// How the kernel is to treat its pod.
    pub qos: QosClass,
    /// The program that makes it, where that is another than usual.
    pub handler: Option<String>,
    /// Who goes first when the node has no memory left.
    pub oom_score_adj: i64,
    /// Which processes it sees.
    pub pid: PidNamespace,
    /// Whether it shares the node's IPC.
    pub host_ipc: bool,
    /// Whether it shares the node's network (the sandbox does then, too).
    pub host_network: bool,
    /// Whether its standard input is kept open.
    pub stdin: bool,
    /// Whether the first client that leaves closes it.
    pub stdin_once: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Where on the node its termination message will be.
    pub termination_message: Option<PathBuf>,
}

/// A signal for the first process of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The stop signal of the image, SIGTERM where it names none.
    Stop,
    /// SIGKILL.
    Kill,
}

/// What a command inside a container gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// What it returned.
    pub exit_code: i64,
    /// Both streams, as they came; cut at some kilobytes.
    pub output: Vec<u8>,
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Goes on while the container runs.
    pub follow: bool,
    /// Each line is preceded by its time.
    pub timestamps: bool,
    /// The last lines only.
    pub tail: Option<u64>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
}

/// What the runtime tells without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// The subscription stands: what happened before must be listed.
    Connected,
    /// Something of this pod changed.
    PodChanged {
        /// The uid of the pod.
        uid: String,
    },
}

/// The name and version of the runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// As `docker`.
    pub name: String,
    /// As `20.10.24`.
    pub version: String,
}

/// An image to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePull {
    /// Where it is pulled from.
    pub source: String,
    /// The name that it is to have.
    pub name: String,
    /// Who asks the registry.
    pub credentials: Option<Credentials>,
}

/// An image on the node, as its status and garbage collection see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeImage {
    /// Of the runtime.
    pub id: String,
    /// With digest or tag.
    pub names: Vec<String>,
    /// Bytes.
    pub size: u64,
    /// Whether a container, of whomever, was made from it.
    pub in_use: bool,
}

/// What a running container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Of the runtime.
    pub id: String,
    /// The uid of its pod.
    pub pod_uid: String,
    /// The name in the spec.
    pub name: String,
    /// The image's name.
    pub image: String,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// Of cpu and memory, and how many processes there are.
    pub cgroup: cgroup::Usage,
    /// What it was given.
    pub resources: Resources,
    /// Bytes on the disk that are its own: what it wrote, and its log; where that was asked for.
    pub disk: Option<u64>,
    /// Bytes of its log.
    pub log: u64,
    /// The network interfaces of its pod; none where that is on the node's network.
    pub interfaces: Vec<InterfaceUsage>,
}

/// What has gone through a network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceUsage {
    /// As `eth0`.
    pub name: String,
    /// Bytes, packets, errors and dropped packets that came.
    pub received: [u64; 4],
    /// The same of what went.
    pub sent: [u64; 4],
}

/// The interfaces in a text of the kernel's, as `/proc/net/dev`; the loopback interface tells nobody anything.
pub fn interfaces(text: &str) -> Vec<InterfaceUsage> {
    let interface = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let numbers: Vec<u64> = rest.split_whitespace().map_while(|number| number.parse().ok()).collect();
        let four = |from: usize| numbers.get(from..from + 4)?.try_into().ok();
        let (name, received, sent) = (name.trim().to_owned(), four(0)?, four(8)?);
        (name != "lo").then_some(InterfaceUsage { name, received, sent })
    };
    text.lines().filter_map(interface).collect()
}

/// A container runtime of one node.
///
/// Removing and stopping what is not there succeeds. Each call ends within a bounded time, but for
/// [`Runtime::pull_image`] and the streams.
pub trait Runtime: Send + Sync + 'static {
    /// Asks for its version: a ping.
    fn version(&self) -> Answer<'_, RuntimeVersion>;
    /// Every pod of this node of which anything is left.
    fn list_pods(&self) -> Answer<'_, Vec<RuntimePod>>;
    /// What is left of one pod; empty where nothing is.
    fn pod<'a>(&'a self, uid: &'a str) -> Answer<'a, RuntimePod>;
    /// Makes and starts a sandbox, with its network.
    fn run_sandbox<'a>(&'a self, config: &'a SandboxConfig) -> Answer<'a, SandboxRecord>;
    /// Gives its network back and ends it; containers in it end too.
    fn stop_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;
    /// Removes a stopped sandbox.
    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;
    /// Makes a container in a sandbox.
    fn create_container<'a>(&'a self, sandbox_id: &'a str, config: &'a ContainerConfig)
    -> Answer<'a, String>;
    /// Starts it.
    fn start_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;
    /// Gives a running container other resources.
    fn update_container<'a>(&'a self, _id: &'a str, _resources: Resources) -> Answer<'a, ()> {
        Box::pin(async { Err(RuntimeError::Failed("this runtime resizes nothing".to_owned())) })
    }
    /// Gives a pod what its containers may use together; it may not have begun yet.
    fn set_pod_resources<'a>(&'a self, _uid: &'a str, _given: PodResources) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
    /// Takes away what is left of a pod beside its containers and sandboxes.
    fn forget_pod<'a>(&'a self, _uid: &'a str) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
    /// Gives the pods of the node what they may use together.
    fn set_node_resources(&self, _given: NodeResources) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    /// Sends a signal.
    fn signal_container<'a>(&'a self, id: &'a str, signal: Signal) -> Answer<'a, ()>;
    /// Removes it, running or not.
    fn remove_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;
    /// What is known of an image; `None` where it is not on the node.
    fn image<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Image>>;
    /// Every image on the node.
    fn images(&self) -> Answer<'_, Vec<NodeImage>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    /// Removes an image, with all its names.
    fn remove_image<'a>(&'a self, _id: &'a str) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
    /// Where images are on the node's disks, where that is a folder.
    fn image_folder(&self) -> Answer<'_, Option<PathBuf>> {
        Box::pin(async { Ok(None) })
    }
    /// What the running containers of this node use. What they use of the disk is slow to find: only with `disk`.
    fn usage(&self, _disk: bool) -> Answer<'_, Vec<ContainerUsage>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    /// Unpacks the files of an image, which is on the node, into an empty folder.
    fn unpack_image<'a>(&'a self, _name: &'a str, _folder: &'a Path) -> Answer<'a, ()> {
        Box::pin(async { Err(RuntimeError::Failed("this runtime has no files of images".to_owned())) })
    }
    /// Brings an image to the node.
    fn pull_image<'a>(&'a self, pull: &'a ImagePull) -> Answer<'a, Image>;
    /// Runs a command in a container and waits for it, for `timeout` at most.
    fn exec<'a>(&'a self, id: &'a str, command: &'a [String], timeout: Duration) -> Answer<'a, ExecOutput>;
    /// The log of a container; ends with the container where followed.
    fn logs(&self, id: &str, options: LogOptions) -> BoxStream<'static, Result<Bytes, RuntimeError>>;
    /// Runs a command in a container and stays connected with it. A runtime without processes has no such thing.
    fn open_exec<'a>(
        &'a self,
        _id: &'a str,
        _command: &'a [String],
        _options: StreamOptions,
    ) -> Answer<'a, Process> {
        Box::pin(async { Err(RuntimeError::Failed("this runtime runs no commands".to_owned())) })
    }
    /// Connects with the first process of a container.
    fn attach<'a>(&'a self, _id: &'a str, _options: StreamOptions) -> Answer<'a, Process> {
        Box::pin(async { Err(RuntimeError::Failed("this runtime has no processes".to_owned())) })
    }
    /// Connects to a TCP port as a process of the pod would, on its loopback interface.
    fn connect_port<'a>(&'a self, _sandbox_id: &'a str, _port: u16) -> Answer<'a, Port> {
        Box::pin(async { Err(RuntimeError::Failed("this runtime has no network".to_owned())) })
    }
    /// What happens from now on; ends when the runtime goes away.
    fn events(&self) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>>;
    /// The network that pods get, as soon as the node has one.
    fn configure_network<'a>(&'a self, pod_cidrs: &'a [String]) -> Answer<'a, ()>;
    /// Puts right what others have undone of the node's part of the network since it was configured: rules that a
    /// restart of the engine or a flush has taken away.
    fn repair_network(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    /// Gives back addresses that nothing uses any more; says how many.
    fn collect_garbage(&self) -> Answer<'_, usize>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_but_for_the_loopback() {
        let text = "Inter-|   Receive\n face |bytes packets errs\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  \
                    eth0: 10 2 0 1 0 0 0 0 20 3 4 5 0 0 0 0\n";
        let eth0 = InterfaceUsage { name: "eth0".to_owned(), received: [10, 2, 0, 1], sent: [20, 3, 4, 5] };
        assert_eq!(interfaces(text), [eth0]);
    }
}
