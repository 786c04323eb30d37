//! Roles and their bindings.

use serde_json::Value;

use super::access::{fill, list_mut, object_mut, text};
use super::metadata::NameRule;
use super::{PLAIN, Rules, checks};

pub(super) const BINDING: Rules = Rules {
    default,
    validate: checks::cluster::role_binding,
    validate_update: checks::cluster::role_binding_update,
    ..ROLE
};
pub(super) const ROLE: Rules = Rules { name: NameRule::PathSegment, validate: checks::small::role, ..PLAIN };

const GROUP: &str = "rbac.authorization.k8s.io";

fn default(binding: &mut Value) {
    if let Some(role) = object_mut(binding, "roleRef")
        && text(role, "apiGroup").is_empty()
    {
        super::access::set(role, "apiGroup", GROUP);
    }
    for subject in list_mut(binding, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") {
            fill(subject, "apiGroup", GROUP);
        }
    }
}
