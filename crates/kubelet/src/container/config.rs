//! Assembles what the runtime is asked to make: [`sandbox_config`] and [`container_config`].

use std::path::PathBuf;

use super::env::Variables;
use super::resources;
use crate::actions::{StartContainer, spec_hash};
use crate::pod::{Container, Pod};
use crate::runtime::{ContainerConfig, Image, Mount, PidNamespace, PortMapping, SandboxConfig};

/// Why a container cannot be made as it is described: `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It must not run as root, and would.
    #[error("container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})")]
    WouldRunAsRoot {
        /// Name, namespace and uid.
        pod: String,
        /// Its name.
        container: String,
    },
    /// It must not run as root, and the spec says root.
    #[error("container's runAsUser breaks non-root policy (pod: \"{pod}\", container: {container})")]
    UserIsRoot {
        /// Name, namespace and uid.
        pod: String,
        /// Its name.
        container: String,
    },
    /// The image names its user by name, and nobody can tell whether that is root.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: \"{pod}\", container: {container})"
    )]
    UserIsNotNumeric {
        /// The user of the image.
        user: String,
        /// Name, namespace and uid.
        pod: String,
        /// Its name.
        container: String,
    },
}

/// The host name inside a pod.
pub fn hostname(pod: &Pod) -> String {
    let name = if pod.spec.hostname.is_empty() { &pod.metadata.name } else { &pod.spec.hostname };
    // The kernel takes 63 characters.
    name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

/// What the sandbox of a pod is made from.
pub fn sandbox_config(pod: &Pod, attempt: u32) -> SandboxConfig {
    let ports = pod.spec.containers.iter().chain(pod.spec.init_containers.iter().filter(|c| c.is_sidecar()));
    let port_mappings = ports
        .flat_map(|container| &container.ports)
        .filter(|port| port.host_port != 0 && !pod.spec.host_network)
        .map(|port| PortMapping {
            host_port: port.host_port,
            container_port: port.container_port,
            protocol: if port.protocol.is_empty() { "tcp".to_owned() } else { port.protocol.to_lowercase() },
            host_ip: port.host_ip.clone(),
        })
        .collect();
    let security = pod.spec.security_context.clone().unwrap_or_default();
    SandboxConfig {
        uid: pod.metadata.uid.clone(),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        attempt,
        hostname: hostname(pod),
        host_network: pod.spec.host_network,
        host_pid: pod.spec.host_pid,
        host_ipc: pod.spec.host_ipc,
        port_mappings,
        sysctls: security.sysctls.into_iter().map(|sysctl| (sysctl.name, sysctl.value)).collect(),
        grace_seconds: pod.spec.termination_grace_period_seconds.unwrap_or(30),
    }
}

/// What a container is made from, beside its spec.
#[derive(Debug, Clone)]
pub struct ContainerInput<'a> {
    /// Its pod.
    pub pod: &'a Pod,
    /// How often it was started.
    pub start: &'a StartContainer,
    /// Its image, and the image's name as the runtime knows it.
    pub image: (&'a Image, String),
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Its mounts.
    pub mounts: Vec<Mount>,
    /// Bytes of memory of the node.
    pub node_memory: i64,
    /// Where its termination message will be.
    pub termination_message: Option<PathBuf>,
}

/// What a container is made from.
pub fn container_config(
    container: &Container,
    input: ContainerInput<'_>,
) -> Result<ContainerConfig, ConfigError> {
    let pod = input.pod;
    let pod_security = pod.spec.security_context.clone().unwrap_or_default();
    let security = container.security_context.clone().unwrap_or_default();
    let capabilities = security.capabilities.clone().unwrap_or_default();
    let user = user(pod, container, input.image.0)?;
    let variables = Variables::new(&input.env);
    let expand = |list: &[String]| list.iter().map(|text| variables.expand(text)).collect();
    let (command, args) = (expand(&container.command), expand(&container.args));
    let (cpu_shares, cpu_quota, memory) = resources::limits(container);
    let seccomp = security.seccomp_profile.or(pod_security.seccomp_profile);
    let mut groups = pod_security.supplemental_groups;
    groups.extend(pod_security.fs_group);
    Ok(ContainerConfig {
        pod_uid: pod.metadata.uid.clone(),
        pod_namespace: pod.metadata.namespace.clone(),
        pod_name: pod.metadata.name.clone(),
        name: container.name.clone(),
        restart_count: input.start.restart_count,
        spec_hash: spec_hash(container),
        backoff: input.start.backoff,
        image: input.image.1,
        image_reference: input.image.0.reference.clone(),
        command,
        args,
        working_dir: container.working_dir.clone(),
        mounts: input.mounts,
        user,
        supplemental_groups: groups,
        privileged: security.privileged.unwrap_or(false),
        read_only_root: security.read_only_root_filesystem.unwrap_or(false),
        no_new_privileges: security.allow_privilege_escalation == Some(false),
        seccomp_unconfined: seccomp.is_none_or(|profile| profile.r#type == "Unconfined"),
        capabilities_add: capabilities.add,
        capabilities_drop: capabilities.drop,
        cpu_shares,
        cpu_quota,
        memory,
        oom_score_adj: resources::oom_score_adj(pod, container, input.node_memory),
        pid: if pod.spec.host_pid {
            PidNamespace::Node
        } else if pod.spec.share_process_namespace == Some(true) {
            PidNamespace::Pod
        } else {
            PidNamespace::Container
        },
        host_ipc: pod.spec.host_ipc,
        host_network: pod.spec.host_network,
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        tty: container.tty,
        termination_message: input.termination_message,
        env: input.env,
    })
}

/// `user[:group]` for the runtime, after the check of `runAsNonRoot`.
fn user(pod: &Pod, container: &Container, image: &Image) -> Result<Option<String>, ConfigError> {
    let of_pod = pod.spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let user = own.run_as_user.or(of_pod.run_as_user);
    let group = own.run_as_group.or(of_pod.run_as_group);
    let name = || {
        (
            format!("{}_{}({})", pod.metadata.name, pod.metadata.namespace, pod.metadata.uid),
            container.name.clone(),
        )
    };
    let of_image = image.user.split(':').next().unwrap_or_default();
    if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) {
        let (pod, container) = name();
        match user {
            Some(0) => return Err(ConfigError::UserIsRoot { pod, container }),
            Some(_) => {}
            None if of_image.is_empty() || of_image == "0" => {
                return Err(ConfigError::WouldRunAsRoot { pod, container });
            }
            None if of_image.parse::<i64>().is_err() => {
                return Err(ConfigError::UserIsNotNumeric { user: of_image.to_owned(), pod, container });
            }
            None => {}
        }
    }
    Ok(match (user, group) {
        (None, None) => None,
        (Some(user), None) => Some(user.to_string()),
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (None, Some(group)) if of_image.is_empty() => Some(format!("0:{group}")),
        (None, Some(group)) => Some(format!("{of_image}:{group}")),
    })
}
