//! Sandboxes: the pause container and its network.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, KillContainerOptionsBuilder,
};
use futures_util::TryStreamExt;
use jiff::Timestamp;

use super::{DockerRuntime, failed, labels, network_failed, pause};
use crate::cni;
use crate::config::LogLimits;
use crate::runtime::{ImagePull, RuntimeError, SandboxConfig, SandboxRecord, SandboxState};

/// The image that we make ourselves.
pub(super) const PAUSE_IMAGE: &str = "coxswain/pause";
const PAUSE_TAG: &str = "1";
/// The pod's shell: gone last when memory is short.
const SANDBOX_OOM_SCORE_ADJ: i64 = -998;
/// The least share that Docker accepts.
const SANDBOX_CPU_SHARES: i64 = 2;

impl DockerRuntime {
    pub(super) async fn make_sandbox(&self, config: &SandboxConfig) -> Result<SandboxRecord, RuntimeError> {
        let docker = self.docker().await?;
        let image = self.pause_image(&docker).await?;
        let _adding = self.network.adding().await;
        let name = format!("k8s_POD_{}_{}_{}_{}", config.name, config.namespace, config.uid, config.attempt);
        let mut body = sandbox_body(&self.config.node, &image, config);
        if let (Some(groups), Some(host)) = (self.groups().await?, body.host_config.as_mut()) {
            host.cgroup_parent = Some(groups.parent_of_sandbox(config.qos));
        }
        self.raise_oom_score(&mut body);
        let id = self.create(&docker, &name, body).await?;
        match self.start_sandbox(&docker, &id, config).await {
            Ok(ips) => Ok(SandboxRecord {
                id,
                attempt: config.attempt,
                state: SandboxState::Ready,
                created_at: Timestamp::UNIX_EPOCH,
                holds_network: !ips.is_empty(),
                ips,
                grace_seconds: config.grace_seconds,
            }),
            Err(error) => {
                // What is half made is taken away at once; what remains is found by the next look at the pod.
                if self.network.del(&id, true).await.is_ok() {
                    let _ = self.remove(&id).await;
                }
                Err(error)
            }
        }
    }

    async fn start_sandbox(
        &self,
        docker: &Docker,
        id: &str,
        config: &SandboxConfig,
    ) -> Result<Vec<std::net::IpAddr>, RuntimeError> {
        docker.start_container(id, None).await.map_err(failed)?;
        if config.host_network {
            return Ok(Vec::new());
        }
        let inspect = docker.inspect_container(id, None).await.map_err(failed)?;
        let pid = inspect.state.and_then(|state| state.pid).filter(|pid| *pid > 0);
        let pid = pid.ok_or_else(|| RuntimeError::Failed("the sandbox ended as it began".to_owned()))?;
        let pod = cni::Pod {
            container_id: id,
            netns: &format!("/proc/{pid}/ns/net"),
            namespace: &config.namespace,
            name: &config.name,
            uid: &config.uid,
            port_mappings: &config.port_mappings,
        };
        self.network.add(&pod).await.map_err(|error| {
            RuntimeError::Network(format!(
                "failed to set up sandbox container \"{id}\" network for pod \"{}\": {}",
                config.name,
                component::ErrorChain(&error)
            ))
        })
    }

    pub(super) async fn end_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let docker = self.docker().await?;
        let alive = match docker.inspect_container(id, None).await.map_err(failed) {
            Ok(inspect) => inspect.state.is_some_and(|state| state.running == Some(true)),
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error),
        };
        self.network.del(id, alive).await.map_err(network_failed)?;
        if !alive {
            return Ok(());
        }
        // Nothing in it wants to end with grace.
        let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        match docker.kill_container(id, Some(options)).await.map_err(failed) {
            Err(RuntimeError::Failed(message)) if message.contains("is not running") => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }

    /// Makes a container; one of the same name, left by a kubelet that was killed, is replaced.
    pub(super) async fn create(
        &self,
        docker: &Docker,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, RuntimeError> {
        let create = || async {
            let options = CreateContainerOptionsBuilder::default().name(name).build();
            docker.create_container(Some(options), body.clone()).await
        };
        match create().await {
            Ok(created) => Ok(created.id),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, .. }) => {
                self.remove(name).await?;
                Ok(create().await.map_err(failed)?.id)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The image of sandboxes: the configured one, or our own, which is imported where it is absent.
    async fn pause_image(&self, docker: &Docker) -> Result<String, RuntimeError> {
        let mut ready = self.pause_ready.lock().await;
        let configured = self.config.registry.pause_image.as_str();
        let name =
            if configured.is_empty() { format!("{PAUSE_IMAGE}:{PAUSE_TAG}") } else { configured.to_owned() };
        if *ready {
            return Ok(name);
        }
        if self.find_image(&name).await?.is_none() {
            if configured.is_empty() {
                import_pause(docker).await?;
            } else {
                self.pull_configured(&name).await?;
            }
        }
        *ready = true;
        Ok(name)
    }

    async fn pull_configured(&self, name: &str) -> Result<(), RuntimeError> {
        let registry = &self.config.registry;
        let reference = crate::runtime::image::Reference::parse(name, registry)
            .map_err(|error| RuntimeError::Failed(error.to_string()))?;
        let mut last = RuntimeError::NotFound(name.to_owned());
        for source in reference.sources(registry) {
            let pull =
                ImagePull { source: source.name, name: name.to_owned(), credentials: source.credentials };
            match self.pull(&pull).await {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The next sandbox looks again whether the image is there.
    pub(super) async fn forget_pause_image(&self) {
        *self.pause_ready.lock().await = false;
    }
}

fn sandbox_body(node: &str, image: &str, config: &SandboxConfig) -> ContainerCreateBody {
    let host_config = HostConfig {
        network_mode: Some(if config.host_network { "host" } else { "none" }.to_owned()),
        // The containers of the pod join it.
        ipc_mode: Some(if config.host_ipc { "host" } else { "shareable" }.to_owned()),
        pid_mode: config.host_pid.then(|| "host".to_owned()),
        sysctls: (!config.sysctls.is_empty()).then(|| config.sysctls.clone().into_iter().collect()),
        oom_score_adj: Some(SANDBOX_OOM_SCORE_ADJ),
        cpu_shares: Some(SANDBOX_CPU_SHARES),
        runtime: config.handler.clone(),
        security_opt: Some(vec!["seccomp=unconfined".to_owned()]),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        readonly_rootfs: Some(true),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        hostname: (!config.host_network).then(|| config.hostname.clone()),
        image: Some(image.to_owned()),
        entrypoint: image.starts_with(PAUSE_IMAGE).then(|| vec!["/pause".to_owned()]),
        labels: Some(labels::of_sandbox(node, config)),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    }
}

/// Puts the pause program into Docker as an image.
async fn import_pause(docker: &Docker) -> Result<(), RuntimeError> {
    let machine = pause::Machine::current().ok_or_else(|| {
        RuntimeError::Failed("no pause program for this processor: set registry.pauseImage".into())
    })?;
    let program = pause::elf(machine);
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    header.set_mtime(0);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    let bytes =
        archive.append_data(&mut header, "pause", program.as_slice()).and_then(|()| archive.into_inner());
    let bytes = bytes.map_err(|error| RuntimeError::Failed(error.to_string()))?;
    let options = CreateImageOptionsBuilder::default().from_src("-").repo(PAUSE_IMAGE).tag(PAUSE_TAG).build();
    let body = bollard::body_full(bytes.into());
    let progress: Vec<_> =
        docker.create_image(Some(options), Some(body), None).try_collect().await.map_err(failed)?;
    tracing::info!(image = PAUSE_IMAGE, steps = progress.len(), "imported the sandbox image");
    Ok(())
}

/// The settings of the log that every container gets: bounded, kept by Docker.
pub(super) fn log_config(limits: &LogLimits) -> HostConfigLogConfig {
    let config = HashMap::from([
        ("max-size".to_owned(), limits.max_size.to_string()),
        ("max-file".to_owned(), limits.max_files.to_string()),
    ]);
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(config) }
}
