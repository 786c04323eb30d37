//! The token that leads from one page of a list to the next.
//!
//! Its form is that of Kubernetes: base64 of `{"v":"meta.k8s.io/v1","rv":REVISION,"start":"NAMESPACE/NAME\0"}`.
//! The revision names the snapshot that all pages show; -1 continues in whatever is the latest.

use api::status::Status;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::types::Answer;

const VERSION: &str = "meta.k8s.io/v1";

/// Where a page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContinueToken {
    /// The snapshot; absent is the latest, for a list that has given up being consistent.
    pub revision: Option<u64>,
    /// Of the last object of the page before.
    pub namespace: String,
    /// Of the last object of the page before.
    pub name: String,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: String,
    rv: i64,
    start: String,
}

impl ContinueToken {
    pub(super) fn encode(&self) -> String {
        let place = if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        };
        let wire = Wire {
            v: VERSION.to_owned(),
            rv: self.revision.map_or(-1, |revision| i64::try_from(revision).unwrap_or(i64::MAX)),
            start: format!("{place}\0"),
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// Reads what a client sends back; nothing about it is trusted.
    pub(super) fn decode(token: &str) -> Answer<Self> {
        let bad = |why: &str| {
            Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(token.trim_end_matches('='))
            .map_err(|error| bad(&base64_error(&error)))?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| match bytes.first() {
            Some(first) if *first != b'{' => {
                bad(&format!("invalid character '{}' looking for beginning of value", char::from(*first)))
            }
            _ => bad(&error.to_string()),
        })?;
        if wire.v != VERSION {
            return Err(bad("server does not recognize this encoded version"));
        }
        let revision = match wire.rv {
            -1 => None,
            0 => return Err(bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")),
            other => Some(u64::try_from(other).map_err(|_| bad("incorrect encoded start resourceVersion"))?),
        };
        let start = wire.start.trim_end_matches('\0');
        if start.is_empty() {
            return Err(bad("encoded start key empty (version meta.k8s.io/v1)"));
        }
        let (namespace, name) = start.split_once('/').unwrap_or(("", start));
        Ok(Self { revision, namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

fn base64_error(error: &base64::DecodeError) -> String {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
            format!("illegal base64 data at input byte {at}")
        }
        base64::DecodeError::InvalidLength(length) => format!("illegal base64 data at input byte {length}"),
        base64::DecodeError::InvalidPadding => "illegal base64 data".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place() {
        for (namespace, name, revision) in [("ns", "a", Some(7)), ("", "node", None)] {
            let token = ContinueToken { revision, namespace: namespace.to_owned(), name: name.to_owned() };
            assert_eq!(ContinueToken::decode(&token.encode()).ok(), Some(token));
        }
    }

    #[test]
    fn a_made_up_token_is_refused_as_in_kubernetes() {
        assert_eq!(
            ContinueToken::decode("abc").unwrap_err().message,
            "invalid continue token: continue key is not valid: invalid character 'i' looking for beginning of value"
        );
        for token in ["!", "e30", "eyJ2IjoiIn0", "AAAA", ""] {
            assert_eq!(ContinueToken::decode(token).unwrap_err().code, 400, "{token}");
        }
    }
}
