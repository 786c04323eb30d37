//! Projections: the fields of pods and nodes that decide where a pod can run.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use api::meta::{Condition, ObjectMeta};
use api::quantity::Quantity;
use api::selector::LabelSelector;

/// Amounts by the name of the resource.
pub type ResourceList = BTreeMap<String, Quantity>;

/// `v1/Pod`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// What every object has.
    pub metadata: ObjectMeta,
    /// What is asked for.
    pub spec: PodSpec,
    /// What is.
    pub status: PodStatus,
}
client::resource!(Pod, "", "v1", "pods", "Pod", namespaced);

impl Pod {
    /// The names of the claims that its volumes lead to.
    pub fn claims(&self) -> impl Iterator<Item = String> {
        self.claims_by_kind().map(|(name, _)| name)
    }

    /// The same, and whether each is the pod's own.
    pub fn claims_by_kind(&self) -> impl Iterator<Item = (String, bool)> {
        self.spec.volumes.iter().map(|volume| match &volume.persistent_volume_claim {
            Some(claim) => (claim.claim_name.clone(), false),
            None => (format!("{}-{}", self.metadata.name, volume.name), true),
        })
    }

    /// Whether the pod has run to its end and holds nothing any more.
    pub fn is_terminal(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }
}

/// `v1/PodSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Where the pod runs; empty until it is bound.
    pub node_name: String,
    /// Who binds it.
    pub scheduler_name: String,
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// What draws the pod to nodes and other pods, or away from them.
    pub affinity: Affinity,
    /// Taints that do not keep the pod away.
    pub tolerations: Vec<Toleration>,
    /// The containers.
    pub containers: Vec<Container>,
    /// What runs before them, or beside them (sidecars).
    pub init_containers: Vec<Container>,
    /// What the sandbox itself needs.
    pub overhead: ResourceList,
    /// Requests of the pod as a whole, instead of the sum of its containers.
    pub resources: ResourceRequirements,
    /// The more important are bound first.
    pub priority: i32,
    /// `Never`, or `PreemptLowerPriority`.
    pub preemption_policy: String,
    /// Whoever put these on holds the pod back.
    pub scheduling_gates: Vec<SchedulingGate>,
    /// How evenly pods are to be spread.
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Its volumes; only those that lead to a claim are kept.
    #[serde(deserialize_with = "with_claims")]
    pub volumes: Vec<PodVolume>,
}

fn with_claims<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PodVolume>, D::Error> {
    let all = Option::<Vec<PodVolume>>::deserialize(deserializer)?.unwrap_or_default();
    let leads = |volume: &PodVolume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some();
    Ok(all.into_iter().filter(leads).collect())
}

/// `v1/Volume`, as far as it leads to a claim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodVolume {
    /// Its name in the pod.
    pub name: String,
    /// The claim that it leads to.
    pub persistent_volume_claim: Option<ClaimSource>,
    /// A claim of the pod's own.
    pub ephemeral: Option<EphemeralSource>,
}

/// `v1/PersistentVolumeClaimVolumeSource`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSource {
    /// The claim.
    pub claim_name: String,
}

/// `v1/EphemeralVolumeSource`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EphemeralSource {}

/// `v1/Container`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// What it needs.
    pub resources: ResourceRequirements,
    /// Its ports; those with a host port count.
    pub ports: Vec<ContainerPort>,
    /// `Always` makes a sidecar of an init container.
    pub restart_policy: String,
}

/// `v1/ResourceRequirements`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceRequirements {
    /// What must be there.
    pub requests: ResourceList,
}

/// `v1/ContainerPort`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// The port of the node that it takes; 0 for none.
    pub host_port: i32,
    /// On this address of the node; empty for all.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
    /// `TCP` where it is empty.
    pub protocol: String,
}

/// `v1/PodSchedulingGate`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulingGate {
    /// Who holds it.
    pub name: String,
}

/// `v1/PodStatus`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// As `Pending`.
    pub phase: String,
    /// Among them PodScheduled.
    pub conditions: Vec<Condition>,
    /// The node that others are cleared from for this pod.
    pub nominated_node_name: String,
}

/// `v1/Affinity`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    /// Towards nodes.
    pub node_affinity: Option<NodeAffinity>,
    /// Towards pods.
    pub pod_affinity: Option<PodAffinity>,
    /// Away from pods.
    pub pod_anti_affinity: Option<PodAffinity>,
}

/// `v1/NodeAffinity`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeAffinity {
    /// Must hold.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Option<NodeSelector>,
    /// Should hold.
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub preferred: Vec<PreferredSchedulingTerm>,
}

/// `v1/NodeSelector`: any of the terms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    /// One of these must hold.
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// `v1/PreferredSchedulingTerm`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PreferredSchedulingTerm {
    /// How much it counts.
    pub weight: i32,
    /// What should hold.
    pub preference: NodeSelectorTerm,
}

/// `v1/NodeSelectorTerm`: all of the requirements; none matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    /// On labels.
    pub match_expressions: Vec<NodeSelectorRequirement>,
    /// On fields; `metadata.name` is the only one.
    pub match_fields: Vec<NodeSelectorRequirement>,
}

/// `v1/NodeSelectorRequirement`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSelectorRequirement {
    /// The label or field.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt` or `Lt`.
    pub operator: String,
    /// What it is compared with.
    pub values: Vec<String>,
}

/// `v1/PodAffinity` and `v1/PodAntiAffinity`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodAffinity {
    /// Must hold.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Vec<PodAffinityTerm>,
    /// Should hold.
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub preferred: Vec<WeightedPodAffinityTerm>,
}

/// `v1/WeightedPodAffinityTerm`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightedPodAffinityTerm {
    /// How much it counts.
    pub weight: i32,
    /// What should hold.
    pub pod_affinity_term: PodAffinityTerm,
}

/// `v1/PodAffinityTerm`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinityTerm {
    /// Which pods; absent means none.
    pub label_selector: Option<LabelSelector>,
    /// In these namespaces; none means the pod's own.
    pub namespaces: Vec<String>,
    /// In namespaces with such labels.
    pub namespace_selector: Option<LabelSelector>,
    /// Nodes with the same value of this label are one place.
    pub topology_key: String,
}

/// `v1/TopologySpreadConstraint`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySpreadConstraint {
    /// By how many pods places may differ.
    pub max_skew: i32,
    /// Nodes with the same value of this label are one place.
    pub topology_key: String,
    /// `DoNotSchedule` or `ScheduleAnyway`.
    pub when_unsatisfiable: String,
    /// Which pods are counted.
    pub label_selector: Option<LabelSelector>,
    /// Labels of the pod that are added to the selector.
    pub match_label_keys: Vec<String>,
    /// At least so many places; fewer count as if one were empty.
    pub min_domains: Option<i32>,
}

/// `v1/Toleration`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Toleration {
    /// The key of the taint; empty for all.
    pub key: String,
    /// `Equal` or `Exists`.
    pub operator: String,
    /// The value of the taint.
    pub value: String,
    /// The effect of the taint; empty for all.
    pub effect: String,
}

impl Toleration {
    /// Whether `taint` does not keep the pod away.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let effect = self.effect.is_empty() || self.effect == taint.effect;
        let key = self.key.is_empty() || self.key == taint.key;
        let value = match self.operator.as_str() {
            "" | "Equal" => self.value == taint.value,
            "Exists" => true,
            _ => false,
        };
        effect && key && value
    }
}

/// `v1/Node`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// What every object has.
    pub metadata: ObjectMeta,
    /// What is asked for.
    pub spec: NodeSpec,
    /// What is.
    pub status: NodeStatus,
}
client::resource!(Node, "", "v1", "nodes", "Node", cluster);

/// `v1/NodeSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// What keeps pods away.
    pub taints: Vec<Taint>,
    /// Cordoned.
    pub unschedulable: bool,
}

/// `v1/Taint`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// As `node.kubernetes.io/not-ready`.
    pub key: String,
    /// Often empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// `v1/NodeStatus`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// What pods can use.
    pub allocatable: ResourceList,
}
