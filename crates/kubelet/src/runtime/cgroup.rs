//! What a container uses, as the kernel counts it: from its control groups, in version 1 or 2.

use std::fs;
use std::path::{Path, PathBuf};

/// What the processes of a group use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds of cpu so far.
    pub cpu_nanos: u64,
    /// Bytes of memory that cannot be given back: without the files that were not used lately.
    pub memory: u64,
    /// Bytes of memory, all of it.
    pub memory_total: u64,
    /// Processes and threads.
    pub processes: u64,
}

/// Where groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// What the group of a process uses. Blocking, though short.
pub fn usage_of(pid: i64) -> Option<Usage> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    read(&groups, Path::new(MOUNT))
}

fn read(groups: &str, mount: &Path) -> Option<Usage> {
    let number = |path: PathBuf| -> Option<u64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    let field = |path: PathBuf, name: &str| -> Option<u64> {
        let text = fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    };
    let (total, inactive, cpu, processes) = if let Some(path) = unified(groups, mount) {
        (
            number(path.join("memory.current"))?,
            field(path.join("memory.stat"), "inactive_file"),
            field(path.join("cpu.stat"), "usage_usec").map(|micros| micros * 1000),
            number(path.join("pids.current")),
        )
    } else {
        let memory = of_controller(groups, mount, "memory")?;
        (
            number(memory.join("memory.usage_in_bytes"))?,
            field(memory.join("memory.stat"), "total_inactive_file"),
            of_controller(groups, mount, "cpuacct").and_then(|path| number(path.join("cpuacct.usage"))),
            of_controller(groups, mount, "pids").and_then(|path| number(path.join("pids.current"))),
        )
    };
    Some(Usage {
        cpu_nanos: cpu.unwrap_or(0),
        memory: total.saturating_sub(inactive.unwrap_or(0)),
        memory_total: total,
        processes: processes.unwrap_or(0),
    })
}

/// The group in version 2, where memory is counted there.
fn unified(groups: &str, mount: &Path) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let path = mount.join(path.trim_start_matches('/'));
    path.join("memory.current").exists().then_some(path)
}

fn of_controller(groups: &str, mount: &Path, controller: &str) -> Option<PathBuf> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        names.split(',').any(|name| name == controller).then(|| {
            let joined = mount.join(names);
            let folder = if joined.exists() { joined } else { mount.join(controller) };
            folder.join(path.trim_start_matches('/'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
            fs::write(path, text).expect("it is written");
        }
    }

    #[test]
    fn both_versions_are_read() {
        let wanted = Usage { cpu_nanos: 5000, memory: 70, memory_total: 100, processes: 3 };
        let root = tempfile::tempdir().expect("a folder");
        write(
            root.path(),
            &[
                ("docker/x/memory.current", "100\n"),
                ("docker/x/memory.stat", "anon 1\ninactive_file 30\n"),
                ("docker/x/cpu.stat", "usage_usec 5\nuser_usec 1\n"),
                ("docker/x/pids.current", "3\n"),
            ],
        );
        assert_eq!(read("0::/docker/x\n", root.path()), Some(wanted));
        let root = tempfile::tempdir().expect("a folder");
        write(
            root.path(),
            &[
                ("memory/docker/x/memory.usage_in_bytes", "100\n"),
                ("memory/docker/x/memory.stat", "inactive_file 1\ntotal_inactive_file 30\n"),
                ("cpu,cpuacct/docker/x/cpuacct.usage", "5000\n"),
                ("pids/docker/x/pids.current", "3\n"),
            ],
        );
        let groups = "9:memory:/docker/x\n8:pids:/docker/x\n7:cpu,cpuacct:/docker/x\n0::/\n";
        assert_eq!(read(groups, root.path()), Some(wanted));
        assert_eq!(read("1:name=systemd:/\n", root.path()), None);
    }
}
