//! What to tell about a namespace that is being emptied, and whether it may go. Pure.

use std::collections::BTreeMap;

use api::meta::Condition;
use jiff::Timestamp;

use crate::objects::{Namespace, whole_seconds};

/// The finalizer in the spec of a namespace that this controller takes away.
pub const FINALIZER: &str = "kubernetes";

/// What is left of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// How many objects.
    pub count: usize,
    /// By which finalizers they are kept, and how many by each.
    pub finalizers: BTreeMap<String, usize>,
}

/// What a round of deletions has found.
pub struct Observed<'a> {
    /// The namespace; it is being deleted.
    pub namespace: &'a Namespace,
    /// What is left, by resource (`deployments.apps`).
    pub remaining: BTreeMap<String, Found>,
    /// What went wrong.
    pub failures: Vec<String>,
    /// The time.
    pub now: Timestamp,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write the conditions: all of them.
    SetConditions(Vec<Condition>),
    /// Take the finalizer away; these stay.
    Finalize(Vec<String>),
}

/// Decides what to tell and whether the namespace may go. Pure: no clock, client or randomness.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let namespace = observed.namespace;
    if observed.remaining.is_empty() && observed.failures.is_empty() {
        let rest = namespace.spec.finalizers.iter().filter(|finalizer| *finalizer != FINALIZER);
        return vec![Action::Finalize(rest.cloned().collect())];
    }
    let mut conditions = namespace.status.conditions.clone();
    for (r#type, trouble, good, bad) in statements(observed) {
        let (status, (reason, message)) = match trouble {
            None => ("False", (good.0, good.1.to_owned())),
            Some(message) => ("True", (bad, message)),
        };
        let before = conditions.iter().position(|condition| condition.r#type == r#type);
        let since = before.map(|at| &conditions[at]).filter(|before| before.status == status);
        let condition = Condition {
            r#type: r#type.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: since
                .and_then(|since| since.last_transition_time)
                .or(Some(whole_seconds(observed.now))),
        };
        match before {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    if conditions == namespace.status.conditions {
        Vec::new()
    } else {
        vec![Action::SetConditions(conditions)]
    }
}

type Good = (&'static str, &'static str);

/// Each condition: its type, what is wrong if anything, reason and message where nothing is, reason where something is.
fn statements(observed: &Observed<'_>) -> [(&'static str, Option<String>, Good, &'static str); 5] {
    let remaining = observed.remaining.iter();
    let content: Vec<_> = remaining
        .map(|(resource, found)| format!("{resource} has {} resource instances", found.count))
        .collect();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, count) in observed.remaining.values().flat_map(|found| &found.finalizers) {
        *finalizers.entry(finalizer).or_default() += count;
    }
    let finalizers: Vec<_> = finalizers
        .into_iter()
        .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"))
        .collect();
    let told =
        |start: &str, parts: &[String]| (!parts.is_empty()).then(|| format!("{start}{}", parts.join(", ")));
    [
        (
            "NamespaceDeletionDiscoveryFailure",
            None,
            ("ResourcesDiscovered", "All resources successfully discovered"),
            "DiscoveryFailed",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
            "GroupVersionParsingFailed",
        ),
        (
            "NamespaceDeletionContentFailure",
            told("Failed to delete all resource types, ", &observed.failures),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            "ContentDeletionFailed",
        ),
        (
            "NamespaceContentRemaining",
            told("Some resources are remaining: ", &content),
            ("ContentRemoved", "All content successfully removed"),
            "SomeResourcesRemain",
        ),
        (
            "NamespaceFinalizersRemaining",
            told("Some content in the namespace has finalizers remaining: ", &finalizers),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            "SomeFinalizersRemain",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_tells_what_it_waits_for_and_goes_when_it_is_empty() {
        let mut namespace = Namespace::default();
        namespace.spec.finalizers = vec!["kubernetes".into(), "other".into()];
        let pods = Found { count: 2, finalizers: [("example.com/hold".to_owned(), 1)].into() };
        let observed = |namespace: &Namespace, remaining: BTreeMap<String, Found>| {
            plan(&Observed { namespace, remaining, failures: Vec::new(), now: Timestamp::UNIX_EPOCH })
        };
        let remaining = BTreeMap::from([("pods".to_owned(), pods)]);
        let actions = observed(&namespace, remaining.clone());
        let [Action::SetConditions(conditions)] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(conditions[3].message, "Some resources are remaining: pods has 2 resource instances");
        assert_eq!(
            conditions[4].message,
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        );
        namespace.status.conditions = conditions.clone();
        assert_eq!(observed(&namespace, remaining), []);
        assert_eq!(observed(&namespace, BTreeMap::new()), [Action::Finalize(vec!["other".into()])]);
    }
}
