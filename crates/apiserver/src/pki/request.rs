//! The certificates of a node: its daemons make their own keys and send requests; who they are is set here.

use std::net::IpAddr;

use jiff::Timestamp;
use rcgen::CertificateSigningRequestParams;

use super::authority::{Authority, IssueError, Purpose, Subject};

/// Which of a node's certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeCertificate {
    /// With which the kubelet comes to the apiserver.
    KubeletClient,
    /// Which the kubelet shows to the apiserver.
    KubeletServing,
    /// With which kube-proxy comes to the apiserver.
    KubeProxyClient,
}

/// Why a request was not signed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is no certificate signing request, or its signature is not of its key.
    #[error("not a valid certificate signing request")]
    Request(#[source] rcgen::Error),
    /// Signing failed.
    #[error("sign the certificate")]
    Issue(#[source] IssueError),
}

/// Signs the request (PEM) of a node. Of the request only the key is taken, once its signature proves that the
/// sender has it.
pub fn sign(
    authority: &Authority,
    request: &str,
    node: &str,
    addresses: &[String],
    which: NodeCertificate,
    now: Timestamp,
) -> Result<String, RequestError> {
    let request = CertificateSigningRequestParams::from_pem(request).map_err(RequestError::Request)?;
    let certificate =
        authority.sign(request, &subject(node, addresses, which), now).map_err(RequestError::Issue)?;
    Ok(certificate.pem())
}

fn subject(node: &str, addresses: &[String], which: NodeCertificate) -> Subject {
    let user = format!("system:node:{node}");
    match which {
        NodeCertificate::KubeletClient => Subject::client(user, Some("system:nodes")),
        NodeCertificate::KubeProxyClient => Subject::client("system:kube-proxy", Some("system:node-proxier")),
        NodeCertificate::KubeletServing => {
            let mut names = vec![node.to_owned()];
            let mut numbers = Vec::new();
            for address in addresses {
                match address.parse::<IpAddr>() {
                    Ok(number) if !numbers.contains(&number) => numbers.push(number),
                    Err(_) if !names.contains(address) => names.push(address.clone()),
                    _ => {}
                }
            }
            Subject {
                organization: Some("system:nodes".to_owned()),
                common_name: user,
                names,
                addresses: numbers,
                purpose: Purpose::Server,
            }
        }
    }
}
