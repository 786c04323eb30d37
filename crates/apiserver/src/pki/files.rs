//! Reading and writing the files of the PKI: for their owner only, and whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::PkiError;

/// The file's content, or nothing where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, PkiError> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::Read { path: path.to_owned(), source }),
    }
}

/// Makes a directory that only its owner may look into.
pub(super) fn make_private_directory(path: &Path) -> Result<(), PkiError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| PkiError::Write { path: path.to_owned(), source })
}

/// Writes a file that only its owner may read. After a crash it has the old content or the new one.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<(), PkiError> {
    let temporary = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        match path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|source| PkiError::Write { path: path.to_owned(), source })
}
