//! Encryption at rest: values of Secrets are sealed on their way to the disk, with keys in a file beside the store.
//!
//! The file (`DIR/store.keys`) is made at the first start and is for its owner only; a server whose keys others can
//! read does not start. A backup of the directory without that file is of no use to a thief, nor to anybody else: keep
//! the file, or take backups with `cox backup`, which are plain. Read on: [`store::seal`] for what is sealed and how.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::disk::real::RealDisk;
use store::seal::Seal;
use store::seal::keys::{Keys, KeysError};
use store::{Bucket, LogOptions};

/// The buckets whose values are sealed.
pub(crate) const SEALED: [&str; 1] = ["secrets"];

/// Why there is no encryption, and so no server.
#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    /// The keys.
    #[error("use the keys that Secrets are encrypted with")]
    Keys(#[source] KeysError),
    /// The file of keys could not be looked at.
    #[error("look at {}", file.display())]
    Look {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than the owner can read the keys, or could replace them.
    #[error("{} has mode {mode:o}: the keys of Secrets must be for their owner only (0600)", file.display())]
    Exposed {
        /// Which file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// The keys in use, and where they are from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Encryption {
    file: Arc<Path>,
    keys: Arc<Keys>,
}

impl Encryption {
    /// Opens the keys of the store in `dir`, or makes the first one.
    pub(crate) fn open(dir: &Path) -> Result<Self, EncryptionError> {
        let file = dir.with_extension("keys");
        let look = |source| EncryptionError::Look { file: file.clone(), source };
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).map_err(look)?;
        }
        let keys = Keys::open(&RealDisk, &file, SEALED.map(Bucket::from)).map_err(EncryptionError::Keys)?;
        let mode = std::fs::metadata(&file).map_err(look)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(EncryptionError::Exposed { file, mode });
        }
        Ok(Self { file: file.into(), keys: Arc::new(keys) })
    }

    /// The log in `dir`, sealed with the keys.
    pub(crate) fn log(&self, dir: &Path) -> LogOptions {
        LogOptions { seal: Some(self.seal()), ..LogOptions::new(dir) }
    }

    /// The keys, for a store.
    pub(crate) fn seal(&self) -> Arc<dyn Seal> {
        self.keys.clone()
    }

    /// Makes a new key and seals with it from now on. The older ones still open what they sealed.
    pub(crate) fn rotate(&self) -> Result<(), KeysError> {
        Keys::rotate(&RealDisk, &self.file)?;
        self.keys.reload(&RealDisk, &self.file)
    }
}
