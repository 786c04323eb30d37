//! `kubelet --cleanup`: takes away all that this node's kubelet has made on the machine.

use std::path::PathBuf;

use crate::cni::{bridge_name, host};
use crate::config::Config;
use crate::run::docker;
use crate::runtime::{Runtime, RuntimeError};
use crate::volumes::unmount_below;

/// What could not be taken away.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// Containers are left.
    #[error("cannot remove the containers of this node")]
    Runtime(#[from] RuntimeError),
    /// The bridge or the rules for it are left.
    #[error("cannot remove the bridge: {0}")]
    Bridge(String),
    /// Mounts or files are left.
    #[error("cannot remove {path}")]
    Files {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Removes containers, their networks, the bridge, mounts and the folders of pods. Needs no apiserver; succeeds where
/// there is nothing.
pub async fn cleanup(config: &Config) -> Result<(), CleanupError> {
    let runtime = docker(config);
    for pod in runtime.list_pods().await? {
        for container in &pod.containers {
            runtime.remove_container(&container.id).await?;
        }
        for sandbox in &pod.sandboxes {
            runtime.stop_sandbox(&sandbox.id).await?;
            runtime.remove_sandbox(&sandbox.id).await?;
        }
    }
    for entry in std::fs::read_dir(config.root.join("pods")).into_iter().flatten().flatten() {
        runtime.forget_pod(&entry.file_name().to_string_lossy()).await?;
    }
    runtime.remove_groups().await?;
    runtime.collect_garbage().await?;
    host::remove(&bridge_name(&config.node_name)).await.map_err(CleanupError::Bridge)?;
    let pods = config.root.join("pods");
    let files = |source| CleanupError::Files { path: pods.clone(), source };
    unmount_below(&pods).map_err(files)?;
    // What volumes hold stays; what is mounted in one would keep whoever removes it from doing so.
    unmount_below(&config.root.join(crate::volumes::claim::FOLDER)).map_err(files)?;
    for folder in [&pods, &config.root.join("cni")] {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(files(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
