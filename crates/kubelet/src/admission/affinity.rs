//! Node selectors and required node affinity, as the scheduler reads them.

use crate::node::Node;
use crate::pod::{NodeSelectorRequirement, Pod};

/// Whether the pod may be on this node. Terms are alternatives; what a term says holds together.
pub(super) fn matches(pod: &Pod, node: &Node) -> bool {
    let labels = &node.metadata.labels;
    if !pod.spec.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value)) {
        return false;
    }
    let affinity = pod.spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let Some(required) =
        affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref())
    else {
        return true;
    };
    required.node_selector_terms.iter().any(|term| {
        let says_something = !(term.match_expressions.is_empty() && term.match_fields.is_empty());
        says_something
            && term
                .match_expressions
                .iter()
                .all(|wanted| holds(wanted, labels.get(&wanted.key).map(String::as_str)))
            && term.match_fields.iter().all(|wanted| {
                holds(wanted, (wanted.key == "metadata.name").then_some(node.metadata.name.as_str()))
            })
    })
}

fn holds(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let listed = value.is_some_and(|value| wanted.values.iter().any(|one| one == value));
    let compared = || {
        let bound: i64 = wanted.values.first()?.parse().ok()?;
        Some(value?.parse::<i64>().ok()?.cmp(&bound))
    };
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compared().is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}
