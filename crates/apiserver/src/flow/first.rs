//! The FlowSchemas and PriorityLevelConfigurations that exist from the first second.

use serde_json::{Value, json};

const VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";

/// The levels, then the schemas: plural and object.
pub(crate) fn objects() -> Vec<(&'static str, Value)> {
    let levels = [
        ("exempt", json!({"type": "Exempt"})),
        ("catch-all", limited(5, 0, None)),
        ("leader-election", limited(10, 0, Some((16, 4)))),
        ("node-high", limited(40, 25, Some((64, 6)))),
        ("system", limited(30, 33, Some((64, 6)))),
        ("workload-high", limited(40, 50, Some((128, 6)))),
        ("workload-low", limited(100, 90, Some((128, 6)))),
        ("global-default", limited(20, 50, Some((128, 6)))),
    ];
    let levels = levels.into_iter().map(|(name, spec)| {
        ("prioritylevelconfigurations", object("PriorityLevelConfiguration", name, spec))
    });
    let schemas = schemas().into_iter().map(|(name, spec)| ("flowschemas", object("FlowSchema", name, spec)));
    levels.chain(schemas).collect()
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": VERSION, "kind": kind,
        "metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}, "spec": spec})
}

/// A level with shares, of which a part can be lent; its requests wait in so many queues, dealt in such hands.
fn limited(shares: u32, lendable: u32, queues: Option<(u32, u32)>) -> Value {
    let response = match queues {
        None => json!({"type": "Reject"}),
        Some((queues, hand)) => json!({"type": "Queue",
            "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}}),
    };
    json!({"type": "Limited", "limited": {
        "nominalConcurrencyShares": shares, "limitResponse": response, "lendablePercent": lendable}})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

/// All requests for resources.
fn resources() -> Value {
    json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}])
}

/// All other requests.
fn paths() -> Value {
    json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}])
}

fn schema(level: &str, precedence: u32, flows: Option<&str>, rule: Value) -> Value {
    let mut spec = json!({"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence});
    if let Some(flows) = flows {
        spec["distinguisherMethod"] = json!({"type": flows});
    }
    spec["rules"] = json!([rule]);
    spec
}

/// Everything that these ask.
fn all_of(subjects: Value) -> Value {
    json!({"subjects": subjects, "resourceRules": resources(), "nonResourceRules": paths()})
}

fn schemas() -> [(&'static str, Value); 11] {
    const BY_USER: Option<&str> = Some("ByUser");
    const BY_NAMESPACE: Option<&str> = Some("ByNamespace");
    let everyone = json!([group("system:unauthenticated"), group("system:authenticated")]);
    let (controllers, scheduler) = (user("system:kube-controller-manager"), user("system:kube-scheduler"));
    let of_system =
        json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}});
    let leases = |verbs: Value| json!({"verbs": verbs, "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]});
    let nodes = json!({"verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"],
        "clusterScope": true, "namespaces": ["*"]});
    let own_daemons = json!([controllers.clone(), scheduler.clone(), of_system.clone()]);
    [
        ("exempt", schema("exempt", 1, None, all_of(json!([group("system:masters")])))),
        (
            "probes",
            schema(
                "exempt",
                2,
                None,
                json!({"subjects": everyone, "nonResourceRules": [
                    {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]}),
            ),
        ),
        (
            "system-leader-election",
            schema(
                "leader-election",
                100,
                BY_USER,
                json!({"subjects": own_daemons, "resourceRules": [leases(json!(["get", "create", "update"]))]}),
            ),
        ),
        (
            "system-node-high",
            schema(
                "node-high",
                400,
                BY_USER,
                json!({"subjects": [group("system:nodes")], "resourceRules": [nodes, leases(json!(["*"]))]}),
            ),
        ),
        ("system-nodes", schema("system", 500, BY_USER, all_of(json!([group("system:nodes")])))),
        ("kube-controller-manager", schema("workload-high", 800, BY_NAMESPACE, all_of(json!([controllers])))),
        ("kube-scheduler", schema("workload-high", 800, BY_NAMESPACE, all_of(json!([scheduler])))),
        (
            "kube-system-service-accounts",
            schema("workload-high", 900, BY_NAMESPACE, all_of(json!([of_system]))),
        ),
        (
            "service-accounts",
            schema("workload-low", 9000, BY_USER, all_of(json!([group("system:serviceaccounts")]))),
        ),
        ("global-default", schema("global-default", 9900, BY_USER, all_of(everyone.clone()))),
        ("catch-all", schema("catch-all", 10_000, BY_USER, all_of(everyone))),
    ]
}
