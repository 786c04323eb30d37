//! The certificates of a node's daemons. Keys are made here and stay here; the apiserver signs requests.

use std::path::Path;

use client::{Client, JoinRequest};
use component::Kubeconfig;
use component::kubeconfig::Identity;
use rcgen::{CertificateParams, KeyPair};

use super::write_private;
use crate::error::CoxError;

/// Has new certificates signed and writes them. Cheap enough to do at each start, so that nothing ever expires on a
/// machine that is started now and then, and a new address is taken up.
pub(super) async fn join(
    client: &Client,
    folder: &Path,
    name: &str,
    ip: &str,
    server: &str,
) -> Result<(), CoxError> {
    let mut addresses = vec![ip.to_owned(), name.to_owned(), "127.0.0.1".to_owned(), "localhost".to_owned()];
    addresses.dedup();
    let (kubelet, serving, proxy) = (request()?, request()?, request()?);
    let join = JoinRequest {
        node_name: name.to_owned(),
        addresses,
        kubelet_client_csr: kubelet.pem,
        kubelet_serving_csr: serving.pem,
        kube_proxy_client_csr: proxy.pem,
    };
    let signed = client.join(join).await?;
    write_private(&folder.join("ca.crt"), signed.ca_certificate.as_bytes())?;
    write_private(&folder.join("kubelet.crt"), signed.kubelet_serving_certificate.as_bytes())?;
    write_private(&folder.join("kubelet.key"), serving.key.as_bytes())?;
    let users = [
        ("kubelet.kubeconfig", format!("system:node:{name}"), signed.kubelet_client_certificate, kubelet.key),
        (
            "kube-proxy.kubeconfig",
            "system:kube-proxy".to_owned(),
            signed.kube_proxy_client_certificate,
            proxy.key,
        ),
    ];
    for (file, user, certificate, key) in users {
        let identity = Identity { certificate: certificate.into_bytes(), key: key.into_bytes() };
        Kubeconfig::new(server, signed.ca_certificate.as_bytes(), user, identity).write(folder.join(file))?;
    }
    Ok(())
}

struct Request {
    pem: String,
    key: String,
}

/// A new key and a request for a certificate of it. The server sets subject and names.
fn request() -> Result<Request, CoxError> {
    let key = KeyPair::generate()?;
    let pem = CertificateParams::default().serialize_request(&key)?.pem()?;
    Ok(Request { pem, key: key.serialize_pem() })
}
