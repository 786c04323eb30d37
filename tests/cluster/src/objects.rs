//! Projections: the fields of each kind that the tests look at.

use std::collections::BTreeMap;

use api::meta::{Condition, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;

macro_rules! projection {
    ($(#[$doc:meta])* $name:ident $kind:tt { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }
        projection!(@ $name $kind);
    };
    (@ $name:ident part) => {};
    (@ $name:ident ($group:literal, $version:literal, $plural:literal, $kind:literal, $scope:ident)) => {
        client::resource!($name, $group, $version, $plural, $kind, $scope);
    };
}

projection! {
    /// A pod.
    Pod ("", "v1", "pods", "Pod", namespaced) {
        /// Who it is.
        metadata: ObjectMeta,
        /// What it shall be.
        spec: PodSpec,
        /// What it is.
        status: PodStatus,
    }
}
projection! {
    /// What a pod shall be.
    PodSpec part {
        /// The node that it is bound to.
        node_name: String,
        /// Its containers.
        containers: Vec<Container>,
    }
}
projection! {
    /// A container of a pod.
    Container part {
        /// Its name in the pod.
        name: String,
        /// What it runs.
        image: String,
        /// What it asks for.
        resources: Resources,
    }
}
projection! {
    /// What a container asks for.
    Resources part {
        /// As `cpu: 100m`.
        requests: BTreeMap<String, String>,
    }
}
projection! {
    /// What a pod is.
    PodStatus part {
        /// Pending, Running, ...
        phase: String,
        /// Its address.
        #[serde(rename = "podIP")]
        pod_ip: String,
        /// PodScheduled, Ready, ...
        conditions: Vec<Condition>,
    }
}
projection! {
    /// A Deployment.
    Deployment ("apps", "v1", "deployments", "Deployment", namespaced) {
        /// Who it is.
        metadata: ObjectMeta,
        /// What it shall be.
        spec: WorkloadSpec,
        /// What it is.
        status: WorkloadStatus,
    }
}
projection! {
    /// A ReplicaSet.
    ReplicaSet ("apps", "v1", "replicasets", "ReplicaSet", namespaced) {
        /// Who it is.
        metadata: ObjectMeta,
        /// What it shall be.
        spec: WorkloadSpec,
        /// What it is.
        status: WorkloadStatus,
    }
}
projection! {
    /// A ReplicationController.
    ReplicationController ("", "v1", "replicationcontrollers", "ReplicationController", namespaced) {
        /// Who it is.
        metadata: ObjectMeta,
        /// What it shall be.
        spec: WorkloadSpec,
        /// What it is.
        status: WorkloadStatus,
    }
}
projection! {
    /// What a workload shall be.
    WorkloadSpec part {
        /// How many pods.
        replicas: i64,
        /// Whether changes of the template wait.
        paused: bool,
        /// What pods are made from.
        template: Value,
    }
}
projection! {
    /// What a workload is.
    WorkloadStatus part {
        /// All pods.
        replicas: i64,
        /// Pods of the newest template.
        updated_replicas: i64,
        /// Pods that are ready.
        ready_replicas: i64,
        /// Pods that are ready for long enough.
        available_replicas: i64,
        /// The generation that this status is about.
        observed_generation: i64,
        /// Available, Progressing, ...
        conditions: Vec<Condition>,
    }
}
projection! {
    /// A part of the endpoints of a Service.
    EndpointSlice ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", namespaced) {
        /// Who it is.
        metadata: ObjectMeta,
        /// The pods.
        endpoints: Vec<Endpoint>,
    }
}
projection! {
    /// A pod behind a Service.
    Endpoint part {
        /// Its addresses.
        addresses: Vec<String>,
        /// Whether it takes traffic.
        conditions: EndpointConditions,
    }
}
projection! {
    /// Whether a pod takes traffic.
    EndpointConditions part {
        /// It does.
        ready: bool,
    }
}
projection! {
    /// The endpoints of a Service in the form before slices.
    Endpoints ("", "v1", "endpoints", "Endpoints", namespaced) {
        /// Who it is.
        metadata: ObjectMeta,
        /// Addresses with the same ports.
        subsets: Vec<Subset>,
    }
}
projection! {
    /// Addresses with the same ports.
    Subset part {
        /// Those that take traffic.
        addresses: Vec<Address>,
        /// Those that do not yet.
        not_ready_addresses: Vec<Address>,
    }
}
projection! {
    /// The address of a pod.
    Address part {
        /// As `10.244.1.7`.
        ip: String,
    }
}
projection! {
    /// A node.
    Node ("", "v1", "nodes", "Node", cluster) {
        /// Who it is.
        metadata: ObjectMeta,
        /// What it shall be.
        spec: NodeSpec,
        /// What it is.
        status: NodeStatus,
    }
}
projection! {
    /// What a node shall be.
    NodeSpec part {
        /// Whether new pods stay away.
        unschedulable: bool,
        /// What pods must tolerate.
        taints: Vec<Taint>,
        /// Where its pods get addresses.
        #[serde(rename = "podCIDR")]
        pod_cidr: String,
    }
}
projection! {
    /// What pods must tolerate.
    Taint part {
        /// As `node.kubernetes.io/unreachable`.
        key: String,
        /// NoSchedule, PreferNoSchedule, NoExecute.
        effect: String,
    }
}
projection! {
    /// What a node is.
    NodeStatus part {
        /// Ready, ...
        conditions: Vec<Condition>,
    }
}
projection! {
    /// A namespace.
    Namespace ("", "v1", "namespaces", "Namespace", cluster) {
        /// Who it is.
        metadata: ObjectMeta,
        /// What it is.
        status: NamespaceStatus,
    }
}
projection! {
    /// What a namespace is.
    NamespaceStatus part {
        /// NamespaceFinalizersRemaining, ...
        conditions: Vec<Condition>,
    }
}
projection! {
    /// Something that happened to an object.
    Event ("", "v1", "events", "Event", namespaced) {
        /// Who it is.
        metadata: ObjectMeta,
        /// What it happened to.
        involved_object: Involved,
        /// In a word.
        reason: String,
        /// In a sentence.
        message: String,
        /// Who says so.
        source: EventSource,
    }
}
projection! {
    /// Who tells of something.
    EventSource part {
        /// As `deployment-controller`.
        component: String,
    }
}
projection! {
    /// What something happened to.
    Involved part {
        /// As `Pod`.
        kind: String,
        /// Its name.
        name: String,
    }
}
projection! {
    /// A map of text.
    ConfigMap ("", "v1", "configmaps", "ConfigMap", namespaced) {
        /// Who it is.
        metadata: ObjectMeta,
        /// The text.
        data: BTreeMap<String, String>,
    }
}
projection! {
    /// A Lease.
    Lease ("coordination.k8s.io", "v1", "leases", "Lease", namespaced) {
        /// Who it is.
        metadata: ObjectMeta,
    }
}

fn is_true(conditions: &[Condition], r#type: &str) -> bool {
    conditions.iter().any(|condition| condition.r#type == r#type && condition.status == "True")
}

impl Pod {
    /// Whether it is there to stay and takes traffic.
    pub fn is_available(&self) -> bool {
        is_true(&self.status.conditions, "Ready") && !self.metadata.is_being_deleted()
    }

    /// Whether it is there to stay and runs.
    pub fn is_running(&self) -> bool {
        self.status.phase == "Running" && !self.metadata.is_being_deleted()
    }

    /// The image of its first container.
    pub fn image(&self) -> &str {
        self.spec.containers.first().map_or("", |container| &container.image)
    }
}

impl Node {
    /// Whether it says, or is believed, to work.
    pub fn is_ready(&self) -> bool {
        is_true(&self.status.conditions, "Ready")
    }

    /// What keeps pods away.
    pub fn taints(&self) -> Vec<String> {
        self.spec.taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect()
    }
}

impl WorkloadSpec {
    /// The image of the first container of its template.
    pub fn image(&self) -> &str {
        self.template["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
    }
}
projection! {
    /// A claim to a volume.
    Claim ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", namespaced) {
        /// Who it is.
        metadata: ObjectMeta,
        /// What it shall be.
        spec: ClaimSpec,
        /// What it is.
        status: Phase,
    }
}
projection! {
    /// What a claim shall be.
    ClaimSpec part {
        /// Its volume.
        volume_name: String,
        /// Its class.
        storage_class_name: Option<String>,
    }
}
projection! {
    /// What a claim or volume is.
    Phase part {
        /// As Bound.
        phase: String,
        /// How much it holds.
        capacity: BTreeMap<String, String>,
    }
}
projection! {
    /// A volume.
    Volume ("", "v1", "persistentvolumes", "PersistentVolume", cluster) {
        /// Who it is.
        metadata: ObjectMeta,
        /// What it is.
        status: Phase,
    }
}
