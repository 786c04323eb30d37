//! Rows as `kubectl get` shows them, and the columns beside those of a real server.

use std::path::PathBuf;

use serde_json::json;

use super::*;

const NOW: &str = "2026-11-24T12:00:00Z";

/// The cells of an object that was made five minutes ago, separated by `|`, without name and age.
#[track_caller]
fn check(bucket: &str, mut object: Value, expected: &str) {
    let all = api::registry::registry().all();
    let def = all.iter().find(|def| &*def.bucket == bucket && def.is_stored()).expect("a resource");
    object["metadata"]["name"] = "x".into();
    object["metadata"]["creationTimestamp"] = "2026-11-24T11:55:00Z".into();
    let row = row(def, &object, NOW.parse().expect("a time"));
    assert_eq!(row.cells.len(), columns(def).len(), "one cell for each column");
    let shown: Vec<String> = row
        .cells
        .iter()
        .zip(columns(def))
        .filter(|(_, column)| !matches!(column.name, "Name" | "Age"))
        .map(|(cell, _)| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned))
        .collect();
    assert_eq!(shown.join("|"), expected, "{object}");
}

fn pod(more: Value) -> Value {
    let mut pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "n1"}, "status": {"phase": "Running", "podIP": "10.244.0.5"}, "metadata": {}});
    for (part, fields) in more.as_object().expect("fields") {
        for (name, value) in fields.as_object().expect("fields") {
            pod[part][name] = value.clone();
        }
    }
    pod
}

#[test]
fn pods() {
    let running = json!({"ready": true, "restartCount": 0, "state": {"running": {}}});
    let tail = "10.244.0.5|n1|<none>|<none>";
    for (more, expected) in [
        (json!({"status": {"containerStatuses": [running, running]}}), "2/2|Running|0"),
        (json!({"status": {"phase": "Pending"}}), "0/2|Pending|0"),
        (
            json!({"status": {"containerStatuses": [running,
                {"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"finishedAt": "2026-11-24T11:58:00Z"}}}]}}),
            "1/2|CrashLoopBackOff|4 (2m ago)",
        ),
        (
            json!({"status": {"containerStatuses": [running, {"state": {"terminated": {"reason": "Completed", "exitCode": 0}}}],
                "conditions": [{"type": "Ready", "status": "False"}]}}),
            "1/2|NotReady|0",
        ),
        (
            json!({"status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}}),
            "0/2|ExitCode:3|0",
        ),
        (
            json!({"status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"signal": 9, "exitCode": 137}}}]}}),
            "0/2|Signal:9|0",
        ),
        (json!({"status": {"phase": "Failed", "reason": "Evicted"}}), "0/2|Evicted|0"),
        (
            json!({"metadata": {"deletionTimestamp": NOW}, "status": {"containerStatuses": [running, running]}}),
            "2/2|Terminating|0",
        ),
        (
            json!({"metadata": {"deletionTimestamp": NOW}, "status": {"phase": "Succeeded"}}),
            "0/2|Succeeded|0",
        ),
        (json!({"metadata": {"deletionTimestamp": NOW}, "status": {"reason": "NodeLost"}}), "0/2|Unknown|0"),
        (
            json!({"spec": {"initContainers": [{"name": "i"}, {"name": "j"}]}, "status": {"phase": "Pending",
                "initContainerStatuses": [{"name": "i", "restartCount": 1, "state": {"terminated": {"exitCode": 0}}},
                    {"name": "j", "restartCount": 0, "state": {"running": {}}}]}}),
            "0/2|Init:1/2|1",
        ),
        (
            json!({"spec": {"initContainers": [{"name": "i"}]}, "status": {"phase": "Pending",
                "initContainerStatuses": [{"name": "i", "state": {"terminated": {"reason": "Error", "exitCode": 1}}}]}}),
            "0/2|Init:Error|0",
        ),
        (
            json!({"spec": {"initContainers": [{"name": "i"}]}, "status": {"phase": "Pending",
                "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}}),
            "0/2|Init:ImagePullBackOff|0",
        ),
        (
            json!({"spec": {"initContainers": [{"name": "s", "restartPolicy": "Always"}]}, "status": {
                "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "restartCount": 2, "state": {"running": {}}}],
                "containerStatuses": [running, running]}}),
            "3/3|Running|2",
        ),
        (
            json!({"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}}),
            "0/2|SchedulingGated|0",
        ),
    ] {
        check("pods", pod(more), &format!("{expected}|{tail}"));
    }
    let gated = json!({"spec": {"readinessGates": [{"conditionType": "g"}, {"conditionType": "h"}], "nodeName": ""},
        "status": {"podIP": "", "nominatedNodeName": "n2", "conditions": [{"type": "g", "status": "True"}]}});
    check("pods", pod(gated), "0/2|Running|0|<none>|<none>|n2|1/2");
}

#[test]
fn what_keeps_pods_running() {
    let template = json!({"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [
        {"name": "a", "image": "nginx"}, {"name": "b", "image": "redis"}], "nodeSelector": {"disk": "ssd"}}});
    let selector = json!({"matchLabels": {"app": "w"}, "matchExpressions": [
        {"key": "tier", "operator": "In", "values": ["y", "x"]}, {"key": "old", "operator": "DoesNotExist"}]});
    let shown = "app=w,!old,tier in (x,y)";
    check(
        "deployments.apps",
        json!({"spec": {"replicas": 3, "selector": selector, "template": template},
            "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}}),
        &format!("1/3|2|1|a,b|nginx,redis|{shown}"),
    );
    check(
        "replicasets.apps",
        json!({"spec": {"replicas": 3, "selector": selector, "template": template}, "status": {"replicas": 2}}),
        &format!("3|2|0|a,b|nginx,redis|{shown}"),
    );
    check(
        "replicationcontrollers",
        json!({"spec": {"replicas": 1, "selector": {"b": "2", "a": "1"}, "template": template}}),
        "1|0|0|a,b|nginx,redis|a=1,b=2",
    );
    check(
        "daemonsets.apps",
        json!({"spec": {"selector": {}, "template": template}, "status": {"desiredNumberScheduled": 2,
            "currentNumberScheduled": 1, "numberReady": 1}}),
        "2|1|1|0|0|disk=ssd|a,b|nginx,redis|<none>",
    );
    check(
        "statefulsets.apps",
        json!({"spec": {"replicas": 2, "template": template}, "status": {"readyReplicas": 2}}),
        "2/2|a,b|nginx,redis",
    );
    check(
        "controllerrevisions.apps",
        json!({"revision": 4, "metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": true}]}}),
        "daemonset.apps/d|4",
    );
    check("podtemplates", json!({"template": template}), "a,b|nginx,redis|app=w");
}

#[test]
fn jobs() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "i"}]}});
    let times = json!({"startTime": "2026-11-24T11:00:00Z", "completionTime": "2026-11-24T11:01:40Z"});
    for (spec, status, expected) in [
        (json!({"completions": 3}), json!({"succeeded": 1}), "Running|1/3|"),
        (json!({"parallelism": 2}), json!({"startTime": "2026-11-24T11:59:30Z"}), "Running|0/1 of 2|30s"),
        (json!({}), json!({"conditions": [{"type": "Suspended", "status": "True"}]}), "Suspended|0/1|"),
        (json!({}), json!({"conditions": [{"type": "Failed", "status": "True"}]}), "Failed|0/1|"),
    ] {
        let mut spec = spec;
        spec["template"] = template.clone();
        check("jobs.batch", json!({"spec": spec, "status": status}), &format!("{expected}|a|i|<none>"));
    }
    let mut status = times;
    status["conditions"] = json!([{"type": "Complete", "status": "True"}]);
    status["succeeded"] = 1.into();
    let spec = json!({"completions": 1, "template": template});
    check("jobs.batch", json!({"spec": spec, "status": status}), "Complete|1/1|100s|a|i|<none>");
    check(
        "cronjobs.batch",
        json!({"spec": {"schedule": "* * * * *", "suspend": false, "jobTemplate": {"spec": {"template": template}}},
            "status": {"lastScheduleTime": "2026-11-24T11:59:00Z", "active": [{}]}}),
        "* * * * *|<none>|False|1|60s|a|i|<none>",
    );
}

#[test]
fn services_and_their_endpoints() {
    let ports = json!([{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]);
    for (spec, status, expected) in [
        (
            json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.9"]}),
            json!({}),
            "ClusterIP|10.96.0.9|<none>|80:30080/TCP,53/UDP|<none>",
        ),
        (
            json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}),
            json!({}),
            "ClusterIP|None|<none>|80:30080/TCP,53/UDP|<none>",
        ),
        (
            json!({"type": "LoadBalancer"}),
            json!({}),
            "LoadBalancer|<none>|<pending>|80:30080/TCP,53/UDP|<none>",
        ),
        (
            json!({"type": "LoadBalancer", "externalIPs": ["1.1.1.1"]}),
            json!({"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}]}}),
            "LoadBalancer|<none>|2.2.2.2,1.1.1.1|80:30080/TCP,53/UDP|<none>",
        ),
        (
            json!({"type": "ExternalName", "externalName": "e.x"}),
            json!({}),
            "ExternalName|<none>|e.x|80:30080/TCP,53/UDP|<none>",
        ),
    ] {
        let mut spec = spec;
        spec["ports"] = ports.clone();
        check("services", json!({"spec": spec, "status": status}), expected);
    }
    check(
        "endpoints",
        json!({"subsets": [{"addresses": [{"ip": "a"}, {"ip": "b"}], "ports": [{"port": 1}, {"port": 2}]}]}),
        "a:1,b:1,a:2 + 1 more...",
    );
    check("endpoints", json!({}), "<none>");
    check(
        "endpointslices.discovery.k8s.io",
        json!({"addressType": "IPv4", "ports": [{"port": 80}, {}], "endpoints": [{"addresses": ["a"]}]}),
        "IPv4|80,*|a",
    );
    check("endpointslices.discovery.k8s.io", json!({"addressType": "IPv4"}), "IPv4|<unset>|<unset>");
}

#[test]
fn nodes() {
    check(
        "nodes",
        json!({"metadata": {"labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian", "containerRuntimeVersion": "docker://20"}}}),
        "Ready,SchedulingDisabled|edge,worker|v1.36.0|10.0.0.1|<none>|Debian|<unknown>|docker://20",
    );
    check("nodes", json!({}), "Unknown|<none>||<none>|<none>|<unknown>|<unknown>|<unknown>");
    let away = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    check("nodes", away, "NotReady|<none>||<none>|<none>|<unknown>|<unknown>|<unknown>");
}

#[test]
fn events() {
    check(
        "events",
        json!({"type": "Normal", "reason": "Pulled", "message": " done \n", "count": 3,
            "firstTimestamp": "2026-11-24T11:50:00Z", "lastTimestamp": "2026-11-24T11:59:50Z",
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
            "source": {"component": "kubelet", "host": "n1"}}),
        "10s|Normal|Pulled|pod/p|spec.containers{c}|kubelet, n1|done|10m|3",
    );
    check(
        "events",
        json!({"type": "Warning", "eventTime": "2026-11-24T11:58:00.000000Z", "reportingComponent": "s",
            "involvedObject": {"kind": "Node"}, "series": {"count": 7, "lastObservedTime": "2026-11-24T11:59:59.500000Z"}}),
        "0s|Warning||node||s||2m|7",
    );
}

#[test]
fn small_kinds() {
    check("namespaces", json!({"status": {"phase": "Active"}}), "Active");
    check("configmaps", json!({"data": {"a": "1"}, "binaryData": {"b": ""}}), "2");
    check("secrets", json!({"type": "Opaque", "data": {"a": ""}}), "Opaque|1");
    check("serviceaccounts", json!({}), "");
    check("leases.coordination.k8s.io", json!({"spec": {"holderIdentity": "n1"}}), "n1");
    check(
        "resourcequotas",
        json!({"status": {"hard": {"pods": "10", "limits.cpu": "2", "cpu": "1"}, "used": {"pods": "3"}}}),
        "cpu: 0/1, pods: 3/10|limits.cpu: 0/2",
    );
    check("limitranges", json!({}), "2026-11-24T11:55:00Z");
    check(
        "priorityclasses.scheduling.k8s.io",
        json!({"value": 5, "preemptionPolicy": "Never"}),
        "5|false|Never",
    );
    check("runtimeclasses.node.k8s.io", json!({"handler": "h"}), "h");
    check("apiservices.apiregistration.k8s.io", json!({}), "Local|Unknown");
}

#[test]
fn volumes() {
    check(
        "persistentvolumes",
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": "n", "name": "c"}},
            "status": {"phase": "Bound"}}),
        "1Gi|RWO,RWX|Retain|Bound|n/c||<unset>||<unset>",
    );
    check(
        "persistentvolumeclaims",
        json!({"spec": {"volumeName": "v", "storageClassName": "fast", "volumeMode": "Filesystem"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}}),
        "Bound|v|1Gi|RWO|fast|<unset>|Filesystem",
    );
    let pending = json!({"status": {"phase": "Pending", "capacity": {"storage": "1Gi"}}});
    check("persistentvolumeclaims", pending, "Pending|||||<unset>|<unset>");
    check("storageclasses.storage.k8s.io", json!({"provisioner": "p"}), "p|Delete|Immediate|false");
}

#[test]
fn what_remains() {
    check(
        "ingresses.networking.k8s.io",
        json!({"spec": {"ingressClassName": "c", "rules": [{"host": "a"}, {}], "tls": [{}]}}),
        "c|a||80, 443",
    );
    check("ingresses.networking.k8s.io", json!({"spec": {}}), "<none>|*||80");
    check(
        "networkpolicies.networking.k8s.io",
        json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}),
        "a=b",
    );
    check(
        "poddisruptionbudgets.policy",
        json!({"spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 1}}),
        "50%|N/A|1",
    );
    check(
        "horizontalpodautoscalers.autoscaling",
        json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "minReplicas": 2, "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}},
                {"type": "Pods", "pods": {"target": {"averageValue": "10"}}}, {"type": "Nonsense"}]},
            "status": {"currentMetrics": [{"resource": {"current": {"averageUtilization": 12}}}]}}),
        "Deployment/d|cpu: 12%/50%, <unknown>/10 + 1 more...|2|5|0",
    );
    check(
        "rolebindings.rbac.authorization.k8s.io",
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"},
            {"kind": "User", "name": "v"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"}]}),
        "Role/r|u, v||n/s",
    );
    check(
        "certificatesigningrequests.certificates.k8s.io",
        json!({"spec": {"signerName": "s", "username": "u", "expirationSeconds": 86400},
            "status": {"conditions": [{"type": "Approved"}], "certificate": "x"}}),
        "s|u|24h|Approved,Issued",
    );
    check(
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        json!({"spec": {"validations": [{}, {}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}}),
        "2|v1/ConfigMap",
    );
    check(
        "resourceclaims.resource.k8s.io",
        json!({"status": {"allocation": {}, "reservedFor": [{}]}}),
        "allocated,reserved",
    );
}

#[test]
fn a_pod_that_is_done_says_so_to_clients() {
    let all = api::registry::registry();
    let pods = all.resource("", "v1", "pods").expect("pods");
    let of = |phase: &str| {
        let pod = json!({"status": {"phase": phase}});
        row(&pods, &pod, NOW.parse().expect("a time")).conditions
    };
    assert_eq!(of("Succeeded").expect("conditions")[0]["type"], "Completed");
    assert_eq!(of("Running"), None);
}

#[test]
fn columns_are_those_of_the_reference() {
    let root = std::env::var_os("COXSWAIN_REFERENCE")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference"));
    let Ok(bytes) = std::fs::read(root.join("table-columns.json")) else {
        eprintln!("skipped: no reference at {}", root.display());
        return;
    };
    let expected: std::collections::BTreeMap<String, Vec<String>> =
        serde_json::from_slice(&bytes).expect("columns");
    let registry = api::registry::registry();
    let mut compared = 0;
    for (resource, expected) in expected {
        let (version, plural) = resource.rsplit_once('/').expect("a resource");
        let own = api::gvk::GroupVersion::parse(version);
        let Some(def) = registry.resource(&own.group, &own.version, plural) else { continue };
        let shown: Vec<String> = columns(&def)
            .iter()
            .map(|column| format!("{}|{}|{}|{}", column.name, column.r#type, column.format, column.priority))
            .collect();
        assert_eq!(shown, expected, "{resource}");
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
}
