//! Who may do what. One question, asked in one place; the answers so far: components and administrators may
//! everything, everyone else may look at health, version and discovery.

use api::status::{Details, Reason, Status};

use super::types::UserInfo;

/// What is asked for. Either a resource or a path.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// As `get`, `deletecollection`.
    pub verb: &'a str,
    /// Empty for the core group.
    pub group: &'a str,
    /// As `v1`.
    pub version: &'a str,
    /// As `pods`.
    pub resource: &'a str,
    /// As `log`, or empty.
    pub subresource: &'a str,
    /// Empty for all namespaces and for what is in none.
    pub namespace: &'a str,
    /// Empty for collections.
    pub name: &'a str,
    /// As `/metrics`; empty where a resource is asked for.
    pub path: &'a str,
}

impl<'a> Attributes<'a> {
    pub(super) fn nothing(user: &'a UserInfo) -> Self {
        Self {
            user,
            verb: "",
            group: "",
            version: "",
            resource: "",
            subresource: "",
            namespace: "",
            name: "",
            path: "",
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No; the reason, which may be empty, reaches the user.
    Deny(String),
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync {
    /// Decides from memory: it is asked on every request.
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision;
}

/// Lets administrators and the components do everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct ComponentsOnly;

/// Paths that anyone may read, as in the role `system:public-info-viewer` and `system:discovery`.
const PUBLIC_PATHS: [&str; 8] =
    ["/healthz", "/livez", "/readyz", "/version", "/api", "/apis", "/openapi", "/.well-known"];

impl Authorizer for ComponentsOnly {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let user = attributes.user;
        let in_group = |name: &str| user.groups.iter().any(|group| group == name);
        let trusted = in_group("system:masters")
            || matches!(
                user.name.as_str(),
                "system:kube-scheduler"
                    | "system:kube-controller-manager"
                    | "system:kube-proxy"
                    | "system:apiserver"
            )
            || (user.name.starts_with("system:node:") && in_group("system:nodes"));
        let public = attributes.verb == "get"
            && PUBLIC_PATHS.iter().any(|path| {
                attributes
                    .path
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
        if trusted || public { Decision::Allow } else { Decision::Deny(String::new()) }
    }
}

/// Turns a no into the Status that says what was not allowed.
pub(super) fn check(authorizer: &dyn Authorizer, attributes: &Attributes<'_>) -> Result<(), Status> {
    match authorizer.authorize(attributes) {
        Decision::Allow => Ok(()),
        Decision::Deny(why) => Err(forbidden(attributes, &why)),
    }
}

fn forbidden(attributes: &Attributes<'_>, why: &str) -> Status {
    let Attributes { user, verb, group, resource, subresource, namespace, name, path, .. } = attributes;
    let tail = if why.is_empty() { String::new() } else { format!(": {why}") };
    if !path.is_empty() {
        return Status::failure(
            Reason::Forbidden,
            format!("forbidden: User {:?} cannot {verb} path {path:?}{tail}", user.name),
        )
        .with_details(Details::default());
    }
    let part =
        if subresource.is_empty() { (*resource).to_owned() } else { format!("{resource}/{subresource}") };
    let place = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{namespace}\"")
    };
    let mut subject = api::status::qualified(group, resource);
    if !name.is_empty() {
        subject = format!("{subject} \"{name}\"");
    }
    Status::failure(
        Reason::Forbidden,
        format!(
            "{subject} is forbidden: User \"{}\" cannot {verb} resource \"{part}\" in API group \"{group}\" {place}{tail}",
            user.name
        ),
    )
    .with_details(Details {
        name: (*name).to_owned(),
        group: (*group).to_owned(),
        kind: (*resource).to_owned(),
        ..Details::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, groups: &[&str]) -> UserInfo {
        UserInfo {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..UserInfo::default()
        }
    }

    #[test]
    fn components_may_everything_and_others_only_look_around() {
        for (name, groups, path, allowed) in [
            ("kubernetes-admin", &["system:masters"][..], "", true),
            ("system:kube-scheduler", &[], "", true),
            ("system:node:n1", &["system:nodes"], "", true),
            ("system:node:n1", &[], "", false),
            ("bob", &["system:authenticated"], "", false),
            ("bob", &[], "/healthz", true),
            ("bob", &[], "/healthz/etcd", true),
            ("bob", &[], "/healthzz", false),
            ("bob", &[], "/metrics", false),
        ] {
            let user = user(name, groups);
            let attributes = Attributes { verb: "get", resource: "pods", path, ..Attributes::nothing(&user) };
            assert_eq!(ComponentsOnly.authorize(&attributes) == Decision::Allow, allowed, "{name} {path}");
        }
    }

    #[test]
    fn a_refusal_reads_as_in_kubernetes() {
        let user = user("bob", &[]);
        let attributes = Attributes {
            verb: "get",
            resource: "pods",
            subresource: "log",
            namespace: "default",
            name: "a",
            ..Attributes::nothing(&user)
        };
        assert_eq!(
            check(&ComponentsOnly, &attributes).unwrap_err().message,
            "pods \"a\" is forbidden: User \"bob\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"default\""
        );
    }
}
