//! A disk in memory that loses power, fails, and fills up, all by a seed.
//!
//! It keeps what programs see beside what a power cut would leave. A write is seen at once; it is safe after a sync
//! of its file, and before that a power cut keeps any subset of the sectors that were written, each in any of the
//! versions that it had meanwhile, or torn between two of them. Names are safe after a sync of their directory;
//! before that a power cut keeps the first few changes of names. After a sync that failed, programs still see
//! what they wrote, but it is not on the disk and no later sync brings it there: only writing it again does.
//! Read on: [`crate::disk`] for what it stands in for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, File, Open};
use crate::testing::histories::random;

/// The unit that reaches the disk whole, or torn.
const SECTOR: usize = 512;

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing of it happens (of a write or sync: nobody knows).
    Io,
    /// There is no space for it.
    Full,
    /// A write does only a part, and says so.
    Short,
    /// A write does a part and then there is no space.
    ShortThenFull,
    /// Power goes: this and all later operations fail, until [`SimulatedDisk::power_cut`].
    PowerOff,
}

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Mutex<Machine>>);

struct Machine {
    random: u64,
    files: HashMap<u64, Content>,
    next_file: u64,
    names: BTreeMap<PathBuf, u64>,
    safe_names: BTreeMap<PathBuf, u64>,
    changes: Vec<Change>,
    locks: BTreeSet<PathBuf>,
    capacity: Option<u64>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    off: bool,
    /// Counts power cuts: a file that was opened before one is of no use after it.
    life: u64,
}

/// A change of names that is not safe yet.
#[derive(Clone)]
enum Change {
    Set(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    safe: Vec<u8>,
    /// Versions that a sector had since it was safe.
    dirty: BTreeMap<usize, Vec<Vec<u8>>>,
}

impl SimulatedDisk {
    /// An empty disk. All that is left to chance follows from the seed.
    pub fn new(seed: u64) -> SimulatedDisk {
        SimulatedDisk(Arc::new(Mutex::new(Machine {
            random: seed ^ 0x9e37_79b9_7f4a_7c15,
            files: HashMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            safe_names: BTreeMap::new(),
            changes: Vec::new(),
            locks: BTreeSet::new(),
            capacity: None,
            operations: 0,
            fault: None,
            off: false,
            life: 0,
        })))
    }

    /// Limits the bytes of all files together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// Bytes of all files together.
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// Operations that changed something, or tried, so far.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Lets the operation after so many more have a fault.
    pub fn fault_after(&self, operations: u64, fault: Fault) {
        let mut machine = self.0.lock();
        machine.fault = Some((machine.operations + operations, fault));
    }

    /// Takes the power away and gives it back: files are what was safe, with some of what was not.
    pub fn power_cut(&self) {
        let mut machine = self.0.lock();
        let machine = &mut *machine;
        let keep = random(&mut machine.random, machine.changes.len() as u64 + 1) as usize;
        for change in machine.changes.drain(..).take(keep) {
            apply(&mut machine.safe_names, change);
        }
        machine.names = machine.safe_names.clone();
        let mut ids: Vec<_> = machine.files.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(content) = machine.files.get_mut(&id) {
                content.power_cut(&mut machine.random);
            }
        }
        machine.restart();
    }

    /// Kills the program: what it wrote is still seen, but what was not safe is not safer for that.
    pub fn kill(&self) {
        self.0.lock().restart();
    }

    /// Flips one bit of a file, on the disk and in what programs see. Gives false if the file is shorter.
    pub fn flip(&self, path: &Path, bit: u64) -> bool {
        let mut machine = self.0.lock();
        let Some(id) = machine.names.get(path).copied() else { return false };
        let Some(content) = machine.files.get_mut(&id) else { return false };
        let at = (bit / 8) as usize;
        if at >= content.now.len() {
            return false;
        }
        for bytes in [&mut content.now, &mut content.safe] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
        true
    }

    /// All files as programs see them, to be put back by [`SimulatedDisk::restore`].
    pub fn image(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let machine = self.0.lock();
        let content = |id: &u64| machine.files.get(id).map_or(Vec::new(), |content| content.now.clone());
        machine.names.iter().map(|(path, id)| (path.clone(), content(id))).collect()
    }

    /// Makes the disk hold exactly these files, all of them safe.
    pub fn restore(&self, image: &[(PathBuf, Vec<u8>)]) {
        let mut machine = self.0.lock();
        machine.names.clear();
        machine.files.clear();
        machine.changes.clear();
        for (path, bytes) in image {
            let id = machine.next_file;
            machine.next_file += 1;
            let content = Content { now: bytes.clone(), safe: bytes.clone(), dirty: BTreeMap::new() };
            machine.files.insert(id, content);
            machine.names.insert(path.clone(), id);
        }
        machine.safe_names = machine.names.clone();
        machine.restart();
    }

    /// The files and their lengths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let machine = self.0.lock();
        let length = |id: &u64| machine.files.get(id).map_or(0, |content| content.now.len() as u64);
        machine.names.iter().map(|(path, id)| (path.clone(), length(id))).collect()
    }

    /// What a file holds.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let machine = self.0.lock();
        machine.names.get(path).and_then(|id| machine.files.get(id)).map(|content| content.now.clone())
    }
}

impl Machine {
    fn restart(&mut self) {
        self.locks.clear();
        self.off = false;
        self.fault = None;
        self.life += 1;
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|content| content.now.len() as u64).sum()
    }

    /// Counts an operation. Gives the fault that it has.
    fn operate(&mut self) -> io::Result<Option<Fault>> {
        if self.off {
            return Err(io::Error::other("power is off"));
        }
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if self.operations > at => {
                self.fault = None;
                match fault {
                    Fault::PowerOff => {
                        self.off = true;
                        Ok(Some(fault))
                    }
                    Fault::Io | Fault::Full | Fault::Short | Fault::ShortThenFull => Ok(Some(fault)),
                }
            }
            _ => Ok(None),
        }
    }

    /// Counts an operation that happens or not, as a whole.
    fn whole(&mut self) -> io::Result<()> {
        match self.operate()? {
            None | Some(Fault::Short) => Ok(()),
            Some(Fault::Full | Fault::ShortThenFull) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Io | Fault::PowerOff) => Err(io::Error::other("simulated failure")),
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, change.clone());
        self.changes.push(change);
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: Change) {
    match change {
        Change::Set(path, id) => {
            names.insert(path, id);
        }
        Change::Remove(path) => {
            names.remove(&path);
        }
        Change::Rename(from, to) => {
            if let Some(id) = names.remove(&from) {
                names.insert(to, id);
            }
        }
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let start = sector * SECTOR;
            let stop = (start + SECTOR).min(self.now.len());
            self.dirty.entry(sector).or_default().push(self.now[start..stop].to_vec());
        }
    }

    fn sync(&mut self) {
        self.safe.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.dirty).into_keys() {
            let start = sector * SECTOR;
            let stop = (start + SECTOR).min(self.now.len());
            self.safe[start..stop].copy_from_slice(&self.now[start..stop]);
        }
    }

    fn power_cut(&mut self, seed: &mut u64) {
        if self.now.len() > self.safe.len() && random(seed, 2) == 0 {
            self.safe.resize(self.now.len(), 0);
        }
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            let start = sector * SECTOR;
            if start >= self.safe.len() || random(seed, 2) == 0 {
                continue;
            }
            let version = &versions[random(seed, versions.len() as u64) as usize];
            // Most reach the disk whole, some are torn.
            let most = if random(seed, 4) == 0 { random(seed, SECTOR as u64) as usize } else { SECTOR };
            let count = version.len().min(most).min(self.safe.len() - start);
            self.safe[start..start + count].copy_from_slice(&version[..count]);
        }
        self.now = self.safe.clone();
    }
}

impl Disk for SimulatedDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let machine = self.0.lock();
        let names = machine.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut machine = self.0.lock();
        let known = machine.names.get(path).copied();
        let id = match (how, known) {
            (Open::Existing, Some(id)) => id,
            (Open::Existing, None) => return Err(io::ErrorKind::NotFound.into()),
            (Open::New, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Open::New, None) => {
                machine.whole()?;
                let id = machine.next_file;
                machine.next_file += 1;
                machine.files.insert(id, Content::default());
                machine.change(Change::Set(path.to_owned(), id));
                id
            }
        };
        let life = machine.life;
        Ok(Arc::new(SimulatedFile { machine: self.0.clone(), id, life }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.0.lock();
        machine.whole()?;
        machine.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.0.lock();
        machine.whole()?;
        machine.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut machine = self.0.lock();
        machine.whole()?;
        machine.changes.clear();
        machine.safe_names = machine.names.clone();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut machine = self.0.lock();
        if !machine.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Unlock { machine: self.0.clone(), path: path.to_owned(), life: machine.life }))
    }

    fn real_path(&self, _dir: &Path) -> Option<PathBuf> {
        None
    }
}

struct Unlock {
    machine: Arc<Mutex<Machine>>,
    path: PathBuf,
    life: u64,
}

impl Drop for Unlock {
    fn drop(&mut self) {
        let mut machine = self.machine.lock();
        if machine.life == self.life {
            machine.locks.remove(&self.path);
        }
    }
}

struct SimulatedFile {
    machine: Arc<Mutex<Machine>>,
    id: u64,
    life: u64,
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut Machine) -> io::Result<T>) -> io::Result<T> {
        let mut machine = self.machine.lock();
        if machine.life != self.life {
            return Err(io::Error::other("the program that opened this is dead"));
        }
        act(&mut machine)
    }

    fn extend(&self, machine: &mut Machine, length: usize) -> io::Result<()> {
        let now = machine.files.get(&self.id).map_or(0, |content| content.now.len());
        let more = length.saturating_sub(now) as u64;
        if machine.capacity.is_some_and(|capacity| machine.used() + more > capacity) && more > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl File for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        self.with(|machine| Ok(machine.files.get(&self.id).map_or(0, |content| content.now.len() as u64)))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|machine| {
            let Some(content) = machine.files.get(&self.id) else { return Ok(0) };
            let bytes = content.now.get(offset as usize..).unwrap_or_default();
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.with(|machine| {
            self.extend(machine, offset as usize + bytes.len())?;
            let fault = machine.operate()?;
            let part = random(&mut machine.random, bytes.len() as u64) as usize;
            let count = match fault {
                None => bytes.len(),
                Some(Fault::Full) => 0,
                Some(Fault::Short | Fault::ShortThenFull | Fault::Io | Fault::PowerOff) => part,
            };
            if matches!(fault, Some(Fault::ShortThenFull)) {
                machine.fault = Some((machine.operations, Fault::Full));
            }
            if let Some(content) = machine.files.get_mut(&self.id) {
                content.write(&bytes[..count], offset as usize);
            }
            match fault {
                None => Ok(count),
                Some(Fault::Short | Fault::ShortThenFull) if count > 0 => Ok(count),
                Some(Fault::Full | Fault::Short | Fault::ShortThenFull) => {
                    Err(io::ErrorKind::StorageFull.into())
                }
                Some(Fault::Io | Fault::PowerOff) => Err(io::Error::other("simulated failure")),
            }
        })
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.with(|machine| {
            self.extend(machine, length as usize)?;
            machine.whole()?;
            if let Some(content) = machine.files.get_mut(&self.id) {
                let now = content.now.len();
                if now < length as usize {
                    content.write(&vec![0; length as usize - now], now);
                }
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|machine| {
            let done = machine.whole();
            let power = !machine.off;
            let seed = random(&mut machine.random, u64::MAX);
            let Some(content) = machine.files.get_mut(&self.id) else { return done };
            match &done {
                Ok(()) => content.sync(),
                // Some of it reached the disk. The system takes the rest for clean, and forgets it.
                Err(_) if power => {
                    let (now, mut seed) = (content.now.clone(), seed);
                    content.power_cut(&mut seed);
                    content.now = now;
                }
                Err(_) => {}
            }
            done
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_what_was_not_may_not() {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..200 {
            let disk = SimulatedDisk::new(seed);
            let path = Path::new("/d/file");
            let file = disk.open(path, Open::New).expect("open");
            file.write_at(&[1; 4096], 0).expect("write");
            file.sync().expect("sync");
            disk.sync_dir(Path::new("/d")).expect("sync");
            file.write_at(&[2; 2048], 1024).expect("write");
            disk.power_cut();
            assert!(file.sync().is_err(), "the old program is dead");
            let content = disk.content(path).expect("the name was safe");
            assert!(content[..1024].iter().chain(&content[3072..]).all(|byte| *byte == 1));
            for byte in &content[1024..3072] {
                match byte {
                    1 => lost += 1,
                    2 => kept += 1,
                    _ => panic!("{byte} was never written"),
                }
            }
        }
        assert!(kept > 10_000 && lost > 10_000);
    }

    #[test]
    fn after_a_failed_sync_only_writing_again_helps() {
        let mut lost = 0;
        for seed in 0..100 {
            let disk = SimulatedDisk::new(seed);
            let path = Path::new("/d/file");
            let file = disk.open(path, Open::New).expect("open");
            file.allocate(2048).expect("allocate");
            file.sync().expect("sync");
            disk.sync_dir(Path::new("/d")).expect("sync");
            file.write_at(&[2; 2048], 0).expect("write");
            disk.fault_after(0, Fault::Io);
            file.sync().expect_err("as asked for");
            file.sync().expect("the second one says that all is well");
            assert_eq!(disk.content(path).expect("there"), [2; 2048]);
            disk.power_cut();
            lost += usize::from(disk.content(path).expect("there") != [2; 2048]);
        }
        assert!(lost > 50, "the disk never lied");
    }
}
