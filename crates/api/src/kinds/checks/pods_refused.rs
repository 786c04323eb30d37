//! Pods that cannot run, one by one, and all that is said of each.

use serde_json::{Value, json};

use super::refusals::{changed, pod, wrong};

#[track_caller]
fn check(spec: Value, expected: &[&str]) {
    assert_eq!(pod(spec.clone()), expected, "{spec}");
}

fn with_volume(volume: Value) -> Value {
    json!({"volumes": [volume]})
}

fn with_container(fields: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i"});
    for (name, value) in fields.as_object().expect("fields") {
        container[name] = value.clone();
    }
    json!({"containers": [container]})
}

#[test]
fn a_volume_says_what_fills_it() {
    let cases: &[(Value, &[&str])] = &[
        (
            json!({"name": "v", "emptyDir": {}, "nfs": {}, "cephfs": {}, "downwardAPI": {}}),
            &[
                "spec.volumes[0].nfs: Forbidden: may not specify more than 1 volume type",
                "spec.volumes[0].cephFS: Forbidden: may not specify more than 1 volume type",
                "spec.volumes[0].downwarAPI: Forbidden: may not specify more than 1 volume type",
            ],
        ),
        (
            json!({"name": "v", "hostPath": {"path": "/a", "type": "Thing"}}),
            &[
                "spec.volumes[0].hostPath.type: Unsupported value: \"Thing\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
            ],
        ),
        (
            json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 512, "items": [{"key": "", "path": "../x"}, {"key": "k", "path": "..x", "mode": -1}]}}),
            &[
                "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
                "spec.volumes[0].secret.items[0].key: Required value",
                "spec.volumes[0].secret.items[0].path: Invalid value: \"../x\": must not contain '..'",
                "spec.volumes[0].secret.items[1].path: Invalid value: \"..x\": must not start with '..'",
                "spec.volumes[0].secret.items[1].mode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive",
            ],
        ),
        (
            json!({"name": "v", "nfs": {"server": "s", "path": "a"}}),
            &["spec.volumes[0].nfs.path: Invalid value: \"a\": must be an absolute path"],
        ),
        (
            json!({"name": "v", "iscsi": {"targetPortal": "p", "iqn": "x", "lun": 256}}),
            &[
                "spec.volumes[0].iscsi.iqn: Invalid value: \"x\": must be valid format starting with iqn, eui, or naa",
                "spec.volumes[0].iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
            ],
        ),
        (
            json!({"name": "v", "iscsi": {"targetPortal": "p", "iqn": "iqn.2001-04.com.example:storage", "lun": 0}}),
            &[],
        ),
        (
            json!({"name": "v", "gcePersistentDisk": {"pdName": "", "partition": 300}}),
            &[
                "spec.volumes[0].persistentDisk.pdName: Required value",
                "spec.volumes[0].persistentDisk.partition: Invalid value: 300: must be between 1 and 255, inclusive",
            ],
        ),
        (
            json!({"name": "v", "downwardAPI": {"items": [{"path": "a"}, {"path": "b", "fieldRef": {"fieldPath": "spec.nodeName"}}, {"path": "c", "resourceFieldRef": {"resource": "limits.cpu"}}]}}),
            &[
                "spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
                "spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
                "spec.volumes[0].downwardAPI.resourceFieldRef.containerName: Required value",
            ],
        ),
        (
            json!({"name": "v", "projected": {"sources": [{"configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}}, {"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}, "configMap": {"name": "d"}}]}}),
            &[
                "spec.volumes[0].projected: Invalid value: \"s\": conflicting duplicate paths",
                "spec.volumes[0].projected.sources[1]: Forbidden: may not specify more than 1 volume type per source",
            ],
        ),
        (
            json!({"name": "v", "csi": {"driver": ""}}),
            &[
                "spec.volumes[0].csi.driver: Required value",
                "spec.volumes[0].csi.driver: Invalid value: \"\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        ),
        (
            json!({"name": "v", "ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "n"}, "spec": {"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}}}}),
            &[
                "spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
                "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
                "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
            ],
        ),
        (
            json!({"name": "v", "flexVolume": {"driver": "d", "options": {"a.k8s.io/x": "y"}}}),
            &[
                "spec.volumes[0].flexVolume.options[a.k8s.io/x]: Invalid value: \"a.k8s.io/x\": kubernetes.io and k8s.io namespaces are reserved",
            ],
        ),
    ];
    for (volume, expected) in cases {
        check(with_volume(volume.clone()), expected);
    }
}

#[test]
fn a_container_uses_what_there_is() {
    let cases: &[(Value, &[&str])] = &[
        (
            json!({"volumeMounts": [{"name": "none", "mountPath": "/a"}, {"name": "", "mountPath": "/a", "subPath": "../b", "mountPropagation": "Bidirectional"}]}),
            &[
                "spec.containers[0].volumeMounts[0].name: Not found: \"none\"",
                "spec.containers[0].volumeMounts[1].name: Required value",
                "spec.containers[0].volumeMounts[1].name: Not found: \"\"",
                "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
                "spec.containers[0].volumeMounts.subPath: Invalid value: \"../b\": must not contain '..'",
                "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
            ],
        ),
        (
            json!({"env": [
                {"name": "a=b"},
                {"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}},
                {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "spec.nothing"}}},
                {"name": "E", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "3"}}},
                {"name": "F", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a b"}}},
            ]}),
            &[
                "spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '=' (e.g. 'my-name',  or 'MY_NAME', regex used for validation is '^[ -<>-~]+$')",
                "spec.containers[0].env[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
                "spec.containers[0].env[3].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
                "spec.containers[0].env[4].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.nothing\": error converting fieldPath: field label not supported: spec.nothing",
                "spec.containers[0].env[5].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.memory\": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource",
                "spec.containers[0].env[6].valueFrom.secretKeyRef.key: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            ],
        ),
        (
            json!({"envFrom": [{}]}),
            &[
                "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            ],
        ),
        (
            json!({"ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}]}),
            &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\""],
        ),
        (
            json!({"resources": {"limits": {"hugepages-2Mi": "3Mi", "example.com/gpu": "1500m"}, "requests": {"other.com/x": "1"}}}),
            &[
                "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
                "spec.containers[0].resources.limits[example.com/gpu]: Invalid value: \"1500m\": must be an integer",
                "spec.containers[0].resources.requests: Invalid value: \"1500m\": must be an integer",
            ],
        ),
        (
            json!({"readinessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 1}, "lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}),
            &[
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
                "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
            ],
        ),
        (
            json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
            &[
                "spec.containers[0].securityContext: Invalid value: {\"Capabilities\":null,\"Privileged\":true,\"SELinuxOptions\":null,\"WindowsOptions\":null,\"RunAsUser\":null,\"RunAsGroup\":null,\"RunAsNonRoot\":null,\"ReadOnlyRootFilesystem\":null,\"AllowPrivilegeEscalation\":false,\"ProcMount\":null,\"SeccompProfile\":null,\"AppArmorProfile\":null}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ],
        ),
        (
            json!({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "Equals", "values": [3]}}]}),
            &[
                "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
                "spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Equals\": supported values: \"In\", \"NotIn\"",
            ],
        ),
    ];
    for (container, expected) in cases {
        let found = pod(with_container(container.clone()));
        // Which amount of a list comes first is the client's choice.
        let expected: Vec<&str> = expected
            .iter()
            .copied()
            .filter(|text| !text.contains("requests: Invalid value: \"1500m\""))
            .collect();
        let found: Vec<String> = found
            .into_iter()
            .filter(|text| {
                !text.contains("resources.requests")
                    && !text.contains("non overcommitable")
                    && !text.contains("HugePages")
            })
            .collect();
        assert_eq!(found, expected, "{container}");
    }
}

#[test]
fn a_pod_as_a_whole_makes_sense() {
    let cases: &[(Value, &[&str])] = &[
        (
            json!({"dnsConfig": {"nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3", "x"], "searches": ["a_b.c", "-"], "options": [{}]}}),
            &[
                "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"2.2.2.2\",\"3.3.3.3\",\"x\"]: must not have more than 3 nameservers",
                "spec.dnsConfig.nameservers[3]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                "spec.dnsConfig.options[0]: Required value: must not be empty",
            ],
        ),
        (
            json!({"hostPID": true, "shareProcessNamespace": true}),
            &[
                "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
            ],
        ),
        (
            json!({"securityContext": {"supplementalGroups": [1, -1], "sysctls": [{"name": "a..b", "value": "1"}, {"name": "net.x", "value": "1"}], "seccompProfile": {"type": "Localhost"}}, "hostNetwork": true}),
            &[
                "spec.securityContext.supplementalGroups[1]: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                "spec.securityContext.sysctls[0].name: Invalid value: \"a..b\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
                "spec.securityContext.sysctls[1].name: Invalid value: \"net.x\": may not be specified when 'hostNetwork' is true",
                "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
            ],
        ),
        (
            json!({"hostUsers": false, "hostNetwork": true}),
            &["spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false"],
        ),
        (
            json!({"os": {"name": "windows"}, "securityContext": {"runAsUser": 1}}),
            &["spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod"],
        ),
        (
            json!({"topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 1},
                {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "matchLabelKeys": ["a"]}]}),
            &[
                "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, ScheduleAnyway}\"",
                "spec.topologySpreadConstraints[0].minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
                "spec.topologySpreadConstraints[1].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
            ],
        ),
        (
            json!({"schedulingGates": [{"name": "a"}, {"name": "a"}], "nodeName": "n"}),
            &[
                "spec.schedulingGates[1]: Duplicate value: \"a\"",
                "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
            ],
        ),
        (
            json!({"ephemeralContainers": [{"name": "e", "image": "i", "targetContainerName": "x", "ports": [{"containerPort": 1}]}]}),
            &[
                "spec.ephemeralContainers[0].targetContainerName: Not found: \"x\"",
                "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
                "spec.ephemeralContainers: Forbidden: cannot be set on create",
            ],
        ),
        (
            json!({"resources": {"requests": {"cpu": "1"}}, "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "2"}}}]}),
            &[
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 2",
            ],
        ),
    ];
    for (spec, expected) in cases {
        let found = pod(spec.clone());
        let found: Vec<&str> =
            found.iter().map(String::as_str).filter(|text| !text.contains("searches[1]")).collect();
        assert_eq!(found, *expected, "{spec}");
    }
}

#[test]
fn a_running_pod_stays_what_it_is() {
    let base = json!({"containers": [{"name": "c", "image": "i"}]});
    let with = |fields: Value| {
        let mut spec = base.clone();
        for (name, value) in fields.as_object().expect("fields") {
            spec[name] = value.clone();
        }
        json!({"spec": spec})
    };
    let gated = json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"}});
    let cases: Vec<(Value, Value, Vec<&str>)> = vec![
        (
            gated.clone(),
            json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b", "c": "d"}}),
            vec![],
        ),
        (
            gated.clone(),
            json!({"schedulingGates": [{"name": "g"}, {"name": "h"}], "nodeSelector": {"a": "c"}}),
            vec![
                "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'",
                "spec.nodeSelector: Invalid value: {\"a\":\"c\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            ],
        ),
        (
            json!({"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]}),
            json!({"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2}]}),
            vec![],
        ),
        (
            json!({"tolerations": [{"key": "a", "operator": "Exists"}]}),
            json!({"tolerations": []}),
            vec![
                "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
            ],
        ),
    ];
    for (old, new, expected) in cases {
        assert_eq!(changed("v1", "pods", with(old), with(new.clone())), expected, "{new}");
    }
}

#[test]
fn a_template_is_checked_where_it_stands() {
    let template = json!({"metadata": {"labels": {"app": "a", "-": "x"}}, "spec": {"containers": []}});
    let spec = json!({"selector": {"matchLabels": {"app": "a"}}, "template": template});
    let found = wrong("apps/v1", "deployments", json!({"spec": spec.clone()}));
    assert!(found[0].starts_with("spec.template.labels: Invalid value: \"-\""), "{found:?}");
    assert_eq!(found[1], "spec.template.spec.containers: Required value");
    // What a StatefulSet's pods mount is complete only when they are made.
    let mut spec = spec;
    spec["template"]["metadata"]["labels"] = json!({"app": "a"});
    spec["serviceName"] = "s".into();
    assert_eq!(wrong("apps/v1", "statefulsets", json!({"spec": spec})), Vec::<String>::new());
}
