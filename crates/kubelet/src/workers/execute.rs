//! Takes the steps that [`crate::actions`] has planned, in order.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use tracing::info;

use super::sync::find;
use super::{PodState, Shared, SyncError};
use crate::actions::{PodActions, Problem, StartContainer};
use crate::container::config::{ContainerInput, kernel_hostname};
use crate::container::env::{EnvInput, Variables, environment};
use crate::container::resources::{cpu_shares, pod_limits, pod_requests};
use crate::container::{References, container_config, sandbox_config};
use crate::pod::{Container, Pod, QosClass, qos_class};
use crate::runtime::{
    Below, ContainerState, Image, Mount, NodeResources, PodResources, Resources, RuntimeError, RuntimePod,
    SandboxConfig, SandboxRecord, SandboxState,
};
use crate::status::{ResizeCondition, reasons};
use crate::volumes::{self, Paths};

/// How long a container that could not be made waits for its next try.
const RETRY: Duration = Duration::from_secs(10);

/// What all containers of a pod are started with.
struct Ground {
    sandbox: SandboxRecord,
    ips: Vec<String>,
    references: References,
    paths: Paths,
    /// Container name to id, for those that look into another one.
    running: HashMap<String, String>,
}

impl Shared {
    pub(super) async fn execute(
        self: &Arc<Self>,
        state: &mut PodState,
        pod: &Arc<Pod>,
        runtime: &RuntimePod,
        actions: &PodActions,
    ) -> Result<(), SyncError> {
        for kill in &actions.kill {
            self.kill(state, Some(pod), runtime, kill);
        }
        let held = &self.dependencies.runtime;
        let given = pod_resources(pod);
        if !actions.resize.is_empty() {
            // A container may have no more than its pod: until all of them have what is new, the pod has no limits.
            let unlimited = Resources { cpu_quota: None, memory: None, ..given.resources };
            let meanwhile = PodResources { resources: unlimited, ..given };
            held.set_pod_resources(&pod.metadata.uid, meanwhile).await?;
            self.resize(state, pod, actions).await?;
        }
        if actions.create_sandbox.is_some() || !actions.resize.is_empty() || !actions.start.is_empty() {
            // Whatever is made for a pod is found again by its folder, even if the pod never comes to have a sandbox.
            let path = self.folder(&pod.metadata.uid).path().to_owned();
            tokio::fs::create_dir_all(&path).await.map_err(|source| SyncError::Io { path, source })?;
            held.set_pod_resources(&pod.metadata.uid, given).await?;
        }
        for id in &actions.remove_containers {
            held.remove_container(id).await?;
        }
        for id in &actions.stop_sandboxes {
            held.stop_sandbox(id).await?;
        }
        for id in &actions.remove_sandboxes {
            held.remove_sandbox(id).await?;
        }
        let mut sandbox = runtime.sandboxes.iter().find(|s| s.state == SandboxState::Ready).cloned();
        if let Some(attempt) = actions.create_sandbox {
            if actions.sandbox_changed {
                let text = "Pod sandbox changed, it will be killed and re-created.".to_owned();
                self.event(pod, "", EventType::Normal, "SandboxChanged", text);
            }
            let name = kernel_hostname(pod, &self.config.cluster_domain).map_err(RuntimeError::Failed);
            // Better no pod than one that believes in walls that are not there.
            let name = match pod.spec.host_users {
                Some(false) => {
                    Err(RuntimeError::Failed("runtime does not support user namespaces".to_owned()))
                }
                Some(true) | None => name,
            };
            let made = match name {
                Ok(name) => match self.handler(pod).await {
                    Ok(handler) => {
                        let config = SandboxConfig { handler, ..sandbox_config(pod, attempt, name) };
                        held.run_sandbox(&config).await
                    }
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            match made {
                Ok(made) => sandbox = Some(made),
                Err(error) => {
                    let text = format!("Failed to create pod sandbox: {error}");
                    self.event(pod, "", EventType::Warning, "FailedCreatePodSandBox", text);
                    return Err(error.into());
                }
            }
        }
        let (Some(sandbox), false) = (sandbox, actions.start.is_empty()) else { return Ok(()) };
        let mut ground = self.ground(state, pod, sandbox, &actions.start).await?;
        let running = runtime.containers.iter().filter(|record| record.state == ContainerState::Running);
        ground.running = running.map(|record| (record.name.clone(), record.id.clone())).collect();
        for start in &actions.start {
            if let Some(container) = find(pod, &start.name) {
                self.start(state, pod, &ground, container, start).await?;
            }
        }
        Ok(())
    }

    /// What the runtime calls the class that the pod names.
    async fn handler(&self, pod: &Pod) -> Result<Option<String>, RuntimeError> {
        let Some(name) = pod.spec.runtime_class_name.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        match self.dependencies.control.runtime_class(name).await {
            Ok(Some(handler)) => Ok(Some(handler)),
            Ok(None) => Err(RuntimeError::Failed(format!("runtimeclass.node.k8s.io \"{name}\" not found"))),
            Err(error) => Err(RuntimeError::Failed(error.to_status().message)),
        }
    }

    /// Gives all pods of the node what they may use together; Burstable ones weigh as much as they ask for.
    pub(super) async fn set_node_resources(&self) -> Result<(), RuntimeError> {
        let pods = self.dependencies.pods.list();
        let burstable =
            pods.iter().filter(|pod| !pod.is_terminal() && qos_class(&pod.spec) == QosClass::Burstable);
        let milli: i64 = burstable
            .filter_map(|pod| pod_requests(&pod.spec).get("cpu").map(api::quantity::Quantity::milli_value))
            .fold(0, i64::saturating_add);
        let all = self.config.node_resources;
        let given = NodeResources { all, burstable_shares: cpu_shares(milli) };
        self.dependencies.runtime.set_node_resources(given).await
    }

    /// Tells the kernel of what containers are given now.
    async fn resize(&self, state: &mut PodState, pod: &Pod, actions: &PodActions) -> Result<(), SyncError> {
        for resize in &actions.resize {
            match self.dependencies.runtime.update_container(&resize.id, resize.resources).await {
                Ok(()) => {
                    state.resize.retain(|condition| condition.r#type != ResizeCondition::IN_PROGRESS);
                    info!(pod = %pod.key(), container = %resize.name, "resized container");
                }
                Err(error) if error.is_down() => return Err(error.into()),
                Err(error) => {
                    state.resize.retain(|condition| condition.r#type != ResizeCondition::IN_PROGRESS);
                    state.resize.push(ResizeCondition {
                        r#type: ResizeCondition::IN_PROGRESS,
                        reason: "Error",
                        message: error.to_string(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Volumes, and the objects that volumes and environments refer to.
    async fn ground(
        &self,
        state: &mut PodState,
        pod: &Arc<Pod>,
        sandbox: SandboxRecord,
        starts: &[StartContainer],
    ) -> Result<Ground, SyncError> {
        let ips = self.pod_ips(pod, &sandbox);
        let mut references = References::default();
        for container in starts.iter().filter_map(|start| find(pod, &start.name)) {
            let (maps, secrets) = References::of(container);
            let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
            self.fetch(pod, owned(maps), owned(secrets), &mut references).await?;
        }
        self.write_files(pod, &self.folder(&pod.metadata.uid), &ips).await?;
        let (references, paths) = self.set_up_volumes(state, pod, &ips, references).await?;
        Ok(Ground { sandbox, ips, references, paths, running: HashMap::new() })
    }

    /// The addresses that a pod sees as its own.
    pub(super) fn pod_ips(&self, pod: &Pod, sandbox: &SandboxRecord) -> Vec<String> {
        if pod.spec.host_network {
            self.config.node.ips.clone()
        } else {
            sandbox.ips.iter().map(ToString::to_string).collect()
        }
    }

    async fn start(
        self: &Arc<Self>,
        state: &mut PodState,
        pod: &Arc<Pod>,
        ground: &Ground,
        container: &Container,
        start: &StartContainer,
    ) -> Result<(), SyncError> {
        let Some((image, image_name)) = self.image_for(state, pod, container).await? else { return Ok(()) };
        state.problems.remove(&container.name);
        let config = match self.config_for(pod, ground, container, start, (&image, image_name)).await? {
            Ok(config) => config,
            Err(message) => {
                self.problem(state, pod, container, reasons::CREATE_CONTAINER_CONFIG_ERROR, message);
                return Ok(());
            }
        };
        let runtime = &self.dependencies.runtime;
        let id = match runtime.create_container(&ground.sandbox.id, &config).await {
            Ok(id) => id,
            Err(error) if error.is_down() => return Err(error.into()),
            Err(error) => {
                self.problem(state, pod, container, reasons::CREATE_CONTAINER_ERROR, error.to_string());
                return Ok(());
            }
        };
        let name = &container.name;
        self.event(pod, name, EventType::Normal, "Created", format!("Container created: {name}"));
        if let Err(error) = runtime.start_container(&id).await {
            if error.is_down() {
                return Err(error.into());
            }
            // The runtime remembers it: the container counts as ended, and waits as one that crashed.
            self.event(pod, name, EventType::Warning, "Failed", format!("Error: {error}"));
            return Ok(());
        }
        self.event(pod, name, EventType::Normal, "Started", format!("Container started: {name}"));
        info!(pod = %pod.key(), container = %name, id = %&id[..id.len().min(12)], restarts = start.restart_count, "started container");
        self.post_start(pod, &ground.ips, container, id);
        Ok(())
    }

    fn problem(
        &self,
        state: &mut PodState,
        pod: &Pod,
        container: &Container,
        reason: &'static str,
        message: String,
    ) {
        self.event(pod, &container.name, EventType::Warning, "Failed", format!("Error: {message}"));
        let retry_at = self.dependencies.clock.now().checked_add(RETRY).ok();
        state.problems.insert(container.name.clone(), Problem { reason, message, retry_at });
    }

    /// The seccomp profiles of the node that a container names: files below `<root>/seccomp`.
    async fn seccomp_profiles(&self, pod: &Pod, container: &Container) -> BTreeMap<String, String> {
        let of_pod =
            pod.spec.security_context.as_ref().and_then(|security| security.seccomp_profile.as_ref());
        let own = container.security_context.as_ref().and_then(|security| security.seccomp_profile.as_ref());
        let mut profiles = BTreeMap::new();
        for name in [of_pod, own].into_iter().flatten().filter_map(|p| p.localhost_profile.clone()) {
            let plain = |part| matches!(part, std::path::Component::Normal(_));
            if std::path::Path::new(&name).components().all(plain)
                && let Ok(text) =
                    tokio::fs::read_to_string(self.config.root.join("seccomp").join(&name)).await
            {
                profiles.insert(name, text);
            }
        }
        profiles
    }

    /// The inner error is the message of `CreateContainerConfigError`.
    async fn config_for(
        &self,
        pod: &Pod,
        ground: &Ground,
        container: &Container,
        start: &StartContainer,
        image: (&Image, String),
    ) -> Result<Result<crate::runtime::ContainerConfig, String>, SyncError> {
        let services = self.dependencies.control.services(&pod.metadata.namespace);
        let input = EnvInput {
            pod,
            node: &self.config.node,
            pod_ips: &ground.ips,
            references: &ground.references,
            services: &services,
        };
        let env = match environment(&input, container) {
            Ok(env) => env,
            Err(message) => return Ok(Err(message)),
        };
        let folder = self.folder(&pod.metadata.uid);
        let variables = Variables::new(&env);
        let mut mounts =
            match volumes::mounts(&folder, container, &ground.paths, |text| variables.expand(text)) {
                Ok(mounts) => mounts,
                Err(error) => return Ok(Err(component::ErrorChain(&error).to_string())),
            };
        for (file, target) in [("etc-hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf")] {
            if mounts.iter().all(|mount| mount.container_path != target) {
                mounts.push(bind(folder.file(file), target));
            }
        }
        let message = folder.termination_message(&container.name, start.restart_count);
        write_empty(&message).await.map_err(|source| SyncError::Io { path: message.clone(), source })?;
        let target = match container.termination_message_path.as_str() {
            "" => "/dev/termination-log",
            path => path,
        };
        mounts.push(bind(message.clone(), target));
        let seccomp = self.seccomp_profiles(pod, container).await;
        let input = ContainerInput {
            pod,
            start,
            image,
            env,
            mounts,
            node_memory: self.config.node_memory,
            target: ground.running.get(&container.target_container_name).cloned(),
            seccomp: &seccomp,
            termination_message: Some(message),
            handler: match self.handler(pod).await {
                Ok(handler) => handler,
                Err(error) => return Ok(Err(error.to_string())),
            },
        };
        Ok(container_config(container, input).map_err(|error| error.to_string()))
    }
}

fn pod_resources(pod: &Pod) -> PodResources {
    PodResources { qos: qos_class(&pod.spec), resources: pod_limits(&pod.spec), pids: None }
}

fn bind(host_path: PathBuf, target: &str) -> Mount {
    Mount {
        host_path,
        container_path: target.to_owned(),
        read_only: false,
        below: Below::AsItIs,
        propagation: "rprivate",
    }
}

async fn write_empty(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    tokio::fs::write(path, b"").await?;
    // Whoever the container runs as may write its last words.
    tokio::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).await
}
