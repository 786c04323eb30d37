//! Acting for others: `Impersonate-*` headers, each of which needs a right of its own.

use std::collections::BTreeMap;

use api::status::Status;
use http::HeaderMap;

use super::{AUTHENTICATED, UNAUTHENTICATED, accounts};
use crate::pipeline::{Attributes, UserInfo};
use crate::rest::unescaped;

/// The group of what is no resource but can be impersonated.
const GROUP: &str = "authentication.k8s.io";

/// The user for whom the request is made: the sender, unless its headers say otherwise. `allowed` is asked for each
/// thing that the sender wants to be.
pub(crate) fn acting(
    sender: UserInfo,
    headers: &HeaderMap,
    allowed: impl Fn(&Attributes<'_>) -> Result<(), Status>,
) -> Result<UserInfo, Status> {
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(sender);
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = text("impersonate-user");
    if name.is_empty() {
        return Err(Status::internal("requested groups, uid or extra without impersonating a user"));
    }
    let asked = Attributes { verb: "impersonate", version: "v1", ..Attributes::nothing(&sender) };
    let account = accounts::split_username(name);
    match account {
        Some((namespace, name)) => {
            allowed(&Attributes { resource: "serviceaccounts", namespace, name, ..asked })?
        }
        None => allowed(&Attributes { resource: "users", name, ..asked })?,
    }
    let given = headers.get_all("impersonate-group").iter();
    let mut groups: Vec<String> = given.filter_map(|group| group.to_str().ok().map(str::to_owned)).collect();
    for group in &groups {
        allowed(&Attributes { resource: "groups", name: group, ..asked })?;
    }
    if let (true, Some((namespace, _))) = (groups.is_empty(), account) {
        groups = accounts::groups(namespace);
    }
    let everyone = if name == "system:anonymous" { UNAUTHENTICATED } else { AUTHENTICATED };
    if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
        groups.push(everyone.to_owned());
    }
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let (Some(key), Ok(value)) = (header.as_str().strip_prefix("impersonate-extra-"), value.to_str()) {
            let key = unescaped(key).to_lowercase();
            allowed(&Attributes {
                group: GROUP,
                resource: "userextras",
                subresource: &key,
                name: value,
                ..asked
            })?;
            extra.entry(key).or_default().push(value.to_owned());
        }
    }
    let uid = text("impersonate-uid");
    if !uid.is_empty() {
        allowed(&Attributes { group: GROUP, resource: "uids", name: uid, ..asked })?;
    }
    Ok(UserInfo { name: name.to_owned(), uid: uid.to_owned(), groups, extra })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    /// Whom the headers make of alice, and what she was asked for.
    fn made(all: &[(&'static str, &str)]) -> (Result<UserInfo, Status>, Vec<String>) {
        let asked = parking_lot::Mutex::new(Vec::new());
        let alice = UserInfo { name: "alice".to_owned(), ..UserInfo::default() };
        let user = acting(alice, &headers(all), |wanted| {
            let Attributes { verb, group, resource, subresource, namespace, name, .. } = wanted;
            asked.lock().push(format!("{verb} {group}/{resource}/{subresource} {namespace}/{name}"));
            if *name == "forbidden" { Err(Status::bad_request("no")) } else { Ok(()) }
        });
        (user, asked.into_inner())
    }

    #[test]
    fn each_part_of_another_needs_a_right() {
        for (given, groups, asked) in [
            (&[][..], &[][..], &[][..]),
            (&[("impersonate-user", "bob")], &["system:authenticated"], &["impersonate /users/ /bob"]),
            (
                &[("impersonate-user", "bob"), ("impersonate-group", "dev")],
                &["dev", "system:authenticated"],
                &["impersonate /users/ /bob", "impersonate /groups/ /dev"],
            ),
            (
                &[("impersonate-user", "system:serviceaccount:ns:a")],
                &["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"],
                &["impersonate /serviceaccounts/ ns/a"],
            ),
            (
                &[("impersonate-user", "system:anonymous")],
                &["system:unauthenticated"],
                &["impersonate /users/ /system:anonymous"],
            ),
            (
                &[
                    ("impersonate-user", "bob"),
                    ("impersonate-uid", "7"),
                    ("impersonate-extra-acme%2fscopes", "view"),
                ],
                &["system:authenticated"],
                &[
                    "impersonate /users/ /bob",
                    "impersonate authentication.k8s.io/userextras/acme/scopes /view",
                    "impersonate authentication.k8s.io/uids/ /7",
                ],
            ),
        ] {
            let (user, wanted) = made(given);
            let user = user.unwrap();
            assert_eq!(user.groups, groups, "{given:?}");
            assert_eq!(wanted, asked, "{given:?}");
        }
        let (user, _) = made(&[("impersonate-user", "bob"), ("impersonate-extra-a%2fb", "c")]);
        assert_eq!(user.unwrap().extra["a/b"], ["c"]);
    }

    #[test]
    fn one_part_that_is_refused_refuses_all() {
        for given in [
            &[("impersonate-user", "forbidden")][..],
            &[("impersonate-user", "bob"), ("impersonate-group", "forbidden")],
            &[("impersonate-user", "bob"), ("impersonate-uid", "forbidden")],
            &[("impersonate-user", "bob"), ("impersonate-extra-x", "forbidden")],
        ] {
            assert_eq!(made(given).0.unwrap_err().code, 400, "{given:?}");
        }
        assert_eq!(made(&[("impersonate-group", "dev")]).0.unwrap_err().code, 500);
    }
}
