//! DefaultTolerationSeconds: a pod stays five minutes on a node that fails, unless it says otherwise.

use serde_json::{Value, json};

use super::{items, list_mut, text};

/// How long a pod stays on a node that is not ready or cannot be reached.
const TOLERATION_SECONDS: i64 = 300;

/// Adds the tolerations that are missing.
pub(super) fn fill_in(pod: &mut Value) {
    let tolerated = |key: &str| {
        items(&pod["spec"], "tolerations").any(|toleration| {
            (text(toleration, "key") == key || text(toleration, "key").is_empty())
                && matches!(text(toleration, "effect"), "NoExecute" | "")
        })
    };
    let missing: Vec<_> = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
        .into_iter()
        .filter(|key| !tolerated(key))
        .map(|key| {
            json!({
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": TOLERATION_SECONDS,
            })
        })
        .collect();
    if missing.is_empty() {
        return;
    }
    if let Some(list) = list_mut(&mut pod["spec"], "tolerations") {
        list.extend(missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_tolerations_are_kept_and_only_missing_ones_added() {
        for (own, count) in [
            (json!(null), 2),
            (json!([{"operator": "Exists"}]), 1),
            (json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]), 2),
            (json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]), 3),
        ] {
            let mut pod = json!({"spec": {"tolerations": own}});
            fill_in(&mut pod);
            assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(count), "{pod}");
            let once = pod.clone();
            fill_in(&mut pod);
            assert_eq!(pod, once);
        }
    }
}
