//! The service `Cluster`: what this cluster is, the certificates of its nodes, backups, and the keys of Secrets.

use std::pin::Pin;
use std::sync::Arc;

use api::status::Status as ApiStatus;
use component::{ErrorChain, SharedClock};
use futures_util::stream::{self, Stream};
use rpc::status::to_grpc;
use rpc::v1::cluster_server::Cluster;
use rpc::v1::{
    BackupChunk, BackupHeader, BackupRequest, BackupTrailer, InfoRequest, InfoResponse, JoinRequest,
    JoinResponse, RotateKeysRequest, RotateKeysResponse, backup_chunk::Part,
};
use store::{Backup, Bucket, Key, Snapshot};
use tonic::{Request, Response, Status};
use tracing::info;

use super::{context, convert};
use crate::config::{CLUSTER_DOMAIN, POD_NETWORK, SERVICE_NETWORK};
use crate::pipeline::{Attributes, Pipeline, RequestContext};
use crate::pki::Authority;
use crate::pki::request::{NodeCertificate, sign};
use crate::serve::{Encryption, SEALED};

/// The group of what roles can name of this service: `create` of these resources, in no namespace.
const GROUP: &str = "coxswain.io";

/// Adding a node.
const JOINS: &str = "joins";

/// Taking a backup.
const BACKUPS: &str = "backups";

/// Rotating the keys of Secrets.
const KEY_ROTATIONS: &str = "keyrotations";

/// The most names and addresses of a node.
const MAX_ADDRESSES: usize = 32;

/// Serves what concerns the cluster as a whole.
pub(super) struct Service {
    pipeline: Pipeline,
    authority: Arc<Authority>,
    encryption: Option<Encryption>,
    clock: SharedClock,
}

impl Service {
    pub(super) fn new(
        pipeline: Pipeline,
        authority: Arc<Authority>,
        encryption: Option<Encryption>,
        clock: SharedClock,
    ) -> Self {
        Self { pipeline, authority, encryption, clock }
    }

    /// Says no to whom no role allows it.
    fn allowed(&self, context: &RequestContext, resource: &str, name: &str) -> Result<(), ApiStatus> {
        let (verb, group, version) = ("create", GROUP, "v1");
        let asked = Attributes { verb, group, version, resource, name, ..Attributes::nothing(&context.user) };
        self.pipeline.require(&asked)
    }

    fn join(&self, context: &RequestContext, request: &JoinRequest) -> Result<JoinResponse, ApiStatus> {
        let JoinRequest { node_name, addresses, .. } = request;
        self.allowed(context, JOINS, node_name)?;
        if !is_node_name(node_name) {
            return Err(ApiStatus::bad_request(format!("{node_name:?} is not a name for a node")));
        }
        if addresses.len() > MAX_ADDRESSES {
            return Err(ApiStatus::bad_request(format!("a node has {MAX_ADDRESSES} addresses at most")));
        }
        let signed = |request: &str, which| {
            if request.is_empty() {
                return Ok(String::new());
            }
            sign(&self.authority, request, node_name, addresses, which, context.now)
                .map_err(|error| ApiStatus::bad_request(ErrorChain(&error).to_string()))
        };
        let response = JoinResponse {
            ca_certificate: self.authority.certificate_pem().to_owned(),
            kubelet_client_certificate: signed(&request.kubelet_client_csr, NodeCertificate::KubeletClient)?,
            kubelet_serving_certificate: signed(
                &request.kubelet_serving_csr,
                NodeCertificate::KubeletServing,
            )?,
            kube_proxy_client_certificate: signed(
                &request.kube_proxy_client_csr,
                NodeCertificate::KubeProxyClient,
            )?,
        };
        info!(node = %node_name, by = %context.user.name, "signed the certificates of a node");
        Ok(response)
    }

    async fn rotate_keys(&self, context: &RequestContext) -> Result<RotateKeysResponse, ApiStatus> {
        self.allowed(context, KEY_ROTATIONS, "")?;
        let Some(encryption) = self.encryption.clone() else {
            return Err(ApiStatus::bad_request(
                "keys are rotated where the store is on the server's own disk only",
            ));
        };
        let rotated = tokio::task::spawn_blocking(move || encryption.rotate()).await;
        let rotated = rotated.map_err(ApiStatus::internal)?;
        rotated.map_err(|error| ApiStatus::internal(ErrorChain(&error).to_string()))?;
        let mut objects = 0;
        for bucket in SEALED {
            objects += self.pipeline.write_anew(context, &Bucket::from(bucket)).await?;
        }
        info!(objects, by = %context.user.name, "rotated the keys of Secrets");
        Ok(RotateKeysResponse { objects })
    }
}

fn cluster_id(snapshot: &Snapshot) -> String {
    let system = Key::new(&Bucket::from("namespaces"), "", "kube-system");
    snapshot.get(&system).map(|entry| convert::uid(entry)).unwrap_or_default()
}

/// The chunks of a backup, each made when the client has taken the one before.
struct Chunks {
    header: Option<BackupHeader>,
    data: Option<Backup>,
    bytes: u64,
}

impl Iterator for Chunks {
    type Item = BackupChunk;

    fn next(&mut self) -> Option<BackupChunk> {
        let part = if let Some(header) = self.header.take() {
            Part::Header(header)
        } else if let Some(piece) = self.data.as_mut()?.next() {
            self.bytes += piece.len() as u64;
            Part::Data(piece)
        } else {
            self.data = None;
            Part::Trailer(BackupTrailer { bytes: self.bytes })
        };
        Some(BackupChunk { part: Some(part) })
    }
}

/// Whether it is a DNS subdomain, as every node's name is.
fn is_node_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[tonic::async_trait]
impl Cluster for Service {
    type BackupStream = Pin<Box<dyn Stream<Item = Result<BackupChunk, Status>> + Send>>;

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let asked = context(&request, &self.clock);
        let snapshot = self.pipeline.store().snapshot();
        let (oldest, since) = self.pipeline.store().reaches_back_to();
        let since = jiff::Timestamp::from_microsecond(since.0).unwrap_or_default();
        Ok(Response::new(InfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kubernetes_version: crate::KUBERNETES_VERSION.to_owned(),
            cluster_id: cluster_id(&snapshot),
            revision: asked.at.unwrap_or(snapshot.revision().0),
            pod_network: POD_NETWORK.to_owned(),
            service_network: SERVICE_NETWORK.to_owned(),
            cluster_domain: CLUSTER_DOMAIN.to_owned(),
            oldest_revision: oldest.0,
            oldest_time: if since == jiff::Timestamp::UNIX_EPOCH { String::new() } else { since.to_string() },
        }))
    }

    async fn backup(&self, request: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let context = context(&request, &self.clock);
        self.allowed(&context, BACKUPS, "").map_err(to_grpc)?;
        let snapshot = self.pipeline.store().snapshot();
        info!(revision = snapshot.revision().0, by = %context.user.name, "backup");
        let header = BackupHeader { revision: snapshot.revision().0, cluster_id: cluster_id(&snapshot) };
        let chunks = Chunks { header: Some(header), data: Some(snapshot.backup()), bytes: 0 };
        Ok(Response::new(Box::pin(stream::iter(chunks.map(Ok)))))
    }

    async fn rotate_keys(
        &self,
        request: Request<RotateKeysRequest>,
    ) -> Result<Response<RotateKeysResponse>, Status> {
        let context = context(&request, &self.clock);
        Self::rotate_keys(self, &context).await.map(Response::new).map_err(to_grpc)
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let context = context(&request, &self.clock);
        Self::join(self, &context, request.get_ref()).map(Response::new).map_err(to_grpc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_as_a_dns_subdomain() {
        for (name, good) in [
            ("node-1", true),
            ("a.b", true),
            ("", false),
            ("Node", false),
            ("a..b", false),
            ("-a", false),
            ("a/b", false),
        ] {
            assert_eq!(is_node_name(name), good, "{name}");
        }
    }
}
