//! A server for clients that others wrote, and how they come to it. The tests are in `tests/`: `kube_rs.rs` for the
//! kube crate, `python.rs` for Python's client (which runs `everyday.py`).

use std::io;
use std::path::{Path, PathBuf};

use apiserver::testing::TestServer;

/// A running server that keeps everything in memory.
pub struct Served {
    server: TestServer,
}

impl Served {
    /// Starts one.
    pub async fn start() -> Self {
        Self { server: TestServer::start().await.expect("a server in memory starts") }
    }

    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> String {
        self.server.admin().to_yaml()
    }

    /// The same in a file.
    pub fn kubeconfig_in(&self, directory: &Path) -> io::Result<PathBuf> {
        let path = directory.join("admin.kubeconfig");
        std::fs::write(&path, self.kubeconfig())?;
        Ok(path)
    }

    /// Ends it. A client that still watches is told so.
    pub async fn stop(self) {
        assert!(self.server.stop().await, "every task of the server ends");
    }
}
