//! Manifests as users write them.

use serde_json::{Value, json};

/// The namespace of most tests.
pub const NAMESPACE: &str = "default";

/// The oldest form that is still out there: no selector, a group that is gone elsewhere.
pub fn old_deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "extensions/v1beta1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {
            "replicas": replicas,
            "template": {
                "metadata": {"labels": {"app": "nginx"}},
                "spec": {"containers": [{"name": "nginx", "image": "nginx", "imagePullPolicy": "Always"}]},
            },
        },
    })
}

/// A Deployment of today, whose pods have the label `app: <name>`.
pub fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name),
        },
    })
}

/// A ReplicationController.
pub fn replication_controller(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"app": name}, "template": template(name)},
    })
}

/// A pod on its own that asks for so much of the processor.
pub fn pod(name: &str, cpu: &str) -> Value {
    let mut spec = template(name)["spec"].clone();
    spec["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

/// A StatefulSet, each of whose pods has a volume of its own named `data`.
pub fn stateful_set(name: &str, replicas: i64) -> Value {
    let mut template = template(name);
    template["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                },
            }],
        },
    })
}

/// A Service for the pods with the label `app: <app>`.
pub fn service(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 80}]},
    })
}

/// A patch to another image.
pub fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "nginx", "image": image}]}}}})
}

fn template(app: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "nginx", "image": "nginx:1.25", "ports": [{"containerPort": 80}]}]},
    })
}
