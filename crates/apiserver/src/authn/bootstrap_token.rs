//! Bootstrap tokens, `abcdef.0123456789abcdef`: Secrets in `kube-system` that let a new machine in for a while.

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use store::{Bucket, Key, Snapshot};

use crate::pipeline::{UserInfo, object_of};

const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// Whether it has the form of one, and its two halves.
fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let fits = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    (fits(id, 6) && fits(secret, 16)).then_some((id, secret))
}

/// Whose token it is; `None` where there is no such token, or where it has expired or is not for this.
pub(super) fn identify(snapshot: &Snapshot, token: &str, now: Timestamp) -> Option<UserInfo> {
    let (id, secret) = split(token)?;
    let name = format!("bootstrap-token-{id}");
    let entry = snapshot.get(&Key::new(&Bucket::from("secrets"), "kube-system", &name))?;
    let object = object_of(entry).ok()?;
    judge(&object, id, secret, now)
}

fn judge(object: &Value, id: &str, secret: &str, now: Timestamp) -> Option<UserInfo> {
    let data = |name: &str| {
        let bytes = STANDARD.decode(object["data"][name].as_str().unwrap_or_default()).unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    };
    constant_time::verify_slices_are_equal(data("token-secret").as_bytes(), secret.as_bytes()).ok()?;
    let expiration = data("expiration");
    let expired = !expiration.is_empty() && expiration.parse::<Timestamp>().map_or(true, |end| now >= end);
    if object["type"] != TYPE
        || !object["metadata"]["deletionTimestamp"].is_null()
        || data("token-id") != id
        || data("usage-bootstrap-authentication") != "true"
        || expired
    {
        return None;
    }
    let mut groups = vec![GROUP.to_owned()];
    for group in data("auth-extra-groups").split(',').filter(|group| !group.is_empty()) {
        // A group of another kind would give a machine the rights of people.
        let rest = group.strip_prefix("system:bootstrappers:")?;
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b':' | b'-');
        if !rest.bytes().all(plain) || !rest.ends_with(|last: char| last.is_ascii_alphanumeric()) {
            return None;
        }
        groups.push(group.to_owned());
    }
    Some(UserInfo { name: format!("system:bootstrap:{id}"), groups, ..UserInfo::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bootstrap_token_holds_while_its_secret_says_so() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        let good = || {
            let data = [
                ("token-id", "abcdef"),
                ("token-secret", "0123456789abcdef"),
                ("usage-bootstrap-authentication", "true"),
                ("expiration", "2026-11-24T12:00:01Z"),
                ("auth-extra-groups", "system:bootstrappers:workers"),
            ];
            let data: serde_json::Map<String, Value> = data
                .iter()
                .map(|(name, value)| ((*name).to_owned(), STANDARD.encode(value).into()))
                .collect();
            json!({"type": TYPE, "metadata": {}, "data": data})
        };
        let judged = |object: &Value| judge(object, "abcdef", "0123456789abcdef", now);
        let user = judged(&good()).unwrap();
        assert_eq!(user.name, "system:bootstrap:abcdef");
        assert_eq!(user.groups, [GROUP, "system:bootstrappers:workers"]);
        assert_eq!(judge(&good(), "abcdef", "0123456789abcdee", now), None);
        for (field, value) in [
            ("token-id", "abcdeg"),
            ("token-secret", "x"),
            ("usage-bootstrap-authentication", "false"),
            ("expiration", "2026-11-24T12:00:00Z"),
            ("expiration", "soon"),
            ("auth-extra-groups", "system:masters"),
        ] {
            let mut object = good();
            object["data"][field] = STANDARD.encode(value).into();
            assert_eq!(judged(&object), None, "{field} {value}");
        }
        let mut other = good();
        other["type"] = "Opaque".into();
        assert_eq!(judged(&other), None);
        for (token, whole) in
            [("abcdef.0123456789abcdef", true), ("abcdef.0123456789ABCDEF", false), ("a.b", false)]
        {
            assert_eq!(split(token).is_some(), whole, "{token}");
        }
    }
}
