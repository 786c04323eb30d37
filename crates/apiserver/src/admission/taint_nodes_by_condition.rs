//! TaintNodesByCondition: a node that registers takes no pods until it has shown that it is ready.
//!
//! The taint goes away with the first sign of readiness, by the nodelifecycle controller. Kubernetes taints each new
//! node; here it is those that register themselves, so that a node that an administrator writes down stays as it is
//! written until the controller has looked at it.

use serde_json::{Value, json};

use super::{Request, items, list_mut, node_restriction, text};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) fn fill_in(request: &Request<'_>, node: &mut Value) {
    if node_restriction::node_of(request.user).is_none() {
        return;
    }
    let has = items(&node["spec"], "taints")
        .any(|taint| text(taint, "key") == NOT_READY && text(taint, "effect") == "NoSchedule");
    if has {
        return;
    }
    if let Some(taints) = list_mut(&mut node["spec"], "taints") {
        taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
    }
}
