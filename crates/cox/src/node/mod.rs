//! What a node's daemons need before they start: keys and certificates, kubeconfigs, the kubelet's configuration.

mod config;
mod credentials;

use std::path::Path;

use client::Client;

use crate::cli::UpArgs;
use crate::error::CoxError;

/// Makes or renews everything in the node's folder.
pub(crate) async fn prepare(
    client: &Client,
    folder: &Path,
    name: &str,
    ip: &str,
    server: &str,
    args: &UpArgs,
) -> Result<(), CoxError> {
    std::fs::create_dir_all(folder).map_err(CoxError::file("make", folder))?;
    let registry = config::registry(args)?;
    write_private(
        &folder.join("config.yaml"),
        config::kubelet(&registry, &folder.join("manifests")).as_bytes(),
    )?;
    credentials::join(client, folder, name, ip, server).await
}

/// Writes a file that only its owner may read, replacing one that is there.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CoxError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut temporary = path.to_owned().into_os_string();
    temporary.push(".tmp");
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(CoxError::file("write", path))
}
