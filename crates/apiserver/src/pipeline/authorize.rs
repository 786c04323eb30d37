//! Who may do what: the question, and how a no is told. The answers are in [`crate::authz`].

use std::sync::Arc;

use api::registry::ResourceDef;
use api::selector::FieldSelector;
use api::status::{Details, Reason, Status};
use serde_json::Value;

use super::Pipeline;
use super::object::meta;
use super::types::{Answer, RequestContext, Subresource, Target, UserInfo};
use crate::audit;
use crate::authn::user_token;
use crate::authz::{Grant, Rule};

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
    /// What a request asks for.
    pub fn of(context: &'a RequestContext, verb: &'a str, target: &'a Target) -> Self {
        let name = target.name.as_deref().unwrap_or_default();
        // A namespace is in itself, so that who may everything in it may see it.
        let is_namespace = &*target.def.bucket == "namespaces";
        Self {
            verb,
            group: &target.def.group,
            version: &target.def.version,
            resource: &target.def.plural,
            subresource: target.subresource.map_or("", Subresource::as_str),
            namespace: if is_namespace { name } else { target.namespace.as_deref().unwrap_or_default() },
            name,
            ..Self::nothing(&context.user)
        }
    }

    /// A question about nothing yet.
    pub fn nothing(user: &'a UserInfo) -> Self {
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
    /// Yes; by which binding, where it was one.
    Allow(Option<Arc<Grant>>),
    /// No; the reason, which may be empty, reaches the user.
    Deny(String),
}

impl Decision {
    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

/// What somebody may do in a namespace, as far as roles say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// The rules of all roles.
    pub rules: Vec<Rule>,
    /// Which roles there are not.
    pub errors: Vec<String>,
}

/// The write of a role or of a binding.
#[derive(Debug, Clone, Copy)]
pub struct RoleWrite<'a> {
    /// Who writes.
    pub user: &'a UserInfo,
    /// What is written.
    pub def: &'a ResourceDef,
    /// Empty for what is in none.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// As it will be.
    pub new: &'a Value,
    /// As it is.
    pub old: Option<&'a Value>,
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync {
    /// Decides from memory: it is asked on every request.
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision;

    /// What the roles allow a user in a namespace.
    fn granted(&self, user: &UserInfo, namespace: &str) -> Granted;

    /// Says no where a role or a binding would grant more than its writer has.
    fn check_write(&self, write: &RoleWrite<'_>) -> Answer<()>;
}

impl Pipeline {
    /// As [`Pipeline::allowed`] for a list or watch, which is about one object where a field selector names it.
    pub(super) fn allowed_to_select(
        &self,
        context: &RequestContext,
        verb: &str,
        target: &Target,
        fields: &str,
    ) -> Answer<()> {
        let named = || FieldSelector::parse(fields).ok()?.exact("metadata.name").map(str::to_owned);
        match named().filter(|_| target.name.is_none() && !fields.is_empty()) {
            Some(name) => self.allowed(context, verb, &Target { name: Some(name), ..target.clone() }),
            None => self.allowed(context, verb, target),
        }
    }

    /// Whether somebody may do something, without a Status that says no.
    pub(crate) fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        self.inner.authorizer.authorize(attributes)
    }

    /// The Status that says no, where the answer is no.
    pub(crate) fn require(&self, attributes: &Attributes<'_>) -> Answer<()> {
        check(&*self.inner.authorizer, attributes)
    }

    /// Says no where an object grants more than the user has: a role, a binding, or the token of somebody.
    pub(super) fn check_grants(
        &self,
        context: &RequestContext,
        def: &ResourceDef,
        new: &Value,
        old: Option<&Value>,
    ) -> Answer<()> {
        if &*def.bucket == "secrets" {
            return user_token::check_write(&context.user, new, old, |asked| self.require(asked));
        }
        let is_role = &*def.group == "rbac.authorization.k8s.io";
        if !is_role
            || !meta(new, "deletionTimestamp").is_empty() && old.is_some_and(|old| same_grants(new, old))
        {
            return Ok(());
        }
        self.inner.authorizer.check_write(&RoleWrite {
            user: &context.user,
            def,
            namespace: meta(new, "namespace"),
            name: meta(new, "name"),
            new,
            old,
        })
    }
}

/// Whether only metadata differs.
fn same_grants(new: &Value, old: &Value) -> bool {
    ["rules", "aggregationRule", "roleRef", "subjects"].iter().all(|field| new[*field] == old[*field])
}

/// Turns a no into the Status that says what was not allowed.
pub(super) fn check(authorizer: &dyn Authorizer, attributes: &Attributes<'_>) -> Result<(), Status> {
    let decision = authorizer.authorize(attributes);
    audit::asked(attributes, &decision);
    match decision {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(why) => Err(forbidden(attributes, &why)),
    }
}

fn forbidden(attributes: &Attributes<'_>, why: &str) -> Status {
    let Attributes { user, verb, group, resource, subresource, namespace, name, path, .. } = attributes;
    let tail = if why.is_empty() { String::new() } else { format!(": {why}") };
    if !path.is_empty() {
        let told = escaped(&format!("User {:?} cannot {verb} path {path:?}", user.name));
        return Status::failure(Reason::Forbidden, format!("forbidden: {told}{tail}"))
            .with_details(Details::default());
    }
    let part =
        if subresource.is_empty() { (*resource).to_owned() } else { format!("{resource}/{subresource}") };
    let place = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    };
    let mut subject = api::status::qualified(group, resource);
    if !name.is_empty() {
        subject = format!("{subject} {name:?}");
    }
    let told = escaped(&format!(
        "User {:?} cannot {verb} resource {part:?} in API group {group:?} {place}",
        user.name
    ));
    Status::failure(Reason::Forbidden, format!("{subject} is forbidden: {told}{tail}")).with_details(
        Details {
            name: (*name).to_owned(),
            group: (*group).to_owned(),
            kind: (*resource).to_owned(),
            ..Details::default()
        },
    )
}

/// What a user chose is no markup, wherever the message is shown.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_in_kubernetes() {
        let user = UserInfo { name: "bob<x>".to_owned(), ..UserInfo::default() };
        let asked = Attributes {
            verb: "get",
            resource: "pods",
            subresource: "log",
            namespace: "default",
            name: "a",
            ..Attributes::nothing(&user)
        };
        for (asked, why, expected) in [
            (
                asked,
                "",
                "pods \"a\" is forbidden: User \"bob&lt;x&gt;\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"default\"",
            ),
            (
                Attributes {
                    resource: "deployments",
                    subresource: "",
                    group: "apps",
                    namespace: "",
                    name: "",
                    ..asked
                },
                "RBAC: why",
                "deployments.apps is forbidden: User \"bob&lt;x&gt;\" cannot get resource \"deployments\" in API group \"apps\" at the cluster scope: RBAC: why",
            ),
            (
                Attributes { path: "/metrics", ..asked },
                "",
                "forbidden: User \"bob&lt;x&gt;\" cannot get path \"/metrics\"",
            ),
        ] {
            assert_eq!(forbidden(&asked, why).message, expected);
        }
    }
}
