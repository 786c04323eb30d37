//! The levels, by pods that they forbid, with the texts of Kubernetes.

use serde_json::{Value, json};

use super::checks::{details, run};
use super::*;

#[track_caller]
fn check(level: Level, minor: Option<u32>, pod: Value, expected: &str) {
    assert_eq!(details(&run(level, minor, &pod)), expected, "{pod}");
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

/// A pod that no level forbids anything of, and more fields of its container.
fn good(more: Value) -> Value {
    let mut container = json!({"name": "c", "securityContext": {"allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}});
    for (field, value) in more.as_object().into_iter().flatten() {
        container["securityContext"][field] = value.clone();
    }
    pod(json!({"containers": [container]}))
}

#[test]
fn the_restricted_level_names_all_that_is_missing() {
    check(
        Level::Restricted,
        None,
        pod(json!({"containers": [{"name": "c"}]})),
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
    );
    check(Level::Restricted, None, good(json!({})), "");
    check(
        Level::Restricted,
        None,
        good(json!({"runAsUser": 0, "capabilities": {"add": ["SYS_TIME"]}})),
        "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]; container \"c\" must not include \"SYS_TIME\" in securityContext.capabilities.add), runAsUser=0 (container \"c\" must not set runAsUser=0)",
    );
}

#[test]
fn the_baseline_level_forbids_what_lets_a_container_out() {
    let containers = json!([{"name": "c"}]);
    for (spec, expected) in [
        (json!({"containers": containers}), ""),
        (
            json!({"containers": containers, "hostNetwork": true, "hostPID": true}),
            "host namespaces (hostNetwork=true, hostPID=true)",
        ),
        (
            json!({"containers": containers, "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
            "hostPath volumes (volume \"v\")",
        ),
        (
            json!({"initContainers": [{"name": "i", "ports": [{"hostPort": 90}]}],
                "containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}),
            "hostPort (containers \"i\", \"c\" use hostPorts 80, 90)",
        ),
        (
            json!({"containers": [{"name": "c", "securityContext": {"privileged": true}}]}),
            "privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            json!({"containers": [{"name": "c", "securityContext": {"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}}]}),
            "non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            json!({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}]}),
            "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"10.0.0.1\")",
        ),
        (
            json!({"containers": containers, "securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            json!({"containers": containers, "securityContext": {"seLinuxOptions": {"type": "x", "user": "u"}}}),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set)",
        ),
        (
            json!({"containers": containers, "securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            json!({"containers": [{"name": "c", "securityContext": {"appArmorProfile": {"type": "Unconfined"}}}]}),
            "forbidden AppArmor profile (container \"c\" must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            json!({"containers": [{"name": "c", "securityContext": {"procMount": "Unmasked"}}]}),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
    ] {
        check(Level::Baseline, None, pod(spec), expected);
    }
}

#[test]
fn a_version_judges_as_it_did_then() {
    let tcp = json!({"containers": [{"name": "c"}],
        "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_fin_timeout"}]}});
    check(Level::Baseline, Some(28), pod(tcp.clone()), "forbidden sysctls (net.ipv4.tcp_fin_timeout)");
    check(Level::Baseline, Some(29), pod(tcp), "");
    let bare = || pod(json!({"containers": [{"name": "c"}], "securityContext": {"runAsNonRoot": true}}));
    check(Level::Restricted, Some(7), bare(), "");
    let mut windows = bare();
    windows["spec"]["os"] = json!({"name": "windows"});
    check(Level::Restricted, None, windows, "");
    let mut remapped = pod(json!({"containers": [{"name": "c"}], "hostUsers": false}));
    check(
        Level::Restricted,
        Some(7),
        remapped.clone(),
        "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)",
    );
    remapped["spec"]["containers"] = good(json!({"runAsUser": 0}))["spec"]["containers"].clone();
    check(Level::Restricted, None, remapped, "");
}

#[test]
fn labels_that_cannot_be_read_are_strict_where_they_are_enforced() {
    for (mode, labels, expected, message) in [
        ("enforce", json!({}), "privileged:latest", ""),
        ("enforce", json!({"enforce": "baseline", "enforce-version": "v1.30"}), "baseline:v1.30", ""),
        (
            "enforce",
            json!({"enforce": "strict"}),
            "restricted:latest",
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
        ),
        (
            "warn",
            json!({"warn": "restricted", "warn-version": "1.30"}),
            "restricted:latest",
            "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"1.30\": must be \"latest\" or \"v1.x\"",
        ),
    ] {
        let mut errors = Vec::new();
        let policy = policy(mode, |key| labels[key.trim_start_matches(PREFIX)].as_str(), &mut errors);
        assert_eq!(policy.to_string(), expected);
        let told: Vec<String> =
            errors.iter().map(|error| format!("{}: {}", error.field, error.body())).collect();
        assert_eq!(told.join("; "), message);
    }
}
