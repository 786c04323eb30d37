//! The plugins, each by what it refuses and fills in, with the texts of Kubernetes.

use api::status::Status;
use serde_json::{Value, json};
use store::{Backend, Bucket, Change, Key, Options, Precondition, Store, Write};

use super::{Operation, Request, mutate, validate};
use crate::pipeline::{Subresource, UserInfo, extract};

/// A store with objects that were put there past all checks, and who asks.
struct World {
    store: Store,
    user: UserInfo,
}

impl World {
    /// A world with the namespace `ns`, its labels, its default account, and more: bucket, object.
    async fn new(labels: Value, more: &[(&str, Value)]) -> Self {
        let store = Store::open(Options::new(Backend::Memory, extract())).expect("a store in memory opens");
        let namespace = json!({"metadata": {"name": "ns", "labels": labels}});
        let account = json!({"metadata": {"name": "default", "namespace": "ns"}});
        let world = Self { store, user: UserInfo::default() };
        world.put("namespaces", namespace).await;
        world.put("serviceaccounts", account).await;
        for (bucket, object) in more {
            world.put(bucket, object.clone()).await;
        }
        world
    }

    async fn put(&self, bucket: &str, object: Value) {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let key = Key::new(&Bucket::from(bucket), text("namespace"), text("name"));
        let change = Change::Put(crate::pipeline::template(&object));
        let write = Write { key, precondition: Precondition::None, change, author: None };
        self.store.write(write).await.expect("written");
    }

    /// A kubelet asks from now on.
    fn asked_by(mut self, name: &str) -> Self {
        self.user = UserInfo {
            name: name.to_owned(),
            groups: vec!["system:nodes".to_owned()],
            ..UserInfo::default()
        };
        self
    }

    /// What an object becomes, and what is said about it.
    fn admit(&self, what: What<'_>, mut object: Value) -> Result<(Value, Vec<String>), Status> {
        let mut warnings = Vec::new();
        self.with(what, |request| {
            let deleted = request.operation == Operation::Delete;
            if !deleted {
                mutate(request, &mut object, what.old)?;
            }
            let new = (!deleted).then_some(&object);
            validate(request, new, what.old, &mut warnings)
        })?;
        Ok((object, warnings))
    }

    fn with<T>(&self, what: What<'_>, ask: impl FnOnce(&Request<'_>) -> T) -> T {
        let registry = api::registry::registry();
        let (group_version, plural) = what.resource.rsplit_once('/').expect("group/version/plural");
        let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
        let def = registry.resource(group, version, plural).expect("a resource");
        let snapshot = self.store.snapshot();
        ask(&Request {
            operation: what.operation,
            user: &self.user,
            def: &def,
            namespace: what.namespace.unwrap_or(if def.namespaced { "ns" } else { "" }),
            name: what.name,
            subresource: what.subresource,
            snapshot: &snapshot,
        })
    }

    fn refused(&self, what: What<'_>, object: Value) -> String {
        let status = self.admit(what, object).expect_err("it is refused");
        assert_eq!(status.code, 403, "{status}");
        status.message
    }
}

#[derive(Clone, Copy)]
struct What<'a> {
    resource: &'a str,
    operation: Operation,
    namespace: Option<&'a str>,
    name: &'a str,
    subresource: Option<Subresource>,
    old: Option<&'a Value>,
}

fn create(resource: &str) -> What<'_> {
    let operation = Operation::Create;
    What { resource, operation, namespace: None, name: "", subresource: None, old: None }
}

fn update<'a>(resource: &'a str, old: &'a Value) -> What<'a> {
    let name = old["metadata"]["name"].as_str().unwrap_or_default();
    What { operation: Operation::Update, name, old: Some(old), ..create(resource) }
}

fn delete<'a>(resource: &'a str, old: &'a Value) -> What<'a> {
    What { operation: Operation::Delete, ..update(resource, old) }
}

const PODS: &str = "v1/pods";

/// A pod with one container, and more fields of its spec and of its container.
fn pod(spec: Value, container: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for (to, from) in [("/spec", spec), ("/spec/containers/0", container)] {
        for (field, value) in from.as_object().into_iter().flatten() {
            pod.pointer_mut(to).expect("it is there")[field] = value.clone();
        }
    }
    pod
}

#[tokio::test]
async fn pods_run_as_an_account_that_exists() {
    let pulling =
        json!({"metadata": {"name": "pulling", "namespace": "ns"}, "imagePullSecrets": [{"name": "s"}]});
    let strict = json!({"metadata": {"name": "strict", "namespace": "ns",
        "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}});
    let world = World::new(json!({}), &[("serviceaccounts", pulling), ("serviceaccounts", strict)]).await;
    let (admitted, _) = world.admit(create(PODS), pod(json!({}), json!({}))).expect("admitted");
    assert_eq!(admitted["spec"]["serviceAccountName"], "default");
    assert_eq!(admitted["spec"]["serviceAccount"], "default");
    let (admitted, _) = world
        .admit(create(PODS), pod(json!({"serviceAccountName": "pulling"}), json!({})))
        .expect("admitted");
    assert_eq!(admitted["spec"]["imagePullSecrets"], json!([{"name": "s"}]));
    let own = json!({"serviceAccountName": "pulling", "imagePullSecrets": [{"name": "mine"}]});
    let (admitted, _) = world.admit(create(PODS), pod(own, json!({}))).expect("admitted");
    assert_eq!(admitted["spec"]["imagePullSecrets"], json!([{"name": "mine"}]));
    for (spec, why) in [
        (
            json!({"serviceAccountName": "none"}),
            "error looking up service account ns/none: serviceaccount \"none\" not found",
        ),
        (
            json!({"serviceAccountName": "strict", "volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
            "volume with secret.secretName=\"s\" is not allowed because service account strict does not reference that secret",
        ),
    ] {
        let refused = world.refused(create(PODS), pod(spec, json!({})));
        assert_eq!(refused, format!("pods \"p\" is forbidden: {why}"));
    }
    let mut mirror = pod(json!({}), json!({}));
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let (admitted, _) = world.admit(create(PODS), mirror.clone()).expect("admitted");
    assert!(admitted["spec"].get("serviceAccountName").is_none());
    mirror["spec"]["serviceAccountName"] = "default".into();
    assert_eq!(
        world.refused(create(PODS), mirror),
        "pods \"p\" is forbidden: a mirror pod may not reference service accounts"
    );
}

#[tokio::test]
async fn a_limit_range_gives_amounts_and_bounds_them() {
    let range = json!({"metadata": {"name": "r", "namespace": "ns"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"},
            "max": {"cpu": "1"}, "min": {"cpu": "50m"}, "maxLimitRequestRatio": {"cpu": "8"}},
        {"type": "Pod", "max": {"memory": "2Gi"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "5Gi"}},
    ]}});
    let world = World::new(json!({}), &[("limitranges", range)]).await;
    let (admitted, _) = world.admit(create(PODS), pod(json!({}), json!({}))).expect("admitted");
    assert_eq!(
        admitted["spec"]["containers"][0]["resources"],
        json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "1Gi"}})
    );
    assert_eq!(
        admitted["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu, memory limit for container c"
    );
    let asks =
        |requests: Value, limits: Value| json!({"resources": {"requests": requests, "limits": limits}});
    for (container, why) in [
        (
            asks(json!({"cpu": "1"}), json!({"cpu": "2"})),
            "maximum cpu usage per Container is 1, but limit is 2",
        ),
        (
            asks(json!({"cpu": "10m"}), json!({"cpu": "50m"})),
            "minimum cpu usage per Container is 50m, but request is 10m",
        ),
        (
            asks(json!({"cpu": "100m"}), json!({"cpu": "1"})),
            "cpu max limit to request ratio per Container is 8, but provided ratio is 10.000000",
        ),
        (
            asks(json!({"cpu": "10m"}), json!({"cpu": "2", "memory": "3Gi"})),
            "[minimum cpu usage per Container is 50m, but request is 10m, maximum cpu usage per Container is 1, but limit is 2, cpu max limit to request ratio per Container is 8, but provided ratio is 200.000000, maximum memory usage per Pod is 2Gi, but limit is 3Gi]",
        ),
    ] {
        let refused = world.refused(create(PODS), pod(json!({}), container));
        assert_eq!(refused, format!("pods \"p\" is forbidden: {why}"));
    }
    let claim = |size: &str| json!({"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": size}}}});
    world.admit(create("v1/persistentvolumeclaims"), claim("2Gi")).expect("admitted");
    assert_eq!(
        world.refused(create("v1/persistentvolumeclaims"), claim("6Gi")),
        "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 6Gi"
    );
}

#[tokio::test]
async fn a_runtime_class_gives_overhead_and_places() {
    let class = json!({"metadata": {"name": "kata"}, "overhead": {"podFixed": {"cpu": "100m"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]}});
    let world = World::new(json!({}), &[("runtimeclasses.node.k8s.io", class)]).await;
    let (admitted, _) =
        world.admit(create(PODS), pod(json!({"runtimeClassName": "kata"}), json!({}))).expect("admitted");
    assert_eq!(admitted["spec"]["overhead"], json!({"cpu": "100m"}));
    assert_eq!(admitted["spec"]["nodeSelector"], json!({"vm": "yes"}));
    assert_eq!(admitted["spec"]["tolerations"].as_array().map(Vec::len), Some(3));
    for (spec, why) in [
        (json!({"runtimeClassName": "none"}), "pod rejected: RuntimeClass \"none\" not found"),
        (
            json!({"runtimeClassName": "kata", "overhead": {"cpu": "1"}}),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            json!({"overhead": {"cpu": "1"}}),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            json!({"runtimeClassName": "kata", "nodeSelector": {"vm": "no"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no",
        ),
    ] {
        let refused = world.refused(create(PODS), pod(spec, json!({})));
        assert_eq!(refused, format!("pods \"p\" is forbidden: {why}"));
    }
}

#[tokio::test]
async fn claims_and_ingresses_get_the_newest_default_class() {
    let class = |name: &str, mark: &str, made: &str| {
        json!({"metadata": {"name": name, "creationTimestamp": made, "annotations": {mark: "true"}},
            "allowVolumeExpansion": name == "new"})
    };
    let mark = "storageclass.kubernetes.io/is-default-class";
    let storage = "storageclasses.storage.k8s.io";
    let world = World::new(
        json!({}),
        &[
            (storage, class("old", mark, "2026-01-01T00:00:00Z")),
            (storage, class("new", mark, "2026-02-01T00:00:00Z")),
            (
                "ingressclasses.networking.k8s.io",
                class("web", "ingressclass.kubernetes.io/is-default-class", "2026-01-01T00:00:00Z"),
            ),
        ],
    )
    .await;
    let claims = "v1/persistentvolumeclaims";
    let claim = |spec: Value| json!({"metadata": {"name": "c"}, "spec": spec});
    let (admitted, _) = world.admit(create(claims), claim(json!({}))).expect("admitted");
    assert_eq!(admitted["spec"]["storageClassName"], "new");
    let (admitted, _) =
        world.admit(create(claims), claim(json!({"storageClassName": ""}))).expect("admitted");
    assert_eq!(admitted["spec"]["storageClassName"], "");
    let (admitted, _) =
        world.admit(create("networking.k8s.io/v1/ingresses"), claim(json!({}))).expect("admitted");
    assert_eq!(admitted["spec"]["ingressClassName"], "web");

    let sized = |class: &str, phase: &str, size: &str| {
        json!({"metadata": {"name": "c"}, "status": {"phase": phase},
            "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}})
    };
    let bound = sized("new", "Bound", "1Gi");
    world.admit(update(claims, &bound), sized("new", "Bound", "2Gi")).expect("it grows");
    let pending = sized("new", "Pending", "1Gi");
    assert_eq!(
        world.refused(update(claims, &pending), sized("new", "Pending", "2Gi")),
        "persistentvolumeclaims \"c\" is forbidden: Only bound persistent volume claims can be expanded"
    );
    let fixed = sized("old", "Bound", "1Gi");
    assert_eq!(
        world.refused(update(claims, &fixed), sized("old", "Bound", "2Gi")),
        "persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
    );
}

#[tokio::test]
async fn a_kubelet_touches_only_what_is_its_own() {
    let on = |node: &str| json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"nodeName": node}});
    let node = json!({"metadata": {"name": "n1", "uid": "u1"}});
    let world = World::new(json!({}), &[("nodes", node)]).await.asked_by("system:node:n1");
    let named = |name: &str| json!({"metadata": {"name": name}, "spec": {}});
    let (registered, _) = world.admit(create("v1/nodes"), named("n1")).expect("its own node");
    assert_eq!(
        registered["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
    let labelled = |label: &str| json!({"metadata": {"name": "n1", "labels": {label: "x"}}, "spec": {}});
    let plain = named("n1");
    for label in ["kubernetes.io/hostname", "example.com/a", "node.kubernetes.io/a"] {
        world.admit(update("v1/nodes", &plain), labelled(label)).expect("it may");
    }
    let (mine, others) = (on("n1"), on("n2"));
    let status = |old| What { subresource: Some(Subresource::Status), ..update(PODS, old) };
    world.admit(status(&mine), mine.clone()).expect("it may");
    world.admit(delete(PODS, &mine), json!(null)).expect("it may");
    let mut mirror = on("n1");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let mut owned = mirror.clone();
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": true}]);
    world.admit(create(PODS), owned).expect("it may");
    let tainted =
        json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}});
    let leases = "coordination.k8s.io/v1/leases";
    let lease = What { namespace: Some("kube-node-lease"), ..create(leases) };
    world.admit(lease, named("n1")).expect("it may");
    for (what, object, why) in [
        (
            create("v1/nodes"),
            named("n2"),
            "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"",
        ),
        (
            update("v1/nodes", &plain),
            labelled("node-restriction.kubernetes.io/a"),
            "nodes \"n1\" is forbidden: is not allowed to modify labels: node-restriction.kubernetes.io/a",
        ),
        (
            update("v1/nodes", &plain),
            tainted,
            "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify taints",
        ),
        (
            status(&others),
            others.clone(),
            "pods \"p\" is forbidden: node \"n1\" can only update pod status for pods with spec.nodeName set to itself",
        ),
        (
            delete(PODS, &others),
            json!(null),
            "pods \"p\" is forbidden: node \"n1\" can only delete pods with spec.nodeName set to itself",
        ),
        (
            create(PODS),
            on("n1"),
            "pods \"p\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods",
        ),
        (
            create(PODS),
            mirror,
            "pods \"p\" is forbidden: node \"n1\" can only create pods with an owner reference set to itself",
        ),
        (
            create(leases),
            named("n1"),
            "leases.coordination.k8s.io \"n1\" is forbidden: can only access leases in the \"kube-node-lease\" system namespace",
        ),
        (
            lease,
            named("n2"),
            "leases.coordination.k8s.io \"n2\" is forbidden: can only access node lease with the same name as the requesting node",
        ),
    ] {
        assert_eq!(world.refused(what, object), why);
    }
}

#[tokio::test]
async fn there_is_one_default_priority_and_some_namespaces_stay() {
    let class = |name: &str| json!({"metadata": {"name": name}, "value": 7, "globalDefault": true});
    let world = World::new(json!({}), &[("priorityclasses.scheduling.k8s.io", class("a"))]).await;
    let (admitted, _) = world.admit(create(PODS), pod(json!({}), json!({}))).expect("admitted");
    assert_eq!(
        (&admitted["spec"]["priority"], &admitted["spec"]["priorityClassName"]),
        (&json!(7), &json!("a"))
    );
    assert_eq!(
        world.refused(create("scheduling.k8s.io/v1/priorityclasses"), class("b")),
        "priorityclasses.scheduling.k8s.io \"b\" is forbidden: PriorityClass a is already marked as default. Only one default can exist"
    );
    assert_eq!(
        world.refused(create(PODS), pod(json!({"priorityClassName": "none"}), json!({}))),
        "pods \"p\" is forbidden: no PriorityClass with name none was found"
    );
    let default = json!({"metadata": {"name": "default"}});
    assert_eq!(
        world.refused(delete("v1/namespaces", &default), json!(null)),
        "namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
}

#[tokio::test]
async fn the_labels_of_a_namespace_decide_how_much_its_pods_may() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"});
    let world = World::new(labels.clone(), &[]).await;
    let refused = world.refused(create(PODS), pod(json!({"hostNetwork": true}), json!({})));
    assert_eq!(
        refused,
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    let (_, warnings) = world.admit(create(PODS), pod(json!({}), json!({}))).expect("admitted");
    assert!(
        warnings[0].starts_with("would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation")
    );
    let workload = json!({"metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "c"}], "hostNetwork": true}}}});
    let (_, warnings) = world.admit(create("apps/v1/deployments"), workload).expect("it is not refused");
    assert!(warnings[0].contains("host namespaces (hostNetwork=true)"), "{warnings:?}");

    let stored = json!({"metadata": {"name": "old", "namespace": "ns"},
        "spec": {"containers": [{"name": "c", "securityContext": {"privileged": true}}]}});
    let world = World::new(json!({}), &[("pods", stored)]).await;
    let before = json!({"metadata": {"name": "ns"}});
    let after = json!({"metadata": {"name": "ns", "labels": labels}});
    let (_, warnings) = world.admit(update("v1/namespaces", &before), after).expect("admitted");
    assert_eq!(
        warnings,
        [
            "existing pods in namespace \"ns\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "old: privileged"
        ]
    );
    let wrong = json!({"metadata": {"name": "ns", "labels": {"pod-security.kubernetes.io/enforce": "x"}}});
    let status = world.admit(create("v1/namespaces"), wrong).expect_err("it is refused");
    assert_eq!(
        (status.code, status.message.as_str()),
        (
            422,
            "Namespace \"ns\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"x\": must be one of privileged, baseline, restricted"
        )
    );
}
