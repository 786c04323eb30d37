//! The disk as a parameter: what the log asks of files, so that tests can hand it one that fails or loses power.
//!
//! What is promised after a power cut is what POSIX and ext4 promise: bytes are safe once the file was synced, a
//! new, renamed or removed name is safe once its directory was. Read on: [`real`] for the system's own disk.

pub mod real;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system, as far as the log needs one.
pub trait Disk: Send + Sync {
    /// Makes a directory and those above it, and makes them safe.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Names of the files and directories in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, replacing what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory safe.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes a file for this process alone until the guard is dropped. [`io::ErrorKind::WouldBlock`] when another
    /// one has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;

    /// Where on the real disk a directory is; none when it is nowhere, and the index has to stay in memory.
    fn real_path(&self, dir: &Path) -> Option<PathBuf>;
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// It must be there.
    Existing,
    /// It must not be there.
    New,
}

/// An open file.
pub trait File: Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Reads at an offset; may read less than asked, and reads nothing at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at an offset; may write less than asked.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes the file this long and reserves the space, so that writes inside of it do not run out of space.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Makes all that was written safe.
    fn sync(&self) -> io::Result<()>;
}

/// Reads until the buffer is full or the file ends. Gives the number of bytes read.
pub(crate) fn read_full(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all bytes.
pub(crate) fn write_full(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether an error says that there is no room, which passes, and not that the disk is broken.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
