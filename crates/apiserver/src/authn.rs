//! Who asks: found out from the client certificate of the connection, and for whom an administrator acts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use api::status::{Details, Reason, Status};
use component::tls;
use http::HeaderMap;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use crate::pipeline::UserInfo;

/// In which everyone is who was recognised.
const AUTHENTICATED: &str = "system:authenticated";

/// In which everyone is who was not.
const UNAUTHENTICATED: &str = "system:unauthenticated";

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
        groups: vec![UNAUTHENTICATED.to_owned()],
        ..UserInfo::default()
    }
}

/// Who may act for others. Finer rights come with rules that can name them.
const ADMINISTRATORS: &str = "system:masters";

/// The user for whom the request is made: the sender, unless its `Impersonate-*` headers say otherwise.
pub(crate) fn acting(sender: UserInfo, headers: &HeaderMap) -> Result<UserInfo, Status> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let impersonates = headers.keys().any(|name| name.as_str().starts_with("impersonate-"));
    if !impersonates {
        return Ok(sender);
    }
    let name = text("impersonate-user");
    if name.is_empty() {
        return Err(Status::internal("requested groups, uid or extra without impersonating a user"));
    }
    if !sender.groups.iter().any(|group| group == ADMINISTRATORS) {
        let message = format!(
            "users {name:?} is forbidden: User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
            sender.name
        );
        let details = Details { name: name.to_owned(), kind: "users".to_owned(), ..Details::default() };
        return Err(Status::failure(Reason::Forbidden, message).with_details(details));
    }
    let given = headers.get_all("impersonate-group").iter();
    let mut groups: Vec<String> = given.filter_map(|group| group.to_str().ok().map(str::to_owned)).collect();
    if let (true, Some(account)) = (groups.is_empty(), name.strip_prefix("system:serviceaccount:")) {
        let namespace = account.split(':').next().unwrap_or_default();
        groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let everyone = if name == "system:anonymous" { UNAUTHENTICATED } else { AUTHENTICATED };
    if !groups.iter().any(|group| group == everyone) {
        groups.push(everyone.to_owned());
    }
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let (Some(key), Ok(value)) = (header.as_str().strip_prefix("impersonate-extra-"), value.to_str()) {
            extra.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    Ok(UserInfo { name: name.to_owned(), uid: text("impersonate-uid").to_owned(), groups, extra })
}

/// What somebody is told who was not recognised and must be.
pub(crate) fn unauthorized() -> Status {
    Status::failure(Reason::Unauthorized, "Unauthorized")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Authority, Subject};

    fn user(name: &str, group: &str) -> UserInfo {
        UserInfo { name: name.to_owned(), groups: vec![group.to_owned()], ..UserInfo::default() }
    }

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn administrators_act_for_others_and_nobody_else_does() {
        let admin = || user("kubernetes-admin", ADMINISTRATORS);
        assert_eq!(acting(admin(), &HeaderMap::new()), Ok(admin()));
        for (given, name, groups) in [
            (headers(&[("impersonate-user", "bob")]), "bob", vec!["system:authenticated"]),
            (
                headers(&[("impersonate-user", "bob"), ("impersonate-group", "dev")]),
                "bob",
                vec!["dev", "system:authenticated"],
            ),
            (
                headers(&[("impersonate-user", "system:serviceaccount:ns:a")]),
                "system:serviceaccount:ns:a",
                vec!["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"],
            ),
            (headers(&[("impersonate-user", "system:anonymous")]), "system:anonymous", vec![UNAUTHENTICATED]),
        ] {
            let found = acting(admin(), &given).unwrap();
            assert_eq!(
                (found.name.as_str(), found.groups),
                (name, groups.iter().map(|g| (*g).to_owned()).collect())
            );
        }
        let node = user("system:node:n1", "system:nodes");
        let status = acting(node, &headers(&[("impersonate-user", "kubernetes-admin")])).unwrap_err();
        assert_eq!(status.code, 403);
        assert_eq!(acting(admin(), &headers(&[("impersonate-group", "dev")])).unwrap_err().code, 500);
    }

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
