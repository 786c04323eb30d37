//! The certificate authority: makes keys (ECDSA P-256) and signs certificates.

use std::net::IpAddr;
use std::time::Duration;

use component::kubeconfig::Identity;
use component::tls;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// How far back a certificate begins, for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(3600);

/// How long the authority lives.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

/// How long a certificate lives.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A certificate that expires sooner than this is renewed when the server starts.
const RENEW_BEFORE: Duration = Duration::from_secs(180 * 24 * 3600);

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The certificate library refused.
    #[error("sign")]
    Sign(#[source] rcgen::Error),
    /// The authority's own certificate and key cannot be used.
    #[error("load the certificate authority")]
    Load(#[source] rcgen::Error),
    /// They are not text.
    #[error("the certificate authority is not PEM")]
    NotPem,
    /// The certificate and the key do not belong together.
    #[error("the certificate authority's key is not that of its certificate")]
    KeyMismatch,
    /// A name that no certificate can hold.
    #[error("{0:?} is not a name for a certificate")]
    Name(String),
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be shown by a server.
    Server,
    /// To be shown by a client.
    Client,
}

/// Whom a certificate is made out to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// For clients the user.
    pub common_name: String,
    /// For clients the group.
    pub organization: Option<String>,
    /// DNS names of a server.
    pub names: Vec<String>,
    /// Addresses of a server.
    pub addresses: Vec<IpAddr>,
    /// What it is for.
    pub purpose: Purpose,
}

impl Subject {
    /// A user, in a group or not.
    pub fn client(user: impl Into<String>, group: Option<&str>) -> Self {
        Self {
            common_name: user.into(),
            organization: group.map(str::to_owned),
            names: Vec::new(),
            addresses: Vec::new(),
            purpose: Purpose::Client,
        }
    }
}

/// The certificate authority of the cluster.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority.
    pub fn generate(now: Timestamp) -> Result<Self, IssueError> {
        Self::named("kubernetes", now)
    }

    /// A new authority of that name.
    pub(super) fn named(name: &str, now: Timestamp) -> Result<Self, IssueError> {
        let key = KeyPair::generate().map_err(IssueError::Sign)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        date(&mut params, now, AUTHORITY_LIFETIME);
        let certificate = params.self_signed(&key).map_err(IssueError::Sign)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The authority of these files, both PEM.
    pub fn load(certificate: &[u8], key: &[u8]) -> Result<Self, IssueError> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| IssueError::NotPem);
        let (certificate, key) = (text(certificate)?, text(key)?);
        let key = KeyPair::from_pem(&key).map_err(IssueError::Load)?;
        let der = tls::certificates(certificate.as_bytes()).map_err(|_| IssueError::NotPem)?;
        let (_, parsed) = X509Certificate::from_der(&der[0]).map_err(|_| IssueError::NotPem)?;
        if &*parsed.public_key().subject_public_key.data != key.public_key_raw() {
            return Err(IssueError::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(IssueError::Load)?;
        Ok(Self { certificate, issuer })
    }

    /// The authority's certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Makes a key and signs its certificate.
    pub fn issue(&self, subject: &Subject, now: Timestamp) -> Result<Identity, IssueError> {
        let key = KeyPair::generate().map_err(IssueError::Sign)?;
        let certificate = params(subject, now)?.signed_by(&key, &self.issuer).map_err(IssueError::Sign)?;
        Ok(Identity { certificate: certificate.pem().into_bytes(), key: key.serialize_pem().into_bytes() })
    }

    /// Signs the certificate of a key that its owner keeps. Of the request only the key is taken.
    pub(super) fn sign(
        &self,
        request: CertificateSigningRequestParams,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Certificate, IssueError> {
        CertificateSigningRequestParams { params: params(subject, now)?, public_key: request.public_key }
            .signed_by(&self.issuer)
            .map_err(IssueError::Sign)
    }

    /// Signs a request (PEM) as it asks: its key, its subject, its other names. `usages` are Kubernetes' words for what it
    /// is for; it lives `seconds`, but not longer than others do.
    pub(crate) fn sign_as_asked(
        &self,
        request: &str,
        usages: &[&str],
        seconds: Option<u64>,
        now: Timestamp,
    ) -> Result<String, IssueError> {
        let mut request = CertificateSigningRequestParams::from_pem(request).map_err(IssueError::Sign)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = request.params.distinguished_name;
        params.subject_alt_names = request.params.subject_alt_names;
        params.is_ca = IsCa::ExplicitNoCa;
        for usage in usages {
            match *usage {
                "digital signature" | "signing" => params.key_usages.push(KeyUsagePurpose::DigitalSignature),
                "key encipherment" => params.key_usages.push(KeyUsagePurpose::KeyEncipherment),
                "server auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth),
                "client auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth),
                // Signers let no other pass.
                _ => {}
            }
        }
        params.use_authority_key_identifier_extension = true;
        let lifetime = seconds.map_or(LIFETIME, |seconds| LIFETIME.min(Duration::from_secs(seconds)));
        date(&mut params, now, lifetime);
        request.params = params;
        Ok(request.signed_by(&self.issuer).map_err(IssueError::Sign)?.pem())
    }

    /// Whether the certificate comes from this authority, is made out to exactly this subject, belongs to its key
    /// and lives long enough yet.
    pub fn vouches_for(&self, identity: &Identity, subject: &Subject, now: Timestamp) -> bool {
        self.examine(identity, subject, now).unwrap_or(false)
    }

    fn examine(&self, identity: &Identity, subject: &Subject, now: Timestamp) -> Option<bool> {
        let own = tls::certificates(self.certificate.as_bytes()).ok()?;
        let (_, own) = X509Certificate::from_der(own.first()?).ok()?;
        let chain = tls::certificates(&identity.certificate).ok()?;
        let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
        let key = KeyPair::from_pem(std::str::from_utf8(&identity.key).ok()?).ok()?;
        let whom = tls::subject(chain.first()?)?;
        let mut names = Vec::new();
        let mut addresses = Vec::new();
        if let Some(alternatives) = certificate.subject_alternative_name().ok()? {
            for name in &alternatives.value.general_names {
                match name {
                    GeneralName::DNSName(name) => names.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => addresses.push(address(bytes)?),
                    _ => return None,
                }
            }
        }
        let left = certificate.validity().not_after.timestamp() - now.as_second();
        Some(
            certificate.verify_signature(Some(own.public_key())).is_ok()
                && &*certificate.public_key().subject_public_key.data == key.public_key_raw()
                && whom.common_name == subject.common_name
                && whom.organizations.iter().eq(&subject.organization)
                && names == subject.names
                && addresses == subject.addresses
                && u64::try_from(left).is_ok_and(|left| left > RENEW_BEFORE.as_secs()),
        )
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn params(subject: &Subject, now: Timestamp) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = &subject.organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, &subject.common_name);
    for name in &subject.names {
        let name = name.as_str().try_into().map_err(|_| IssueError::Name(name.clone()))?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.subject_alt_names.extend(subject.addresses.iter().copied().map(SanType::IpAddress));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![match subject.purpose {
        Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.use_authority_key_identifier_extension = true;
    date(&mut params, now, LIFETIME);
    Ok(params)
}

fn date(params: &mut CertificateParams, now: Timestamp, lifetime: Duration) {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = now - BACKDATED;
    params.not_after = now + lifetime;
    // Positive and of full length, so that two certificates of the same key differ.
    let mut serial: [u8; 16] = rand::random();
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
}
