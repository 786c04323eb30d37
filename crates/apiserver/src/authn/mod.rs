//! Who asks: found out from the client certificate of the connection or from a token, and for whom somebody acts.
//!
//! ```text
//! certificate ─┐ (of a user; or of a front proxy, which says who its user is: front_proxy)
//! Bearer token ┼─> Identity ─> impersonation ─> UserInfo
//!              └ service accounts (accounts, keys), a file (file), people (user_token), bootstrap tokens (bootstrap_token)
//! ```
//! A certificate that the cluster's authority signed goes first. A token that is sent and does not hold is refused,
//! also where nobody need be known: so a client learns that its token is of no use any more.

pub mod accounts;
mod bootstrap_token;
mod config;
mod file;
pub(crate) mod front_proxy;
mod impersonation;
pub mod keys;
pub(crate) mod secrets;
pub(crate) mod user_token;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use api::status::{Reason, Status};
use component::tls;
use http::{HeaderMap, header};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use store::Store;

pub use accounts::ISSUER;
pub use config::AuthnArgs;
pub use file::{TokenFile, TokenFileError};
pub use front_proxy::FrontProxy;
pub(crate) use front_proxy::{Came, Certificates};
pub(crate) use impersonation::acting;
pub use keys::{KeyError, SigningKey};

use crate::pipeline::UserInfo;

/// In which everyone is who was recognised.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";

/// In which everyone is who was not.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Tells with which certificate somebody came, as Kubernetes puts it.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user, in all of its groups.
    pub user: UserInfo,
    /// For which of the audiences that were asked for the token is.
    pub audiences: Vec<String>,
}

/// Knows all tokens.
pub struct Authenticator {
    store: Store,
    key: Arc<SigningKey>,
    file: TokenFile,
    proxies: FrontProxy,
}

impl Authenticator {
    /// With a key for the tokens of service accounts, and the tokens of a file.
    pub fn new(store: &Store, key: Arc<SigningKey>, file: TokenFile) -> Self {
        Self { store: store.clone(), key, file, proxies: FrontProxy::default() }
    }

    /// The same, which believes front proxies.
    pub fn with_front_proxies(self, proxies: FrontProxy) -> Self {
        Self { proxies, ..self }
    }

    /// The key that signs the tokens of service accounts.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Whose token it is, asked by somebody of these audiences; `None` where it holds for none of them.
    pub fn identify(&self, token: &str, audiences: &[String], now: Timestamp) -> Option<Identity> {
        let snapshot = self.store.snapshot();
        // The tokens that name no audience are for the API.
        let api = || audiences.iter().filter(|own| *own == ISSUER).cloned().collect::<Vec<_>>();
        let plain = |user: UserInfo| Identity { user, audiences: api() };
        let found = match self.file.identify(token) {
            Some(user) => Some(plain(user)),
            None => match accounts::identify(&self.key, &snapshot, token, audiences, now) {
                Some(identity) => Some(identity),
                None => bootstrap_token::identify(&snapshot, token, now)
                    .or_else(|| user_token::identify(&snapshot, token, now))
                    .map(plain),
            },
        };
        let mut identity = found.filter(|identity| !identity.audiences.is_empty())?;
        let groups = &mut identity.user.groups;
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Some(identity)
    }

    /// Who sends a request: `None` where it says nothing about that, a Status where what it says does not hold.
    pub(crate) fn sender(
        &self,
        certificate: Option<&Came>,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Option<UserInfo>, Status> {
        match certificate {
            Some(Came::User(user)) => return Ok(Some(user.clone())),
            Some(Came::Proxy(name)) => {
                return self.proxies.user(name, headers).map(Some).ok_or_else(unauthorized);
            }
            None => {}
        }
        let Some(token) = bearer(headers) else { return Ok(None) };
        let identity = self.identify(token, &[ISSUER.to_owned()], now);
        identity.map(|identity| Some(identity.user)).ok_or_else(unauthorized)
    }
}

/// The token of a request, where it has one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

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

/// What somebody is told who was not recognised and must be.
pub(crate) fn unauthorized() -> Status {
    Status::failure(Reason::Unauthorized, "Unauthorized")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Authority, Subject};

    #[test]
    fn a_request_has_a_token_or_none() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer  ", None),
        ] {
            let headers: HeaderMap = [(header::AUTHORIZATION, value.parse().unwrap())].into_iter().collect();
            assert_eq!(bearer(&headers), token, "{value:?}");
        }
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
