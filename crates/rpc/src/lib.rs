//! The gRPC contract, generated from /proto, and how a Kubernetes Status travels in it.
//!
//! Read on: /proto for the services and messages, [`status`] for how an error is told.

pub mod status;

/// Messages and services of package `coxswain.v1`; the comments in /proto are their documentation.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("coxswain.v1");
}

/// The encoded `FileDescriptorSet` of the contract, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
