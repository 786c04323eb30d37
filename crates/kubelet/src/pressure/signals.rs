//! How much is left of a node's resources: from the kernel.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::threshold::{Level, Levels, Signal};
use crate::runtime::Runtime;

/// Measures. A trait, so that decisions can be tried without filling a disk.
pub trait Signals: Send + Sync + 'static {
    /// What can be measured now.
    fn read(&self) -> BoxFuture<'_, Levels>;
}

/// The real ones.
pub struct NodeSignals {
    root: PathBuf,
    runtime: Arc<dyn Runtime>,
    /// Where images are, once the runtime has said it.
    images: Mutex<Option<PathBuf>>,
}

impl NodeSignals {
    /// `root` is where pods write to.
    pub fn new(root: &Path, runtime: Arc<dyn Runtime>) -> Self {
        Self { root: root.to_owned(), runtime, images: Mutex::default() }
    }
}

impl Signals for NodeSignals {
    fn read(&self) -> BoxFuture<'_, Levels> {
        Box::pin(async {
            let mut images = self.images.lock().clone();
            if images.is_none() {
                images = self.runtime.image_folder().await.ok().flatten();
                self.images.lock().clone_from(&images);
            }
            let root = self.root.clone();
            tokio::task::spawn_blocking(move || measure(&root, images.as_deref())).await.unwrap_or_default()
        })
    }
}

fn measure(root: &Path, images: Option<&Path>) -> Levels {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut levels = Levels::new();
    levels.extend(memory(&text("/proc/meminfo")).map(|level| (Signal::Memory, level)));
    let most = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"]
        .into_iter()
        .filter_map(|path| text(path).trim().parse().ok())
        .min();
    let pids = most.and_then(|most| processes(&text("/proc/loadavg"), most));
    levels.extend(pids.map(|level| (Signal::Pid, level)));
    let disks = [
        (Some(root), Signal::NodeFs, Signal::NodeFsInodes),
        (images, Signal::ImageFs, Signal::ImageFsInodes),
    ];
    for (folder, bytes, inodes) in disks {
        let Some(fs) = folder.and_then(|folder| nix::sys::statvfs::statvfs(folder).ok()) else { continue };
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let size = fs.fragment_size();
        let level =
            Level { available: number(fs.blocks_available() * size), capacity: number(fs.blocks() * size) };
        levels.insert(bytes, level);
        // Some file systems make inodes as they are needed, and say 0.
        if fs.files() > 0 {
            let level = Level { available: number(fs.files_available()), capacity: number(fs.files()) };
            levels.insert(inodes, level);
        }
    }
    levels
}

/// What is neither used nor in files that were used lately: as the working set is counted for containers.
fn memory(meminfo: &str) -> Option<Level> {
    let bytes = |name: &str| -> Option<i64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().next()?.parse::<i64>().ok()? * 1024)
    };
    Some(Level { available: bytes("MemFree")? + bytes("Inactive(file)")?, capacity: bytes("MemTotal")? })
}

fn processes(loadavg: &str, most: i64) -> Option<Level> {
    let running: i64 = loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some(Level { available: most - running, capacity: most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let text = "MemTotal:  2000 kB\nMemFree:  300 kB\nInactive(file):  200 kB\n";
        assert_eq!(memory(text), Some(Level { available: 500 * 1024, capacity: 2000 * 1024 }));
        assert_eq!(memory("MemTotal: x"), None);
        assert_eq!(processes("0.1 0.2 0.3 2/150 9\n", 1000), Some(Level { available: 850, capacity: 1000 }));
    }

    #[test]
    fn a_machine_has_some_of_everything() {
        let levels = measure(Path::new("/"), Some(Path::new("/")));
        for signal in [Signal::Memory, Signal::NodeFs, Signal::ImageFs, Signal::Pid] {
            let level = levels.get(&signal).copied().expect("it is measured");
            assert!(level.available > 0 && level.capacity >= level.available, "{signal:?} {level:?}");
        }
    }
}
