//! Pod: what is filled in for every pod, and where its kubelet is.

use api::status::Status;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Bucket, Entry, Key, Snapshot};

use crate::pipeline::PodHost;

/// How long a pod stays on a node that is not ready or cannot be reached, unless it says otherwise.
const TOLERATION_SECONDS: i64 = 300;

/// The kubelet's port where the node does not report it.
const KUBELET_PORT: u16 = 10250;

pub(super) fn admit_create(snapshot: &Snapshot, pod: &mut Value) -> Result<(), Status> {
    let name = name(pod);
    if !pod["spec"].is_object() {
        return Ok(());
    }
    service_account(pod);
    super::priority::resolve(snapshot, pod, &name)?;
    tolerate_for_a_while(pod);
    Ok(())
}

pub(super) fn admit_update(new: &mut Value, old: &Value) {
    // Whoever sends the manifest anew leaves out what was filled in when the pod was made.
    for field in ["serviceAccountName", "serviceAccount", "priority", "preemptionPolicy"] {
        if new["spec"].get(field).is_none()
            && let (Some(spec), Some(kept)) = (new["spec"].as_object_mut(), old["spec"].get(field))
        {
            spec.insert(field.to_owned(), kept.clone());
        }
    }
    if new["spec"].is_object() {
        tolerate_for_a_while(new);
    }
}

fn name(pod: &Value) -> String {
    let metadata = &pod["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
    let name = text("name");
    if name.is_empty() { text("generateName") } else { name }
}

fn service_account(pod: &mut Value) {
    let given = ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .find_map(|field| pod["spec"][field].as_str().filter(|name| !name.is_empty()));
    let account: Value = given.unwrap_or("default").into();
    pod["spec"]["serviceAccountName"] = account.clone();
    pod["spec"]["serviceAccount"] = account;
}

/// Adds the tolerations that keep a pod on a failing node for five minutes.
fn tolerate_for_a_while(pod: &mut Value) {
    let tolerated = |key: &str| {
        pod["spec"]["tolerations"].as_array().into_iter().flatten().any(|toleration| {
            let text = |field: &str| toleration[field].as_str().unwrap_or_default();
            (text("key") == key || text("key").is_empty()) && matches!(text("effect"), "NoExecute" | "")
        })
    };
    let missing: Vec<_> = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
        .into_iter()
        .filter(|key| !tolerated(key))
        .map(|key| {
            json!({
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": TOLERATION_SECONDS,
            })
        })
        .collect();
    if missing.is_empty() {
        return;
    }
    match pod["spec"]["tolerations"].as_array_mut() {
        Some(list) => list.extend(missing),
        None => pod["spec"]["tolerations"] = missing.into(),
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct NodeProjection {
    status: NodeStatus,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct NodeStatus {
    addresses: Vec<Address>,
    daemon_endpoints: DaemonEndpoints,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Address {
    r#type: String,
    address: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct DaemonEndpoints {
    kubelet_endpoint: Endpoint,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Endpoint {
    #[serde(rename = "Port")]
    port: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodProjection {
    spec: PodSpec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: String,
}

/// Where the kubelet of the pod listens.
pub(crate) fn host(snapshot: &Snapshot, pod: &Entry) -> Result<PodHost, Status> {
    let projection: PodProjection = serde_json::from_slice(&pod.value).map_err(Status::internal)?;
    let node = projection.spec.node_name;
    if node.is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", pod.key.name())));
    }
    let entry = snapshot
        .get(&Key::new(&Bucket::from("nodes"), "", &node))
        .ok_or_else(|| Status::not_found("", "nodes", &node))?;
    let NodeProjection { status } = serde_json::from_slice(&entry.value).map_err(Status::internal)?;
    let address = ["InternalIP", "ExternalIP", "Hostname"]
        .into_iter()
        .find_map(|kind| status.addresses.iter().find(|address| address.r#type == kind))
        .map_or_else(|| node.clone(), |address| address.address.clone());
    let port = u16::try_from(status.daemon_endpoints.kubelet_endpoint.port).ok().filter(|port| *port != 0);
    Ok(PodHost { pod: pod.value.clone(), node, address, port: port.unwrap_or(KUBELET_PORT) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_tolerations_are_kept_and_only_missing_ones_added() {
        for (own, count) in [
            (json!(null), 2),
            (json!([{"operator": "Exists"}]), 1),
            (json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]), 2),
            (json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]), 3),
        ] {
            let mut pod = json!({"spec": {"tolerations": own}});
            tolerate_for_a_while(&mut pod);
            assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(count), "{pod}");
            let once = pod.clone();
            tolerate_for_a_while(&mut pod);
            assert_eq!(pod, once);
        }
    }
}
