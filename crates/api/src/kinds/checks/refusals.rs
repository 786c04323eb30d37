//! Objects that are not valid, and what is said of them.

use serde_json::{Value, json};

use crate::codec;
use crate::kinds;
use crate::registry::{ResourceDef, registry};

fn def(api_version: &str, plural: &str) -> std::sync::Arc<ResourceDef> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    registry().resource(group, version, plural).unwrap_or_else(|| panic!("no {plural} in {api_version}"))
}

/// What is wrong with a new object.
pub(super) fn wrong(api_version: &str, plural: &str, rest: Value) -> Vec<String> {
    let def = def(api_version, plural);
    let object = made(&def, rest);
    kinds::validate(&def, &object).iter().map(ToString::to_string).collect()
}

/// What is wrong with a change of an object.
pub(super) fn changed(api_version: &str, plural: &str, old: Value, new: Value) -> Vec<String> {
    let def = def(api_version, plural);
    let (old, new) = (made(&def, old), made(&def, new));
    kinds::validate_update(&def, &new, &old).iter().map(ToString::to_string).collect()
}

/// An object as it is stored.
fn made(def: &ResourceDef, rest: Value) -> Value {
    let api_version = def.api_version();
    let mut object = json!({"kind": &*def.kind, "apiVersion": api_version, "metadata": {"name": "x"}});
    if def.namespaced {
        object["metadata"]["namespace"] = "default".into();
    }
    for (name, value) in rest.as_object().expect("fields") {
        object[name] = value.clone();
    }
    codec::check(def, &mut object, codec::FieldValidation::Strict).expect("the fields of the kind");
    codec::to_storage(def, &mut object);
    kinds::prepare_for_create(def, &mut object);
    object
}

/// What is wrong with a new pod.
pub(super) fn pod(spec: Value) -> Vec<String> {
    let mut full = json!({"containers": [{"name": "c", "image": "i"}]});
    for (name, value) in spec.as_object().expect("fields") {
        full[name] = value.clone();
    }
    wrong("v1", "pods", json!({"spec": full}))
}

#[test]
fn a_pod_that_cannot_run_is_refused() {
    let cases = [
        (
            json!({"initContainers": [{"name": "i", "image": "i", "readinessProbe": {"exec": {"command": ["a"]}}}]}),
            "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}),
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}),
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            json!({"securityContext": {"runAsUser": -5}}),
            "spec.securityContext.runAsUser: Invalid value: -5: must be between 0 and 2147483647, inclusive",
        ),
        (
            json!({"tolerations": [{"operator": "Equal"}]}),
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ),
        (
            json!({"dnsPolicy": "None"}),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
    ];
    for (spec, text) in cases {
        assert_eq!(pod(spec.clone()), [text], "{spec}");
    }
    assert_eq!(pod(json!({})), Vec::<String>::new());
    let apart =
        json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ""}]}});
    let found = pod(json!({"affinity": apart}));
    assert_eq!(
        found[0],
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty"
    );
}

#[test]
fn networking_that_leads_nowhere_is_refused() {
    let ingress = |spec: Value| wrong("networking.k8s.io/v1", "ingresses", json!({"spec": spec}));
    assert_eq!(
        ingress(json!({})),
        ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]
    );
    let paths = |path: Value| ingress(json!({"rules": [{"host": "a.example", "http": {"paths": [path]}}]}));
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    assert_eq!(paths(json!({"path": "/", "pathType": "Exact", "backend": backend})), Vec::<String>::new());
    assert_eq!(
        paths(json!({"path": "a", "pathType": "Prefix", "backend": {}})),
        [
            "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path",
            "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required",
        ]
    );
    let policy = json!({"podSelector": {}, "ingress": [{"from": [{}]}]});
    assert_eq!(
        wrong("networking.k8s.io/v1", "networkpolicies", json!({"spec": policy})),
        ["spec.ingress[0].from[0]: Required value: must specify a peer"]
    );
    let slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}], "ports": []});
    assert_eq!(
        wrong("discovery.k8s.io/v1", "endpointslices", slice),
        [
            "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"
        ]
    );
}

#[test]
fn what_rules_the_cluster_is_checked() {
    let binding = json!({"roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "Robot", "name": "u"}]});
    assert_eq!(
        wrong("rbac.authorization.k8s.io/v1", "clusterrolebindings", binding),
        [
            "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
            "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
        ]
    );
    assert_eq!(
        wrong("scheduling.k8s.io/v1", "priorityclasses", json!({"value": 1_000_000_001})),
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]
    );
    let limits =
        json!({"spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}});
    let said = wrong("v1", "limitranges", limits);
    assert_eq!(
        said[0],
        "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"
    );
    let taints = json!({"spec": {"taints": [{"key": "a", "effect": "Maybe"}]}});
    assert_eq!(
        wrong("v1", "nodes", taints),
        [
            "metadata.taints[0].effect: Unsupported value: \"Maybe\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""
        ]
    );
}

#[test]
fn what_may_not_change_is_told() {
    let classes = def("storage.k8s.io/v1", "storageclasses");
    let class = |provisioner: &str| json!({"kind": "StorageClass", "apiVersion": "storage.k8s.io/v1", "provisioner": provisioner, "metadata": {"name": "x", "uid": "u"}});
    let errors = kinds::validate_update(&classes, &class("a/b"), &class("a/c"));
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["provisioner: Forbidden: updates to provisioner are forbidden."]);
    assert!(kinds::validate_update(&classes, &class("a/b"), &class("a/b")).is_empty());
}

#[test]
fn a_claim_may_be_bound_and_then_grow_but_not_shrink() {
    let claims = def("v1", "persistentvolumeclaims");
    let claim = |size: &str, volume: &str, phase: &str| {
        let mut claim = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1",
            "metadata": {"name": "x", "namespace": "default", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
            "status": {"phase": phase, "capacity": {"storage": "1Gi"}}});
        if !volume.is_empty() {
            claim["spec"]["volumeName"] = volume.into();
        }
        claim
    };
    let said = |new: Value, old: Value| kinds::validate_update(&claims, &new, &old).len();
    assert_eq!(said(claim("1Gi", "pv", "Pending"), claim("1Gi", "", "Pending")), 0);
    assert_eq!(said(claim("2Gi", "pv", "Bound"), claim("1Gi", "pv", "Bound")), 0);
    assert_eq!(said(claim("1Gi", "pv", "Bound"), claim("2Gi", "pv", "Bound")), 1);
    assert_eq!(said(claim("2Gi", "", "Pending"), claim("1Gi", "", "Pending")), 1);
    assert_eq!(said(claim("1Gi", "other", "Bound"), claim("1Gi", "pv", "Bound")), 1);
}
