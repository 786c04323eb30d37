//! The process behind `cox up`: starts the daemons, starts each again when it dies, ends them in reverse order.
//!
//! ```text
//! cox up --(pipe: Progress)-- supervisor -- one task per daemon: start, wait, back off, start again
//! ```
//! A supervisor that was killed leaves its daemons running; the next one ends them first and starts its own.
//! Pods do not notice: they belong to Docker Engine.

pub(crate) mod daemons;
mod inherited;
mod process;
pub(crate) mod state;

use std::io::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use api::time::Time;
use client::{Client, Informer, Resource};
use component::{CommonArgs, Context, Failure, Kubeconfig, Shutdown, Spec};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use tracing::{info, warn};

use crate::cli::{Global, UpArgs};
use crate::cluster::DataDir;
use crate::error::CoxError;
use crate::node;
use process::Daemons;
use state::{Progress, State};

/// How long the daemons may take, one after the other, to end.
const GRACE: Duration = Duration::from_secs(60);

/// How long the cluster may take to be ready. Building the first sandbox image is the slowest part.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Runs the supervisor until it is told to end.
pub(crate) fn main(global: &Global, args: &UpArgs) -> ExitCode {
    inherited::close_all();
    // A session of its own: closing the terminal does not end the cluster. Fails only where it has one already.
    let _already_leader = nix::unistd::setsid();
    let spec = Spec { grace: GRACE, ..Spec::new("cox", 0).without_endpoints() };
    let (dir, args) = (DataDir::new(&global.data_dir), args.clone());
    component::main(&spec, &CommonArgs::default(), async move |context| {
        let Some(lock) = state::take_lock(&dir)? else {
            tell(&Progress::Failed("another supervisor runs".to_owned()));
            return Ok(());
        };
        let ended = supervise(&dir, &args, &context).await;
        if let Err(error) = &ended {
            tell(&Progress::Failed(component::ErrorChain(error).to_string()));
            context.shutdown.trigger();
        }
        context.shutdown.drain(GRACE).await;
        drop(lock);
        ended.map_err(Failure::from)
    })
}

async fn supervise(dir: &DataDir, args: &UpArgs, context: &Context) -> Result<(), CoxError> {
    let shutdown = &context.shutdown;
    let left = State::load(dir);
    if state::end_daemons(&left).await? {
        warn!("ended daemons that had lost their supervisor");
    }
    let node_name = args.node_name.clone().map_or_else(host_name, Ok)?;
    let node_ip = args.node_ip.clone().unwrap_or_else(|| node_address().to_string());
    let mut state = State { supervisor: std::process::id() as i32, ..State::default() };
    state.node.clone_from(&node_name);
    state.save(dir)?;
    let daemons = Daemons::new(dir.clone(), Arc::new(Mutex::new(state)), shutdown.clone());

    tell(&Progress::Step("starting apiserver".to_owned()));
    daemons.start(daemons::apiserver(dir, args, &node_ip));
    let client = ready_client(dir, shutdown).await?;
    daemons.start(daemons::scheduler(dir));
    daemons.start(daemons::controllers(dir));
    if !args.control_plane_only {
        tell(&Progress::Step(format!("starting node {node_name} at {node_ip}")));
        let folder = dir.node(&node_name);
        let start = context.clock.now();
        let server = Kubeconfig::load(dir.kubeconfig("admin"))?.server;
        node::prepare(&client, &folder, &node_name, &node_ip, &server, args).await?;
        for daemon in [
            daemons::kubelet(&folder, &node_name, &node_ip, &args.docker_endpoint),
            daemons::kube_proxy(&folder, &node_name),
        ] {
            // `cox down` reads how to clean up from here, also when this process was killed.
            let file = folder.join(format!("{}.args", daemon.name));
            std::fs::write(&file, daemon.arguments.join("\n")).map_err(CoxError::file("write", &file))?;
            daemons.start(daemon);
        }
        node_ready(&client, &node_name, start, shutdown).await?;
    }
    tell(&Progress::Ready);
    info!(node = %node_name, "the cluster is ready");
    shutdown.triggered().await;
    Ok(())
}

/// A line for `cox up`, if it still listens.
#[allow(clippy::print_stdout, reason = "standard output is the pipe to `cox up`")]
fn tell(progress: &Progress) {
    let line = serde_json::to_string(progress).expect("progress holds only what JSON can");
    let mut out = std::io::stdout();
    let _nobody_listens = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A client of the apiserver, once that answers.
async fn ready_client(dir: &DataDir, shutdown: &Shutdown) -> Result<Client, CoxError> {
    let path = dir.kubeconfig("admin");
    let answered = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            look.tick().await;
            let Ok(config) = Kubeconfig::load(&path) else { continue };
            let client = Client::connect(&config)?.with_field_manager("cox");
            if client.cluster_info().await.is_ok() {
                return Ok(client);
            }
        }
    };
    tokio::select! {
        answer = tokio::time::timeout(READY_WITHIN, answered) => answer.unwrap_or_else(|_| {
            Err(CoxError::Failed(format!("apiserver does not answer; {} says why", dir.log("apiserver").display())))
        }),
        () = shutdown.triggered() => Err(CoxError::Failed("ended before it was ready".to_owned())),
    }
}

/// The fields of a Node that say whether it is ready.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    metadata: api::meta::ObjectMeta,
    status: NodeStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    conditions: Vec<NodeCondition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeCondition {
    r#type: String,
    status: String,
    message: String,
    last_heartbeat_time: Option<Time>,
}

impl NodeCondition {
    /// Whether this is what a kubelet says that was started at `start`, and not what one said before it. Heartbeats
    /// are in whole seconds.
    fn is_true_since(&self, start: Timestamp) -> bool {
        let heard = self.last_heartbeat_time.map(|time| time.0.as_second());
        self.status == "True" && heard >= Some(start.as_second())
    }
}

impl Resource for Node {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "nodes";
    const KIND: &'static str = "Node";
    const NAMESPACED: bool = false;

    fn metadata(&self) -> &api::meta::ObjectMeta {
        &self.metadata
    }
}

/// Waits until the node's kubelet says that it is ready; what one said before `start` does not count. A node that says why it is not is waited for too, since that may pass, but the
/// reason is told when the time is over.
async fn node_ready(
    client: &Client,
    name: &str,
    start: Timestamp,
    shutdown: &Shutdown,
) -> Result<(), CoxError> {
    let (sender, mut seen) = tokio::sync::watch::channel(None::<NodeCondition>);
    let watching = Shutdown::new();
    let handler = move |_old: Option<&Arc<Node>>, new: Option<&Arc<Node>>| {
        let ready = new.and_then(|node| node.status.conditions.iter().find(|c| c.r#type == "Ready")).cloned();
        let _nobody_waits = sender.send(ready);
    };
    let api = client.api::<Node>();
    Informer::new().fields(format!("metadata.name={name}")).on_change(handler).spawn(&api, &watching);
    let is_ready =
        |condition: &Option<NodeCondition>| condition.as_ref().is_some_and(|c| c.is_true_since(start));
    let ready = tokio::select! {
        waited = tokio::time::timeout(READY_WITHIN, seen.wait_for(is_ready)) => waited.is_ok(),
        () = shutdown.triggered() => false,
    };
    watching.trigger();
    if ready {
        return Ok(());
    }
    let why =
        seen.borrow().as_ref().map_or_else(|| "it has not registered".to_owned(), |c| c.message.clone());
    Err(CoxError::Failed(format!("node {name} is not ready: {why}")))
}

/// The name of this host, as a node's name: lower case.
fn host_name() -> Result<String, CoxError> {
    let name = nix::unistd::gethostname()
        .map_err(|error| CoxError::System { what: "read the host's name", source: error.into() })?;
    Ok(name.to_string_lossy().to_lowercase())
}

/// The address that this host would use towards others. Connecting a UDP socket asks the routing table and sends
/// nothing. A host without a default route is alone: loopback.
fn node_address() -> IpAddr {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let ask = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    };
    ask().map_or(loopback, |address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_the_kubelet_that_was_started_says_so() {
        let start: Timestamp = "2026-11-24T10:00:00.7Z".parse().expect("a time");
        let condition = |status: &str, heartbeat: &str| -> NodeCondition {
            let text =
                format!(r#"{{"type": "Ready", "status": "{status}", "lastHeartbeatTime": {heartbeat}}}"#);
            serde_json::from_str(&text).expect("a condition")
        };
        assert!(condition("True", r#""2026-11-24T10:00:00Z""#).is_true_since(start));
        assert!(!condition("True", r#""2026-11-24T09:59:59Z""#).is_true_since(start), "one that has ended");
        assert!(!condition("False", r#""2026-11-24T10:00:01Z""#).is_true_since(start));
        assert!(!condition("True", "null").is_true_since(start));
    }
}
