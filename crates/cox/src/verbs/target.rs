//! How objects are named on the command line: `pods`, `pod/web`, `deploy web db`, `deployments.apps/web`. Pure.

use std::sync::Arc;

use api::registry::{ResourceDef, registry};
use client::{Client, DynamicApi, GroupVersionResource};

use crate::error::CoxError;

/// A resource, and one object of it or all.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) def: Arc<ResourceDef>,
    pub(crate) name: Option<String>,
}

impl Target {
    /// As `deployment.apps/web`.
    pub(crate) fn label(&self, name: &str) -> String {
        label(&self.def, name)
    }

    /// The namespace to ask in: empty for cluster-scoped resources.
    pub(crate) fn namespace<'a>(&self, namespace: &'a str) -> &'a str {
        if self.def.namespaced { namespace } else { "" }
    }

    pub(crate) fn api(&self, client: &Client) -> DynamicApi {
        dynamic(client, &self.def)
    }
}

/// As `deployment.apps/web`, the way kubectl names objects.
pub(crate) fn label(def: &ResourceDef, name: &str) -> String {
    format!("{}/{name}", api::status::qualified(&def.group, &def.singular))
}

/// The objects of a resource.
pub(crate) fn dynamic(client: &Client, def: &ResourceDef) -> DynamicApi {
    client.dynamic(GroupVersionResource::new(&*def.group, &*def.version, &*def.plural))
}

/// Reads `TYPE`, `TYPE/NAME...` or `TYPE NAME...`; `TYPE` may be several, as `pods,services`.
pub(crate) fn parse(words: &[String]) -> Result<Vec<Target>, CoxError> {
    let Some(first) = words.first() else {
        return Err(CoxError::Usage("say which objects: TYPE, TYPE/NAME or TYPE NAME".to_owned()));
    };
    if words.iter().any(|word| word.contains('/')) {
        let each = |word: &String| {
            let (kind, name) =
                word.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(|| {
                    CoxError::Usage(format!("{word}: every object needs the form TYPE/NAME where one has it"))
                })?;
            Ok(Target { def: resource(kind)?, name: Some(name.to_owned()) })
        };
        return words.iter().map(each).collect();
    }
    let mut targets = Vec::new();
    for kind in first.split(',') {
        for def in resources(kind)? {
            if words.len() == 1 {
                targets.push(Target { def, name: None });
            } else {
                let named = |name: &String| Target { def: Arc::clone(&def), name: Some(name.clone()) };
                targets.extend(words[1..].iter().map(named));
            }
        }
    }
    Ok(targets)
}

/// A resource, or those of a category (`all`).
fn resources(word: &str) -> Result<Vec<Arc<ResourceDef>>, CoxError> {
    let of_category =
        |def: &&Arc<ResourceDef>| def.is_stored() && def.categories.iter().any(|own| *own == *word);
    let category: Vec<_> = registry().all().iter().filter(of_category).cloned().collect();
    if category.is_empty() { Ok(vec![resource(word)?]) } else { Ok(category) }
}

/// The resource that a word names, in the version in which it is stored: by plural, singular, short name or kind, and
/// with its group, as `deployments.apps`, where two groups have one of that name.
pub(crate) fn resource(word: &str) -> Result<Arc<ResourceDef>, CoxError> {
    let lower = word.to_lowercase();
    let (name, group) = lower.split_once('.').unwrap_or((&lower, ""));
    let names = |def: &ResourceDef| {
        *def.plural == *name
            || *def.singular == *name
            || def.short_names.iter().any(|short| **short == *name)
            || def.kind.eq_ignore_ascii_case(name)
    };
    let found = registry().all().iter().find(|def| {
        def.is_stored() && def.has_verb("get") && names(def) && (group.is_empty() || *def.group == *group)
    });
    found
        .cloned()
        .ok_or_else(|| CoxError::Failed(format!("the server doesn't have a resource type \"{word}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], expected: &[&str]) {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let show = |target: Target| match &target.name {
            Some(name) => target.label(name),
            None => target.def.qualified(),
        };
        let found: Vec<_> = parse(&words).expect("good words").into_iter().map(show).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn objects_are_named_as_for_kubectl() {
        check(&["po"], &["pods"]);
        check(&["Deployment", "web", "db"], &["deployment.apps/web", "deployment.apps/db"]);
        check(&["deploy/web", "svc/db"], &["deployment.apps/web", "service/db"]);
        check(&["deployments.apps"], &["deployments.apps"]);
        check(&["po,svc"], &["pods", "services"]);
    }

    #[test]
    fn a_word_that_is_no_resource_is_refused() {
        let error = parse(&["bogus".to_owned()]).expect_err("no such resource").to_string();
        assert_eq!(error, "the server doesn't have a resource type \"bogus\"");
        assert!(parse(&["pod/".to_owned()]).is_err());
    }
}
