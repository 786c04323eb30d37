//! The control groups of pods: where they are, and what is written to them.
//!
//! ```text
//! kubepods                     what all pods may use together
//! ├── pod<uid>                 of a Guaranteed pod
//! ├── burstable/pod<uid>
//! └── besteffort/pod<uid>
//! ```
//! As in Kubernetes, so that what watches nodes finds pods where it looks for them. A container's own group is made
//! by the engine inside of its pod's. The sandbox is beside the group of its pod, not in it: where a pod may use as
//! much memory as its only container, the container meets its limit first, and is told of as killed for its memory.
//!
//! Nothing here knows an engine. Names are pure; files are written only where their content changes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Resources;
use crate::pod::QosClass;

/// The period that quotas refer to, in microseconds.
const PERIOD: i64 = 100_000;

/// Who makes groups: the engine itself, or systemd for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Paths.
    Cgroupfs,
    /// Slices.
    Systemd,
}

/// What a pod is given as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodResources {
    /// Which branch it is on.
    pub qos: QosClass,
    /// Of its containers together.
    pub resources: Resources,
    /// The most processes and threads.
    pub pids: Option<i64>,
}

/// What the pods of a node are given together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeResources {
    /// All of them.
    pub all: Resources,
    /// The weight of those that are Burstable: what they ask for.
    pub burstable_shares: i64,
}

/// The tree of one node.
#[derive(Debug, Clone)]
pub struct Groups {
    driver: Driver,
    mount: PathBuf,
    /// The group above `kubepods`, as names.
    root: Vec<String>,
}

/// The controllers that are asked of in version 1.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

impl Groups {
    /// `mount` is where groups are mounted, `root` the group above ours, as `/` or `/a/b`.
    pub fn new(driver: Driver, mount: &Path, root: &str) -> Self {
        let root = root.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self { driver, mount: mount.to_owned(), root }
    }

    /// Whether all controllers are in one tree.
    fn is_unified(&self) -> bool {
        self.mount.join("cgroup.controllers").exists()
    }

    fn branch(&self, qos: QosClass) -> Vec<String> {
        let mut names = self.root.clone();
        names.push("kubepods".to_owned());
        match qos {
            QosClass::Guaranteed => {}
            QosClass::Burstable => names.push("burstable".to_owned()),
            QosClass::BestEffort => names.push("besteffort".to_owned()),
        }
        names
    }

    fn of_pod(&self, qos: QosClass, uid: &str) -> Vec<String> {
        let mut names = self.branch(qos);
        names.push(format!("pod{uid}"));
        names
    }

    /// As an engine is told of a parent.
    fn parent(&self, names: &[String]) -> String {
        match self.driver {
            Driver::Cgroupfs => format!("/{}", names.join("/")),
            Driver::Systemd => slices(names).pop().unwrap_or_default(),
        }
    }

    /// The parent of the containers of a pod.
    pub fn parent_of_containers(&self, qos: QosClass, uid: &str) -> String {
        self.parent(&self.of_pod(qos, uid))
    }

    /// The parent of its sandbox.
    pub fn parent_of_sandbox(&self, qos: QosClass) -> String {
        self.parent(&self.branch(qos))
    }

    fn path(&self, names: &[String]) -> PathBuf {
        match self.driver {
            Driver::Cgroupfs => names.iter().collect(),
            Driver::Systemd => slices(names).into_iter().collect(),
        }
    }

    /// Makes the group of a pod, or gives it something else. Blocking.
    pub fn set_pod(&self, uid: &str, given: &PodResources) -> io::Result<()> {
        let path = self.path(&self.of_pod(given.qos, uid));
        self.make(&path)?;
        self.write(&path, &given.resources)?;
        if let Some(pids) = given.pids {
            put(&self.folder("pids", &path).join("pids.max"), &pids.to_string())?;
        }
        Ok(())
    }

    /// Makes the groups that pods are in, and says what they may use together. Blocking.
    pub fn set_node(&self, given: &NodeResources) -> io::Result<()> {
        let shares = |shares| Resources { cpu_shares: Some(shares), ..Resources::default() };
        for (qos, resources) in [
            (QosClass::Guaranteed, given.all),
            (QosClass::Burstable, shares(given.burstable_shares)),
            (QosClass::BestEffort, shares(crate::container::resources::cpu_shares(0))),
        ] {
            let path = self.path(&self.branch(qos));
            self.make(&path)?;
            self.write(&path, &resources)?;
        }
        Ok(())
    }

    /// Removes the group of a pod, wherever it is; one that is still in use stays. Blocking.
    pub fn remove_pod(&self, uid: &str) -> io::Result<()> {
        for qos in [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort] {
            self.remove(&self.path(&self.of_pod(qos, uid)), remove_empty)?;
        }
        Ok(())
    }

    /// Removes the groups that pods were in, if there are none. Blocking.
    pub fn remove_node(&self) {
        for qos in [QosClass::BestEffort, QosClass::Burstable, QosClass::Guaranteed] {
            // Another kubelet may have pods in it.
            let _in_use = self.remove(&self.path(&self.branch(qos)), |group| fs::remove_dir(group));
        }
    }

    /// Where a group is for a controller.
    fn folder(&self, controller: &str, path: &Path) -> PathBuf {
        if self.is_unified() { self.mount.join(path) } else { self.mount.join(controller).join(path) }
    }

    fn make(&self, path: &Path) -> io::Result<()> {
        if !self.is_unified() {
            for controller in CONTROLLERS {
                let folder = self.mount.join(controller);
                if folder.is_dir() {
                    fs::create_dir_all(folder.join(path))?;
                }
            }
            return Ok(());
        }
        // A group has only the controllers that the ones above hand down.
        let mut folder = self.mount.clone();
        for part in path {
            let known = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
            let handed = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
            let has = |list: &str, name: &str| list.split_whitespace().any(|own| own == name);
            for controller in CONTROLLERS {
                if has(&known, controller) && !has(&handed, controller) {
                    fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"))?;
                }
            }
            folder.push(part);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path, resources: &Resources) -> io::Result<()> {
        let Resources { cpu_shares, cpu_quota, memory } = *resources;
        if self.is_unified() {
            let folder = self.mount.join(path);
            if let Some(shares) = cpu_shares {
                put(&folder.join("cpu.weight"), &weight(shares).to_string())?;
            }
            let quota = cpu_quota.map_or("max".to_owned(), |quota| quota.to_string());
            put(&folder.join("cpu.max"), &format!("{quota} {PERIOD}"))?;
            return put(
                &folder.join("memory.max"),
                &memory.map_or("max".to_owned(), |bytes| bytes.to_string()),
            );
        }
        let cpu = self.mount.join("cpu").join(path);
        if let Some(shares) = cpu_shares {
            put(&cpu.join("cpu.shares"), &shares.to_string())?;
        }
        put(&cpu.join("cpu.cfs_quota_us"), &cpu_quota.unwrap_or(-1).to_string())?;
        let limit = self.mount.join("memory").join(path).join("memory.limit_in_bytes");
        match memory {
            Some(bytes) => put(&limit, &bytes.to_string()),
            None => put(&limit, "-1"),
        }
    }

    fn remove(&self, path: &Path, remove: fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let mut roots = Vec::new();
        if self.is_unified() {
            roots.push(self.mount.clone());
        } else {
            // The engine makes the group for every controller that there is.
            let mounts = fs::read_dir(&self.mount).into_iter().flatten().flatten();
            roots.extend(mounts.map(|entry| entry.path()));
        }
        for root in roots {
            match remove(&root.join(path)) {
                Ok(()) => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Removes a group and those in it: what ran in a container may have made some of its own. The kernel refuses it where
/// anything still runs.
fn remove_empty(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_empty(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// Writes what is not there already: a file that the kernel does not have is passed over.
fn put(path: &Path, text: &str) -> io::Result<()> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(known) if same(known.trim(), text) => Ok(()),
        Ok(_) | Err(_) => fs::write(path, text),
    }
}

/// The kernel counts memory in pages, and says of no limit how many there can be.
fn same(known: &str, wanted: &str) -> bool {
    const PAGE: i64 = 4096;
    match (known.parse::<i64>(), wanted.parse::<i64>()) {
        (Ok(known), Ok(-1)) => known == -1 || known >= 1 << 62,
        (Ok(known), Ok(wanted)) => known == wanted || (wanted >= PAGE && known == wanted / PAGE * PAGE),
        _ => known == wanted,
    }
}

/// The weight of version 2 for the shares of version 1, as every runtime converts them.
fn weight(shares: i64) -> i64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// The slices of a group, the outermost first: each has the names of all above it in its own.
fn slices(names: &[String]) -> Vec<String> {
    let mut joined = String::new();
    let slice = |name: &String| {
        if !joined.is_empty() {
            joined.push('-');
        }
        joined.push_str(&name.replace('-', "_"));
        format!("{joined}.slice")
    };
    names.iter().map(slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: PodResources = PodResources {
        qos: QosClass::Burstable,
        resources: Resources { cpu_shares: Some(512), cpu_quota: Some(50_000), memory: Some(1 << 20) },
        pids: Some(100),
    };

    #[test]
    fn both_drivers_name_the_same_tree() {
        let parents = |driver, root: &str| {
            let groups = Groups::new(driver, Path::new("/x"), root);
            (
                groups.parent_of_containers(QosClass::Burstable, "a-b"),
                groups.parent_of_sandbox(QosClass::Guaranteed),
            )
        };
        let both = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(parents(Driver::Cgroupfs, "/"), both("/kubepods/burstable/poda-b", "/kubepods"));
        assert_eq!(parents(Driver::Cgroupfs, "/n1"), both("/n1/kubepods/burstable/poda-b", "/n1/kubepods"));
        assert_eq!(parents(Driver::Systemd, ""), both("kubepods-burstable-poda_b.slice", "kubepods.slice"));
        let groups = Groups::new(Driver::Systemd, Path::new("/x"), "");
        assert_eq!(
            groups.path(&groups.of_pod(QosClass::BestEffort, "u")),
            Path::new("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podu.slice")
        );
    }

    #[test]
    fn shares_become_weights() {
        for (shares, expected) in [(2, 1), (1024, 39), (262_144, 10_000)] {
            assert_eq!(weight(shares), expected);
        }
    }

    #[test]
    fn what_is_there_already_is_recognized() {
        for (known, wanted, is_same) in [
            ("512", "512", true),
            ("9223372036854771712", "-1", true),
            ("-1", "-1", true),
            ("4096", "5000", true),
            ("4096", "8192", false),
            ("max 100000", "max 100000", true),
            ("max", "4096", false),
        ] {
            assert_eq!(same(known, wanted), is_same, "{known} {wanted}");
        }
    }

    /// The kernel makes these files with a group; here they are made beforehand.
    fn files(mount: &Path, groups: &[&str], names: &[&str]) {
        for group in groups {
            let folder = mount.join(group);
            fs::create_dir_all(&folder).expect("a folder");
            for name in names {
                fs::write(folder.join(name), "0").expect("a file");
            }
        }
    }

    fn read(path: PathBuf) -> String {
        fs::read_to_string(path).expect("a file")
    }

    #[test]
    fn version_1_has_a_tree_for_each_controller() {
        let mount = tempfile::tempdir().expect("a folder");
        let mount = mount.path();
        let pod = "kubepods/burstable/podu";
        files(mount, &[&format!("cpu/{pod}")], &["cpu.shares", "cpu.cfs_quota_us"]);
        files(mount, &[&format!("memory/{pod}")], &["memory.limit_in_bytes"]);
        files(mount, &[&format!("pids/{pod}")], &["pids.max"]);
        let groups = Groups::new(Driver::Cgroupfs, mount, "/");
        groups.set_pod("u", &GIVEN).expect("it is written");
        assert_eq!(read(mount.join("cpu").join(pod).join("cpu.shares")), "512");
        assert_eq!(read(mount.join("cpu").join(pod).join("cpu.cfs_quota_us")), "50000");
        assert_eq!(read(mount.join("memory").join(pod).join("memory.limit_in_bytes")), "1048576");
        assert_eq!(read(mount.join("pids").join(pod).join("pids.max")), "100");
    }

    #[test]
    fn version_2_hands_controllers_down() {
        let mount = tempfile::tempdir().expect("a folder");
        let mount = mount.path();
        fs::write(mount.join("cgroup.controllers"), "cpu memory pids io\n").expect("a file");
        fs::write(mount.join("cgroup.subtree_control"), "cpu memory\n").expect("a file");
        let pod = mount.join("kubepods/burstable/podu");
        files(&pod, &[""], &["cpu.weight", "cpu.max", "memory.max", "pids.max"]);
        let groups = Groups::new(Driver::Cgroupfs, mount, "/");
        groups.set_pod("u", &GIVEN).expect("it is written");
        assert_eq!(read(mount.join("cgroup.subtree_control")), "+pids", "the one that was missing");
        assert_eq!(read(pod.join("cpu.weight")), "20");
        assert_eq!(read(pod.join("cpu.max")), "50000 100000");
        assert_eq!(read(pod.join("memory.max")), "1048576");
    }

    #[test]
    fn a_group_that_is_gone_or_in_use_is_told_apart() {
        let mount = tempfile::tempdir().expect("a folder");
        let groups = Groups::new(Driver::Cgroupfs, mount.path(), "/");
        groups.remove_pod("u").expect("there is nothing");
        let pod = mount.path().join("memory/kubepods/burstable/podu");
        fs::create_dir_all(pod.join("container/own")).expect("a folder");
        // A file of ours stands for a process: the kernel's own do not keep a group.
        fs::write(pod.join("container/process"), "").expect("a file");
        assert!(groups.remove_pod("u").is_err(), "a container is left");
        fs::remove_file(pod.join("container/process")).expect("removed");
        groups.remove_pod("u").expect("it is empty now");
        assert!(!pod.exists());
        groups.remove_node();
        assert!(!mount.path().join("memory/kubepods").exists());
    }
}
