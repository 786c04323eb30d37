//! The service `Cluster`: what this cluster is, and the certificates of its nodes.

use api::status::{Details, Reason, Status as ApiStatus};
use component::SharedClock;
use rpc::status::to_grpc;
use rpc::v1::cluster_server::Cluster;
use rpc::v1::{InfoRequest, InfoResponse, JoinRequest, JoinResponse};
use store::{Bucket, Key};
use tonic::{Request, Response, Status};
use tracing::info;

use super::{context, convert};
use crate::config::{CLUSTER_DOMAIN, POD_NETWORK, SERVICE_NETWORK};
use crate::pipeline::{Pipeline, RequestContext};
use crate::pki::Authority;
use crate::pki::request::{NodeCertificate, sign};

/// Who may add nodes.
const ADMINISTRATORS: &str = "system:masters";

/// The most names and addresses of a node.
const MAX_ADDRESSES: usize = 32;

/// Serves what concerns the cluster as a whole.
pub(super) struct Service {
    pipeline: Pipeline,
    authority: Authority,
    clock: SharedClock,
}

impl Service {
    pub(super) fn new(pipeline: Pipeline, authority: Authority, clock: SharedClock) -> Self {
        Self { pipeline, authority, clock }
    }

    fn join(&self, context: &RequestContext, request: &JoinRequest) -> Result<JoinResponse, ApiStatus> {
        let user = &context.user;
        if !user.groups.iter().any(|group| group == ADMINISTRATORS) {
            let message = format!("nodes are added by administrators; {:?} is not one", user.name);
            return Err(ApiStatus::failure(Reason::Forbidden, message).with_details(Details::default()));
        }
        let JoinRequest { node_name, addresses, .. } = request;
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
                .map_err(|error| ApiStatus::bad_request(component::ErrorChain(&error).to_string()))
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
        info!(node = %node_name, by = %user.name, "signed the certificates of a node");
        Ok(response)
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
    async fn info(&self, _request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let snapshot = self.pipeline.store().snapshot();
        let system = Key::new(&Bucket::from("namespaces"), "", "kube-system");
        Ok(Response::new(InfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kubernetes_version: crate::KUBERNETES_VERSION.to_owned(),
            cluster_id: snapshot.get(&system).map(|entry| convert::uid(entry)).unwrap_or_default(),
            revision: snapshot.revision().0,
            pod_network: POD_NETWORK.to_owned(),
            service_network: SERVICE_NETWORK.to_owned(),
            cluster_domain: CLUSTER_DOMAIN.to_owned(),
        }))
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
