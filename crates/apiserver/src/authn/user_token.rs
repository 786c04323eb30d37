//! Tokens of people, as `cox user add` makes them: `cox-ID.SECRET`. Each is told of by a Secret in `kube-system`, which
//! has the name and groups of its user, when it expires, and the hash of the token, but not the token. Whoever deletes
//! the Secret takes the token back.
//!
//! Such a Secret makes whoever holds its token another: so only who may impersonate that user and all of its groups
//! may write one.

use api::status::{Details, Reason, Status};
use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use store::{Bucket, Key, Snapshot};

use crate::pipeline::{Attributes, UserInfo, object_of};

const TYPE: &str = "coxswain.io/user-token";
const NAMESPACE: &str = "kube-system";

/// Names that begin so are those of components, nodes and service accounts.
const RESERVED: &str = "system:";

/// Whose token it is; `None` where there is no such token, or where it has expired.
pub(super) fn identify(snapshot: &Snapshot, token: &str, now: Timestamp) -> Option<UserInfo> {
    let (id, _) = token.strip_prefix("cox-")?.split_once('.')?;
    let name = format!("user-token-{id}");
    let entry = snapshot.get(&Key::new(&Bucket::from("secrets"), NAMESPACE, &name))?;
    judge(&object_of(entry).ok()?, token, now)
}

fn judge(secret: &Value, token: &str, now: Timestamp) -> Option<UserInfo> {
    let expires: Timestamp = data(secret, "expiration").parse().ok()?;
    let mut hash = String::new();
    for byte in Sha256::digest(token) {
        hash.push_str(&format!("{byte:02x}"));
    }
    constant_time::verify_slices_are_equal(data(secret, "sha256").as_bytes(), hash.as_bytes()).ok()?;
    let holds = secret["type"] == TYPE && secret["metadata"]["deletionTimestamp"].is_null() && now < expires;
    let user = user(secret);
    (holds && !user.name.is_empty() && !user.name.starts_with(RESERVED)).then_some(user)
}

fn data(secret: &Value, name: &str) -> String {
    let bytes = STANDARD.decode(secret["data"][name].as_str().unwrap_or_default()).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

fn user(secret: &Value) -> UserInfo {
    let groups = data(secret, "groups");
    let groups = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
    UserInfo { name: data(secret, "username"), groups, ..UserInfo::default() }
}

/// Says no where a Secret would let `writer` become more than he is.
pub(crate) fn check_write(
    writer: &UserInfo,
    new: &Value,
    old: Option<&Value>,
    allowed: impl Fn(&Attributes<'_>) -> Result<(), Status>,
) -> Result<(), Status> {
    if new["type"] != TYPE || old.is_some_and(|old| old["type"] == TYPE && old["data"] == new["data"]) {
        return Ok(());
    }
    let user = user(new);
    if user.name.starts_with(RESERVED) {
        let name = new["metadata"]["name"].as_str().unwrap_or_default();
        let message =
            format!("secrets {name:?} is forbidden: the names of users do not begin with {RESERVED:?}");
        let details = Details { name: name.to_owned(), kind: "secrets".to_owned(), ..Details::default() };
        return Err(Status::failure(Reason::Forbidden, message).with_details(details));
    }
    let asked = Attributes { verb: "impersonate", version: "v1", ..Attributes::nothing(writer) };
    allowed(&Attributes { resource: "users", name: &user.name, ..asked })?;
    for group in &user.groups {
        allowed(&Attributes { resource: "groups", name: group, ..asked })?;
    }
    Ok(())
}
