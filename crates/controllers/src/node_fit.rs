//! Whether a pod of a template may run on a node: for DaemonSets, which choose nodes themselves. Pure.

use serde_json::Value;

use crate::objects::{Node, Taint, Toleration};

/// Taints that every daemon tolerates: (key, effect).
pub const DAEMON_TOLERATIONS: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// What a node is for a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// A pod should be there.
    pub should_run: bool,
    /// A pod that is there may stay.
    pub may_stay: bool,
}

/// Whether a daemon with this pod spec belongs on the node.
pub fn fit(spec: &Value, node: &Node) -> Fit {
    let named = spec["nodeName"].as_str().is_none_or(|name| name.is_empty() || name == node.metadata.name);
    if !named || !selects(spec, node) {
        return Fit { should_run: false, may_stay: false };
    }
    let mut tolerations: Vec<Toleration> = spec["tolerations"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|toleration| serde_json::from_value(toleration.clone()).ok())
        .collect();
    tolerations.extend(DAEMON_TOLERATIONS.iter().map(|(key, effect)| Toleration {
        key: (*key).to_owned(),
        operator: "Exists".to_owned(),
        effect: (*effect).to_owned(),
        ..Toleration::default()
    }));
    let host_network = spec["hostNetwork"] == true;
    let is_tolerated = |taint: &&Taint| {
        let network = host_network && taint.key == "node.kubernetes.io/network-unavailable";
        network || tolerations.iter().any(|toleration| toleration.tolerates(taint))
    };
    let keeps_away = |effects: &[&str]| {
        let taints = node.spec.taints.iter().filter(|taint| effects.contains(&taint.effect.as_str()));
        taints.clone().any(|taint| !is_tolerated(&taint))
    };
    Fit { should_run: !keeps_away(&["NoSchedule", "NoExecute"]), may_stay: !keeps_away(&["NoExecute"]) }
}

/// The node selector and the required node affinity.
fn selects(spec: &Value, node: &Node) -> bool {
    let labels = &node.metadata.labels;
    let mut selector = spec["nodeSelector"].as_object().into_iter().flatten();
    if !selector.all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str()) {
        return false;
    }
    let terms = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let Some(terms) = terms["nodeSelectorTerms"].as_array() else { return true };
    terms.iter().any(|term| {
        let list = |field: &str| term[field].as_array().map_or(&[][..], Vec::as_slice);
        let (on_labels, on_fields) = (list("matchExpressions"), list("matchFields"));
        let label = |requirement: &Value| {
            requirement["key"].as_str().and_then(|key| labels.get(key)).map(String::as_str)
        };
        !(on_labels.is_empty() && on_fields.is_empty())
            && on_labels.iter().all(|requirement| is_met(requirement, label(requirement)))
            && on_fields.iter().all(|requirement| is_met(requirement, Some(&node.metadata.name)))
    })
}

fn is_met(requirement: &Value, value: Option<&str>) -> bool {
    let values = requirement["values"].as_array().map_or(&[][..], Vec::as_slice);
    let listed = || value.is_some_and(|value| values.iter().any(|listed| listed == value));
    let bound = || values.first()?.as_str()?.parse::<i64>().ok();
    let compared = || Some((value?.parse::<i64>().ok()?, bound()?));
    match requirement["operator"].as_str().unwrap_or_default() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(|(value, bound)| value > bound),
        "Lt" => compared().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}
