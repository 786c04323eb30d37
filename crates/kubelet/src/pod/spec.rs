//! `v1.PodSpec` and what is in it, as far as the kubelet reads it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use super::{Port, ResourceList};
use api::quantity::Quantity;

/// Declares projection structs: camelCase, every field optional on the wire.
macro_rules! projection {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$meta])*
        #[allow(missing_docs, reason = "the API reference of Kubernetes documents each field")]
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $kind,)*
        }
    )*};
}

/// When containers are started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Whatever the exit code.
    #[default]
    Always,
    /// After a failure only.
    OnFailure,
    /// Never.
    Never,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// At every container start.
    Always,
    /// Never: the image must be there.
    Never,
    /// Where it is absent.
    IfNotPresent,
}

/// What a container does with what it writes at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TerminationMessagePolicy {
    /// The message is in the file.
    #[default]
    File,
    /// Where the file is empty and the container failed, the end of its log.
    FallbackToLogsOnError,
}

/// Where the pod's name servers come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsPolicy {
    /// The cluster's, for host-network pods too.
    ClusterFirstWithHostNet,
    /// The cluster's.
    #[default]
    ClusterFirst,
    /// The node's.
    Default,
    /// Only `dnsConfig`.
    None,
}

projection! {
    /// `v1.PodSpec`.
    PodSpec {
        volumes: Vec<Volume>,
        init_containers: Vec<Container>,
        containers: Vec<Container>,
        ephemeral_containers: Vec<Container>,
        restart_policy: RestartPolicy,
        termination_grace_period_seconds: Option<i64>,
        active_deadline_seconds: Option<i64>,
        dns_policy: DnsPolicy,
        dns_config: Option<DnsConfig>,
        service_account_name: String,
        runtime_class_name: Option<String>,
        node_name: String,
        host_network: bool,
        host_users: Option<bool>,
        #[serde(rename = "hostPID")]
        host_pid: bool,
        #[serde(rename = "hostIPC")]
        host_ipc: bool,
        share_process_namespace: Option<bool>,
        security_context: Option<PodSecurityContext>,
        image_pull_secrets: Vec<LocalObjectReference>,
        hostname: String,
        hostname_override: Option<String>,
        subdomain: String,
        #[serde(rename = "setHostnameAsFQDN")]
        set_hostname_as_fqdn: Option<bool>,
        host_aliases: Vec<HostAlias>,
        enable_service_links: Option<bool>,
        readiness_gates: Vec<ReadinessGate>,
        node_selector: BTreeMap<String, String>,
        affinity: Option<Affinity>,
        tolerations: Vec<Toleration>,
        priority: Option<i32>,
        overhead: ResourceList,
        resources: Option<ResourceRequirements>,
    }
    /// `v1.Affinity`.
    Affinity { node_affinity: Option<NodeAffinity>, }
    /// `v1.NodeAffinity`.
    NodeAffinity { required_during_scheduling_ignored_during_execution: Option<NodeSelector>, }
    /// `v1.NodeSelector`.
    NodeSelector { node_selector_terms: Vec<NodeSelectorTerm>, }
    /// `v1.NodeSelectorTerm`.
    NodeSelectorTerm {
        match_expressions: Vec<NodeSelectorRequirement>,
        match_fields: Vec<NodeSelectorRequirement>,
    }
    /// `v1.NodeSelectorRequirement`.
    NodeSelectorRequirement { key: String, operator: String, values: Vec<String>, }
    /// `v1.Toleration`.
    Toleration { key: String, operator: String, value: String, effect: String, }
    /// `v1.LocalObjectReference`.
    LocalObjectReference { name: String, }
    /// `v1.PodReadinessGate`.
    ReadinessGate { condition_type: String, }
    /// `v1.HostAlias`.
    HostAlias { ip: String, hostnames: Vec<String>, }
    /// `v1.PodDNSConfig`.
    DnsConfig { nameservers: Vec<String>, searches: Vec<String>, options: Vec<DnsOption>, }
    /// `v1.PodDNSConfigOption`.
    DnsOption { name: String, value: Option<String>, }
    /// `v1.PodSecurityContext`.
    PodSecurityContext {
        run_as_user: Option<i64>,
        run_as_group: Option<i64>,
        run_as_non_root: Option<bool>,
        supplemental_groups: Vec<i64>,
        supplemental_groups_policy: Option<String>,
        fs_group: Option<i64>,
        fs_group_change_policy: Option<String>,
        sysctls: Vec<Sysctl>,
        seccomp_profile: Option<SeccompProfile>,
        app_armor_profile: Option<SeccompProfile>,
        se_linux_options: Option<SeLinuxOptions>,
    }
    /// `v1.Sysctl`.
    Sysctl { name: String, value: String, }
    /// `v1.SELinuxOptions`.
    SeLinuxOptions { user: String, role: String, r#type: String, level: String, }
    /// `v1.SeccompProfile`, and `v1.AppArmorProfile`, which has the same fields.
    SeccompProfile { r#type: String, localhost_profile: Option<String>, }
    /// `v1.Container`, and `v1.EphemeralContainer`, which names a target beside.
    Container {
        target_container_name: String,
        name: String,
        image: String,
        command: Vec<String>,
        args: Vec<String>,
        working_dir: String,
        ports: Vec<ContainerPort>,
        env_from: Vec<EnvFromSource>,
        env: Vec<EnvVar>,
        resources: ResourceRequirements,
        resize_policy: Vec<ResizePolicy>,
        restart_policy: Option<RestartPolicy>,
        volume_mounts: Vec<VolumeMount>,
        liveness_probe: Option<Probe>,
        readiness_probe: Option<Probe>,
        startup_probe: Option<Probe>,
        lifecycle: Option<Lifecycle>,
        termination_message_path: String,
        termination_message_policy: TerminationMessagePolicy,
        image_pull_policy: Option<PullPolicy>,
        security_context: Option<SecurityContext>,
        stdin: bool,
        stdin_once: bool,
        tty: bool,
    }
    /// `v1.ContainerPort`.
    ContainerPort { name: String, host_port: u16, container_port: u16, protocol: String, #[serde(rename = "hostIP")] host_ip: String, }
    /// `v1.EnvFromSource`.
    EnvFromSource { prefix: String, config_map_ref: Option<OptionalReference>, secret_ref: Option<OptionalReference>, }
    /// `v1.ConfigMapEnvSource` and `v1.SecretEnvSource`.
    OptionalReference { name: String, optional: Option<bool>, }
    /// `v1.EnvVar`.
    EnvVar { name: String, value: Option<String>, value_from: Option<EnvVarSource>, }
    /// `v1.EnvVarSource`.
    EnvVarSource {
        field_ref: Option<FieldRef>,
        resource_field_ref: Option<ResourceFieldRef>,
        config_map_key_ref: Option<KeyRef>,
        secret_key_ref: Option<KeyRef>,
    }
    /// `v1.ObjectFieldSelector`.
    FieldRef { field_path: String, }
    /// `v1.ResourceFieldSelector`.
    ResourceFieldRef { container_name: String, resource: String, divisor: Option<Quantity>, }
    /// `v1.ConfigMapKeySelector` and `v1.SecretKeySelector`.
    KeyRef { name: String, key: String, optional: Option<bool>, }
    /// `v1.ResourceRequirements`.
    ResourceRequirements {
        #[serde(skip_serializing_if = "ResourceList::is_empty")]
        limits: ResourceList,
        #[serde(skip_serializing_if = "ResourceList::is_empty")]
        requests: ResourceList,
    }
    /// `v1.ContainerResizePolicy`.
    ResizePolicy { resource_name: String, restart_policy: String, }
    /// `v1.VolumeMount`.
    VolumeMount {
        name: String,
        read_only: bool,
        mount_path: String,
        sub_path: String,
        sub_path_expr: String,
        mount_propagation: Option<String>,
        recursive_read_only: Option<String>,
    }
    /// `v1.Probe`.
    Probe {
        exec: Option<ExecAction>,
        http_get: Option<HttpGetAction>,
        tcp_socket: Option<TcpSocketAction>,
        grpc: Option<GrpcAction>,
        initial_delay_seconds: u32,
        timeout_seconds: u32,
        period_seconds: u32,
        success_threshold: u32,
        failure_threshold: u32,
        termination_grace_period_seconds: Option<i64>,
    }
    /// `v1.ExecAction`.
    ExecAction { command: Vec<String>, }
    /// `v1.HTTPGetAction`.
    HttpGetAction { path: String, port: Port, host: String, scheme: String, http_headers: Vec<HttpHeader>, }
    /// `v1.HTTPHeader`.
    HttpHeader { name: String, value: String, }
    /// `v1.TCPSocketAction`.
    TcpSocketAction { port: Port, host: String, }
    /// `v1.GRPCAction`.
    GrpcAction { port: i32, service: Option<String>, }
    /// `v1.SleepAction`.
    SleepAction { seconds: i64, }
    /// `v1.Lifecycle`.
    Lifecycle {
        post_start: Option<LifecycleHandler>,
        pre_stop: Option<LifecycleHandler>,
        stop_signal: Option<String>,
    }
    /// `v1.LifecycleHandler`.
    LifecycleHandler {
        exec: Option<ExecAction>,
        http_get: Option<HttpGetAction>,
        tcp_socket: Option<TcpSocketAction>,
        sleep: Option<SleepAction>,
    }
    /// `v1.SecurityContext`.
    SecurityContext {
        capabilities: Option<Capabilities>,
        privileged: Option<bool>,
        run_as_user: Option<i64>,
        run_as_group: Option<i64>,
        run_as_non_root: Option<bool>,
        read_only_root_filesystem: Option<bool>,
        allow_privilege_escalation: Option<bool>,
        seccomp_profile: Option<SeccompProfile>,
        app_armor_profile: Option<SeccompProfile>,
        se_linux_options: Option<SeLinuxOptions>,
        proc_mount: Option<String>,
    }
    /// `v1.Capabilities`.
    Capabilities { add: Vec<String>, drop: Vec<String>, }
    /// `v1.Volume`.
    Volume {
        name: String,
        host_path: Option<HostPathSource>,
        empty_dir: Option<EmptyDirSource>,
        config_map: Option<ConfigMapSource>,
        secret: Option<SecretSource>,
        #[serde(rename = "downwardAPI")]
        downward_api: Option<DownwardApiSource>,
        projected: Option<ProjectedSource>,
        persistent_volume_claim: Option<ClaimSource>,
        ephemeral: Option<EphemeralSource>,
        nfs: Option<NfsSource>,
        image: Option<ImageSource>,
        #[serde(flatten)]
        other: BTreeMap<String, Value>,
    }
    /// `v1.PersistentVolumeClaimVolumeSource`.
    ClaimSource { claim_name: String, read_only: bool, }
    /// `v1.EphemeralVolumeSource`: its claim is made by a controller.
    EphemeralSource {}
    /// `v1.ImageVolumeSource`.
    ImageSource { reference: String, pull_policy: Option<PullPolicy>, }
    /// `v1.NFSVolumeSource`.
    NfsSource { server: String, path: String, read_only: bool, }
    /// `v1.HostPathVolumeSource`.
    HostPathSource { path: String, r#type: Option<String>, }
    /// `v1.EmptyDirVolumeSource`.
    EmptyDirSource { medium: String, size_limit: Option<Quantity>, }
    /// `v1.ConfigMapVolumeSource`, and its projection.
    ConfigMapSource { name: String, items: Vec<KeyToPath>, default_mode: Option<u32>, optional: Option<bool>, }
    /// `v1.SecretVolumeSource`, and its projection (which says `name`).
    SecretSource {
        secret_name: String,
        name: String,
        items: Vec<KeyToPath>,
        default_mode: Option<u32>,
        optional: Option<bool>,
    }
    /// `v1.KeyToPath`.
    KeyToPath { key: String, path: String, mode: Option<u32>, }
    /// `v1.DownwardAPIVolumeSource`, and its projection.
    DownwardApiSource { items: Vec<DownwardApiFile>, default_mode: Option<u32>, }
    /// `v1.DownwardAPIVolumeFile`.
    DownwardApiFile {
        path: String,
        field_ref: Option<FieldRef>,
        resource_field_ref: Option<ResourceFieldRef>,
        mode: Option<u32>,
    }
    /// `v1.ProjectedVolumeSource`.
    ProjectedSource { sources: Vec<VolumeProjection>, default_mode: Option<u32>, }
    /// `v1.VolumeProjection`.
    VolumeProjection {
        secret: Option<SecretSource>,
        config_map: Option<ConfigMapSource>,
        #[serde(rename = "downwardAPI")]
        downward_api: Option<DownwardApiSource>,
        service_account_token: Option<ServiceAccountTokenProjection>,
    }
    /// `v1.ServiceAccountTokenProjection`.
    ServiceAccountTokenProjection { audience: String, expiration_seconds: Option<i64>, path: String, }
}

impl PodSpec {
    /// The containers of all kinds.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().chain(&self.init_containers).chain(&self.ephemeral_containers)
    }
}

impl Container {
    /// Whether this init container is a sidecar: it goes on beside the main containers.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy == Some(RestartPolicy::Always)
    }

    /// The pull policy, with the default that the tag of the image decides.
    pub fn pull_policy(&self) -> PullPolicy {
        self.image_pull_policy.unwrap_or_else(|| default_pull_policy(&self.image))
    }
}

/// The pull policy of an image of which nobody says one.
pub fn default_pull_policy(image: &str) -> PullPolicy {
    let last = image.rsplit('/').next().unwrap_or_default();
    let tagged = last.contains('@') || last.split_once(':').is_some_and(|(_, tag)| tag != "latest");
    if tagged { PullPolicy::IfNotPresent } else { PullPolicy::Always }
}

impl Probe {
    /// Zero means the default of one second.
    pub fn timeout_seconds(&self) -> u32 {
        self.timeout_seconds.max(1)
    }

    /// Zero means the default of ten seconds.
    pub fn period_seconds(&self) -> u32 {
        if self.period_seconds == 0 { 10 } else { self.period_seconds }
    }

    /// Zero means the default of one.
    pub fn success_threshold(&self) -> u32 {
        self.success_threshold.max(1)
    }

    /// Zero means the default of three.
    pub fn failure_threshold(&self) -> u32 {
        if self.failure_threshold == 0 { 3 } else { self.failure_threshold }
    }
}
