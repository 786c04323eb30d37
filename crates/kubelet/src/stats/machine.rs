//! What the whole machine uses, from `/proc`.

use std::path::{Path, PathBuf};

use rpc::v1::{CpuStats, FsStats, MemoryStats, NodeStats};

use super::interface;
use crate::runtime::interfaces;

/// Nanoseconds in one of the ticks that `/proc/stat` counts in.
const TICK_NANOS: u64 = 10_000_000;

/// Reads what the machine uses. A trait, so that what follows can be tried with known numbers.
pub trait Machine: Send + Sync + 'static {
    /// All but the name and the times; images are in that folder. Blocking, though short.
    fn read(&self, images: Option<&Path>) -> NodeStats;
}

/// The machine that this runs on.
pub struct RealMachine {
    /// Where pods write to.
    pub root: PathBuf,
}

impl Machine for RealMachine {
    fn read(&self, images: Option<&Path>) -> NodeStats {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (total, booted) = processors(&text("/proc/stat"));
        let number = |path: &str| text(path).trim().parse().unwrap_or(0);
        NodeStats {
            started: booted.saturating_mul(1_000_000_000),
            cpu: Some(total),
            memory: Some(memory(&text("/proc/meminfo"), &text("/proc/vmstat"))),
            interfaces: interfaces(&text("/proc/net/dev")).iter().map(interface).collect(),
            fs: file_system(&self.root),
            image_fs: images.and_then(file_system),
            processes: text("/proc/loadavg")
                .split_whitespace()
                .nth(3)
                .and_then(|field| field.split_once('/')?.1.parse().ok())
                .unwrap_or(0),
            max_processes: number("/proc/sys/kernel/pid_max"),
            ..NodeStats::default()
        }
    }
}

/// What all processors have done, and when the machine was started.
fn processors(stat: &str) -> (CpuStats, i64) {
    let line = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name));
    let ticks: Vec<u64> = line("cpu ")
        .map(|line| line.split_whitespace().map_while(|number| number.parse().ok()).collect())
        .unwrap_or_default();
    let nanos = |fields: &[usize]| -> u64 {
        fields.iter().filter_map(|field| ticks.get(*field)).sum::<u64>().saturating_mul(TICK_NANOS)
    };
    // user, nice; system, irq, softirq. Neither idle nor waiting nor stolen.
    let (user, system) = (nanos(&[0, 1]), nanos(&[2, 5, 6]));
    let cpu = CpuStats {
        total_nanos: user + system,
        user_nanos: user,
        system_nanos: system,
        ..CpuStats::default()
    };
    (cpu, line("btime ").and_then(|text| text.trim().parse().ok()).unwrap_or(0))
}

fn memory(meminfo: &str, vmstat: &str) -> MemoryStats {
    let bytes = |name: &str| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.unwrap_or(0).saturating_mul(1024)
    };
    let faults = |name: &str| -> u64 {
        let line = vmstat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    let usage = bytes("MemTotal").saturating_sub(bytes("MemFree"));
    MemoryStats {
        usage,
        working_set: usage.saturating_sub(bytes("Inactive(file)")),
        rss: bytes("AnonPages"),
        cache: bytes("Cached").saturating_add(bytes("Buffers")),
        mapped_files: bytes("Mapped"),
        swap: bytes("SwapTotal").saturating_sub(bytes("SwapFree")),
        page_faults: faults("pgfault"),
        major_page_faults: faults("pgmajfault"),
        limit: bytes("MemTotal"),
        oom_kills: faults("oom_kill"),
        ..MemoryStats::default()
    }
}

fn file_system(path: &Path) -> Option<FsStats> {
    let fs = nix::sys::statvfs::statvfs(path).ok()?;
    let size = fs.fragment_size();
    Some(FsStats {
        capacity_bytes: fs.blocks() * size,
        available_bytes: fs.blocks_available() * size,
        inodes: fs.files(),
        inodes_free: fs.files_available(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let (cpu, booted) = processors("cpu  100 1 50 900 7 2 3 4 0 0\ncpu0 1\nbtime 1700000000\n");
        assert_eq!((cpu.total_nanos, cpu.system_nanos), (1_560_000_000, 550_000_000));
        assert_eq!(booted, 1_700_000_000);
        let text = "MemTotal: 100 kB\nMemFree: 40 kB\nInactive(file): 10 kB\nAnonPages: 5 kB\n";
        let memory = memory(text, "pgfault 7\noom_kill 1\n");
        assert_eq!((memory.usage, memory.working_set, memory.rss), (60 << 10, 50 << 10, 5 << 10));
        assert_eq!((memory.page_faults, memory.oom_kills, memory.limit), (7, 1, 100 << 10));
    }

    #[test]
    fn a_machine_uses_some_of_everything() {
        let node = RealMachine { root: PathBuf::from("/") }.read(None);
        assert!(node.cpu.expect("cpu").total_nanos > 0);
        assert!(node.memory.expect("memory").working_set > 0);
        assert!(node.fs.expect("a disk").capacity_bytes > 0 && node.started > 0);
        assert!(node.image_fs.is_none(), "nobody has said where images are");
    }
}
