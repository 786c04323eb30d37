//! Objects of the other kinds that are not valid, one by one, and all that is said of each.

use serde_json::{Value, json};

use super::refusals::{changed, wrong};

#[track_caller]
fn check(resource: &str, object: Value, expected: &[&str]) {
    let (api_version, plural) = resource.rsplit_once('/').expect("a version and a resource");
    assert_eq!(wrong(api_version, plural, object.clone()), expected, "{object}");
}

#[test]
fn services_are_told_what_does_not_fit_their_type() {
    let port = json!([{"port": 80}]);
    let cases: &[(Value, &[&str])] = &[
        (
            json!({"type": "ExternalName", "externalName": "a.b", "ipFamilyPolicy": "SingleStack"}),
            &["spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services"],
        ),
        (
            json!({"ports": port, "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}),
            &["spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`"],
        ),
        (
            json!({"ports": port, "ipFamilies": ["IPv4", "IPv4", "IPv9"]}),
            &[
                "spec.ipFamilies[1]: Duplicate value: \"IPv4\"",
                "spec.ipFamilies[2]: Unsupported value: \"IPv9\": supported values: \"IPv4\", \"IPv6\"",
            ],
        ),
        (
            json!({"ports": port, "loadBalancerClass": "a/b", "allocateLoadBalancerNodePorts": true, "loadBalancerSourceRanges": ["x"]}),
            &[
                "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
                "spec.LoadBalancerSourceRanges[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
                "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ],
        ),
        (
            json!({"ports": port, "healthCheckNodePort": 30000, "trafficDistribution": "Near"}),
            &[
                "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
                "spec.trafficDistribution: Unsupported value: \"Near\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
            ],
        ),
    ];
    for (spec, expected) in cases {
        check("v1/services", json!({"spec": spec}), expected);
    }
}

#[test]
fn amounts_are_told_where_they_contradict_each_other() {
    let limit = |limit: Value| json!({"spec": {"limits": [limit]}});
    let cases: &[(&str, Value, &[&str])] = &[
        (
            "v1/limitranges",
            limit(
                json!({"type": "Container", "min": {"cpu": "2"}, "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}),
            ),
            &[
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default request value 1",
                "spec.limits[0].default[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1",
            ],
        ),
        (
            "v1/limitranges",
            limit(json!({"type": "PersistentVolumeClaim", "maxLimitRequestRatio": {"storage": "500m"}})),
            &[
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
                "spec.limits[0].maxLimitRequestRatio[storage]: Invalid value: \"500m\": ratio 500m is less than 1",
            ],
        ),
        (
            "v1/resourcequotas",
            json!({"spec": {"hard": {"pods": "1500m", "gpu": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}}),
            &[
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
                "spec.hard[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                "spec.hard[gpu]: Invalid value: \"gpu\": must be a standard resource for quota",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope applied to resource",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope applied to resource",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            ],
        ),
    ];
    for (resource, object, expected) in cases {
        let found = {
            let (api_version, plural) = resource.rsplit_once('/').expect("a resource");
            wrong(api_version, plural, object.clone())
        };
        let of_gpu = |text: &&String| text.contains("unsupported scope applied");
        if found.iter().filter(of_gpu).count() > 0 {
            assert!(found.last().is_some_and(|last| last.ends_with("conflicting scopes")), "{found:?}");
            assert_eq!(found[..3], expected[..3]);
        } else {
            assert_eq!(found, *expected, "{object}");
        }
    }
}

#[test]
fn storage_is_told_what_it_lacks() {
    let volume = |fields: Value| {
        let mut spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]});
        for (name, value) in fields.as_object().expect("fields") {
            spec[name] = value.clone();
        }
        json!({"spec": spec})
    };
    let cases: &[(Value, &[&str])] = &[
        (json!({}), &["spec: Required value: must specify a volume type"]),
        (
            json!({"local": {"path": "/a"}}),
            &["spec.nodeAffinity: Required value: Local volume requires node affinity"],
        ),
        (
            json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle", "nfs": {}}),
            &[
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
            ],
        ),
        (
            json!({"csi": {"driver": "d.example", "volumeHandle": ""}, "capacity": {"storage": "0"}}),
            &[
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
                "spec.csi.volumeHandle: Required value",
            ],
        ),
    ];
    for (spec, expected) in cases {
        check("v1/persistentvolumes", volume(spec.clone()), expected);
    }
    let path = |path: &str| volume(json!({"hostPath": {"path": path}}));
    assert_eq!(
        changed("v1", "persistentvolumes", path("/a"), path("/b")),
        ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"]
    );
}

#[test]
fn jobs_are_told_what_they_cannot_do() {
    let job = |fields: Value| {
        let mut spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
        for (name, value) in fields.as_object().expect("fields") {
            spec[name] = value.clone();
        }
        json!({"spec": spec})
    };
    let cases: &[(Value, &[&str])] = &[
        (json!({}), &[]),
        (
            json!({"completionMode": "Indexed", "parallelism": 100_001}),
            &[
                "spec.completions: Required value: when completion mode is Indexed",
                "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed",
            ],
        ),
        (
            json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": -1}),
            &[
                "spec.maxFailedIndexes: Invalid value: -1: must be greater than or equal to 0",
                "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            ],
        ),
        (
            json!({"podFailurePolicy": {"rules": [{"action": "FailJob"}, {"action": "Stop", "onExitCodes": {"operator": "In", "values": [2, 0, 2]}}]}}),
            &[
                "spec.podFailurePolicy.rules[0]: Invalid value: \"\": specifying one of OnExitCodes and OnPodConditions is required",
                "spec.podFailurePolicy.rules[1].action: Unsupported value: \"Stop\": supported values: \"Count\", \"FailJob\", \"Ignore\"",
                "spec.podFailurePolicy.rules[1].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                "spec.podFailurePolicy.rules[1].onExitCodes.values[2]: Duplicate value: 2",
                "spec.podFailurePolicy.rules[1].onExitCodes.values: Invalid value: [2,0,2]: must be ordered",
            ],
        ),
    ];
    for (spec, expected) in cases {
        check("batch/v1/jobs", job(spec.clone()), expected);
    }
    let cron = json!({"spec": {"schedule": "* * * * *", "timeZone": "Local",
        "jobTemplate": {"spec": {"manualSelector": true, "template": job(json!({}))["spec"]["template"]}}}});
    check(
        "batch/v1/cronjobs",
        cron,
        &[
            "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
        ],
    );
}

#[test]
fn what_scales_and_what_flows_is_checked() {
    let scaler = |fields: Value| {
        let mut spec = json!({"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}});
        for (name, value) in fields.as_object().expect("fields") {
            spec[name] = value.clone();
        }
        json!({"spec": spec})
    };
    let cases: &[(&str, Value, &[&str])] = &[
        (
            "autoscaling/v2/horizontalpodautoscalers",
            scaler(
                json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0}}}, {"type": "Pods"}]}),
            ),
            &[
                "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
                "spec.metrics[1].pods: Required value: must populate information for the given metric source",
            ],
        ),
        (
            "autoscaling/v2/horizontalpodautoscalers",
            scaler(
                json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601, "policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]}}}),
            ),
            &[
                "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
                "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero",
                "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
            ],
        ),
        (
            "flowcontrol.apiserver.k8s.io/v1/flowschemas",
            json!({"spec": {"matchingPrecedence": 1, "priorityLevelConfiguration": {"name": ""}, "rules": [{"subjects": [{"kind": "User"}], "resourceRules": [{"verbs": ["*", "get"], "apiGroups": ["*"], "resources": ["*"]}]}]}}),
            &[
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
                "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                "spec.rules[0].resourceRules[0].verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs",
                "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
            ],
        ),
        (
            "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
            json!({"spec": {"type": "Limited", "limited": {"lendablePercent": 101, "limitResponse": {"type": "Queue", "queuing": {"queues": 4, "handSize": 8}}}}}),
            &[
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues (4)",
            ],
        ),
        (
            "policy/v1/poddisruptionbudgets",
            json!({"spec": {"minAvailable": "101%"}}),
            &["spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%"],
        ),
        (
            "rbac.authorization.k8s.io/v1/roles",
            json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}),
            &[
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
            ],
        ),
        (
            "networking.k8s.io/v1/networkpolicies",
            json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "11.0.0.0/16", "10.0.0.0/8"]}}]}]}}),
            &[
                "spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
                "spec.ingress[0].from[0].ipBlock.except[2]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`",
            ],
        ),
        (
            "admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
            json!({"webhooks": [{"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v2"], "clientConfig": {"url": "http://x/?a#b"},
                "rules": [{"operations": ["*"], "apiGroups": ["*", "apps"], "apiVersions": ["*"], "resources": ["*", "pods"]}]}]}),
            &[
                "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
                "webhooks[0].rules[0].apiGroups: Invalid value: [\"*\",\"apps\"]: if '*' is present, must not specify other API groups",
                "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
            ],
        ),
    ];
    for (resource, object, expected) in cases {
        check(resource, object.clone(), expected);
    }
}
