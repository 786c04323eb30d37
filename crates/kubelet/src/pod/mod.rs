//! The fields of a Pod that the kubelet acts upon: a projection of `v1.Pod`, never written back as a whole.
//!
//! Names and meanings are those of the Kubernetes API reference. What the kubelet writes is in [`status`].

use std::collections::BTreeMap;

use api::intstr::IntOrString;
use api::meta::ObjectMeta;
use api::quantity::Quantity;
use serde::{Deserialize, Serialize};

pub mod spec;
pub mod status;

pub use spec::*;
pub use status::*;

/// `v1.Pod`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Name, uid, labels, deletion.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: PodSpec,
    /// What was reported last.
    pub status: PodStatus,
}

impl Pod {
    /// `namespace/name`, for logs.
    pub fn key(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    /// The grace period that a deletion allows, or that the spec names.
    pub fn grace_seconds(&self) -> i64 {
        self.metadata
            .deletion_grace_period_seconds
            .or(self.spec.termination_grace_period_seconds)
            .unwrap_or(30)
            .max(0)
    }

    /// Whether the pod has come to its end, by the status that was reported last.
    pub fn is_terminal(&self) -> bool {
        matches!(self.status.phase, PodPhase::Succeeded | PodPhase::Failed)
    }
}

/// A map of resource names to amounts.
pub type ResourceList = BTreeMap<String, Quantity>;

/// The port of a probe or hook: a number, or the name of a container port.
pub type Port = IntOrString;

/// How the kernel and eviction treat a pod (`status.qosClass`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum QosClass {
    /// Every container limits cpu and memory and requests as much.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    #[default]
    BestEffort,
}

impl QosClass {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// Computes the QoS class of a pod from its containers' cpu and memory.
pub fn qos_class(spec: &PodSpec) -> QosClass {
    let mut any = false;
    let mut guaranteed = true;
    for container in spec.init_containers.iter().chain(&spec.containers) {
        for name in ["cpu", "memory"] {
            let positive =
                |list: &ResourceList| list.get(name).filter(|quantity| quantity.sign().is_gt()).cloned();
            let limit = positive(&container.resources.limits);
            let request = positive(&container.resources.requests).or(limit);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && limit == request;
        }
    }
    match (any, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}
