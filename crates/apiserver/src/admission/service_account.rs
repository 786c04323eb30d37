//! ServiceAccount: each pod runs as an account that exists, shows its token, and pulls images with its secrets.

use api::status::Status;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{MIRROR, Request, items, quoted, text, token_volume};

/// The account of pods that name none.
pub(crate) const DEFAULT: &str = "default";

/// Set to `true`, pods of the account may use only the secrets that it lists.
const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Account {
    metadata: Metadata,
    secrets: Vec<Reference>,
    image_pull_secrets: Vec<Reference>,
    automount_service_account_token: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    name: String,
}

/// Whether the pod runs as the account that it does not name.
pub(crate) fn names_none(pod: &Value) -> bool {
    account_of(pod).is_empty() && pod["metadata"]["annotations"].get(MIRROR).is_none()
}

fn account_of(pod: &Value) -> &str {
    match text(&pod["spec"], "serviceAccountName") {
        "" => text(&pod["spec"], "serviceAccount"),
        name => name,
    }
}

pub(super) fn fill_in(request: &Request<'_>, pod: &mut Value) -> Result<(), Status> {
    if pod["metadata"]["annotations"].get(MIRROR).is_some() {
        return mirror(request, pod);
    }
    let name = match account_of(pod) {
        "" => DEFAULT,
        name => name,
    }
    .to_owned();
    pod["spec"]["serviceAccountName"] = name.as_str().into();
    pod["spec"]["serviceAccount"] = name.as_str().into();
    let namespace = request.namespace;
    let account: Account = request
        .find("serviceaccounts", namespace, &name)
        .and_then(|entry| serde_json::from_slice(&entry.value).ok())
        .ok_or_else(|| {
            let why = format!(
                "error looking up service account {namespace}/{name}: serviceaccount {} not found",
                quoted(&name)
            );
            request.forbid(Some(pod), why)
        })?;
    if account.metadata.annotations.get(ENFORCE_MOUNTABLE).is_some_and(|value| value == "true") {
        check_secrets(request, pod, &name, &account)?;
    }
    if items(&pod["spec"], "imagePullSecrets").next().is_none() && !account.image_pull_secrets.is_empty() {
        let names = account.image_pull_secrets.iter().map(|secret| json!({"name": secret.name}));
        pod["spec"]["imagePullSecrets"] = names.collect::<Vec<_>>().into();
    }
    let asked = pod["spec"]["automountServiceAccountToken"].as_bool();
    if asked.or(account.automount_service_account_token).unwrap_or(true) {
        // The uid is random already.
        let uid = text(&pod["metadata"], "uid").bytes();
        let number = uid.fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        token_volume::mount(pod, &crate::pipeline::suffix(number));
    }
    Ok(())
}

/// A kubelet's own pod is no one's: it may not reach for what the API keeps.
fn mirror(request: &Request<'_>, pod: &Value) -> Result<(), Status> {
    let refuse = |why: &str| Err(request.forbid(Some(pod), why));
    if !account_of(pod).is_empty() {
        return refuse("a mirror pod may not reference service accounts");
    }
    if secrets_of(pod).next().is_some() {
        return refuse("a mirror pod may not reference secrets");
    }
    let projects_token = items(&pod["spec"], "volumes").any(|volume| {
        items(&volume["projected"], "sources").any(|source| source.get("serviceAccountToken").is_some())
    });
    if projects_token {
        return refuse("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

/// The containers of a pod, of all three kinds.
pub(super) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| items(&pod["spec"], list))
}

/// The secrets that a pod names anywhere.
pub(super) fn secrets_of(pod: &Value) -> impl Iterator<Item = &str> {
    let pulled = items(&pod["spec"], "imagePullSecrets").map(|secret| &secret["name"]);
    let read = containers(pod).flat_map(|container| {
        let all = items(container, "envFrom").map(|source| &source["secretRef"]["name"]);
        let one = items(container, "env").map(|variable| &variable["valueFrom"]["secretKeyRef"]["name"]);
        all.chain(one)
    });
    let mounted = items(&pod["spec"], "volumes").flat_map(|volume| {
        let projected = items(&volume["projected"], "sources").map(|source| &source["secret"]["name"]);
        let drivers = ["cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"];
        let referred = drivers.into_iter().map(|driver| &volume[driver]["secretRef"]["name"]);
        let more = [
            &volume["secret"]["secretName"],
            &volume["azureFile"]["secretName"],
            &volume["csi"]["nodePublishSecretRef"]["name"],
        ];
        more.into_iter().chain(referred).chain(projected)
    });
    pulled.chain(read).chain(mounted).filter_map(Value::as_str).filter(|name| !name.is_empty())
}

/// An account may say which secrets its pods may use.
fn check_secrets(request: &Request<'_>, pod: &Value, name: &str, account: &Account) -> Result<(), Status> {
    let mountable = |secret: &str| account.secrets.iter().any(|own| own.name == secret);
    let refuse = |what: String| {
        let why =
            format!("{what} is not allowed because service account {name} does not reference that secret");
        Err(request.forbid(Some(pod), why))
    };
    for volume in items(&pod["spec"], "volumes") {
        let secret = text(&volume["secret"], "secretName");
        if !secret.is_empty() && !mountable(secret) {
            return refuse(format!("volume with secret.secretName={}", quoted(secret)));
        }
    }
    for (list, kind) in [("initContainers", "init container"), ("containers", "container")] {
        for container in items(&pod["spec"], list) {
            for variable in items(container, "env") {
                let secret = text(&variable["valueFrom"]["secretKeyRef"], "name");
                if !secret.is_empty() && !mountable(secret) {
                    return refuse(format!(
                        "{kind} {} with envVar {} referencing secret.secretName={}",
                        text(container, "name"),
                        text(variable, "name"),
                        quoted(secret)
                    ));
                }
            }
            for source in items(container, "envFrom") {
                let secret = text(&source["secretRef"], "name");
                if !secret.is_empty() && !mountable(secret) {
                    return refuse(format!(
                        "{kind} {} with envFrom referencing secret.secretName={}",
                        text(container, "name"),
                        quoted(secret)
                    ));
                }
            }
        }
    }
    for secret in items(&pod["spec"], "imagePullSecrets").map(|secret| text(secret, "name")) {
        if !account.image_pull_secrets.iter().any(|own| own.name == secret) {
            let why = format!(
                "imagePullSecrets[].name={} is not allowed because service account {name} does not reference that imagePullSecret",
                quoted(secret)
            );
            return Err(request.forbid(Some(pod), why));
        }
    }
    Ok(())
}
