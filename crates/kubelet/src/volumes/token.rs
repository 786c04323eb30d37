//! ServiceAccount tokens in projected volumes: which ones a pod shows, and when each is asked for anew.
//!
//! A token is bound to its pod and lives as long as the source says. It is replaced when four fifths of that are
//! over, or after a day, whichever comes first, so that a program that reads the file never holds a dead one. Tokens
//! are in memory only: a kubelet that starts again asks again.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::pod::{Pod, ServiceAccountTokenProjection};

/// How long a token lives where its source says nothing.
const DEFAULT_LIFETIME: i64 = 3600;
/// After so long a token is replaced however long it lives.
const LONGEST_USE: Duration = Duration::from_secs(24 * 3600);

/// What a token is for. Two sources that say the same share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenKey {
    /// Who accepts it; empty for the apiserver.
    pub audience: String,
    /// How many seconds it lives.
    pub lifetime: i64,
}

impl TokenKey {
    /// What a source asks for.
    pub fn of(source: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: source.audience.clone(),
            lifetime: source.expiration_seconds.unwrap_or(DEFAULT_LIFETIME),
        }
    }

    /// The `TokenRequest` that asks the apiserver for it.
    pub fn request(&self, pod: &Pod) -> Value {
        let audiences: Vec<&str> =
            [self.audience.as_str()].into_iter().filter(|name| !name.is_empty()).collect();
        json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": self.lifetime,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": pod.metadata.name,
                    "uid": pod.metadata.uid,
                },
            },
        })
    }
}

/// A token as the apiserver gave it: the status of a `TokenRequest`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// The text.
    pub token: String,
    /// When it dies.
    pub expiration_timestamp: api::time::Time,
}

/// The text is a secret.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("expiration_timestamp", &self.expiration_timestamp)
            .finish_non_exhaustive()
    }
}

/// The texts of the tokens that a pod shows.
pub type Tokens = BTreeMap<TokenKey, String>;

/// The tokens that the volumes of a pod show, each once.
pub fn wanted(pod: &Pod) -> Vec<TokenKey> {
    let projected = pod.spec.volumes.iter().filter_map(|volume| volume.projected.as_ref());
    let sources = projected.flat_map(|projected| &projected.sources);
    let mut keys: Vec<_> =
        sources.filter_map(|source| source.service_account_token.as_ref()).map(TokenKey::of).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// The ServiceAccount that a pod runs as.
pub fn service_account(pod: &Pod) -> &str {
    match pod.spec.service_account_name.as_str() {
        "" => "default",
        name => name,
    }
}

/// The tokens of one pod.
#[derive(Debug, Default)]
pub struct TokenCache(BTreeMap<TokenKey, Held>);

#[derive(Debug)]
struct Held {
    token: Token,
    replace_at: Timestamp,
}

impl TokenCache {
    /// Which of the tokens a pod needs are to be asked for now.
    pub fn due(&self, pod: &Pod, now: Timestamp) -> Vec<TokenKey> {
        let is_due = |key: &TokenKey| self.0.get(key).is_none_or(|held| held.replace_at <= now);
        wanted(pod).into_iter().filter(is_due).collect()
    }

    /// Keeps a token that was asked for at `now`.
    pub fn keep(&mut self, key: TokenKey, token: Token, now: Timestamp) {
        // The apiserver may give less than what was asked for, or more.
        let lives = Duration::try_from(token.expiration_timestamp.0.duration_since(now)).unwrap_or_default();
        let replace_at = now.checked_add((lives / 5 * 4).min(LONGEST_USE)).unwrap_or(Timestamp::MAX);
        self.0.insert(key, Held { token, replace_at });
    }

    /// Whether a token that could not be replaced still serves.
    pub fn still_serves(&self, key: &TokenKey, now: Timestamp) -> bool {
        self.0.get(key).is_some_and(|held| held.token.expiration_timestamp.0 > now)
    }

    /// The texts.
    pub fn texts(&self) -> Tokens {
        self.0.iter().map(|(key, held)| (key.clone(), held.token.token.clone())).collect()
    }

    /// When the first of them is to be replaced.
    pub fn next(&self) -> Option<Timestamp> {
        self.0.values().map(|held| held.replace_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(sources: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
            "spec": {"volumes": [{"name": "v", "projected": {"sources": sources}}], "containers": []},
        }))
        .expect("a pod")
    }

    fn token(text: &str, dies: Timestamp) -> Token {
        Token { token: text.to_owned(), expiration_timestamp: api::time::Time(dies) }
    }

    #[test]
    fn a_token_is_asked_for_once_and_again_when_four_fifths_of_its_life_are_over() {
        let pod = pod(json!([
            {"serviceAccountToken": {"path": "a", "expirationSeconds": 1000}},
            {"serviceAccountToken": {"path": "b", "expirationSeconds": 1000}},
            {"serviceAccountToken": {"path": "c", "audience": "vault", "expirationSeconds": 10_000_000}},
        ]));
        let start: Timestamp = "2026-11-24T00:00:00Z".parse().expect("a time");
        let after = |seconds: u64| start.checked_add(Duration::from_secs(seconds)).expect("a time");
        let mut cache = TokenCache::default();
        let due = cache.due(&pod, start);
        assert_eq!(due.len(), 2, "equal sources share one");
        for key in due {
            let dies = after(u64::try_from(key.lifetime).expect("a lifetime"));
            cache.keep(key, token("x", dies), start);
        }
        assert!(cache.due(&pod, after(799)).is_empty());
        assert_eq!(cache.next(), Some(after(800)));
        assert_eq!(cache.due(&pod, after(800)).len(), 1);
        let short = TokenKey { audience: String::new(), lifetime: 1000 };
        assert!(cache.still_serves(&short, after(999)) && !cache.still_serves(&short, after(1000)));
        cache.keep(short, token("y", after(1800)), after(800));
        assert!(cache.due(&pod, after(86_399 - 86_399 % 800)).len() <= 1);
        let vault = TokenKey { audience: "vault".into(), lifetime: 10_000_000 };
        assert!(!cache.due(&pod, after(86_399)).contains(&vault));
        assert!(cache.due(&pod, after(86_400)).contains(&vault), "a day is the longest");
    }

    #[test]
    fn a_request_is_bound_to_the_pod_and_names_its_audience() {
        let pod = pod(json!([]));
        let request = TokenKey { audience: "vault".into(), lifetime: 600 }.request(&pod);
        assert_eq!(request["spec"]["audiences"], json!(["vault"]));
        assert_eq!(request["spec"]["expirationSeconds"], 600);
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u1"});
        assert_eq!(request["spec"]["boundObjectRef"], bound);
        let open = TokenKey { audience: String::new(), lifetime: 600 }.request(&pod);
        assert_eq!(open["spec"]["audiences"], json!([]), "the apiserver says who accepts it");
    }
}
