//! What is counted, by objects and quotas.

use serde_json::{Value, json};

use super::*;

fn quota(spec: Value) -> Quota {
    Quota::read(&json!({"metadata": {"name": "q"}, "spec": spec}))
}

#[test]
fn an_object_uses_what_its_kind_says() {
    for (bucket, object, expected) in [
        (
            "pods",
            json!({"spec": {
                "containers": [
                    {"resources": {"requests": {"cpu": "100m", "x/gpu": "1"}, "limits": {"cpu": "1"}}},
                    {"resources": {"requests": {"cpu": "200m"}}},
                ],
                "initContainers": [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
                "overhead": {"cpu": "50m"},
            }}),
            "count/pods=1,cpu=1050m,limits.cpu=1050m,memory=1Gi,pods=1,requests.cpu=1050m,requests.memory=1Gi,requests.x/gpu=1",
        ),
        ("pods", json!({"spec": {}, "status": {"phase": "Succeeded"}}), "count/pods=1"),
        (
            "services",
            json!({"spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}}),
            "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2",
        ),
        (
            "persistentvolumeclaims",
            json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}}}),
            "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/requests.storage=2Gi,persistentvolumeclaims=1,requests.storage=2Gi",
        ),
        ("configmaps", json!({}), "configmaps=1,count/configmaps=1"),
        ("deployments.apps", json!({}), "count/deployments.apps=1"),
    ] {
        assert_eq!(show(&usage(bucket, &object)), expected);
    }
}

#[test]
fn a_quota_counts_what_its_scopes_and_bounds_are_about() {
    let bound = |resource: &str| quota(json!({"hard": {resource: "1"}}));
    for (resource, bucket) in [
        ("cpu", "pods"),
        ("requests.x/gpu", "pods"),
        ("services.nodeports", "services"),
        ("fast.storageclass.storage.k8s.io/requests.storage", "persistentvolumeclaims"),
        ("count/deployments.apps", "deployments.apps"),
        ("secrets", "secrets"),
    ] {
        assert!(bound(resource).counts(bucket, &json!({})), "{resource}");
        assert!(!bound(resource).counts("leases.coordination.k8s.io", &json!({})), "{resource}");
    }
    let effort = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}],
        "activeDeadlineSeconds": 7, "priorityClassName": "high"}});
    let lazy = json!({"spec": {"containers": [{}]}});
    let selecting = |operator: &str| json!({"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}]});
    for (spec, of_effort, of_lazy) in [
        (json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]}), false, true),
        (json!({"hard": {"pods": "1"}, "scopes": ["NotBestEffort", "Terminating"]}), true, false),
        (json!({"hard": {"pods": "1"}, "scopes": ["NotTerminating"]}), false, true),
        (json!({"hard": {"pods": "1"}, "scopeSelector": selecting("In")}), true, false),
        (json!({"hard": {"pods": "1"}, "scopeSelector": selecting("NotIn")}), false, true),
    ] {
        let quota = quota(spec);
        assert_eq!(
            (quota.counts("pods", &effort), quota.counts("pods", &lazy)),
            (of_effort, of_lazy),
            "{quota:?}"
        );
    }
}

#[test]
fn who_is_bounded_must_say_what_he_takes() {
    let quota = quota(json!({"hard": {"cpu": "1", "limits.memory": "1", "pods": "1"}}));
    let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "resources": {"requests": {"cpu": "1"}}}]}});
    assert_eq!(quota.unsaid(&pod).as_deref(), Some("must specify cpu for: a; limits.memory for: a,b"));
    let mut said = pod.clone();
    said["spec"]["containers"] =
        json!([{"name": "a", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1"}}}]);
    assert_eq!(quota.unsaid(&said), None);
}
