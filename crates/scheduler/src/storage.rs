//! Claims, volumes and classes, as far as they decide where a pod can run: part of the snapshot.
//!
//! What has been decided for a claim counts at once, long before the watch shows it ([`Storage::assume`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use api::gvk::NamespacedName;
use api::meta::ObjectMeta;
use api::quantity::Quantity;
use api::selector::LabelSelector;

use crate::objects::{NodeSelector, Pod};

/// The annotation of a claim that a volume has been found for and that knows it.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The annotation of a volume whose claim was chosen by the cluster, not by a user.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// The annotation of a claim that says on which node its volume is to be made.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// `v1/PersistentVolumeClaim`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claim {
    /// What every object has.
    pub metadata: ObjectMeta,
    /// What is asked for.
    pub spec: ClaimSpec,
    /// What is.
    pub status: Phase,
}
client::resource!(Claim, "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", namespaced);

/// `v1/PersistentVolumeClaimSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSpec {
    /// As `ReadWriteOnce`.
    pub access_modes: Vec<String>,
    /// How much is asked for.
    pub resources: crate::objects::ResourceRequirements,
    /// Which volumes.
    pub selector: Option<LabelSelector>,
    /// Its class.
    pub storage_class_name: Option<String>,
    /// `Filesystem` where it is empty.
    pub volume_mode: String,
    /// Its volume.
    pub volume_name: String,
}

/// The status of a claim or volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Phase {
    /// As `Bound`.
    pub phase: String,
}

/// `v1/PersistentVolume`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// What every object has.
    pub metadata: ObjectMeta,
    /// What it is.
    pub spec: VolumeSpec,
    /// Whether it is taken.
    pub status: Phase,
}
client::resource!(Volume, "", "v1", "persistentvolumes", "PersistentVolume", cluster);

/// `v1/PersistentVolumeSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSpec {
    /// How much it holds.
    pub capacity: BTreeMap<String, Quantity>,
    /// As `ReadWriteOnce`.
    pub access_modes: Vec<String>,
    /// Whose it is.
    pub claim_ref: Option<ClaimReference>,
    /// Its class.
    pub storage_class_name: String,
    /// `Filesystem` where it is empty.
    pub volume_mode: String,
    /// From where it can be reached.
    pub node_affinity: VolumeNodeAffinity,
}

/// The claim that a volume belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimReference {
    /// Of the claim.
    pub namespace: String,
    /// Of the claim.
    pub name: String,
    /// Of the claim; empty where a user has set the volume aside.
    pub uid: String,
}

/// `v1/VolumeNodeAffinity`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeNodeAffinity {
    /// Must hold.
    pub required: Option<NodeSelector>,
}

/// `storage.k8s.io/v1/StorageClass`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClass {
    /// What every object has.
    pub metadata: ObjectMeta,
    /// Who makes its volumes.
    pub provisioner: String,
    /// `Immediate` or `WaitForFirstConsumer`.
    pub volume_binding_mode: String,
}
client::resource!(StorageClass, "storage.k8s.io", "v1", "storageclasses", "StorageClass", cluster);

impl Claim {
    /// Its class; empty for none.
    pub fn class(&self) -> &str {
        match self.metadata.annotations.get("volume.beta.kubernetes.io/storage-class") {
            Some(class) => class,
            None => self.spec.storage_class_name.as_deref().unwrap_or_default(),
        }
    }

    /// Whether it has its volume for good.
    pub fn is_bound(&self) -> bool {
        !self.spec.volume_name.is_empty() && self.metadata.annotations.contains_key(BIND_COMPLETED)
    }

    /// How much it asks for.
    pub fn size(&self) -> Quantity {
        self.spec.resources.requests.get("storage").cloned().unwrap_or_default()
    }
}

impl Volume {
    /// Whether it is set aside for a claim, or belongs to it.
    pub fn is_for(&self, claim: &Claim) -> bool {
        self.spec.claim_ref.as_ref().is_some_and(|reference| {
            reference.namespace == claim.metadata.namespace
                && reference.name == claim.metadata.name
                && (reference.uid.is_empty() || reference.uid == claim.metadata.uid)
        })
    }

    /// Whether it is what a claim of a class that waits asks for, and free.
    pub fn suits(&self, claim: &Claim) -> bool {
        let mode = |text: &str| text.is_empty() || text == "Filesystem";
        let fits = claim.size() <= self.spec.capacity.get("storage").cloned().unwrap_or_default()
            && mode(&self.spec.volume_mode) == mode(&claim.spec.volume_mode)
            && claim.spec.access_modes.iter().all(|mode| self.spec.access_modes.contains(mode))
            && !self.metadata.is_being_deleted();
        let is_free = || {
            let selector = claim.spec.selector.as_ref();
            self.spec.claim_ref.is_none()
                && self.status.phase == "Available"
                && self.spec.storage_class_name == claim.class()
                && selector.is_none_or(|selector| selector.matches(&self.metadata.labels))
        };
        fits && (self.is_for(claim) || is_free())
    }
}

/// What is decided for a claim of a class that waits.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The claim.
    pub claim: Arc<Claim>,
    /// The volume that it is to get; `None` where one is to be made.
    pub volume: Option<Arc<Volume>>,
}

/// All claims, volumes and classes.
#[derive(Debug, Clone, Default)]
pub struct Storage {
    claims: HashMap<NamespacedName, Arc<Claim>, FixedState>,
    /// In the order of their names, so that a decision can be repeated.
    volumes: BTreeMap<String, Arc<Volume>>,
    classes: HashMap<String, Arc<StorageClass>, FixedState>,
    /// For which node the volume of a claim has been decided, by the claim.
    nodes: HashMap<NamespacedName, String, FixedState>,
    /// Volumes that have been decided for a claim.
    taken: HashMap<String, NamespacedName, FixedState>,
}

impl Storage {
    /// A claim is new, has changed or is gone.
    pub fn set_claim(&mut self, name: NamespacedName, claim: Option<Arc<Claim>>) {
        match claim {
            Some(claim) => self.claims.insert(name, claim),
            None => self.claims.remove(&name),
        };
    }

    /// A volume is new, has changed or is gone.
    pub fn set_volume(&mut self, name: String, volume: Option<Arc<Volume>>) {
        match volume {
            Some(volume) => self.volumes.insert(name, volume),
            None => self.volumes.remove(&name),
        };
    }

    /// A class is new, has changed or is gone.
    pub fn set_class(&mut self, name: String, class: Option<Arc<StorageClass>>) {
        match class {
            Some(class) => self.classes.insert(name, class),
            None => self.classes.remove(&name),
        };
    }

    /// A claim.
    pub fn claim(&self, name: &NamespacedName) -> Option<&Arc<Claim>> {
        self.claims.get(name)
    }

    /// A volume.
    pub fn volume(&self, name: &str) -> Option<&Arc<Volume>> {
        self.volumes.get(name)
    }

    /// A class.
    pub fn class(&self, name: &str) -> Option<&StorageClass> {
        self.classes.get(name).map(|class| &**class)
    }

    /// The volumes that suit a claim and that no other has been given, the smallest first.
    pub fn suitable(&self, claim: &Claim) -> Vec<&Arc<Volume>> {
        let name = claim.metadata.namespaced_name();
        let free =
            |volume: &&Arc<Volume>| self.taken.get(&volume.metadata.name).is_none_or(|taker| *taker == name);
        let mut volumes: Vec<_> =
            self.volumes.values().filter(|volume| volume.suits(claim)).filter(free).collect();
        volumes.sort_by_key(|volume| (!volume.is_for(claim), volume.spec.capacity.get("storage").cloned()));
        volumes
    }

    /// On which node the volume of a claim is to be.
    pub fn node_of<'a>(&'a self, claim: &'a Claim) -> Option<&'a str> {
        let decided = self.nodes.get(&claim.metadata.namespaced_name());
        decided.or_else(|| claim.metadata.annotations.get(SELECTED_NODE)).map(String::as_str)
    }

    /// Something has been decided for claims: it counts from now on.
    pub fn assume(&mut self, wanted: &[Wanted], node: &str) {
        for Wanted { claim, volume } in wanted {
            let name = claim.metadata.namespaced_name();
            match volume {
                Some(volume) => {
                    self.taken.insert(volume.metadata.name.clone(), name);
                }
                None => {
                    self.nodes.insert(name, node.to_owned());
                }
            }
        }
    }

    /// What was decided shows, or has failed.
    pub fn forget(&mut self, wanted: &[Wanted]) {
        for Wanted { claim, volume } in wanted {
            match volume {
                Some(volume) => {
                    self.taken.remove(&volume.metadata.name);
                }
                None => {
                    self.nodes.remove(&claim.metadata.namespaced_name());
                }
            }
        }
    }

    /// Whether all claims of a pod have their volumes.
    pub fn is_ready(&self, pod: &Pod) -> bool {
        pod.claims().all(|name| {
            let name = NamespacedName::new(&*pod.metadata.namespace, &*name);
            self.claim(&name).is_some_and(|claim| claim.is_bound())
        })
    }
}
