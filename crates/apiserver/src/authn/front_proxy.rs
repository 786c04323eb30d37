//! Front proxies: servers that have found out who their users are, and say so in headers.
//!
//! They are believed for the certificate that they show, and for nothing else: it comes from the front-proxy authority,
//! which signs nothing but these, and names one of the proxies that are allowed. Servers of aggregated APIs believe this
//! server in the same way; what they need for that stands in the ConfigMap
//! `kube-system/extension-apiserver-authentication` ([`FrontProxy::announced`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use component::tls::{self, ClientCertificates, TlsError};
use http::HeaderMap;
use jiff::Timestamp;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};

use super::{AUTHENTICATED, AuthnArgs, UNAUTHENTICATED, user_of};
use crate::pipeline::UserInfo;
use crate::rest::unescaped;

/// Who the client of a connection is, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// Somebody whom the cluster's authority knows.
    User(UserInfo),
    /// A front proxy of that name.
    Proxy(String),
}

/// Tells the certificates of users from those of front proxies.
#[derive(Clone)]
pub(crate) struct Certificates {
    users: Arc<dyn ClientCertVerifier>,
    proxies: Arc<dyn ClientCertVerifier>,
}

impl Certificates {
    /// The authorities (PEM) that sign the certificates of users and of proxies.
    pub(crate) fn new(users: &[u8], proxies: &[u8]) -> Result<Self, TlsError> {
        let verifier = |authority| tls::client_verifier(authority, ClientCertificates::Required);
        Ok(Self { users: verifier(users)?, proxies: verifier(proxies)? })
    }

    /// Who shows this chain, which one of the authorities has signed.
    pub(crate) fn of(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Option<Came> {
        let (own, rest) = chain.split_first()?;
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        // Nobody whom the one authority has signed is ever taken for one of the other.
        if self.users.verify_client_cert(own, rest, now).is_ok() {
            return user_of(own).map(Came::User);
        }
        self.proxies.verify_client_cert(own, rest, now).ok()?;
        tls::subject(own).map(|subject| Came::Proxy(subject.common_name))
    }
}

/// Which proxies are believed, and how they say who their users are.
#[derive(Debug, Clone, Default)]
pub struct FrontProxy {
    /// Their authority (PEM).
    pub authority: String,
    /// Their names; all that the authority has signed where it is empty.
    pub allowed: Vec<String>,
    users: Vec<String>,
    uids: Vec<String>,
    groups: Vec<String>,
    extras: Vec<String>,
}

impl FrontProxy {
    /// With the headers of these flags.
    pub fn new(authority: String, args: &AuthnArgs) -> Self {
        Self {
            authority,
            allowed: args
                .requestheader_allowed_names
                .iter()
                .filter(|name| !name.is_empty())
                .cloned()
                .collect(),
            users: args.requestheader_username_headers.clone(),
            uids: args.requestheader_uid_headers.clone(),
            groups: args.requestheader_group_headers.clone(),
            extras: args.requestheader_extra_headers_prefix.clone(),
        }
    }

    /// For whom a proxy of that name sends a request; `None` where it says nobody, or is not allowed to.
    pub(crate) fn user(&self, proxy: &str, headers: &HeaderMap) -> Option<UserInfo> {
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed == proxy) {
            return None;
        }
        let first = |names: &[String]| {
            let mut values = names.iter().filter_map(|name| headers.get(name)?.to_str().ok());
            values.find(|value| !value.is_empty()).map(str::to_owned)
        };
        let name = first(&self.users)?;
        let mut groups: Vec<String> = self
            .groups
            .iter()
            .flat_map(|name| headers.get_all(name))
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect();
        let everyone = if name == "system:anonymous" { UNAUTHENTICATED } else { AUTHENTICATED };
        if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
            groups.push(everyone.to_owned());
        }
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (header, value) in headers {
            let key = self
                .extras
                .iter()
                .find_map(|prefix| header.as_str().strip_prefix(prefix.to_ascii_lowercase().as_str()));
            if let (Some(key), Ok(value)) = (key, value.to_str()) {
                extra.entry(unescaped(key).to_lowercase()).or_default().push(value.to_owned());
            }
        }
        Some(UserInfo { name, uid: first(&self.uids).unwrap_or_default(), groups, extra })
    }

    /// What servers of aggregated APIs have to know; `clients` is the authority of users (PEM).
    pub(crate) fn announced(&self, clients: &str) -> Value {
        let list = |names: &[String]| json!(names).to_string();
        json!({
            "client-ca-file": clients,
            "requestheader-allowed-names": list(&self.allowed),
            "requestheader-client-ca-file": self.authority,
            "requestheader-extra-headers-prefix": list(&self.extras),
            "requestheader-group-headers": list(&self.groups),
            "requestheader-uid-headers": list(&self.uids),
            "requestheader-username-headers": list(&self.users),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Authority, Subject};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_proxy_says_for_whom_it_asks() {
        let proxy = FrontProxy::new(String::new(), &AuthnArgs::default());
        let sent = headers(&[
            ("x-remote-user", "ann"),
            ("x-remote-uid", "7"),
            ("x-remote-group", "dev"),
            ("x-remote-group", "ops"),
            ("x-remote-extra-scopes%2fa", "one"),
            ("x-remote-extra-scopes%2fa", "two"),
        ]);
        let user = proxy.user("front-proxy-client", &sent).unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("ann", "7"));
        assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(user.extra["scopes/a"], ["one", "two"]);
        assert_eq!(proxy.user("another", &sent), None);
        assert_eq!(proxy.user("front-proxy-client", &headers(&[("x-remote-group", "dev")])), None);
    }

    #[test]
    fn only_the_clusters_authority_makes_users() {
        let now = Timestamp::now();
        let (users, proxies) = (Authority::generate(now).unwrap(), Authority::generate(now).unwrap());
        let pem = |authority: &Authority| authority.certificate_pem().as_bytes().to_vec();
        let certificates = Certificates::new(&pem(&users), &pem(&proxies)).unwrap();
        let subject = Subject::client("front-proxy-client", Some("system:masters"));
        let came = |authority: &Authority| {
            let identity = authority.issue(&subject, now).unwrap();
            certificates.of(&tls::certificates(&identity.certificate).unwrap(), now)
        };
        assert!(matches!(came(&users), Some(Came::User(user)) if user.name == "front-proxy-client"));
        assert_eq!(came(&proxies), Some(Came::Proxy("front-proxy-client".to_owned())));
        let stranger = Authority::generate(now).unwrap();
        assert_eq!((came(&stranger), certificates.of(&[], now)), (None, None));
    }
}
