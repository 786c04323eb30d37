//! Volumes: what stands on the node before a container that mounts it is made, and is taken away with its pod.
//!
//! Everything of a pod is below `<root>/pods/<uid>/volumes/<plugin>/<name>`, so that what is left of a pod can be
//! found without asking anybody. Contents that come from objects are written by [`payload`], all at once.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::container::References;
use crate::container::fields::{NodeFacts, field_value, resource_value};
use crate::control_plane::Values;
use crate::pod::{
    ConfigMapSource, Container, DownwardApiSource, EmptyDirSource, HostPathSource, KeyToPath, Pod,
    ProjectedSource, SecretSource, ServiceAccountTokenProjection, Volume,
};
use crate::runtime::{Below, Mount};

pub mod claim;
mod nfs;
mod ownership;
pub mod payload;
mod sub_path;
mod token;

use claim::PersistentVolume;
use payload::{File, Owner, Payload};
pub use token::{Token, TokenCache, TokenKey, Tokens, service_account};

/// The plugin of emptyDirs, in paths.
const EMPTY_DIR: &str = "kubernetes.io~empty-dir";
/// The mode of files where the source names none.
const DEFAULT_MODE: u32 = 0o644;
/// The mode of a token whose reader is known.
const TOKEN_MODE: u32 = 0o600;

/// Why a volume is not there.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// What it refers to is absent or wrong, or its kind is not served.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {message}")]
    SetUp {
        /// Its name in the spec.
        volume: String,
        /// Why.
        message: String,
    },
    /// A container mounts a volume that the pod does not have.
    #[error("container {container} mounts volume \"{volume}\", which the pod does not have")]
    Unknown {
        /// Whose mount.
        container: String,
        /// Of the mount.
        volume: String,
    },
    /// A mount leads out of its volume.
    #[error("subPath \"{0}\" must stay within its volume")]
    SubPath(String),
    /// The node failed.
    #[error("cannot prepare {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The folders of one pod.
#[derive(Debug, Clone)]
pub struct PodFolder(PathBuf);

impl PodFolder {
    /// Of the pod with that uid.
    pub fn new(root: &Path, uid: &str) -> Self {
        Self(root.join("pods").join(uid))
    }

    /// Everything of the pod.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The files that only the kubelet writes: hosts, resolv.conf.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Where a container leaves its termination message.
    pub fn termination_message(&self, container: &str, restart: u32) -> PathBuf {
        self.0.join("containers").join(container).join(restart.to_string())
    }

    /// Where a part of a volume stands for a mount of a container.
    fn sub_path(&self, volume: &str, container: &str, index: usize) -> PathBuf {
        self.0.join("volume-subpaths").join(volume).join(container).join(index.to_string())
    }

    /// Where an image is unpacked that is a volume.
    pub fn image(&self, name: &str) -> PathBuf {
        self.volume("kubernetes.io~image", name)
    }

    /// Where its emptyDirs are.
    pub fn empty_dirs(&self) -> PathBuf {
        self.0.join("volumes").join(EMPTY_DIR)
    }

    fn volume(&self, plugin: &str, name: &str) -> PathBuf {
        self.0.join("volumes").join(plugin).join(name)
    }
}

/// The names of the ConfigMaps and of the Secrets that the volumes of a pod show.
pub fn references(pod: &Pod) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for volume in &pod.spec.volumes {
        config_maps.extend(volume.config_map.as_ref().map(|source| source.name.clone()));
        secrets.extend(volume.secret.as_ref().map(|source| source.secret_name.clone()));
        for source in volume.projected.iter().flat_map(|projected| &projected.sources) {
            config_maps.extend(source.config_map.as_ref().map(|source| source.name.clone()));
            secrets.extend(source.secret.as_ref().map(|source| source.name.clone()));
        }
    }
    (config_maps, secrets)
}

/// What the volumes of a pod are made from.
#[derive(Clone, Copy)]
pub struct VolumeInput<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The node.
    pub node: &'a NodeFacts,
    /// The addresses of the pod.
    pub pod_ips: &'a [String],
    /// What was fetched.
    pub references: &'a References,
    /// The tokens that it shows.
    pub tokens: &'a Tokens,
    /// What its claims are bound to, by the name of the volume in the pod.
    pub persistent: &'a BTreeMap<String, PersistentVolume>,
    /// The kubelet's root.
    pub root: &'a Path,
    /// Whether what is secret is kept in memory, and never on the disk.
    pub in_memory: bool,
}

/// A volume that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it is on the node.
    pub path: PathBuf,
    /// Whether no container may write to it.
    pub read_only: bool,
}

/// Volume name to where it is.
pub type Paths = BTreeMap<String, Place>;

/// Whether what the volumes of a pod show may change while it runs.
pub fn changes(pod: &Pod) -> bool {
    let shows = |volume: &Volume| {
        volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.downward_api.is_some()
            || volume.projected.is_some()
    };
    pod.spec.volumes.iter().any(shows)
}

/// Whether a volume shows the token of a ServiceAccount.
pub fn shows_token(volume: &Volume) -> bool {
    let mut sources = volume.projected.iter().flat_map(|projected| &projected.sources);
    sources.any(|source| source.service_account_token.is_some())
}

/// Makes every volume of a pod, or brings it up to date. Blocking.
pub fn set_up(folder: &PodFolder, input: VolumeInput<'_>) -> Result<Paths, VolumeError> {
    let each = |volume: &Volume| Ok((volume.name.clone(), set_up_one(folder, input, volume)?));
    input.pod.spec.volumes.iter().map(each).collect()
}

fn set_up_one(folder: &PodFolder, input: VolumeInput<'_>, volume: &Volume) -> Result<Place, VolumeError> {
    let failed = |message: String| VolumeError::SetUp { volume: volume.name.clone(), message };
    let owner = owner(input.pod);
    if let Some(source) = &volume.empty_dir {
        if source.medium.starts_with("HugePages") {
            return Err(failed("huge pages are not served".to_owned()));
        }
        let path = folder.volume(EMPTY_DIR, &volume.name);
        return empty_dir(&path, source, owner.group).map(|()| Place { path, read_only: false });
    }
    if let Some(source) = &volume.host_path {
        return Ok(Place { path: host_path(source).map_err(failed)?, read_only: false });
    }
    if let Some(persistent) = input.persistent.get(&volume.name) {
        return claim::set_up(input.root, folder, input.pod, volume, persistent);
    }
    if let Some(source) = &volume.nfs {
        let path = folder.volume("kubernetes.io~nfs", &volume.name);
        nfs::mount(source, &[], &path).map_err(failed)?;
        return Ok(Place { path, read_only: source.read_only });
    }
    if volume.image.is_some() {
        // Unpacked before: see the workers.
        return Ok(Place { path: folder.image(&volume.name), read_only: true });
    }
    let (plugin, payload) = if let Some(source) = &volume.config_map {
        ("kubernetes.io~configmap", config_map(input, source, source.default_mode))
    } else if let Some(source) = &volume.secret {
        ("kubernetes.io~secret", secret(input, source, &source.secret_name, source.default_mode))
    } else if let Some(source) = &volume.downward_api {
        ("kubernetes.io~downward-api", downward_api(input, source, source.default_mode))
    } else if let Some(source) = &volume.projected {
        ("kubernetes.io~projected", projected(input, source, owner))
    } else {
        let kind = volume.other.keys().next().map_or("no kind", String::as_str);
        return Err(failed(format!("volumes of {kind} are not served")));
    };
    let path = folder.volume(plugin, &volume.name);
    let payload = payload.map_err(failed)?;
    let written = if input.in_memory && volume.config_map.is_none() { in_memory(&path) } else { Ok(()) };
    written
        .and_then(|()| payload.write(&path, owner))
        .map_err(|source| VolumeError::Io { path: path.clone(), source })?;
    Ok(Place { path, read_only: true })
}

/// Mounts a file system in memory at the place of a volume, unless it is there. A volume on the disk that is in use
/// stays what it is: its readers would not see another one.
fn in_memory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if is_mount_point(path) || fs::read_dir(path)?.next().is_some() {
        return Ok(());
    }
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).map_err(io::Error::from)
}

/// Whom the files of a pod's volumes belong to: the group that the pod names, and the user that all of its containers
/// run as, where that is one.
fn owner(pod: &Pod) -> Owner {
    let of_pod = pod.spec.security_context.as_ref();
    let mut users = pod.spec.init_containers.iter().chain(&pod.spec.containers).map(|container| {
        let own = container.security_context.as_ref().and_then(|security| security.run_as_user);
        own.or(of_pod.and_then(|security| security.run_as_user))
    });
    let first = users.next().flatten();
    let user = first.filter(|first| users.all(|user| user == Some(*first)));
    let group = of_pod.and_then(|security| security.fs_group);
    Owner { user: user.and_then(|id| id.try_into().ok()), group: group.and_then(|id| id.try_into().ok()) }
}

fn projected(input: VolumeInput<'_>, projected: &ProjectedSource, owner: Owner) -> Result<Payload, String> {
    let mode = projected.default_mode;
    let mut all = Payload::default();
    for source in &projected.sources {
        all.extend(if let Some(source) = &source.config_map {
            config_map(input, source, mode)?
        } else if let Some(source) = &source.secret {
            secret(input, source, &source.name, mode)?
        } else if let Some(source) = &source.downward_api {
            downward_api(input, source, mode)?
        } else if let Some(source) = &source.service_account_token {
            token_file(input, source, mode, owner)?
        } else {
            return Err("this source of a projected volume is not served".to_owned());
        });
    }
    Ok(all)
}

/// Only who the pod runs as reads its token, where that is known.
fn token_file(
    input: VolumeInput<'_>,
    source: &ServiceAccountTokenProjection,
    mode: Option<u32>,
    owner: Owner,
) -> Result<Payload, String> {
    let key = TokenKey::of(source);
    let text = input.tokens.get(&key).ok_or("failed to fetch token: it was not asked for")?;
    let known = owner.user.is_some() || owner.group.is_some();
    let mode = if known { TOKEN_MODE } else { mode.unwrap_or(DEFAULT_MODE) };
    let mut payload = Payload::default();
    payload.add(&source.path, File { bytes: text.clone().into_bytes(), mode, user: owner.user })?;
    Ok(payload)
}

fn empty_dir(path: &Path, source: &EmptyDirSource, group: Option<u32>) -> Result<(), VolumeError> {
    let io = |source| VolumeError::Io { path: path.to_owned(), source };
    let is_new = !path.exists();
    fs::create_dir_all(path).map_err(io)?;
    if source.medium == "Memory" && !is_mount_point(path) {
        let size = source.size_limit.as_ref().map(|limit| format!("size={}", limit.value()));
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), size.as_deref())
            .map_err(|error| io(error.into()))?;
    }
    if is_new {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(io)?;
        if let Some(group) = group {
            std::os::unix::fs::chown(path, None, Some(group)).map_err(io)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o2777)).map_err(io)?;
        }
    }
    Ok(())
}

/// Checks what is there against what the type says, or makes it where the type says so.
fn host_path(source: &HostPathSource) -> Result<PathBuf, String> {
    let path = PathBuf::from(&source.path);
    let kind = source.r#type.as_deref().unwrap_or_default();
    let found = fs::metadata(&path).ok().map(|metadata| metadata.file_type());
    let fits = |fits: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(fits);
    let (good, what) = match kind {
        "" => {
            if found.is_none() && fs::symlink_metadata(&path).is_err() {
                fs::create_dir_all(&path).map_err(|error| error.to_string())?;
            }
            (true, "")
        }
        "DirectoryOrCreate" if found.is_none() => {
            fs::create_dir_all(&path).map_err(|error| error.to_string())?;
            (true, "")
        }
        "FileOrCreate" if found.is_none() => {
            fs::File::create(&path).map_err(|error| error.to_string())?;
            (true, "")
        }
        "Directory" | "DirectoryOrCreate" => (fits(fs::FileType::is_dir), "a directory"),
        "File" | "FileOrCreate" => (fits(fs::FileType::is_file), "a file"),
        "Socket" => (fits(|kind| kind.is_socket()), "a socket file"),
        "CharDevice" => (fits(|kind| kind.is_char_device()), "a character device"),
        "BlockDevice" => (fits(|kind| kind.is_block_device()), "a block device"),
        other => return Err(format!("unknown hostPath type {other}")),
    };
    if good {
        return Ok(path);
    }
    Err(format!("hostPath type check failed: {} is not {what}", source.path))
}

fn config_map(
    input: VolumeInput<'_>,
    source: &ConfigMapSource,
    mode: Option<u32>,
) -> Result<Payload, String> {
    let values = input.references.config_maps.get(&source.name).and_then(Option::as_ref);
    let kind = "configmap";
    select(kind, &source.name, values, &source.items, source.default_mode.or(mode), source.optional)
}

fn secret(
    input: VolumeInput<'_>,
    source: &SecretSource,
    name: &str,
    mode: Option<u32>,
) -> Result<Payload, String> {
    let values = input.references.secrets.get(name).and_then(Option::as_ref);
    select("secret", name, values, &source.items, source.default_mode.or(mode), source.optional)
}

fn select(
    kind: &str,
    name: &str,
    values: Option<&Values>,
    items: &[KeyToPath],
    mode: Option<u32>,
    optional: Option<bool>,
) -> Result<Payload, String> {
    let optional = optional == Some(true);
    let Some(values) = values else {
        return if optional { Ok(Payload::default()) } else { Err(format!("{kind} \"{name}\" not found")) };
    };
    let mode = mode.unwrap_or(DEFAULT_MODE);
    let mut payload = Payload::default();
    if items.is_empty() {
        for (key, bytes) in values {
            payload.add(key, File::new(bytes.clone(), mode))?;
        }
    }
    for item in items {
        match values.get(&item.key) {
            Some(bytes) => {
                payload.add(&item.path, File::new(bytes.clone(), item.mode.unwrap_or(mode)))?;
            }
            None if optional => {}
            None => return Err(format!("references non-existent {kind} key: {}", item.key)),
        }
    }
    Ok(payload)
}

fn downward_api(
    input: VolumeInput<'_>,
    source: &DownwardApiSource,
    mode: Option<u32>,
) -> Result<Payload, String> {
    let mode = source.default_mode.or(mode).unwrap_or(DEFAULT_MODE);
    let mut payload = Payload::default();
    for item in &source.items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => field_value(input.pod, input.node, input.pod_ips, field)?,
            (None, Some(field)) => resource_value(input.pod, input.node, &field.container_name, field)?,
            (None, None) => String::new(),
        };
        payload.add(&item.path, File::new(text.into_bytes(), item.mode.unwrap_or(mode)))?;
    }
    Ok(payload)
}

/// The mounts of a container, from the volumes of its pod. `expand` replaces `$(NAME)` in `subPathExpr`. Blocking.
pub fn mounts(
    folder: &PodFolder,
    container: &Container,
    paths: &Paths,
    expand: impl Fn(&str) -> String,
) -> Result<Vec<Mount>, VolumeError> {
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().enumerate() {
        let Place { path: volume, read_only } = paths.get(&mount.name).ok_or_else(|| {
            VolumeError::Unknown { container: container.name.clone(), volume: mount.name.clone() }
        })?;
        let sub_path = if mount.sub_path_expr.is_empty() {
            mount.sub_path.clone()
        } else {
            expand(&mount.sub_path_expr)
        };
        mounts.push(Mount {
            host_path: if sub_path.is_empty() {
                volume.clone()
            } else {
                sub_path::bind(volume, &sub_path, &folder.sub_path(&mount.name, &container.name, index))?
            },
            container_path: mount.mount_path.clone(),
            read_only: mount.read_only || *read_only,
            below: match mount.recursive_read_only.as_deref() {
                Some("Enabled") => Below::ReadOnly,
                Some("IfPossible") => Below::ReadOnlyIfPossible,
                Some(_) | None => Below::AsItIs,
            },
            propagation: match mount.mount_propagation.as_deref() {
                Some("Bidirectional") => "rshared",
                Some("HostToContainer") => "rslave",
                Some(_) | None => "rprivate",
            },
        });
    }
    Ok(mounts)
}

/// Whether something is mounted at that very path.
fn is_mount_point(path: &Path) -> bool {
    mount_points().iter().any(|point| point == path)
}

fn mount_points() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let unescape = |text: &str| text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
    table.lines().filter_map(|line| line.split(' ').nth(1)).map(|point| unescape(point).into()).collect()
}

/// Takes away all that a pod has on the node. Succeeds where there is nothing. Blocking.
pub fn tear_down(folder: &PodFolder) -> io::Result<()> {
    unmount_below(folder.path())?;
    match fs::remove_dir_all(folder.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Unmounts what is mounted below a folder, the deepest first.
pub fn unmount_below(folder: &Path) -> io::Result<()> {
    // The kernel tells of mounts by their real paths. One that is missed here would have what it shows removed.
    let folder = match fs::canonicalize(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        folder => folder?,
    };
    let mut points: Vec<_> = mount_points().into_iter().filter(|point| point.starts_with(&folder)).collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    points.iter().try_for_each(|point| umount2(point, MntFlags::MNT_DETACH).map_err(io::Error::from))
}

#[cfg(test)]
mod tests;
