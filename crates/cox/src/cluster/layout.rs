//! Where the files of a cluster are. The names are part of what users and scripts rely on.

use std::path::{Path, PathBuf};

/// A cluster's data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The kubeconfig of `user`: `admin`, `scheduler`, `controllers`. Written by the apiserver.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.0.join(format!("{user}.kubeconfig"))
    }

    /// Where the apiserver keeps the objects.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// What goes with the processes: the lock, the state of the supervisor.
    pub(crate) fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Held by the supervisor while it lives.
    pub(crate) fn lock(&self) -> PathBuf {
        self.run().join("supervisor.lock")
    }

    /// Which daemons run; see [`crate::supervisor::state`].
    pub(crate) fn state(&self) -> PathBuf {
        self.run().join("state.json")
    }

    /// The log of a daemon.
    pub(crate) fn log(&self, daemon: &str) -> PathBuf {
        self.0.join("log").join(format!("{daemon}.log"))
    }

    /// What belongs to one node.
    pub(crate) fn node(&self, name: &str) -> PathBuf {
        self.0.join("nodes").join(name)
    }
}
