//! The only owner of the store: serves objects over gRPC and the Kubernetes REST API on one TLS port.

pub mod bootstrap;
mod kinds;
pub mod pipeline;
