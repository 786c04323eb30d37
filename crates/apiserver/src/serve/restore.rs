//! Restore: a store of what a backup has, in a data directory or an etcd that has none, before the server starts.
//!
//! A server that runs is not restored into: its clients would see objects change under the same revisions. What it
//! has lost lately is in its history instead (see `pipeline::undelete`). Read on: [`store::backup`] for the stream.

use std::path::{Path, PathBuf};

use component::Context;
use serde_json::Value;
use store::{Key, RestoreError, Restored, Template};
use tokio::task::{JoinError, spawn_blocking};

use super::StartError;
use super::encryption::{Encryption, EncryptionError};
use crate::config::{Config, StoreKind};
use crate::pipeline::template as encoded;

/// The revisions of a restored store begin so far after those of the backup. Clients that saw more of the old cluster
/// than the backup has are then told to list anew, whatever they saw.
const SKIP: u64 = 1_000_000_000;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFailure {
    /// There is nothing that lasts to restore into.
    #[error("a store in memory cannot be restored")]
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
    /// The store could not be opened.
    #[error("open the store")]
    Start(#[from] Box<StartError>),
    /// Writing the store ended early.
    #[error("write the store")]
    Stopped(#[source] JoinError),
    /// The backup or the store.
    #[error("restore the store")]
    Store(#[source] RestoreError),
}

/// Makes the store that a server of this configuration opens, of the backup in `file`.
pub async fn restore(config: &Config, file: &Path, context: &Context) -> Result<Restored, RestoreFailure> {
    let opened = std::fs::File::open(file);
    let backup = opened.map_err(|source| RestoreFailure::Open { file: file.to_owned(), source })?;
    let mut backup = std::io::BufReader::with_capacity(1 << 20, backup);
    match &config.store {
        StoreKind::Memory => Err(RestoreFailure::NoDisk),
        StoreKind::Local(dir) => {
            let log = Encryption::open(dir).map_err(RestoreFailure::Encryption)?.log(dir);
            let restoring = spawn_blocking(move || store::restore(&log, &mut backup, SKIP));
            restoring.await.map_err(RestoreFailure::Stopped)?.map_err(RestoreFailure::Store)
        }
        StoreKind::Etcd(_) => {
            let encryption = super::encryption(&config.store).map_err(Box::new)?;
            let store = super::open(config, encryption.as_ref(), context).await.map_err(Box::new)?;
            let restored = store::restore_into(&store, &mut backup, template).await;
            store.close().await;
            restored.map_err(RestoreFailure::Store)
        }
    }
}

/// Where the revision stands in an object.
fn template(_: &Key, value: &[u8]) -> Option<Template> {
    serde_json::from_slice::<Value>(value).ok().filter(Value::is_object).map(|object| encoded(&object))
}
