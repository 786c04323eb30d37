//! Who asks: found out from the client certificate of the connection.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use api::status::{Reason, Status};
use component::tls;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use crate::pipeline::UserInfo;

/// In which everyone is who was recognised.
const AUTHENTICATED: &str = "system:authenticated";

/// Tells with which certificate somebody came, as Kubernetes puts it.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// The user of a verified client certificate; `None` where it names nobody.
pub(crate) fn user_of(certificate: &CertificateDer<'_>) -> Option<UserInfo> {
    let subject = tls::subject(certificate)?;
    let mut groups = subject.organizations;
    if !groups.iter().any(|group| group == AUTHENTICATED) {
        groups.push(AUTHENTICATED.to_owned());
    }
    let mut credential = "X509SHA256=".to_owned();
    for byte in Sha256::digest(certificate.as_ref()) {
        let _ = write!(credential, "{byte:02x}");
    }
    Some(UserInfo {
        name: subject.common_name,
        uid: String::new(),
        groups,
        extra: BTreeMap::from([(CREDENTIAL.to_owned(), vec![credential])]),
    })
}

/// Who came without a certificate.
pub(crate) fn anonymous() -> UserInfo {
    UserInfo {
        name: "system:anonymous".to_owned(),
        groups: vec!["system:unauthenticated".to_owned()],
        ..UserInfo::default()
    }
}

/// What somebody is told who was not recognised and must be.
pub(crate) fn unauthorized() -> Status {
    Status::failure(Reason::Unauthorized, "Unauthorized")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Authority, Subject};

    #[test]
    fn a_certificate_names_the_user_and_the_groups() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        let authority = Authority::generate(now).unwrap();
        let identity =
            authority.issue(&Subject::client("system:node:n1", Some("system:nodes")), now).unwrap();
        let certificates = tls::certificates(&identity.certificate).unwrap();
        let user = user_of(&certificates[0]).unwrap();
        assert_eq!(user.name, "system:node:n1");
        assert_eq!(user.groups, ["system:nodes", "system:authenticated"]);
        assert!(user.extra[CREDENTIAL][0].starts_with("X509SHA256="));
        assert_eq!(user_of(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
