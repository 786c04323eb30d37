//! What is refused, in the words in which it is refused; and that a change to what is valid is not.

use serde_json::{Value, json};

use crate::codec;
use crate::kinds::{validate, validate_update};
use crate::registry::{ResourceDef, registry};

fn def(resource: &str) -> std::sync::Arc<ResourceDef> {
    let (group_version, plural) = resource.rsplit_once('/').expect("group/version/plural");
    let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
    registry().resource(group, version, plural).expect("a built-in resource")
}

/// The object as it is stored, with its defaults.
fn object(resource: &str, spec: Value) -> Value {
    let def = def(resource);
    let mut object = json!({"kind": &*def.kind, "apiVersion": def.api_version(),
        "metadata": {"name": "x", "namespace": "default"}, "spec": spec});
    codec::to_storage(&def, &mut object);
    object
}

#[track_caller]
fn check(resource: &str, spec: Value, expected: &[&str]) {
    let errors = validate(&def(resource), &object(resource, spec));
    let mut errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let mut expected = expected.to_vec();
    errors.sort();
    expected.sort_unstable();
    assert_eq!(errors, expected, "{resource}");
}

#[track_caller]
fn check_update(resource: &str, old: Value, new: Value, expected: &[&str]) {
    let (old, new) = (object(resource, old), object(resource, new));
    let errors = validate_update(&def(resource), &new, &old);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, expected, "{resource}");
}

/// A valid pod spec with some fields changed.
fn pod(changes: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "nginx"}]});
    merge(&mut spec, changes);
    spec
}

fn container(changes: Value) -> Value {
    let mut container = json!({"name": "c", "image": "nginx"});
    merge(&mut container, changes);
    json!({"containers": [container]})
}

fn merge(into: &mut Value, changes: Value) {
    for (name, value) in changes.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}

#[test]
fn a_pod_is_refused_for_what_cannot_run() {
    let pods = "v1/pods";
    check(pods, pod(json!({})), &[]);
    check(pods, pod(json!({"containers": []})), &["spec.containers: Required value"]);
    check(
        pods,
        pod(json!({"initContainers": [{"name": "c", "image": "i"}]})),
        &["spec.initContainers[0].name: Duplicate value: \"c\""],
    );
    check(
        pods,
        container(json!({"name": "", "image": " i"})),
        &[
            "spec.containers[0].name: Required value",
            "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace",
        ],
    );
    check(
        pods,
        container(json!({"ports": [{"name": "p", "containerPort": 0}, {"name": "p", "containerPort": 1}]})),
        &[
            "spec.containers[0].ports[0].containerPort: Required value",
            "spec.containers[0].ports[1].name: Duplicate value: \"p\"",
        ],
    );
    check(
        pods,
        container(
            json!({"livenessProbe": {"httpGet": {"port": 0}, "successThreshold": 2}, "readinessProbe": {}}),
        ),
        &[
            "spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
            "spec.containers[0].readinessProbe: Required value: must specify a handler type",
        ],
    );
    check(
        pods,
        container(
            json!({"resources": {"requests": {"cpu": "2", "gpu": "1"}, "limits": {"cpu": "1", "memory": "-1"}}}),
        ),
        &[
            "spec.containers[0].resources.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
            "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
        ],
    );
    check(
        pods,
        pod(
            json!({"volumes": [{"name": "a", "secret": {}, "hostPath": {"path": "/a/../b"}}, {"name": "a"}]}),
        ),
        &[
            "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
            "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
        ],
    );
    check(
        pods,
        pod(
            json!({"tolerations": [{"operator": "Equal"}, {"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1}]}),
        ),
        &[
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            "spec.tolerations[1].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
        ],
    );
}

#[test]
fn a_pod_may_get_another_image_and_no_other_container() {
    let pods = "v1/pods";
    let node = json!({"nodeName": "n1"});
    check_update(
        pods,
        pod(node.clone()),
        container(json!({"image": "other"})),
        &[&format!("spec: Forbidden: {}", super::pod_update::MAY_CHANGE)],
    );
    let mut other_image = container(json!({"image": "other"}));
    merge(&mut other_image, node.clone());
    check_update(pods, pod(node), other_image, &[]);
    check_update(
        pods,
        pod(json!({})),
        pod(json!({"tolerations": [{"key": "a", "operator": "Exists"}], "activeDeadlineSeconds": 5})),
        &[],
    );
    check_update(
        pods,
        pod(json!({"activeDeadlineSeconds": 5})),
        pod(json!({"activeDeadlineSeconds": 6})),
        &["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"],
    );
    let two = json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]});
    check_update(
        pods,
        pod(json!({})),
        two,
        &["spec.containers: Forbidden: pod updates may not add or remove containers"],
    );
}

fn workload(labels: Value, changes: Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": labels}, "spec": pod(json!({}))},
    });
    merge(&mut spec, changes);
    spec
}

#[test]
fn a_workload_must_select_its_own_pods() {
    let mismatch = "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`";
    for resource in
        ["apps/v1/deployments", "apps/v1/replicasets", "apps/v1/daemonsets", "apps/v1/statefulsets"]
    {
        check(resource, workload(json!({"app": "a"}), json!({})), &[]);
        check(resource, workload(json!({"app": "b"}), json!({})), &[mismatch]);
    }
    check(
        "v1/replicationcontrollers",
        workload(json!({"app": "b"}), json!({"selector": {"app": "a"}, "replicas": -1})),
        &[mismatch, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    );
    check(
        "apps/v1/deployments",
        workload(json!({"app": "a"}), json!({"selector": {}})),
        &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
    );
    check_update(
        "apps/v1/deployments",
        workload(json!({"app": "a", "b": "c"}), json!({})),
        workload(json!({"app": "a", "b": "c"}), json!({"selector": {"matchLabels": {"b": "c"}}})),
        &["spec.selector: Invalid value: {\"matchLabels\":{\"b\":\"c\"}}: field is immutable"],
    );
}

#[test]
fn a_deployment_must_be_able_to_roll() {
    let deployments = "apps/v1/deployments";
    let with = |changes: Value| workload(json!({"app": "a"}), changes);
    check(
        deployments,
        with(json!({"strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 0}}})),
        &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
    );
    check(
        deployments,
        with(json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}})),
        &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
    );
    check(
        deployments,
        with(json!({"progressDeadlineSeconds": 5, "minReadySeconds": 5})),
        &["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"],
    );
    check(
        deployments,
        with(
            json!({"template": {"metadata": {"labels": {"app": "a"}}, "spec": pod(json!({"restartPolicy": "Never"}))}}),
        ),
        &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
    );
}

#[test]
fn a_job_ends_and_its_template_stays() {
    let template = |policy: &str| json!({"template": {"spec": pod(json!({"restartPolicy": policy}))}});
    check("batch/v1/jobs", template("Never"), &[]);
    check(
        "batch/v1/jobs",
        template("Always"),
        &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
    );
    let mut suspended = template("Never");
    suspended["suspend"] = true.into();
    let mut placed = template("Never");
    placed["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
    check_update("batch/v1/jobs", suspended, placed, &[]);
    let (old, new) =
        (object("batch/v1/jobs", template("Never")), object("batch/v1/jobs", template("OnFailure")));
    let errors = validate_update(&def("batch/v1/jobs"), &new, &old);
    assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), ["spec.template"]);
}

#[test]
fn a_service_is_refused_for_what_cannot_be_reached() {
    let services = "v1/services";
    check(services, json!({"ports": [{"port": 80}]}), &[]);
    check(services, json!({"clusterIP": "None"}), &[]);
    check(services, json!({}), &["spec.ports: Required value"]);
    check(
        services,
        json!({"ports": [{"port": 80}, {"name": "b", "port": 80, "nodePort": 30000}]}),
        &[
            "spec.ports[0].name: Required value",
            "spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}",
        ],
    );
    check(services, json!({"type": "ExternalName"}), &["spec.externalName: Required value"]);
    check(
        services,
        json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 80}], "externalIPs": ["127.0.0.1"]}),
        &[
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ],
    );
    check_update(
        services,
        json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80}]}),
        json!({"clusterIP": "10.96.0.8", "clusterIPs": ["10.96.0.8"], "ports": [{"port": 80}]}),
        &["spec.clusterIPs[0]: Invalid value: [\"10.96.0.8\"]: may not change once set"],
    );
}

#[test]
fn claims_and_autoscalers_say_how_much() {
    check(
        "v1/persistentvolumeclaims",
        json!({"accessModes": ["Sometimes"], "resources": {"requests": {"storage": "0"}}}),
        &[
            "spec.accessModes: Unsupported value: \"Sometimes\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
        ],
    );
    check(
        "autoscaling/v2/horizontalpodautoscalers",
        json!({"maxReplicas": 0, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment"}}),
        &[
            "spec.maxReplicas: Invalid value: 0: must be greater than 0",
            "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
            "spec.scaleTargetRef.name: Required value",
        ],
    );
    check(
        "coordination.k8s.io/v1/leases",
        json!({"leaseDurationSeconds": 0}),
        &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
    );
}
