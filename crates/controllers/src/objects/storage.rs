//! Projections of what storage is made of: volumes, claims to them, and classes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use api::meta::ObjectMeta;
use api::quantity::Quantity;
use api::selector::LabelSelector;

use client::resource;

/// The annotation of a claim that a volume has been found for and that knows it.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The annotation of a claim or volume whose partner was chosen by the binder, not by a user.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// The annotation of a volume that was made for a claim: by whom.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// The annotation of a claim whose volume is to be made: by whom.
pub const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The annotation of a claim whose volume is to be made: on which node.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The annotation of the class that claims get which name none.
pub const IS_DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// `v1/PersistentVolume`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolume {
    pub metadata: ObjectMeta,
    pub spec: PersistentVolumeSpec,
    pub status: PersistentVolumeStatus,
}
resource!(PersistentVolume, "", "v1", "persistentvolumes", "PersistentVolume", cluster);

/// `v1/PersistentVolumeSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeSpec {
    pub capacity: BTreeMap<String, Quantity>,
    pub access_modes: Vec<String>,
    pub claim_ref: Option<ClaimReference>,
    pub persistent_volume_reclaim_policy: String,
    pub storage_class_name: String,
    pub volume_mode: String,
    pub volume_attributes_class_name: Option<String>,
}

/// The claim that a volume belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimReference {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// `v1/PersistentVolumeStatus`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeStatus {
    pub phase: String,
    pub message: String,
}

impl PersistentVolume {
    /// How much it holds.
    pub fn size(&self) -> Quantity {
        self.spec.capacity.get("storage").cloned().unwrap_or_default()
    }

    /// Whether it is set aside for a claim, or belongs to it.
    pub fn is_for(&self, claim: &PersistentVolumeClaim) -> bool {
        self.spec.claim_ref.as_ref().is_some_and(|reference| {
            reference.namespace == claim.metadata.namespace
                && reference.name == claim.metadata.name
                && (reference.uid.is_empty() || reference.uid == claim.metadata.uid)
        })
    }
}

/// `v1/PersistentVolumeClaim`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaim {
    pub metadata: ObjectMeta,
    pub spec: PersistentVolumeClaimSpec,
    pub status: PersistentVolumeClaimStatus,
}
resource!(PersistentVolumeClaim, "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", namespaced);

/// `v1/PersistentVolumeClaimSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaimSpec {
    pub access_modes: Vec<String>,
    pub resources: ClaimResources,
    pub selector: Option<LabelSelector>,
    pub storage_class_name: Option<String>,
    pub volume_mode: String,
    pub volume_name: String,
    pub volume_attributes_class_name: Option<String>,
}

/// `v1/VolumeResourceRequirements`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimResources {
    pub requests: BTreeMap<String, Quantity>,
}

/// `v1/PersistentVolumeClaimStatus`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaimStatus {
    pub phase: String,
    pub access_modes: Vec<String>,
    pub capacity: BTreeMap<String, Quantity>,
}

impl PersistentVolumeClaim {
    /// How much it asks for.
    pub fn size(&self) -> Quantity {
        self.spec.resources.requests.get("storage").cloned().unwrap_or_default()
    }

    /// Its class; empty for none.
    pub fn class(&self) -> &str {
        match self.metadata.annotations.get("volume.beta.kubernetes.io/storage-class") {
            Some(class) => class,
            None => self.spec.storage_class_name.as_deref().unwrap_or_default(),
        }
    }
}

/// `storage.k8s.io/v1/StorageClass`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClass {
    pub metadata: ObjectMeta,
    pub provisioner: String,
    pub reclaim_policy: String,
    pub volume_binding_mode: String,
    pub allow_volume_expansion: Option<bool>,
    pub mount_options: Vec<String>,
}
resource!(StorageClass, "storage.k8s.io", "v1", "storageclasses", "StorageClass", cluster);

impl StorageClass {
    /// Whether its claims wait until a pod that uses them has a node.
    pub fn waits_for_consumer(&self) -> bool {
        self.volume_binding_mode == "WaitForFirstConsumer"
    }

    /// Whether claims get it which name none.
    pub fn is_default(&self) -> bool {
        let is = |key: &str| self.metadata.annotations.get(key).is_some_and(|value| value == "true");
        is(IS_DEFAULT_CLASS) || is("storageclass.beta.kubernetes.io/is-default-class")
    }
}
