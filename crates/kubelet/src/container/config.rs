//! Assembles what the runtime is asked to make: [`sandbox_config`] and [`container_config`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::env::Variables;
use super::resources;
use crate::actions::{StartContainer, spec_hash};
use crate::pod::{Container, Pod, qos_class};
use crate::runtime::{ContainerConfig, Image, Mount, PidNamespace, PortMapping, SandboxConfig, Seccomp};

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
    /// It names a seccomp profile that the node does not have.
    #[error("cannot load seccomp profile \"{0}\": no such file")]
    NoSeccompProfile(String),
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

/// The longest host name that the kernel takes.
const MAX_HOSTNAME: usize = 64;

/// What a pod calls itself: its host name, or with its domain where it wants that.
pub fn kernel_hostname(pod: &Pod, domain: &str) -> Result<String, String> {
    if let Some(name) = &pod.spec.hostname_override {
        return Ok(name.clone());
    }
    let name = hostname(pod);
    let subdomain = pod.spec.subdomain.as_str();
    if pod.spec.set_hostname_as_fqdn != Some(true) || subdomain.is_empty() {
        return Ok(name);
    }
    let full = format!("{name}.{subdomain}.{}.svc.{domain}", pod.metadata.namespace);
    if full.len() > MAX_HOSTNAME {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long \
             ({MAX_HOSTNAME} characters is the max, {} characters requested)",
            full.len()
        ));
    }
    Ok(full)
}

/// The host name inside a pod.
pub fn hostname(pod: &Pod) -> String {
    let name = if pod.spec.hostname.is_empty() { &pod.metadata.name } else { &pod.spec.hostname };
    // The kernel takes 63 characters.
    name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

/// What the sandbox of a pod is made from.
pub fn sandbox_config(pod: &Pod, attempt: u32, hostname: String) -> SandboxConfig {
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
        hostname,
        host_network: pod.spec.host_network,
        host_pid: pod.spec.host_pid,
        host_ipc: pod.spec.host_ipc,
        port_mappings,
        // Docker knows them by their names with dots only.
        sysctls: security
            .sysctls
            .into_iter()
            .map(|sysctl| (sysctl.name.replace('/', "."), sysctl.value))
            .collect(),
        qos: qos_class(&pod.spec),
        handler: None,
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
    /// The id of the container that it looks into, where it names one.
    pub target: Option<String>,
    /// Texts of seccomp profiles of the node, by name.
    pub seccomp: &'a BTreeMap<String, String>,
    /// Where its termination message will be.
    pub termination_message: Option<PathBuf>,
    /// Of the RuntimeClass of its pod.
    pub handler: Option<String>,
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
    let seccomp = match security.seccomp_profile.or(pod_security.seccomp_profile) {
        Some(profile) if profile.r#type == "RuntimeDefault" => Seccomp::RuntimeDefault,
        Some(profile) if profile.r#type == "Localhost" => {
            let name = profile.localhost_profile.unwrap_or_default();
            let text = input.seccomp.get(&name).cloned();
            Seccomp::Profile(text.ok_or(ConfigError::NoSeccompProfile(name))?)
        }
        Some(_) | None => Seccomp::Unconfined,
    };
    let apparmor = security.app_armor_profile.or(pod_security.app_armor_profile);
    let apparmor = apparmor.and_then(|profile| match profile.r#type.as_str() {
        "Unconfined" => Some("unconfined".to_owned()),
        "Localhost" => profile.localhost_profile,
        _ => None,
    });
    let selinux = security.se_linux_options.or(pod_security.se_linux_options).unwrap_or_default();
    let selinux =
        [("user", selinux.user), ("role", selinux.role), ("type", selinux.r#type), ("level", selinux.level)];
    let selinux = selinux.into_iter().filter(|(_, value)| !value.is_empty());
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
        seccomp,
        apparmor,
        selinux: selinux.map(|(name, value)| format!("{name}:{value}")).collect(),
        unmasked_proc: security.proc_mount.as_deref() == Some("Unmasked"),
        stop_signal: container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone()),
        capabilities_add: capabilities.add,
        capabilities_drop: capabilities.drop,
        resources: resources::limits(container),
        qos: qos_class(&pod.spec),
        handler: input.handler,
        oom_score_adj: resources::oom_score_adj(pod, container, input.node_memory),
        pid: if pod.spec.host_pid {
            PidNamespace::Node
        } else if pod.spec.share_process_namespace == Some(true) {
            PidNamespace::Pod
        } else if let Some(target) = input.target {
            PidNamespace::Of(target)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}))
            .expect("a pod")
    }

    #[test]
    fn a_pod_may_call_itself_by_its_full_name_if_that_is_short_enough() {
        let name = |spec| kernel_hostname(&pod(spec), "cluster.local");
        assert_eq!(name(json!({"subdomain": "db"})), Ok("web".to_owned()));
        let full = json!({"subdomain": "db", "setHostnameAsFQDN": true});
        assert_eq!(name(full), Ok("web.db.shop.svc.cluster.local".to_owned()));
        assert_eq!(name(json!({"hostnameOverride": "x.y"})), Ok("x.y".to_owned()));
        let long = json!({"subdomain": "d".repeat(40), "setHostnameAsFQDN": true});
        let error = name(long).expect_err("too long");
        assert!(error.ends_with("(64 characters is the max, 67 characters requested)"), "{error}");
    }

    fn config(pod: &Pod, target: Option<&str>) -> Result<ContainerConfig, ConfigError> {
        let start = StartContainer { name: "c".into(), restart_count: 0, backoff: Duration::ZERO };
        let profiles = [("tight.json".to_owned(), "{}".to_owned())].into();
        let input = ContainerInput {
            pod,
            start: &start,
            image: (&Image::default(), "app:1".to_owned()),
            env: Vec::new(),
            mounts: Vec::new(),
            node_memory: 0,
            target: target.map(str::to_owned),
            seccomp: &profiles,
            termination_message: None,
            handler: None,
        };
        container_config(&pod.spec.containers[0], input)
    }

    #[test]
    fn the_security_context_of_a_container_comes_before_that_of_its_pod() {
        let with = |of_pod: Value, own: Value| {
            let pod = pod(
                json!({"securityContext": of_pod, "containers": [{"name": "c", "securityContext": own}]}),
            );
            config(&pod, None)
        };
        let seccomp = |of_pod: Value, own: Value| {
            let wrap = |profile: Value| {
                if profile.is_null() { json!({}) } else { json!({"seccompProfile": profile}) }
            };
            with(wrap(of_pod), wrap(own)).map(|config| config.seccomp)
        };
        let default = json!({"type": "RuntimeDefault"});
        let local = |name: &str| json!({"type": "Localhost", "localhostProfile": name});
        assert_eq!(seccomp(Value::Null, Value::Null), Ok(Seccomp::Unconfined));
        assert_eq!(seccomp(default.clone(), Value::Null), Ok(Seccomp::RuntimeDefault));
        assert_eq!(seccomp(default.clone(), json!({"type": "Unconfined"})), Ok(Seccomp::Unconfined));
        assert_eq!(seccomp(default, local("tight.json")), Ok(Seccomp::Profile("{}".to_owned())));
        let missing = Err(ConfigError::NoSeccompProfile("no.json".to_owned()));
        assert_eq!(seccomp(local("no.json"), Value::Null), missing);
        let config = with(
            json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}}),
            json!({"procMount": "Unmasked", "seLinuxOptions": {"level": "s0"}}),
        )
        .expect("good");
        assert_eq!((config.apparmor.as_deref(), config.unmasked_proc), (Some("p"), true));
        assert_eq!(config.selinux, ["level:s0"]);
    }

    #[test]
    fn a_container_may_look_into_another_one_and_name_its_signal() {
        let pod = pod(json!({"containers": [{"name": "c", "lifecycle": {"stopSignal": "SIGUSR1"}}]}));
        let found = config(&pod, Some("x")).expect("good");
        assert_eq!(found.pid, PidNamespace::Of("x".to_owned()));
        assert_eq!(found.stop_signal.as_deref(), Some("SIGUSR1"));
    }
}
