//! Restore: a store of what a backup has, in a data directory that has none, before the server starts.
//!
//! A server that runs is not restored into: its clients would see objects change under the same revisions. What it
//! has lost lately is in its history instead (see `pipeline::undelete`). Read on: [`store::backup`] for the stream.

use std::path::{Path, PathBuf};

use store::{RestoreError, Restored};

use super::encryption::{Encryption, EncryptionError};
use crate::config::StoreKind;

/// The revisions of a restored store begin so far after those of the backup. Clients that saw more of the old cluster
/// than the backup has are then told to list anew, whatever they saw.
const SKIP: u64 = 1_000_000_000;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFailure {
    /// There is nothing on a disk to restore into.
    #[error("only a store on the disk can be restored")]
    NoDisk,
    /// The backup.
    #[error("open {}", file.display())]
    Open {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The keys.
    #[error("prepare encryption")]
    Encryption(#[source] EncryptionError),
    /// The backup or the store.
    #[error("restore the store")]
    Store(#[source] RestoreError),
}

/// Makes the store that a server of this kind opens, of the backup in `file`. Blocks.
pub fn restore(kind: &StoreKind, file: &Path) -> Result<Restored, RestoreFailure> {
    let StoreKind::Local(dir) = kind else { return Err(RestoreFailure::NoDisk) };
    let opened = std::fs::File::open(file);
    let backup = opened.map_err(|source| RestoreFailure::Open { file: file.to_owned(), source })?;
    let encryption = Encryption::open(dir).map_err(RestoreFailure::Encryption)?;
    let mut backup = std::io::BufReader::with_capacity(1 << 20, backup);
    store::restore(&encryption.log(dir), &mut backup, SKIP).map_err(RestoreFailure::Store)
}
