//! Containers of pods: from our configuration to Docker's.

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, HealthConfig, HostConfig, Mount as DockerMount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType,
};

use super::sandbox::log_config;
use super::{DockerConfig, DockerRuntime, failed, labels};
use crate::runtime::{Below, ContainerConfig, Mount, PidNamespace, Resources, RuntimeError, Seccomp};

/// The period that `cpu_quota` refers to.
const CPU_PERIOD: i64 = 100_000;

impl DockerRuntime {
    pub(super) async fn make_container(
        &self,
        sandbox_id: &str,
        config: &ContainerConfig,
    ) -> Result<String, RuntimeError> {
        let docker = self.docker().await?;
        let name = format!(
            "k8s_{}_{}_{}_{}_{}",
            config.name, config.pod_name, config.pod_namespace, config.pod_uid, config.restart_count
        );
        let mut body = body(&self.config, sandbox_id, config);
        self.mounts(&docker, config, &mut body)?;
        if let (Some(groups), Some(host)) = (self.groups().await?, body.host_config.as_mut()) {
            host.cgroup_parent = Some(groups.parent_of_containers(config.qos, &config.pod_uid));
        }
        self.raise_oom_score(&mut body);
        match self.create(&docker, &name, body).await {
            Err(error @ RuntimeError::NotFound(_)) => {
                // Of the image, or of the sandbox's.
                self.forget_pause_image().await;
                Err(error)
            }
            result => result,
        }
    }
}

impl DockerRuntime {
    pub(super) async fn give(&self, id: &str, resources: Resources) -> Result<(), RuntimeError> {
        let docker = self.docker().await?;
        let body = ContainerUpdateBody {
            cpu_shares: resources.cpu_shares,
            cpu_period: resources.cpu_quota.map(|_| CPU_PERIOD),
            // What is not set would stay: no quota is -1.
            cpu_quota: Some(resources.cpu_quota.unwrap_or(-1)),
            memory: resources.memory,
            memory_swap: resources.memory,
            ..ContainerUpdateBody::default()
        };
        docker.update_container(id, body).await.map_err(failed)
    }
}

fn body(docker: &DockerConfig, sandbox_id: &str, config: &ContainerConfig) -> ContainerCreateBody {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    let of_sandbox = format!("container:{sandbox_id}");
    let mut security = Vec::new();
    if config.no_new_privileges {
        security.push("no-new-privileges".to_owned());
    }
    match &config.seccomp {
        Seccomp::Unconfined => security.push("seccomp=unconfined".to_owned()),
        Seccomp::RuntimeDefault => {}
        Seccomp::Profile(text) => security.push(format!("seccomp={text}")),
    }
    security.extend(config.apparmor.iter().map(|profile| format!("apparmor={profile}")));
    security.extend(config.selinux.iter().map(|part| format!("label={part}")));
    // An empty list is another thing than none: nothing is hidden then.
    let nothing_masked = config.unmasked_proc.then(Vec::new);
    let groups: Vec<String> = config.supplemental_groups.iter().map(i64::to_string).collect();
    let host_config = HostConfig {
        network_mode: Some(if config.host_network { "host".to_owned() } else { of_sandbox.clone() }),
        ipc_mode: Some(if config.host_ipc { "host".to_owned() } else { of_sandbox.clone() }),
        masked_paths: nothing_masked.clone(),
        readonly_paths: nothing_masked,
        pid_mode: match &config.pid {
            PidNamespace::Container => None,
            PidNamespace::Pod => Some(of_sandbox),
            PidNamespace::Of(id) => Some(format!("container:{id}")),
            PidNamespace::Node => Some("host".to_owned()),
        },
        mounts: Some(config.mounts.iter().map(mount).collect()),
        privileged: Some(config.privileged),
        readonly_rootfs: Some(config.read_only_root),
        security_opt: some(&security),
        cap_add: some(&config.capabilities_add),
        cap_drop: some(&config.capabilities_drop),
        group_add: some(&groups),
        cpu_shares: config.resources.cpu_shares,
        cpu_period: config.resources.cpu_quota.map(|_| CPU_PERIOD),
        cpu_quota: config.resources.cpu_quota,
        memory: config.resources.memory,
        // As much as memory: no swap.
        memory_swap: config.resources.memory,
        oom_score_adj: Some(config.oom_score_adj),
        runtime: config.handler.clone(),
        log_config: Some(log_config(&docker.logs)),
        ..HostConfig::default()
    };
    let mut labels = labels::of_container(&docker.node, sandbox_id, config);
    labels.insert(labels::IMAGE_REFERENCE.to_owned(), config.image_reference.clone());
    ContainerCreateBody {
        image: Some(config.image.clone()),
        entrypoint: some(&config.command),
        cmd: some(&config.args),
        env: Some(config.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        working_dir: (!config.working_dir.is_empty()).then(|| config.working_dir.clone()),
        user: config.user.clone(),
        stop_signal: config.stop_signal.clone(),
        open_stdin: Some(config.stdin),
        stdin_once: Some(config.stdin_once),
        tty: Some(config.tty),
        // Health is the business of the pod's probes, not of the image.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        labels: Some(labels),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    }
}

/// The first version of the engine's API that knows how to refuse writing below a mount.
const RECURSIVE_READ_ONLY: (usize, usize) = (1, 44);

impl DockerRuntime {
    /// From that version on what is below a mount refuses writing as well, unless told otherwise.
    fn mounts(
        &self,
        docker: &Docker,
        config: &ContainerConfig,
        body: &mut ContainerCreateBody,
    ) -> Result<(), RuntimeError> {
        let version = docker.client_version();
        let knows = (version.major_version, version.minor_version) >= RECURSIVE_READ_ONLY;
        let made = body.host_config.as_mut().and_then(|host| host.mounts.as_mut()).into_iter().flatten();
        for (mount, made) in config.mounts.iter().zip(made) {
            if !mount.read_only {
                continue;
            }
            if !knows && mount.below == Below::ReadOnly {
                return Err(RuntimeError::Failed(format!(
                    "recursive read-only mounts are not supported by this engine: {}",
                    mount.container_path
                )));
            }
            if let Some(options) = made.bind_options.as_mut().filter(|_| knows) {
                options.read_only_non_recursive = (mount.below == Below::AsItIs).then_some(true);
                options.read_only_force_recursive = (mount.below == Below::ReadOnly).then_some(true);
            }
        }
        Ok(())
    }
}

fn mount(mount: &Mount) -> DockerMount {
    let propagation = match mount.propagation {
        "rshared" => MountBindOptionsPropagationEnum::RSHARED,
        "rslave" => MountBindOptionsPropagationEnum::RSLAVE,
        _ => MountBindOptionsPropagationEnum::RPRIVATE,
    };
    DockerMount {
        target: Some(mount.container_path.clone()),
        source: Some(mount.host_path.display().to_string()),
        typ: Some(MountType::BIND),
        read_only: Some(mount.read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(propagation),
            ..MountBindOptions::default()
        }),
        ..DockerMount::default()
    }
}
