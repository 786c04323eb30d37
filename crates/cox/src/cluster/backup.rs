//! `cox backup` and `cox rotate-keys`: asked of the cluster that runs.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use futures_util::StreamExt as _;

use crate::cli::{BackupArgs, Global};
use crate::error::CoxError;
use crate::output::Out;
use crate::verbs::Session;

pub(crate) async fn backup(global: &Global, args: &BackupArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let mut backup = session.client.backup().await?;
    let mut name = args.file.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    let unfinished = args.file.with_file_name(name);
    let failed = || CoxError::file("write", &unfinished);
    // Secrets are plain in it.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
    let mut file = file.map_err(failed())?;
    let mut bytes = 0;
    while let Some(piece) = backup.pieces.next().await {
        let piece = piece?;
        file.write_all(&piece).map_err(failed())?;
        bytes += piece.len();
    }
    file.sync_all().map_err(failed())?;
    std::fs::rename(&unfinished, &args.file).map_err(CoxError::file("write", &args.file))?;
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(CoxError::file("sync", folder))?;
    let size = bytes.div_ceil(1024);
    out.line(&format!("{}: revision {}, {size} KiB", args.file.display(), backup.revision));
    Ok(())
}

pub(crate) async fn rotate_keys(global: &Global, out: &mut Out) -> Result<(), CoxError> {
    let objects = Session::open(global)?.client.rotate_keys().await?;
    out.line(&format!("a new key is in use; {objects} objects are encrypted with it"));
    Ok(())
}
