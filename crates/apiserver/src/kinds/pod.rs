//! Pod: what an update may leave out, and where a pod's kubelet is.

use api::status::Status;
use serde::Deserialize;
use serde_json::Value;
use store::{Bucket, Entry, Key, Snapshot};

use crate::pipeline::PodHost;

/// The kubelet's port where the node does not report it.
const KUBELET_PORT: u16 = 10250;

pub(super) fn admit_update(new: &mut Value, old: &Value) {
    // Whoever sends the manifest anew leaves out what was filled in when the pod was made.
    for field in ["serviceAccountName", "serviceAccount", "priority", "preemptionPolicy"] {
        if new["spec"].get(field).is_none()
            && let (Some(spec), Some(kept)) = (new["spec"].as_object_mut(), old["spec"].get(field))
        {
            spec.insert(field.to_owned(), kept.clone());
        }
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
    Ok(PodHost { pod: pod.value.clone(), ..node_host(&node, entry)? })
}

/// Where the kubelet of a node listens; of no pod.
pub(crate) fn node_host(node: &str, entry: &Entry) -> Result<PodHost, Status> {
    let NodeProjection { status } = serde_json::from_slice(&entry.value).map_err(Status::internal)?;
    let address = ["InternalIP", "ExternalIP", "Hostname"]
        .into_iter()
        .find_map(|kind| status.addresses.iter().find(|address| address.r#type == kind))
        .map_or_else(|| node.to_owned(), |address| address.address.clone());
    let port = u16::try_from(status.daemon_endpoints.kubelet_endpoint.port).ok().filter(|port| *port != 0);
    let port = port.unwrap_or(KUBELET_PORT);
    Ok(PodHost { pod: bytes::Bytes::new(), node: node.to_owned(), address, port })
}
