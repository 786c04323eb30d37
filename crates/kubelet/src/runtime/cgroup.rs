//! What a container uses, as the kernel counts it: from its control groups, in version 1 or 2.

use std::fs;
use std::path::{Path, PathBuf};

/// What the processes of a group use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds of cpu so far.
    pub cpu_nanos: u64,
    /// Those of the processes themselves.
    pub user_nanos: u64,
    /// Those that the kernel spent for them.
    pub system_nanos: u64,
    /// Periods of the quota, and those in which it was used up.
    pub periods: u64,
    /// In which the quota was used up.
    pub throttled_periods: u64,
    /// For how long processes waited then.
    pub throttled_nanos: u64,
    /// Bytes of memory that cannot be given back: without the files that were not used lately.
    pub memory: u64,
    /// Bytes of memory, all of it.
    pub memory_total: u64,
    /// Bytes of the processes themselves.
    pub rss: u64,
    /// Bytes of files.
    pub cache: u64,
    /// Bytes of files that are mapped.
    pub mapped_files: u64,
    /// Bytes that were put out to the disk.
    pub swap: u64,
    /// Pages that were not at hand.
    pub page_faults: u64,
    /// Those that had to be read from a disk.
    pub major_page_faults: u64,
    /// The most bytes of memory that there were.
    pub memory_max: u64,
    /// Bytes that there may be; 0 for any.
    pub memory_limit: u64,
    /// How often that was met.
    pub limit_hits: u64,
    /// How often the kernel killed a process for it.
    pub oom_kills: u64,
    /// Processes and threads.
    pub processes: u64,
}

/// Where groups are mounted.
pub const MOUNT: &str = "/sys/fs/cgroup";

/// A limit in version 1 that is none: the most pages that the kernel counts.
const UNLIMITED: u64 = 1 << 62;

/// Ticks of a second, in which version 1 counts what the kernel spends.
const TICK_NANOS: u64 = 10_000_000;

/// What the group of a process uses. Blocking, though short.
pub fn usage_of(pid: i64) -> Option<Usage> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    read(&groups, Path::new(MOUNT))
}

fn read(groups: &str, mount: &Path) -> Option<Usage> {
    match unified(groups, mount) {
        Some(path) => read_unified(&path),
        None => read_controllers(groups, mount),
    }
}

fn number(path: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(path.join(file)).ok()?.trim().parse().ok()
}

/// A file of lines with a name and a number each.
struct Table(String);

impl Table {
    fn open(path: &Path, file: &str) -> Self {
        Self(fs::read_to_string(path.join(file)).unwrap_or_default())
    }

    fn get(&self, name: &str) -> u64 {
        let found = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or(0)
    }
}

fn read_unified(path: &Path) -> Option<Usage> {
    let total = number(path, "memory.current")?;
    let (memory, cpu) = (Table::open(path, "memory.stat"), Table::open(path, "cpu.stat"));
    let events = Table::open(path, "memory.events");
    Some(Usage {
        cpu_nanos: cpu.get("usage_usec") * 1000,
        user_nanos: cpu.get("user_usec") * 1000,
        system_nanos: cpu.get("system_usec") * 1000,
        periods: cpu.get("nr_periods"),
        throttled_periods: cpu.get("nr_throttled"),
        throttled_nanos: cpu.get("throttled_usec") * 1000,
        memory: total.saturating_sub(memory.get("inactive_file")),
        memory_total: total,
        rss: memory.get("anon"),
        cache: memory.get("file"),
        mapped_files: memory.get("file_mapped"),
        swap: number(path, "memory.swap.current").unwrap_or(0),
        page_faults: memory.get("pgfault"),
        major_page_faults: memory.get("pgmajfault"),
        memory_max: number(path, "memory.peak").unwrap_or(0),
        // `max` is no number.
        memory_limit: number(path, "memory.max").unwrap_or(0),
        limit_hits: events.get("max"),
        oom_kills: events.get("oom_kill"),
        processes: number(path, "pids.current").unwrap_or(0),
    })
}

fn read_controllers(groups: &str, mount: &Path) -> Option<Usage> {
    let memory_path = of_controller(groups, mount, "memory")?;
    let total = number(&memory_path, "memory.usage_in_bytes")?;
    let memory = Table::open(&memory_path, "memory.stat");
    let accounts = of_controller(groups, mount, "cpuacct").unwrap_or_default();
    let ticks = Table::open(&accounts, "cpuacct.stat");
    let quota = of_controller(groups, mount, "cpu").map(|path| Table::open(&path, "cpu.stat"));
    let quota = |name| quota.as_ref().map_or(0, |table| table.get(name));
    let limit = number(&memory_path, "memory.limit_in_bytes").unwrap_or(0);
    Some(Usage {
        cpu_nanos: number(&accounts, "cpuacct.usage").unwrap_or(0),
        user_nanos: number(&accounts, "cpuacct.usage_user").unwrap_or(ticks.get("user") * TICK_NANOS),
        system_nanos: number(&accounts, "cpuacct.usage_sys").unwrap_or(ticks.get("system") * TICK_NANOS),
        periods: quota("nr_periods"),
        throttled_periods: quota("nr_throttled"),
        throttled_nanos: quota("throttled_time"),
        memory: total.saturating_sub(memory.get("total_inactive_file")),
        memory_total: total,
        rss: memory.get("total_rss"),
        cache: memory.get("total_cache"),
        mapped_files: memory.get("total_mapped_file"),
        swap: memory.get("total_swap"),
        page_faults: memory.get("total_pgfault"),
        major_page_faults: memory.get("total_pgmajfault"),
        memory_max: number(&memory_path, "memory.max_usage_in_bytes").unwrap_or(0),
        memory_limit: if limit < UNLIMITED { limit } else { 0 },
        limit_hits: number(&memory_path, "memory.failcnt").unwrap_or(0),
        oom_kills: Table::open(&memory_path, "memory.oom_control").get("oom_kill"),
        processes: of_controller(groups, mount, "pids")
            .and_then(|path| number(&path, "pids.current"))
            .unwrap_or(0),
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

    #[test]
    fn no_limit_is_none() {
        let root = tempfile::tempdir().expect("a folder");
        write(
            root.path(),
            &[
                ("memory/x/memory.usage_in_bytes", "1\n"),
                ("memory/x/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        let usage = read("9:memory:/x\n", root.path()).expect("a group");
        assert_eq!((usage.memory_limit, usage.cpu_nanos), (0, 0));
    }

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
            fs::write(path, text).expect("it is written");
        }
    }

    #[test]
    fn both_versions_are_read() {
        let wanted = Usage {
            cpu_nanos: 5000,
            user_nanos: 1000,
            memory: 70,
            memory_total: 100,
            rss: 20,
            memory_limit: 400,
            oom_kills: 2,
            throttled_nanos: 7000,
            processes: 3,
            ..Usage::default()
        };
        let root = tempfile::tempdir().expect("a folder");
        write(
            root.path(),
            &[
                ("docker/x/memory.current", "100\n"),
                ("docker/x/memory.stat", "anon 20\ninactive_file 30\n"),
                ("docker/x/memory.max", "400\n"),
                ("docker/x/memory.events", "oom 3\noom_kill 2\n"),
                ("docker/x/cpu.stat", "usage_usec 5\nuser_usec 1\nthrottled_usec 7\n"),
                ("docker/x/pids.current", "3\n"),
            ],
        );
        assert_eq!(read("0::/docker/x\n", root.path()), Some(wanted));
        let root = tempfile::tempdir().expect("a folder");
        write(
            root.path(),
            &[
                ("memory/docker/x/memory.usage_in_bytes", "100\n"),
                ("memory/docker/x/memory.stat", "inactive_file 1\ntotal_inactive_file 30\ntotal_rss 20\n"),
                ("memory/docker/x/memory.limit_in_bytes", "400\n"),
                ("memory/docker/x/memory.oom_control", "under_oom 0\noom_kill 2\n"),
                ("cpu,cpuacct/docker/x/cpuacct.usage", "5000\n"),
                ("cpu,cpuacct/docker/x/cpuacct.usage_user", "1000\n"),
                ("cpu,cpuacct/docker/x/cpu.stat", "nr_periods 0\nthrottled_time 7000\n"),
                ("pids/docker/x/pids.current", "3\n"),
            ],
        );
        let groups = "9:memory:/docker/x\n8:pids:/docker/x\n7:cpu,cpuacct:/docker/x\n0::/\n";
        assert_eq!(read(groups, root.path()), Some(wanted));
        assert_eq!(read("1:name=systemd:/\n", root.path()), None);
    }
}
