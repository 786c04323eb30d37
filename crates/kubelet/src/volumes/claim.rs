//! Persistent volumes on the node: the claim of a pod's volume leads to a volume, and that to a place on the node.
//!
//! Node-local volumes are folders in [`FOLDER`] of the kubelet's root. They are made when a pod first uses them, and
//! taken away once the volume is gone from the apiserver, which is asked each time ([`folders`]) - unless the volume
//! was to be retained when it was seen last ([`remember`]).

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use api::meta::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::{HostPathSource, Place, PodFolder, VolumeError, host_path, nfs, ownership};
use crate::pod::{NfsSource, Pod, Volume};

/// The folder of node-local volumes, in the kubelet's root.
pub const FOLDER: &str = "local-volumes";
/// The annotation of a node that says where that is.
pub const ANNOTATION: &str = "coxswain.io/node-local-volumes";
/// The annotation of a volume that says who has made it, and what it says for ours.
const PROVISIONED_BY: (&str, &str) = ("pv.kubernetes.io/provisioned-by", "coxswain.io/node-local");

client::resource!(
    PersistentVolumeClaim,
    "",
    "v1",
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    namespaced
);
client::resource!(PersistentVolume, "", "v1", "persistentvolumes", "PersistentVolume", cluster);

/// The folder of the names of those that are to be retained.
const RETAINED: &str = "local-volumes-retained";

/// The part of `v1.PersistentVolumeClaim` that the kubelet reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PersistentVolumeClaim {
    /// Its name.
    pub metadata: ObjectMeta,
    /// Its volume.
    pub spec: ClaimSpec,
    /// Whether it is bound.
    pub status: ClaimStatus,
}

/// `v1.PersistentVolumeClaimSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSpec {
    /// Its volume.
    pub volume_name: String,
}

/// `v1.PersistentVolumeClaimStatus`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimStatus {
    /// As `Bound`.
    pub phase: String,
}

/// The part of `v1.PersistentVolume` that the kubelet reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PersistentVolume {
    /// Its name.
    pub metadata: ObjectMeta,
    /// What it is.
    pub spec: VolumeSpec,
}

/// `v1.PersistentVolumeSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSpec {
    /// A place on the node.
    pub host_path: Option<HostPathSource>,
    /// A disk or folder on the node.
    pub local: Option<LocalSource>,
    /// A share on another machine.
    pub nfs: Option<NfsSource>,
    /// Options of the mount.
    pub mount_options: Vec<String>,
    /// Whose it is.
    pub claim_ref: Option<ClaimReference>,
    /// `Filesystem` where it is empty.
    pub volume_mode: String,
    /// What becomes of it after its claim.
    pub persistent_volume_reclaim_policy: String,
}

/// `v1.LocalVolumeSource`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalSource {
    /// Where it is.
    pub path: PathBuf,
}

/// The claim that a volume belongs to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimReference {
    /// Of the claim.
    pub uid: String,
}

/// The claim that a volume of a pod leads to.
pub fn claim_name(pod: &Pod, volume: &Volume) -> Option<String> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.metadata.name, volume.name)),
        (None, None) => None,
    }
}

/// The volume that a claim is bound to, where the pod may use it; the error says why not.
pub fn check(
    pod: &Pod,
    volume: &Volume,
    name: &str,
    claim: Option<&PersistentVolumeClaim>,
) -> Result<String, String> {
    let failed = |why: &str| format!("error processing PVC {}/{name}: {why}", pod.metadata.namespace);
    let Some(claim) = claim else {
        return Err(failed(&format!(
            "failed to fetch PVC from API server: persistentvolumeclaims \"{name}\" not found"
        )));
    };
    if volume.ephemeral.is_some()
        && claim.metadata.controller().is_none_or(|owner| owner.uid != pod.metadata.uid)
    {
        return Err(failed("PVC was not created for the pod (pod is not owner)"));
    }
    if claim.metadata.is_being_deleted() {
        return Err(failed("can't start pod because PVC is being deleted"));
    }
    if claim.status.phase != "Bound" || claim.spec.volume_name.is_empty() {
        return Err(failed("PVC is not bound"));
    }
    Ok(claim.spec.volume_name.clone())
}

/// Makes a persistent volume usable for a pod. Blocking.
pub fn set_up(
    root: &Path,
    folder: &PodFolder,
    pod: &Pod,
    volume: &Volume,
    persistent: &PersistentVolume,
) -> Result<Place, VolumeError> {
    let failed = |message: String| VolumeError::SetUp { volume: volume.name.clone(), message };
    let name = &persistent.metadata.name;
    let read_only = volume.persistent_volume_claim.as_ref().is_some_and(|claim| claim.read_only);
    let spec = &persistent.spec;
    if spec.volume_mode == "Block" {
        return Err(failed("volume has volumeMode Block, but is to be mounted as a file system".to_owned()));
    }
    let path = if let Some(source) = &spec.local {
        let maker = persistent.metadata.annotations.get(PROVISIONED_BY.0).map(String::as_str);
        let is_ours = maker == Some(PROVISIONED_BY.1)
            && source.path.parent() == Some(&*root.join(FOLDER))
            && source.path.file_name().is_some_and(|file| file == name.as_str());
        if is_ours {
            make(&source.path)
                .and_then(|()| remember(root, persistent))
                .map_err(|source| VolumeError::Io { path: root.join(FOLDER), source })?;
        } else if !source.path.exists() {
            return Err(failed(format!("path \"{}\" does not exist", source.path.display())));
        }
        if !read_only {
            ownership::apply(pod, &source.path)
                .map_err(|error| VolumeError::Io { path: source.path.clone(), source: error })?;
        }
        source.path.clone()
    } else if let Some(source) = &spec.host_path {
        host_path(source).map_err(failed)?
    } else if let Some(source) = &spec.nfs {
        let path = folder.volume("kubernetes.io~nfs", name);
        nfs::mount(source, &spec.mount_options, &path).map_err(failed)?;
        path
    } else {
        return Err(failed("no volume plugin matched".to_owned()));
    };
    let read_only = read_only || spec.nfs.as_ref().is_some_and(|source| source.read_only);
    Ok(Place { path, read_only })
}

/// Whoever the pod runs as may write to a new volume.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))
}

/// The node-local volumes of which there is a folder. Blocking.
pub fn folders(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join(FOLDER)).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Keeps in mind whether what a volume holds outlives the volume. Blocking.
pub fn remember(root: &Path, volume: &PersistentVolume) -> io::Result<()> {
    let mark = root.join(RETAINED).join(&volume.metadata.name);
    let retained = volume.spec.persistent_volume_reclaim_policy == "Retain";
    match (retained, mark.exists()) {
        (true, false) => {
            fs::create_dir_all(root.join(RETAINED))?;
            fs::File::create(mark).map(drop)
        }
        (false, true) => fs::remove_file(mark),
        (true, true) | (false, false) => Ok(()),
    }
}

/// Takes the folder of a node-local volume that is gone away, and what it held, unless it was to be retained; says
/// whether it did. Blocking.
pub fn remove(root: &Path, name: &str) -> io::Result<bool> {
    if root.join(RETAINED).join(name).exists() {
        return Ok(false);
    }
    let path = root.join(FOLDER).join(name);
    super::unmount_below(&path)?;
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        result => result.map(|()| true),
    }
}
