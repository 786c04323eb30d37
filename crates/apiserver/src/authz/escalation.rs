//! Nobody grants more than he has: what is asked when a role or a binding is written.
//!
//! A role may hold what its writer holds, and more only where the writer may `escalate` it; a binding may name a role
//! whose rules its binder holds, or one that the binder may `bind`.

use std::sync::Arc;

use api::status::{Details, Reason, Status};
use serde_json::Value;

use super::index::Reference;
use super::rule::{self, quoted};
use super::{Authorization, Rule, Rules};
use crate::pipeline::{Attributes, Authorizer as _, Decision, RoleWrite};

/// A write, and who judges it.
pub(super) struct Written<'a> {
    pub(super) write: &'a RoleWrite<'a>,
    pub(super) authorizer: &'a Authorization,
}

impl Written<'_> {
    /// Says no where the write grants more than its writer has. `find` gives the rules of a role.
    pub(super) fn check(
        &self,
        find: impl FnOnce(&str, &Reference) -> Result<Rules, String>,
    ) -> Result<(), Status> {
        let RoleWrite { def, new, old, namespace, .. } = self.write;
        let same = |field: &str| old.is_some_and(|old| old[field] == new[field]);
        if def.plural.ends_with("bindings") {
            if same("roleRef") && same("subjects") {
                return Ok(());
            }
            let reference = Reference::read(&new["roleRef"]);
            if self.may("bind", reference.plural(), &reference.name) {
                return Ok(());
            }
            let rules = find(namespace, &reference).map_err(|_| {
                Status::not_found(&def.group, reference.plural().trim_end_matches('s'), &reference.name)
            })?;
            return self.holds(&rules);
        }
        let aggregates = |object: &Value| object["aggregationRule"].is_object();
        let aggregation_changed =
            (aggregates(new) || old.is_some_and(aggregates)) && !same("aggregationRule");
        if same("rules") && !aggregation_changed {
            return Ok(());
        }
        let on_url = if old.is_some() { self.write.name } else { "" };
        if self.may("escalate", &def.plural, on_url) {
            return Ok(());
        }
        let mut rules: Vec<Arc<Rule>> = Rule::read_all(new).into_iter().map(Arc::new).collect();
        if aggregation_changed {
            rules = everything();
        }
        self.holds(&rules)
    }

    fn may(&self, verb: &str, resource: &str, name: &str) -> bool {
        let RoleWrite { user, def, namespace, .. } = self.write;
        let group = &*def.group;
        let version = &*def.version;
        let asked =
            Attributes { verb, group, version, resource, namespace, name, ..Attributes::nothing(user) };
        matches!(self.authorizer.authorize(&asked), Decision::Allow(_))
    }

    fn holds(&self, rules: &[Arc<Rule>]) -> Result<(), Status> {
        let RoleWrite { user, namespace, def, name, .. } = self.write;
        let (own, errors) = self.authorizer.roles.read(|index| index.rules_of(user, namespace));
        let missing = rule::missing(own.iter().map(|rule| &**rule), rules.iter().map(|rule| &**rule));
        if missing.is_empty() {
            return Ok(());
        }
        let mut told: Vec<String> = missing.iter().map(Rule::to_string).collect();
        told.sort();
        let mut why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            quoted(&user.groups),
            told.join("\n")
        );
        if !errors.is_empty() {
            why = format!("{why}; resolution errors: [{}]", errors.join(", "));
        }
        let message = format!("{} {name:?} is forbidden: {why}", def.qualified());
        let details = Details {
            name: (*name).to_owned(),
            group: def.group.to_string(),
            kind: def.plural.to_string(),
            ..Details::default()
        };
        Err(Status::failure(Reason::Forbidden, message).with_details(details))
    }
}

/// Who decides which roles are collected may come to hold everything.
fn everything() -> Vec<Arc<Rule>> {
    let all = || vec!["*".to_owned()];
    vec![
        Arc::new(Rule { verbs: all(), groups: all(), resources: all(), ..Rule::default() }),
        Arc::new(Rule { verbs: all(), paths: all(), ..Rule::default() }),
    ]
}
