//! What a certificate signing request (PKCS #10) asks for, as far as signers look at it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Requested {
    pub(super) common_name: String,
    pub(super) organizations: Vec<String>,
    pub(super) names: usize,
    pub(super) addresses: usize,
    pub(super) emails: usize,
    pub(super) uris: usize,
    /// What the certificate is to be for.
    pub(super) usages: Vec<String>,
    /// Whether something stands in its subject more than once, which no certificate of ours can hold.
    pub(super) is_repeated: bool,
}

/// The PEM text of a request.
pub(super) fn pem(spec: &Value) -> Result<Vec<u8>, String> {
    STANDARD.decode(spec["request"].as_str().unwrap_or_default()).map_err(|error| error.to_string())
}

impl Requested {
    /// Reads the spec of a request, and checks that who asks has the key.
    pub(super) fn read(spec: &Value) -> Result<Self, String> {
        let block = || "PEM block type must be CERTIFICATE REQUEST".to_owned();
        let text = pem(spec)?;
        let (_, pem) = parse_x509_pem(&text).map_err(|_| block())?;
        if !matches!(pem.label.as_str(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
            return Err(block());
        }
        let (_, request) = X509CertificationRequest::from_der(&pem.contents)
            .map_err(|_| "x509: malformed certificate request".to_owned())?;
        request.verify_signature().map_err(|_| "x509: the signature is not of the key".to_owned())?;
        let info = &request.certification_request_info;
        let of =
            |names: Vec<Option<&str>>| names.into_iter().flatten().map(str::to_owned).collect::<Vec<_>>();
        let subject = &info.subject;
        let common = of(subject.iter_common_name().map(|name| name.as_str().ok()).collect());
        let organizations = of(subject.iter_organization().map(|name| name.as_str().ok()).collect());
        let mut kinds: Vec<String> =
            subject.iter_attributes().map(|attribute| attribute.attr_type().to_id_string()).collect();
        let count = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        let usages = spec["usages"].as_array().into_iter().flatten();
        let mut own = Self {
            common_name: common.into_iter().next().unwrap_or_default(),
            organizations,
            usages: usages.filter_map(Value::as_str).map(str::to_owned).collect(),
            is_repeated: kinds.len() < count,
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(_) => own.names += 1,
                    GeneralName::IPAddress(_) => own.addresses += 1,
                    GeneralName::RFC822Name(_) => own.emails += 1,
                    _ => own.uris += 1,
                }
            }
        }
        Ok(own)
    }
}
