//! The power cuts once more, on disks that say that something is safe which is not: what holds on an honest disk must
//! not hold there. So the checks of [`super::power`] would notice a store that skips a sync, or syncs too early.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::power::crash_again_and_again;
use crate::disk::{Disk, File, Open};
use crate::testing::disk::SimulatedDisk;

/// What a disk says and does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Syncs of files.
    EverySync,
    /// Every third sync of a file.
    SomeSyncs,
    /// Syncs of directories.
    Names,
    /// The last sector of a sync: as if the store had synced before its last write.
    LastWrite,
}

#[derive(Clone)]
struct Lying {
    disk: SimulatedDisk,
    lie: Lie,
    syncs: Arc<AtomicU64>,
}

struct LyingFile {
    file: Arc<dyn File>,
    lie: Lie,
    syncs: Arc<AtomicU64>,
    /// The last write, kept back until the next one.
    late: parking_lot::Mutex<Option<(u64, Vec<u8>)>>,
}

impl LyingFile {
    fn write_late(&self) -> io::Result<()> {
        match self.late.lock().take() {
            Some((offset, bytes)) => crate::disk::write_full(&*self.file, &bytes, offset),
            None => Ok(()),
        }
    }
}

impl File for LyingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.write_late()?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.write_late()?;
        if self.lie == Lie::LastWrite && offset > 0 {
            *self.late.lock() = Some((offset, bytes.to_owned()));
            return Ok(bytes.len());
        }
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn sync(&self) -> io::Result<()> {
        let number = self.syncs.fetch_add(1, Ordering::Relaxed);
        match self.lie {
            Lie::EverySync => Ok(()),
            Lie::SomeSyncs if number % 3 == 2 => Ok(()),
            Lie::SomeSyncs | Lie::Names | Lie::LastWrite => self.file.sync(),
        }
    }
}

impl Disk for Lying {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, how)?;
        let (lie, syncs) = (self.lie, self.syncs.clone());
        Ok(Arc::new(LyingFile { file, lie, syncs, late: parking_lot::Mutex::new(None) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.lie == Lie::Names { Ok(()) } else { self.disk.sync_dir(dir) }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path)
    }

    fn real_path(&self, dir: &Path) -> Option<PathBuf> {
        self.disk.real_path(dir)
    }
}

#[test]
fn on_a_disk_that_lies_about_what_is_safe_writes_are_missed() {
    let noticed = |lie: Lie| {
        (0..200).any(|seed| {
            let run = || {
                crash_again_and_again(seed, |disk| {
                    let syncs = Arc::new(AtomicU64::new(0));
                    Arc::new(Lying { disk: disk.clone(), lie, syncs })
                });
            };
            std::panic::catch_unwind(run).is_err()
        })
    };
    let lies = [Lie::EverySync, Lie::SomeSyncs, Lie::Names, Lie::LastWrite];
    let missed: Vec<_> = lies.into_iter().filter(|lie| !noticed(*lie)).collect();
    assert_eq!(missed, Vec::new(), "not noticed");
}
