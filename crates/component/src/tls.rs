//! TLS from PEM: configurations for both ends, and who the other end is by its certificate.
//!
//! One crypto provider (aws-lc-rs) is named explicitly, so nothing depends on what a process installed.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::kubeconfig::Identity;

/// The protocol names offered, in order of preference.
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The text is not PEM, or holds nothing of the kind that is needed.
    #[error("read {what}")]
    Pem {
        /// `certificate`, `private key` or `certificate authority`.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// There is none in the text.
    #[error("no {0} in the PEM text")]
    Empty(&'static str),
    /// rustls does not accept it.
    #[error("set up TLS")]
    Rustls(#[source] rustls::Error),
    /// The client certificate authority cannot be used.
    #[error("set up the verification of client certificates")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

/// Whether a server asks for a certificate of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// A client may come without one (and is then anonymous, or shows a token).
    Optional,
    /// A client without one is refused.
    Required,
}

/// Who a certificate says its holder is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The user.
    pub common_name: String,
    /// The groups.
    pub organizations: Vec<String>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// For a client that trusts `authority` (PEM) and shows `identity`. HTTP/2 first.
pub fn client_config(authority: &[u8], identity: Option<&Identity>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Rustls)?
        .with_root_certificates(roots(authority)?);
    let mut config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(certificates(&identity.certificate)?, private_key(&identity.key)?)
            .map_err(TlsError::Rustls)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok(config)
}

/// For a server with `identity` whose clients' certificates must come from `client_authority` (PEM).
pub fn server_config(
    identity: &Identity,
    client_authority: &[u8],
    clients: ClientCertificates,
) -> Result<ServerConfig, TlsError> {
    let verifier = client_verifier(client_authority, clients)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Rustls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&identity.certificate)?, private_key(&identity.key)?)
        .map_err(TlsError::Rustls)?;
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok(config)
}

/// Says whether a client's certificate comes from one of `authorities` (PEM).
pub fn client_verifier(
    authorities: &[u8],
    clients: ClientCertificates,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities)?), provider());
    let builder = match clients {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    builder.build().map_err(TlsError::Verifier)
}

/// For a client that takes whoever answers, and shows `identity`: only for those who have said that they want that.
pub fn unverified_client_config(identity: Option<&Identity>) -> Result<ClientConfig, TlsError> {
    let anybody = Arc::new(Anybody(provider()));
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Rustls)?
        .dangerous()
        .with_custom_certificate_verifier(anybody);
    match identity {
        Some(identity) => builder
            .with_client_auth_cert(certificates(&identity.certificate)?, private_key(&identity.key)?)
            .map_err(TlsError::Rustls),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Believes every server that holds the key of the certificate that it shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificates in a PEM text.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { what: "certificate", source })?;
    if found.is_empty() { Err(TlsError::Empty("certificate")) } else { Ok(found) }
}

/// The private key in a PEM text.
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|source| TlsError::Pem { what: "private key", source })
}

fn roots(authority: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(authority)? {
        store.add(certificate).map_err(TlsError::Rustls)?;
    }
    Ok(store)
}

/// Who a DER certificate says its holder is; `None` where it cannot be read.
pub fn subject(certificate: &[u8]) -> Option<Subject> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let common_name = subject.iter_common_name().find_map(|name| name.as_str().ok())?.to_owned();
    let organizations =
        subject.iter_organization().filter_map(|name| name.as_str().ok().map(str::to_owned)).collect();
    Some(Subject { common_name, organizations })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    struct Pki {
        authority: Vec<u8>,
        server: Identity,
        client: Identity,
    }

    fn pki() -> Pki {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |common_name: &str, organization: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(DnType::CommonName, common_name);
            params.distinguished_name.push(DnType::OrganizationName, organization);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            Identity { certificate: certificate.pem().into(), key: key.serialize_pem().into() }
        };
        Pki {
            server: issue("kube-apiserver", "", &["127.0.0.1", "localhost"]),
            client: issue("kubernetes-admin", "system:masters", &[]),
            authority: issuer.pem().into(),
        }
    }

    async fn handshake(
        pki: &Pki,
        identity: Option<&Identity>,
        clients: ClientCertificates,
    ) -> Option<Subject> {
        let server = server_config(&pki.server, &pki.authority, clients).expect("a server configuration");
        let client = client_config(&pki.authority, identity).expect("a client configuration");
        let (near, far) = tokio::io::duplex(64 * 1024);
        let accepted = async {
            let mut stream = TlsAcceptor::from(Arc::new(server)).accept(far).await.ok()?;
            stream.write_all(b"x").await.ok()?;
            let peer = stream.get_ref().1.peer_certificates().map(|chain| subject(&chain[0]).unwrap());
            Some(peer.unwrap_or_default())
        };
        let connected = async {
            let name = ServerName::try_from("127.0.0.1").expect("a name");
            let mut stream = TlsConnector::from(Arc::new(client)).connect(name, near).await.ok()?;
            stream.read_exact(&mut [0]).await.ok()
        };
        tokio::join!(accepted, connected).0
    }

    #[tokio::test]
    async fn both_ends_know_each_other_by_their_certificates() {
        let pki = pki();
        let admin =
            Subject { common_name: "kubernetes-admin".into(), organizations: vec!["system:masters".into()] };
        let known = handshake(&pki, Some(&pki.client), ClientCertificates::Required).await;
        assert_eq!(known, Some(admin));
        assert_eq!(handshake(&pki, None, ClientCertificates::Optional).await, Some(Subject::default()));
        assert_eq!(handshake(&pki, None, ClientCertificates::Required).await, None);
        let stranger = self::pki().client;
        assert_eq!(handshake(&pki, Some(&stranger), ClientCertificates::Optional).await, None);
    }

    #[test]
    fn what_is_not_pem_is_told() {
        let error = client_config(b"nonsense", None).unwrap_err();
        assert_eq!(error.to_string(), "no certificate in the PEM text");
        assert!(matches!(private_key(b"nonsense"), Err(TlsError::Pem { .. })));
    }
}
