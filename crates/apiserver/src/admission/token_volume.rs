//! The volume by which the containers of a pod get its account's token, the cluster's certificate and the namespace.

use serde_json::{Value, json};

use super::{items, list_mut, text};

/// Where clients look for it.
const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What the names of such volumes begin with.
const PREFIX: &str = "kube-api-access-";

/// An hour, and some seconds by which such tokens are told from those that users ask for.
const TOKEN_SECONDS: i64 = 3607;

/// Mounts the volume in every container that has nothing at its place. `suffix` ends the name of a new volume.
pub(super) fn mount(pod: &mut Value, suffix: &str) {
    let own = items(&pod["spec"], "volumes")
        .find(|volume| volume["projected"].is_object() && text(volume, "name").starts_with(PREFIX))
        .map(|volume| text(volume, "name").to_owned());
    let name = own.clone().unwrap_or_else(|| format!("{PREFIX}{suffix}"));
    let mut is_needed = false;
    for list in ["initContainers", "containers"] {
        let Some(containers) = pod["spec"][list].as_array_mut() else { continue };
        for container in containers {
            if items(container, "volumeMounts").any(|mount| text(mount, "mountPath") == PATH) {
                continue;
            }
            if let Some(mounts) = list_mut(container, "volumeMounts") {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": PATH}));
                is_needed = true;
            }
        }
    }
    if own.is_some() || !is_needed {
        return;
    }
    if let Some(volumes) = list_mut(&mut pod["spec"], "volumes") {
        let namespace = json!({"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}});
        volumes.push(json!({"name": name, "projected": {"sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ], "defaultMode": 420}}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_finds_it_and_own_mounts_stay() {
        let mut pod = json!({"spec": {
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "c"}, {"name": "d", "volumeMounts": [{"name": "own", "mountPath": PATH}]}],
        }});
        mount(&mut pod, "abcde");
        for (container, name) in [
            ("/spec/initContainers/0", "kube-api-access-abcde"),
            ("/spec/containers/0", "kube-api-access-abcde"),
            ("/spec/containers/1", "own"),
        ] {
            let mounts = &pod.pointer(container).expect("it is there")["volumeMounts"];
            assert_eq!((mounts.as_array().map(Vec::len), &mounts[0]["name"]), (Some(1), &json!(name)));
        }
        assert_eq!(
            pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["path"],
            "token"
        );
        let once = pod.clone();
        mount(&mut pod, "fghij");
        assert_eq!(pod, once);
        let mut content =
            json!({"spec": {"containers": [{"volumeMounts": [{"name": "own", "mountPath": PATH}]}]}});
        mount(&mut content, "abcde");
        assert!(content["spec"].get("volumes").is_none());
    }
}
