//! A whole server in the test's process: its own authority, a free port, nothing on disk unless asked for.

pub mod https;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use component::{Context, Kubeconfig};

use crate::config::{Config, StoreKind};
use crate::pipeline::Pipeline;
use crate::pki::Kubeconfigs;
use crate::serve::{Server, StartError};
use crate::webhook::Allowed;

/// How long a stop may take.
const GRACE: Duration = Duration::from_secs(10);

/// A running server. Call [`TestServer::stop`] at the end.
pub struct TestServer {
    server: Server,
    context: Context,
}

impl TestServer {
    /// Starts a server that keeps everything in memory.
    pub async fn start() -> Result<Self, StartError> {
        Self::start_with(config(StoreKind::Memory, None), Context::for_tests()).await
    }

    /// Starts a server that keeps its objects and keys in a directory.
    pub async fn start_in(directory: &Path) -> Result<Self, StartError> {
        let store = StoreKind::Local(directory.join("store"));
        Self::start_with(config(store, Some(directory)), Context::for_tests()).await
    }

    /// Starts a server with a configuration, a clock and a shutdown of the caller's.
    pub async fn start_with(config: Config, context: Context) -> Result<Self, StartError> {
        let server = Server::start(config, context.clone()).await?;
        Ok(Self { server, context })
    }

    /// As `https://127.0.0.1:34567`.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How an administrator connects.
    pub fn admin(&self) -> &Kubeconfig {
        &self.server.kubeconfigs().admin
    }

    /// How all components connect.
    pub fn kubeconfigs(&self) -> &Kubeconfigs {
        self.server.kubeconfigs()
    }

    /// What the server serves, without the wire.
    pub fn pipeline(&self) -> &Pipeline {
        self.server.pipeline()
    }

    /// Ends the server as SIGTERM does; says whether all of its tasks have ended.
    pub async fn stop(self) -> bool {
        let Self { server, context } = self;
        context.shutdown.trigger();
        let (drained, ()) = tokio::join!(context.shutdown.drain(GRACE), server.finished());
        drained
    }
}

/// A configuration on a free port of loopback.
pub fn config(store: StoreKind, directory: Option<&Path>) -> Config {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Config {
        data_dir: directory.map(Path::to_owned),
        bind: SocketAddr::new(loopback, 0),
        store,
        history_bytes: 512 << 20,
        advertise: loopback,
        authn: Default::default(),
        webhooks: Allowed { loopback: true, networks: Vec::new() },
        audit: Default::default(),
    }
}
