//! Wires the kubelet together: informers and the runtime's events feed the queue of pods, workers take from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, ClientError, EventRecorder, Informer, Store, WorkQueue};
use component::health::Check;
use component::{Backoff, Context, Shutdown, spawn};
use futures_util::StreamExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::cni::{Network, NetworkConfig, bridge_name};
use crate::config::Config;
use crate::container::fields::NodeFacts;
use crate::control_plane::{ApiServer, ControlPlane, Service};
use crate::node::facts::Facts;
use crate::node::{Node, Readiness, Reporter};
use crate::pod::Pod;
use crate::pods::folder::Folder;
use crate::pods::{Pods, mirrored};
use crate::pressure::Guard;
use crate::pressure::signals::NodeSignals;
use crate::probe::Prober;
use crate::probe::run::RealRunner;
use crate::runtime::docker::{DockerConfig, DockerRuntime};
use crate::runtime::{Runtime, RuntimeEvent};
use crate::server::{self, NodeService};
use crate::stats::{self, Collector, RealMachine};
use crate::workers::{Dependencies, ProbeListener, UID, WorkerConfig, Workers};

/// How often everything is looked at, whether or not something happened: for safety, and for volumes whose contents
/// have changed.
const SWEEP: Duration = Duration::from_secs(60);

/// Why a kubelet did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its port is taken, or its address is not this machine's.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection to the apiserver cannot be configured.
    #[error("cannot use the kubeconfig")]
    Client(#[from] ClientError),
    /// The keys of the node's service are not usable.
    #[error("cannot serve with these keys")]
    Serve(#[from] tonic::transport::Error),
    /// The root directory cannot be made.
    #[error("cannot make {path}")]
    Root {
        /// The directory.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The runtime of this node, and where the pod network is configured.
pub(crate) fn docker(config: &Config) -> DockerRuntime {
    let network = Network::new(NetworkConfig {
        bin_dir: config.cni_bin_dir.clone(),
        conf_dir: config.cni_conf_dir.clone(),
        state_dir: config.root.join("cni"),
        bridge: bridge_name(&config.node_name),
    });
    let docker = DockerConfig {
        endpoint: config.docker_endpoint.clone(),
        node: config.node_name.clone(),
        registry: config.registry.clone(),
        logs: config.settings.logs.clone(),
        groups: config.settings.groups.clone(),
    };
    DockerRuntime::new(docker, network)
}

/// Runs a kubelet on Docker Engine until shutdown.
pub async fn run(config: Config, context: Context) -> Result<(), RunError> {
    let runtime = Arc::new(docker(&config));
    run_on(runtime, config, context).await
}

/// Runs a kubelet on a runtime until shutdown.
pub async fn run_on(runtime: Arc<dyn Runtime>, config: Config, context: Context) -> Result<(), RunError> {
    let shutdown = context.shutdown.clone();
    std::fs::create_dir_all(&config.root)
        .map_err(|source| RunError::Root { path: config.root.clone(), source })?;
    let address = SocketAddr::new(config.address, config.port);
    let listener = TcpListener::bind(address).await.map_err(|source| RunError::Bind { address, source })?;
    let port = listener.local_addr().map_or(config.port, |address| address.port());
    let limits = config.settings.limits.clone();
    let facts = Facts::read(vec![config.node_ip.to_string()], &config.node_name, port, &config.root, limits);
    let client = Client::connect(&config.kubeconfig)?.with_field_manager("kubelet");
    let recorder =
        EventRecorder::start(&client, "kubelet", &config.node_name, Arc::clone(&context.clock), &shutdown);

    let queue = WorkQueue::<String>::new();
    let store = watch_pods(&client, &config.node_name, &queue, &shutdown);
    let pods = Pods::new(store.clone());
    let services = Informer::<Service>::new().spawn(&client.api(), &shutdown);
    let control: Arc<dyn ControlPlane> =
        Arc::new(ApiServer { client: client.clone(), recorder, services: services.clone() });

    let (readiness, is_ready) = watch::channel(Readiness {
        runtime: Some("container runtime status check may not have completed yet".to_owned()),
        network: Some("cni plugin not initialized".to_owned()),
        ..Readiness::default()
    });
    let readiness = Arc::new(readiness);
    let reporter = Reporter {
        name: config.node_name.clone(),
        facts: facts.clone(),
        volumes: config.root.join(crate::volumes::claim::FOLDER),
        client: client.clone(),
        clock: Arc::clone(&context.clock),
        readiness: is_ready.clone(),
        runtime: Arc::clone(&runtime),
    };
    reporter.start(&shutdown);
    let node = configure_network(&client, &config.node_name, &runtime, &readiness, &queue, &pods, &shutdown);

    let stats = Arc::new(Collector {
        node: config.node_name.clone(),
        runtime: Arc::clone(&runtime),
        pods: pods.clone(),
        machine: Arc::new(RealMachine { root: config.root.clone() }),
        clock: Arc::clone(&context.clock),
        root: config.root.clone(),
        history: tokio::sync::Mutex::default(),
    });
    stats::serve(&stats, &context.metrics);
    let service = NodeService {
        runtime: Arc::clone(&runtime),
        pods: pods.clone(),
        stats,
        clock: Arc::clone(&context.clock),
        shutdown: shutdown.clone(),
    };
    server::serve(service, &config.keys, listener, &shutdown)?;

    let listener = ProbeListener { queue: queue.clone(), pods: pods.clone(), control: Arc::clone(&control) };
    let prober =
        Prober::start(Arc::new(RealRunner { runtime: Arc::clone(&runtime) }), Arc::new(listener), &shutdown);
    let settings = WorkerConfig {
        root: config.root.clone(),
        registry: config.registry.clone(),
        node: NodeFacts { ips: facts.ips.clone(), allocatable: facts.allocatable() },
        node_memory: facts.memory,
        node_resources: facts.for_pods(),
        cluster_dns: config.cluster_dns.clone(),
        cluster_domain: config.cluster_domain.clone(),
        parallel_pulls: config.settings.parallel_pulls,
        secrets_in_memory: true,
        allowed_unsafe_sysctls: config.settings.allowed_unsafe_sysctls.clone(),
    };
    let synced = context.health.register("pods-synced");
    synced.fail("the pods of this node are not known yet");
    let dependencies = Dependencies {
        runtime: Arc::clone(&runtime),
        control,
        pods: pods.clone(),
        node,
        pressure: is_ready,
        clock: Arc::clone(&context.clock),
        shutdown: shutdown.clone(),
    };
    let check = context.health.register("container-runtime");
    let stop = shutdown.clone();
    let clock = Arc::clone(&context.clock);
    spawn(&shutdown, "start-workers", async move {
        // Before the first list of pods every container would look like one that nobody wants.
        tokio::select! {
            () = async { tokio::join!(store.wait_synced(), services.wait_synced()); } => {}
            () = stop.triggered() => return,
        }
        synced.ok();
        info!(pods = store.len(), "the pods of this node are known");
        if let Some((path, period)) = config.settings.static_pods {
            let node = config.node_name.clone();
            Folder { path, period, node, pods: pods.clone(), queue: queue.clone() }.start(&stop).await;
        }
        let workers = Workers::start(settings, dependencies, queue.clone(), prober);
        let guard = Guard {
            eviction: config.settings.eviction,
            collector: config.settings.images,
            signals: Arc::new(NodeSignals::new(&config.root, Arc::clone(&runtime))),
            runtime: Arc::clone(&runtime),
            pods,
            workers: workers.clone(),
            readiness: Arc::clone(&readiness),
            clock,
            root: config.root,
        };
        guard.start(&stop);
        follow_runtime(runtime, workers, queue, readiness, check, &stop).await;
    });
    Ok(())
}

fn watch_pods(client: &Client, node: &str, queue: &WorkQueue<String>, shutdown: &Shutdown) -> Store<Pod> {
    let wake = queue.clone();
    Informer::<Pod>::new()
        .fields(format!("spec.nodeName={node}"))
        .index(UID, |pod: &Pod| vec![pod.metadata.uid.clone()])
        .on_change(move |old, new| {
            for pod in [old, new].into_iter().flatten() {
                wake.add(pod.metadata.uid.clone());
                // What happens to a mirror concerns its static pod.
                if let Some(of) = mirrored(pod) {
                    wake.add(of.to_owned());
                }
            }
        })
        .spawn(&client.api(), shutdown)
}

/// Gives the runtime its part of the pod network, as soon as the node has one; answers with the node's object, which
/// it watches.
fn configure_network(
    client: &Client,
    node: &str,
    runtime: &Arc<dyn Runtime>,
    readiness: &Arc<watch::Sender<Readiness>>,
    queue: &WorkQueue<String>,
    pods: &Pods,
    shutdown: &Shutdown,
) -> watch::Receiver<Option<Arc<Node>>> {
    let (sender, mut cidrs) = watch::channel(Vec::<String>::new());
    let (object, node_object) = watch::channel(None);
    let store = Informer::<Node>::new()
        .fields(format!("metadata.name={node}"))
        .on_change(move |_, new| {
            object.send_replace(new.cloned());
            let wanted = new.map(|node| node.spec.pod_cidrs.clone()).unwrap_or_default();
            sender.send_if_modified(|known| {
                let changed = !wanted.is_empty() && *known != wanted;
                if changed {
                    *known = wanted;
                }
                changed
            });
        })
        .spawn(&client.api(), shutdown);
    let (runtime, readiness, queue, pods) =
        (Arc::clone(runtime), Arc::clone(readiness), queue.clone(), pods.clone());
    let stop = shutdown.clone();
    spawn(shutdown, "pod-network", async move {
        let _informer_lives_as_long = store;
        loop {
            tokio::select! {
                () = stop.triggered() => return,
                changed = cidrs.changed() => if changed.is_err() { return },
            }
            let wanted = cidrs.borrow_and_update().clone();
            let problem = runtime.configure_network(&wanted).await.err().map(|error| error.to_string());
            match &problem {
                None => info!(?wanted, "the pod network is configured"),
                Some(why) => warn!(?wanted, %why, "the pod network is not configured"),
            }
            readiness.send_if_modified(|state| {
                let changed = state.network != problem;
                state.network.clone_from(&problem);
                changed
            });
            for pod in pods.list() {
                queue.add(pod.metadata.uid.clone());
            }
        }
    });
    node_object
}

/// Hears the runtime for as long as the kubelet lives; while it is away the node says so.
async fn follow_runtime(
    runtime: Arc<dyn Runtime>,
    workers: Workers,
    queue: WorkQueue<String>,
    readiness: Arc<watch::Sender<Readiness>>,
    check: Check,
    shutdown: &Shutdown,
) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut rng = StdRng::from_os_rng();
    loop {
        let ended = tokio::select! {
            () = shutdown.triggered() => return,
            ended = hear(&runtime, &workers, &queue, &readiness, &check, &mut backoff) => ended,
        };
        let why =
            if ended.is_down() { ended.to_string() } else { format!("container runtime is down: {ended}") };
        if backoff.failures() == 0 {
            warn!(%why, "lost the container runtime");
        }
        check.fail(why.clone());
        readiness.send_if_modified(|state| {
            let changed = state.runtime.as_deref() != Some(&why);
            state.runtime = Some(why);
            changed
        });
        tokio::select! {
            () = shutdown.triggered() => return,
            () = tokio::time::sleep(backoff.next(&mut rng)) => {}
        }
    }
}

/// Returns when the runtime can no longer be heard.
async fn hear(
    runtime: &Arc<dyn Runtime>,
    workers: &Workers,
    queue: &WorkQueue<String>,
    readiness: &watch::Sender<Readiness>,
    check: &Check,
    backoff: &mut Backoff,
) -> crate::runtime::RuntimeError {
    let version = match runtime.version().await {
        Ok(version) => format!("{}://{}", version.name, version.version),
        Err(error) => return error,
    };
    let mut events = runtime.events();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.reset();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(RuntimeEvent::Connected)) => {
                    if let Err(error) = workers.sweep().await {
                        return error;
                    }
                    backoff.reset();
                    check.ok();
                    info!(runtime = %version, "the container runtime is there");
                    readiness.send_if_modified(|state| {
                        let changed = state.runtime.is_some() || state.version != version;
                        state.runtime = None;
                        state.version.clone_from(&version);
                        changed
                    });
                }
                Some(Ok(RuntimeEvent::PodChanged { uid })) => queue.add(uid),
                Some(Err(error)) => return error,
                None => return crate::runtime::RuntimeError::Down("its events ended".to_owned()),
            },
            _ = sweep.tick() => {
                if let Err(error) = workers.sweep().await {
                    if error.is_down() {
                        return error;
                    }
                    debug!(%error, "sweep");
                }
            }
        }
    }
}
