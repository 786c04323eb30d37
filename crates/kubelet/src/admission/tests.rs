//! What a node takes and what it refuses, by tables.

use serde_json::{Value, json};

use super::*;

fn pod(uid: &str, spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": uid, "uid": uid}, "spec": spec})).expect("a pod")
}

fn node() -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": "n1", "labels": {"disk": "ssd", "cores": "8"}},
        "spec": {"taints": [
            {"key": "gone", "value": "soon", "effect": "NoExecute"},
            {"key": "busy", "effect": "NoSchedule"},
        ]},
    }))
    .expect("a node")
}

#[track_caller]
fn check_under(pressure: &[Condition], spec: Value, expected: Result<(), (&str, &str)>) {
    let mut spec = spec;
    if spec.get("tolerations").is_none() {
        spec["tolerations"] = json!([{"key": "gone", "operator": "Equal", "value": "soon"}]);
    }
    let other = json!({"containers": [{
        "name": "c", "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": "192.0.2.1"}],
        "resources": {"requests": {"cpu": "500m", "memory": "600Mi"}},
    }]});
    let others = [Arc::new(pod("other", other))];
    let allocatable: ResourceList =
        serde_json::from_value(json!({"cpu": "1", "memory": "1Gi", "pods": "2"})).expect("amounts");
    let input = Admission {
        pod: &pod("new", spec),
        others: &others,
        node: Some(&node()),
        allocatable: &allocatable,
        allowed_sysctls: &["kernel.msg*".to_owned()],
        pressure: &pressure.iter().copied().collect(),
    };
    let found = admit(&input);
    let expected = expected
        .map_err(|(reason, message)| Rejection { reason: reason.to_owned(), message: message.to_owned() });
    assert_eq!(found, expected);
}

#[track_caller]
fn check(spec: Value, expected: Result<(), (&str, &str)>) {
    check_under(&[], spec, expected);
}

fn asking(requests: Value) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": requests}}]})
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    check(asking(json!({"cpu": "500m", "memory": "400Mi"})), Ok(()));
    check(asking(json!({"example.com/gpu": "1"})), Ok(()));
    let message = "Node didn't have enough resource: cpu, requested: 501, used: 500, capacity: 1000";
    check(asking(json!({"cpu": "501m"})), Err(("OutOfcpu", message)));
    let message = "Node didn't have enough resource: memory, requested: 524288000, used: 629145600, capacity: 1073741824";
    check(asking(json!({"memory": "500Mi"})), Err(("OutOfmemory", message)));
}

#[test]
fn who_must_not_have_the_groups_of_the_image_is_refused() {
    let policy = |policy: &str| json!({"securityContext": {"supplementalGroupsPolicy": policy}});
    check(policy("Merge"), Ok(()));
    let message = "SupplementalGroupsPolicy=Strict is not supported in this node";
    check(policy("Strict"), Err(("SupplementalGroupsPolicyNotSupported", message)));
}

#[test]
fn the_node_must_be_the_one_that_is_wanted() {
    let message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    let refused = Err(("NodeAffinity", message));
    check(json!({"nodeSelector": {"disk": "ssd"}}), Ok(()));
    check(json!({"nodeSelector": {"disk": "tape"}}), refused);
    let affinity = |terms: Value| {
        json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    };
    let expression =
        |key, operator, values: Value| json!({"key": key, "operator": operator, "values": values});
    for (wanted, fits) in [
        (expression("disk", "In", json!(["ssd", "nvme"])), true),
        (expression("disk", "NotIn", json!(["ssd"])), false),
        (expression("zone", "NotIn", json!(["a"])), true),
        (expression("zone", "Exists", json!([])), false),
        (expression("zone", "DoesNotExist", json!([])), true),
        (expression("cores", "Gt", json!(["4"])), true),
        (expression("cores", "Lt", json!(["8"])), false),
    ] {
        let spec = affinity(json!([{"matchExpressions": [wanted]}]));
        check(spec, if fits { Ok(()) } else { refused });
    }
    let named =
        |name| affinity(json!([{}, {"matchFields": [expression("metadata.name", "In", json!([name]))]}]));
    check(named("n1"), Ok(()));
    check(named("n2"), refused);
}

#[test]
fn only_taints_that_evict_count_here() {
    let message = "Predicate TaintToleration failed: node(s) had taints that the pod doesn't tolerate";
    check(json!({"tolerations": []}), Err(("TaintToleration", message)));
    check(json!({"tolerations": [{"operator": "Exists"}]}), Ok(()));
    check(json!({"tolerations": [{"key": "gone", "operator": "Exists", "effect": "NoExecute"}]}), Ok(()));
}

#[test]
fn a_port_of_the_node_is_given_once() {
    let message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    let ports = |port: Value| json!({"containers": [{"name": "c", "ports": [port]}]});
    check(ports(json!({"containerPort": 1, "hostPort": 8080})), Err(("NodePorts", message)));
    check(ports(json!({"containerPort": 1, "hostPort": 8080, "hostIP": "192.0.2.2"})), Ok(()));
    check(ports(json!({"containerPort": 1, "hostPort": 8080, "protocol": "UDP"})), Ok(()));
    check(ports(json!({"containerPort": 8080})), Ok(()));
    let mut host = ports(json!({"containerPort": 8080}));
    host["hostNetwork"] = json!(true);
    check(host, Err(("NodePorts", message)));
}

#[test]
fn sysctls_are_safe_or_allowed() {
    let sysctl = |name: &str, more: Value| {
        let mut spec = json!({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        spec
    };
    check(sysctl("net/ipv4/tcp_syncookies", json!({})), Ok(()));
    check(sysctl("kernel.msgmax", json!({})), Ok(()));
    let refused = |message| Err(("SysctlForbidden", message));
    check(sysctl("vm.swappiness", json!({})), refused("forbidden sysctl: \"vm.swappiness\" not allowlisted"));
    check(
        sysctl("net.ipv4.tcp_syncookies", json!({"hostNetwork": true})),
        refused("forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled"),
    );
    check(
        sysctl("kernel.msgmax", json!({"hostIPC": true})),
        refused("forbidden sysctl: \"kernel.msgmax\" not allowed with host ipc enabled"),
    );
}

#[test]
fn a_node_under_pressure_takes_few_pods() {
    let low = [Condition::Memory];
    let refused = Err(("Evicted", "The node had condition: [MemoryPressure]. "));
    check_under(&low, json!({}), refused);
    check_under(&low, asking(json!({"memory": "1Mi"})), Ok(()));
    check_under(&low, json!({"priority": SYSTEM_PRIORITY}), Ok(()));
    check_under(&low, json!({"tolerations": [{"operator": "Exists"}]}), Ok(()));
    let both = "The node had condition: [MemoryPressure DiskPressure]. ";
    let tolerant = json!({"tolerations": [{"operator": "Exists"}]});
    check_under(&[Condition::Memory, Condition::Disk], tolerant, Err(("Evicted", both)));
}
