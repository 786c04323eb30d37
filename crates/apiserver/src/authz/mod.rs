//! Who may do what: administrators everything, nodes what their pods need, everyone what the roles say that are bound
//! to them.
//!
//! ```text
//! authorize: system:masters? ─ node (system:nodes) ─ rbac (roles and bindings, compiled)
//! ```
//! The three are asked in this order, the first yes wins, and their reasons for no are told together, as in
//! Kubernetes with `--authorization-mode=Node,RBAC`. Everything is decided from memory: the roles are compiled and
//! follow the store at the moment of the question ([`follow`]), so a binding counts from the moment that its write was
//! acknowledged; what a node may read is found in the store's index of its pods ([`node`]).
//!
//! Read on: [`rule`] for what a rule allows, [`index`] for how the rules of a user are found, [`escalation`] for who
//! may grant, [`aggregation`] for roles that are made of others.

pub mod aggregation;
mod escalation;
mod follow;
mod index;
mod node;
mod rule;

use std::sync::Arc;

use api::status::Status;
use serde_json::Value;
use store::Store;

pub use index::Grant;
pub use rule::Rule;

use self::escalation::Written;
use self::follow::Follower;
use crate::pipeline::{Attributes, Authorizer, Decision, Granted, RoleWrite, UserInfo};

/// Who may do everything.
pub(crate) const ADMINISTRATORS: &str = "system:masters";

/// The authorizer of a cluster.
pub struct Authorization {
    store: Store,
    roles: Follower,
    node_rules: Vec<Rule>,
}

impl Authorization {
    /// Follows the roles and bindings of a store.
    pub fn new(store: &Store) -> Self {
        let node_rules = crate::bootstrap::node_rules().iter().map(Rule::read).collect();
        Self { store: store.clone(), roles: Follower::new(store.clone()), node_rules }
    }
}

impl Authorizer for Authorization {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let user = attributes.user;
        if is_administrator(user) {
            return Decision::Allow(None);
        }
        let mut reasons = Vec::new();
        if let Some(name) = node::name(user) {
            match node::authorize(name, attributes, &self.store, &self.node_rules) {
                Ok(()) => return Decision::Allow(None),
                Err(why) => reasons.extend((!why.is_empty()).then_some(why)),
            }
        }
        match self.roles.read(|index| index.allows(attributes)) {
            Ok(grant) => Decision::Allow(Some(grant)),
            Err(why) => {
                reasons.extend((!why.is_empty()).then_some(why));
                Decision::Deny(reasons.join("\n"))
            }
        }
    }

    fn granted(&self, user: &UserInfo, namespace: &str) -> Granted {
        let (rules, errors) = self.roles.read(|index| index.rules_of(user, namespace));
        let rules = rules.into_iter().map(|rule| (*rule).clone());
        Granted { rules: rules.collect(), errors }
    }

    fn check_write(&self, write: &RoleWrite<'_>) -> Result<(), Status> {
        if is_administrator(write.user) {
            return Ok(());
        }
        let written = Written { write, authorizer: self };
        written.check(|namespace, reference| {
            self.roles.read(|index| index.role(namespace, reference).ok_or_else(|| reference.missing()))
        })
    }
}

/// Whether the user may do everything, whatever the roles say.
pub(crate) fn is_administrator(user: &UserInfo) -> bool {
    user.groups.iter().any(|group| group == ADMINISTRATORS)
}

/// The rules that a role lacks to allow all that another one does.
pub(crate) fn missing(role: &Value, wanted: &Value) -> Vec<Value> {
    let (has, wanted) = (Rule::read_all(role), Rule::read_all(wanted));
    rule::missing(has.iter(), wanted.iter()).iter().map(Rule::to_json).collect()
}

/// Rules that several hold together.
type Rules = Arc<[Arc<Rule>]>;

#[cfg(test)]
mod tests;
