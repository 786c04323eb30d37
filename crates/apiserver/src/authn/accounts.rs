//! Tokens of service accounts: what they say, how they are made, and whether they still hold.
//!
//! A token is bound to its service account, and may be bound to a pod, a node or a Secret too: it holds no longer than
//! all of them are there with the uid that it names. An old kind of token stands in a Secret and never expires; it
//! holds as long as that Secret does.

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Bucket, Entry, Key, Snapshot};

use super::Identity;
use super::keys::SigningKey;
use crate::pipeline::{UserInfo, object_of};

/// Who issues tokens, and the audience of the API itself, as kubeadm has it.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The issuer of tokens that stand in Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// How long after the deletion of a bound object began its tokens still hold: pods may need them to end well.
const DELETION_LEEWAY_SECONDS: i64 = 60;

/// Says with which token somebody came.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// An object as a token names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) uid: String,
}

/// What a token says about objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Reference>,
    pub(crate) serviceaccount: Reference,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) bound: Bound,
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// What a token in a Secret says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LegacyClaims {
    iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    name: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: String,
    sub: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyClaims {
    Bound(Box<Claims>),
    Legacy(LegacyClaims),
}

/// The name under which a service account is known as a user.
pub(crate) fn username(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// Namespace and name of the service account that a user is.
pub(crate) fn split_username(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?
        .split_once(':')
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains(':'))
}

/// The groups of the service accounts of a namespace.
pub(crate) fn groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}

/// A token for a Secret of type `kubernetes.io/service-account-token`.
pub(crate) fn legacy_token(
    key: &SigningKey,
    namespace: &str,
    secret: &str,
    account: &Reference,
) -> Option<String> {
    key.sign(&LegacyClaims {
        iss: LEGACY_ISSUER.to_owned(),
        namespace: namespace.to_owned(),
        secret: secret.to_owned(),
        name: account.name.clone(),
        uid: account.uid.clone(),
        sub: username(namespace, &account.name),
    })
}

/// Whose token it is. `None` where this server did not sign it, or where it does not hold (any more).
pub(super) fn identify(
    key: &SigningKey,
    snapshot: &Snapshot,
    token: &str,
    audiences: &[String],
    now: Timestamp,
) -> Option<Identity> {
    match key.verify(token)? {
        AnyClaims::Bound(claims) => bound(snapshot, &claims, audiences, now.as_second()),
        AnyClaims::Legacy(claims) => legacy(snapshot, &claims, token, audiences),
    }
}

fn bound(snapshot: &Snapshot, claims: &Claims, audiences: &[String], now: i64) -> Option<Identity> {
    let Claims { bound, .. } = claims;
    let subject = username(&bound.namespace, &bound.serviceaccount.name);
    if claims.iss != ISSUER || claims.sub != subject || now < claims.nbf || now >= claims.exp {
        return None;
    }
    let shared: Vec<String> = audiences.iter().filter(|own| claims.aud.contains(own)).cloned().collect();
    if shared.is_empty() {
        return None;
    }
    let namespace = bound.namespace.as_str();
    let stands = |bucket: &str, namespace: &str, reference: &Option<Reference>| match reference {
        Some(reference) => holds(snapshot, bucket, namespace, reference, now),
        None => true,
    };
    if !holds(snapshot, "serviceaccounts", namespace, &bound.serviceaccount, now)
        || !stands("pods", namespace, &bound.pod)
        || !stands("secrets", namespace, &bound.secret)
        // The node of a pod is told, not checked: the pod is.
        || bound.pod.is_none() && !stands("nodes", "", &bound.node)
    {
        return None;
    }
    let mut user = user(namespace, &bound.serviceaccount);
    let mut extra = |name: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value.to_owned()]);
        }
    };
    for (kind, reference) in [("pod", &bound.pod), ("node", &bound.node)] {
        if let Some(Reference { name, uid }) = reference {
            extra(&format!("{kind}-name"), name);
            extra(&format!("{kind}-uid"), uid);
        }
    }
    user.extra.insert(CREDENTIAL.to_owned(), vec![format!("JTI={}", claims.jti)]);
    Some(Identity { user, audiences: shared })
}

fn legacy(snapshot: &Snapshot, claims: &LegacyClaims, token: &str, audiences: &[String]) -> Option<Identity> {
    let LegacyClaims { namespace, secret, name, uid, .. } = claims;
    // Such a token is for the API only.
    if claims.iss != LEGACY_ISSUER || claims.sub != username(namespace, name) {
        return None;
    }
    let shared: Vec<String> = audiences.iter().filter(|own| *own == ISSUER).cloned().collect();
    let account = Reference { name: name.clone(), uid: uid.clone() };
    let entry = snapshot.get(&Key::new(&Bucket::from("secrets"), namespace, secret))?;
    let object = object_of(entry).ok()?;
    if shared.is_empty()
        || !object["metadata"]["deletionTimestamp"].is_null()
        || live(snapshot, "serviceaccounts", namespace, &account).is_none_or(|object| is_deleting(&object))
    {
        return None;
    }
    let stored = STANDARD.decode(object["data"]["token"].as_str()?).ok()?;
    constant_time::verify_slices_are_equal(&stored, token.as_bytes()).ok()?;
    Some(Identity { user: user(namespace, &account), audiences: shared })
}

fn user(namespace: &str, account: &Reference) -> UserInfo {
    UserInfo {
        name: username(namespace, &account.name),
        uid: account.uid.clone(),
        groups: groups(namespace),
        ..UserInfo::default()
    }
}

/// Whether the object is there, with that uid, and was not deleted a while ago.
fn holds(snapshot: &Snapshot, bucket: &str, namespace: &str, reference: &Reference, now: i64) -> bool {
    live(snapshot, bucket, namespace, reference).is_some_and(|object| {
        let deleted = object["metadata"]["deletionTimestamp"].as_str();
        deleted
            .and_then(|time| time.parse::<Timestamp>().ok())
            .is_none_or(|time| now < time.as_second() + DELETION_LEEWAY_SECONDS)
    })
}

fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn live(snapshot: &Snapshot, bucket: &str, namespace: &str, reference: &Reference) -> Option<Value> {
    let entry: &Entry = snapshot.get(&Key::new(&Bucket::from(bucket), namespace, &reference.name))?;
    let object = object_of(entry).ok()?;
    (object["metadata"]["uid"] == reference.uid.as_str()).then_some(object)
}
