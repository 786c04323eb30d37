//! NodeAffinity: which labels (and names) the node must have, and which it should have.

use crate::objects::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod};
use crate::snapshot::NodeInfo;

use super::Reason;

/// Whether the node's labels are those the pod asks for.
pub fn filter(pod: &Pod, node: &NodeInfo) -> Option<Reason> {
    (!matches(pod, node)).then_some(Reason::NodeAffinity)
}

/// Whether the node selector and the required affinity hold.
pub fn matches(pod: &Pod, node: &NodeInfo) -> bool {
    let labels = &node.node.metadata.labels;
    let selected = pod.spec.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let required = pod.spec.affinity.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    selected && required.is_none_or(|required| selects(required, node))
}

/// Whether any term of a selector holds.
pub fn selects(selector: &NodeSelector, node: &NodeInfo) -> bool {
    selector.node_selector_terms.iter().any(|term| holds(term, node))
}

/// The sum of the weights of the preferences that hold.
pub fn score(pod: &Pod, node: &NodeInfo) -> i64 {
    let preferred = pod.spec.affinity.node_affinity.iter().flat_map(|affinity| &affinity.preferred);
    preferred.filter(|term| holds(&term.preference, node)).map(|term| i64::from(term.weight)).sum()
}

/// All requirements of a term; a term without any holds nowhere.
fn holds(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    if term.match_expressions.is_empty() && term.match_fields.is_empty() {
        return false;
    }
    let labels = &node.node.metadata.labels;
    let mut on_labels = term.match_expressions.iter();
    let mut on_fields = term.match_fields.iter();
    on_labels.all(|requirement| is_met(requirement, labels.get(&requirement.key).map(String::as_str)))
        && on_fields
            .all(|requirement| requirement.key == "metadata.name" && is_met(requirement, Some(node.name())))
}

fn is_met(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let listed = || value.is_some_and(|value| requirement.values.iter().any(|listed| listed == value));
    let compared = || Some((value?.parse::<i64>().ok()?, requirement.values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(|(value, bound)| value > bound),
        "Lt" => compared().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_compare_as_in_kubernetes() {
        for (operator, values, value, expected) in [
            ("In", &["a", "b"][..], Some("b"), true),
            ("In", &["a"], None, false),
            ("NotIn", &["a"], None, true),
            ("NotIn", &["a"], Some("a"), false),
            ("Exists", &[], Some(""), true),
            ("DoesNotExist", &[], None, true),
            ("Gt", &["5"], Some("6"), true),
            ("Gt", &["5"], Some("x"), false),
            ("Lt", &["5"], Some("4"), true),
            ("Lt", &["5"], None, false),
        ] {
            let requirement = NodeSelectorRequirement {
                key: "k".into(),
                operator: operator.into(),
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            };
            assert_eq!(is_met(&requirement, value), expected, "{operator} {values:?} {value:?}");
        }
    }
}
