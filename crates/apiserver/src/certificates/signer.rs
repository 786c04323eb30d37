//! The signers of Kubernetes: what each of them signs, in the words in which it refuses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::request::{self, Requested};
use crate::pki::Authority;

/// A signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signer {
    /// Certificates with which users come to this server.
    Client,
    /// Certificates with which kubelets do.
    KubeletClient,
    /// Certificates that kubelets show.
    KubeletServing,
}

/// Whoever is in it may do everything.
const MASTERS: &str = "system:masters";

impl Signer {
    /// As in `spec.signerName`; the others are somebody else's.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "kubernetes.io/kube-apiserver-client" => Some(Self::Client),
            "kubernetes.io/kube-apiserver-client-kubelet" => Some(Self::KubeletClient),
            "kubernetes.io/kubelet-serving" => Some(Self::KubeletServing),
            _ => None,
        }
    }

    /// Whether it signs that.
    pub(super) fn check(self, asked: &Requested) -> Result<(), String> {
        let no = |why: &str| Err(why.to_owned());
        if asked.is_repeated {
            return no("a subject with several values of one kind cannot be signed by this server");
        }
        let uses = |needed: &[&str], optional: &[&str]| {
            needed.iter().all(|usage| asked.usages.iter().any(|own| own == usage))
                && asked
                    .usages
                    .iter()
                    .all(|own| needed.contains(&own.as_str()) || optional.contains(&own.as_str()))
        };
        let is_node = asked.organizations == ["system:nodes"];
        let is_named = asked.common_name.starts_with("system:node:");
        match self {
            Self::Client => {
                if asked.organizations.iter().any(|own| own == MASTERS) {
                    return no(
                        "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed",
                    );
                }
                match uses(&["client auth"], &["digital signature", "key encipherment"]) {
                    true => Ok(()),
                    false => no(
                        "usages did not match what kubernetes.io/kube-apiserver-client signs: client auth, digital signature, key encipherment",
                    ),
                }
            }
            Self::KubeletClient => {
                if !is_node {
                    no("subject organization is not system:nodes")
                } else if asked.names > 0 {
                    no("DNS subjectAltNames are not allowed")
                } else if asked.emails > 0 {
                    no("Email subjectAltNames are not allowed")
                } else if asked.addresses > 0 {
                    no("IP subjectAltNames are not allowed")
                } else if asked.uris > 0 {
                    no("URI subjectAltNames are not allowed")
                } else if !is_named {
                    no("subject common name does not begin with system:node:")
                } else if !uses(&["digital signature", "client auth"], &["key encipherment"]) {
                    no("usages did not match [client auth digital signature]")
                } else {
                    Ok(())
                }
            }
            Self::KubeletServing => {
                if !is_node {
                    no("subject organization is not system:nodes")
                } else if asked.names + asked.addresses == 0 {
                    no("DNS or IP subjectAltName is required")
                } else if asked.emails > 0 {
                    no("Email subjectAltNames are not allowed")
                } else if asked.uris > 0 {
                    no("URI subjectAltNames are not allowed")
                } else if !is_named {
                    no("subject common name does not begin with system:node:")
                } else if !uses(&["digital signature", "server auth"], &["key encipherment"]) {
                    no("usages did not match [digital signature server auth]")
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Signs a request that it has checked: base64 of PEM.
    pub(super) fn sign(self, authority: &Authority, spec: &Value, now: Timestamp) -> Result<String, String> {
        let pem = String::from_utf8(request::pem(spec)?).map_err(|error| error.to_string())?;
        let usages = spec["usages"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let seconds = spec["expirationSeconds"].as_u64();
        let signed = authority.sign_as_asked(&pem, &usages.collect::<Vec<_>>(), seconds, now);
        let certificate = signed.map_err(|error| component::ErrorChain(&error).to_string())?;
        Ok(STANDARD.encode(certificate))
    }
}
