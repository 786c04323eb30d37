//! The only owner of the store: serves objects over gRPC and the Kubernetes REST API on one TLS port.
//!
//! ```text
//! accept (serve) ─ TLS ─ who is it (authn) ─┬─ application/grpc ──> grpc ──┐
//!                                           └─ everything else ──> rest ──┴─> pipeline ─> store
//!                              rest ─> discovery, openapi, table (how people see objects)
//!                                        logs, streams (exec and the like), metrics_api: from kubelets
//! ```
//!
//! Tasks: one accept loop, one for each connection (and for each HTTP/2 stream), one for maintenance. All of them
//! are tracked by the [`component::Shutdown`] that the server is started with; when it is triggered, watches end,
//! connections finish what they began, and the store is closed last.
//!
//! Invariants: REST and gRPC decide nothing about objects; both are shells over [`pipeline`]. Only [`serve`] knows
//! sockets and TLS. Only [`pki`] sees private keys.

pub mod config;
pub mod pki;
pub mod serve;

pub mod audit;
pub mod authn;
pub mod authz;
mod cel;
mod certificates;
mod crd;
mod discovery;
mod endpoints;
mod grpc;
mod logs;
mod metrics;
mod metrics_api;
mod openapi;
mod rest;
mod streams;
mod table;
mod view;

pub mod admission;
mod aggregate;
pub mod bootstrap;
mod flow;
mod follow;
mod kinds;
pub mod pipeline;
pub mod webhook;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::path::PathBuf;

use component::{Context, Failure};

pub use config::{Args, Config};
pub use serve::{Server, StartError};

/// The version of the Kubernetes API that is served.
pub const KUBERNETES_VERSION: &str = "v1.36.0";

/// Runs the server until shutdown, then waits until its connections are finished and closes the store.
pub async fn run(config: Config, context: Context) -> Result<(), Failure> {
    let server = Server::start(config, context).await?;
    server.finished().await;
    Ok(())
}

/// Makes the store that a server of this configuration opens of a backup, and starts nothing.
pub async fn restore(config: Config, backup: PathBuf, context: Context) -> Result<(), Failure> {
    let restored = serve::restore(&config, &backup, &context).await?;
    tracing::info!(objects = restored.objects, revision = restored.revision.0, "restored");
    // There is nothing to wait for.
    context.shutdown.trigger();
    Ok(())
}
