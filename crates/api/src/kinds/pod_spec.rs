//! The defaults of a PodSpec, wherever it stands: in a pod or in a template.

use serde_json::{Value, json};

use super::access::{at_mut, fill, has, int, list_mut, map_mut, object_mut, set, text};
use super::resources::round_list;

/// Fills in the defaults that pods and templates share.
pub(super) fn default(spec: &mut Value) {
    for name in ["initContainers", "containers", "ephemeralContainers"] {
        list_mut(spec, name).for_each(container);
    }
    list_mut(spec, "volumes").for_each(volume);
    for (_, amount) in map_mut(spec, "overhead") {
        super::resources::round(amount);
    }
    if let Some(resources) = at_mut(spec, "resources") {
        resource_requirements(resources);
    }
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "restartPolicy", "Always");
    fill(spec, "securityContext", json!({}));
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "schedulerName", "default-scheduler");
    // The old name of the field is still written, for clients that read it.
    let account = text(spec, "serviceAccountName").to_owned();
    if account.is_empty() && has(spec, "serviceAccount") {
        let account = text(spec, "serviceAccount").to_owned();
        set(spec, "serviceAccountName", account);
    } else if !account.is_empty() {
        set(spec, "serviceAccount", account);
    }
}

fn resource_requirements(resources: &mut Value) {
    round_list(resources, "limits");
    round_list(resources, "requests");
}

fn container(container: &mut Value) {
    let policy = pull_policy(text(container, "image"));
    fill(container, "imagePullPolicy", policy);
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    for port in list_mut(container, "ports") {
        fill(port, "protocol", "TCP");
    }
    for variable in list_mut(container, "env") {
        if let Some(source) = at_mut(variable, "valueFrom") {
            if let Some(field) = at_mut(source, "fieldRef") {
                fill(field, "apiVersion", "v1");
            }
            if let Some(file) = at_mut(source, "fileKeyRef") {
                fill(file, "optional", false);
            }
        }
    }
    if let Some(resources) = at_mut(container, "resources") {
        resource_requirements(resources);
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = at_mut(container, name) {
            default_probe(probe);
        }
    }
    if let Some(lifecycle) = at_mut(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(action) = at_mut(lifecycle, name).and_then(|handler| at_mut(handler, "httpGet")) {
                http_get(action);
            }
        }
    }
}

/// `Always` for images without a tag or with `latest`, for they move.
fn pull_policy(image: &str) -> &'static str {
    let after_host = image.rsplit_once('/').map_or(image, |(_, rest)| rest);
    let has_digest = image.contains('@');
    let tag = after_host.split('@').next().unwrap_or_default().split_once(':').map(|(_, tag)| tag);
    match tag {
        Some("latest") => "Always",
        None if !has_digest => "Always",
        _ => "IfNotPresent",
    }
}

fn default_probe(probe: &mut Value) {
    for (name, number) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if int(probe, name).unwrap_or_default() == 0 {
            set(probe, name, number);
        }
    }
    if let Some(action) = at_mut(probe, "httpGet") {
        http_get(action);
    }
    if let Some(action) = at_mut(probe, "grpc") {
        fill(action, "service", "");
    }
}

fn http_get(action: &mut Value) {
    fill(action, "path", "/");
    fill(action, "scheme", "HTTP");
}

/// Every way in which a volume can be filled.
fn volume(volume: &mut Value) {
    let has_source = volume
        .as_object()
        .is_some_and(|fields| fields.iter().any(|(name, value)| name != "name" && !value.is_null()));
    if !has_source {
        set(volume, "emptyDir", json!({}));
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = at_mut(volume, name) {
            fill(source, "defaultMode", 0o644);
        }
    }
    if let Some(source) = at_mut(volume, "downwardAPI") {
        downward_api(source);
    }
    if let Some(source) = at_mut(volume, "projected") {
        for part in list_mut(source, "sources") {
            if let Some(token) = at_mut(part, "serviceAccountToken") {
                fill(token, "expirationSeconds", 3600);
            }
            if let Some(source) = at_mut(part, "downwardAPI") {
                downward_api(source);
            }
        }
    }
    if let Some(image) = at_mut(volume, "image") {
        let policy = pull_policy(text(image, "reference"));
        fill(image, "pullPolicy", policy);
    }
    if let Some(claim) = at_mut(volume, "ephemeral").and_then(|source| at_mut(source, "volumeClaimTemplate"))
        && let Some(spec) = object_mut(claim, "spec")
    {
        super::persistent_volume_claim::default_spec(spec);
    }
    volume_source(volume);
}

/// What pod volumes and persistent volumes share.
pub(super) fn volume_source(source: &mut Value) {
    let defaults: [(&str, &[(&str, Value)]); 5] = [
        ("hostPath", &[("type", json!(""))]),
        ("iscsi", &[("iscsiInterface", json!("default"))]),
        ("rbd", &[("pool", json!("rbd")), ("user", json!("admin")), ("keyring", json!("/etc/ceph/keyring"))]),
        (
            "azureDisk",
            &[
                ("cachingMode", json!("ReadWrite")),
                ("kind", json!("Shared")),
                ("fsType", json!("ext4")),
                ("readOnly", json!(false)),
            ],
        ),
        ("scaleIO", &[("storageMode", json!("ThinProvisioned")), ("fsType", json!("xfs"))]),
    ];
    for (name, fields) in defaults {
        if let Some(source) = at_mut(source, name) {
            for (field, value) in fields {
                fill(source, field, value.clone());
            }
        }
    }
}

fn downward_api(source: &mut Value) {
    for item in list_mut(source, "items") {
        if let Some(field) = at_mut(item, "fieldRef") {
            fill(field, "apiVersion", "v1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_move_are_pulled_always() {
        let cases = [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1.27", "IfNotPresent"),
            ("nginx@sha256:abc", "IfNotPresent"),
            ("nginx:latest@sha256:abc", "Always"),
        ];
        for (image, policy) in cases {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
