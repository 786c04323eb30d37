//! Builders of pods and nodes for tests and benches.

use std::sync::Arc;

use api::meta::OwnerReference;

use crate::objects::{Container, Node, Pod};
use crate::snapshot::PodInfo;

/// A pod that asks for nothing.
pub fn pod(name: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = name.to_owned();
    pod.metadata.namespace = "default".to_owned();
    pod.metadata.uid = format!("uid-{name}");
    pod
}

/// A pod with one container.
pub fn pod_with(name: &str, cpu: &str, memory: &str) -> Pod {
    let mut pod = pod(name);
    pod.spec.containers.push(container(cpu, memory));
    pod
}

/// A pod of an owner.
pub fn owned(mut pod: Pod, owner: &str) -> Pod {
    pod.metadata.owner_references.push(OwnerReference {
        uid: owner.to_owned(),
        controller: Some(true),
        ..OwnerReference::default()
    });
    pod
}

/// A container that requests this much.
pub fn container(cpu: &str, memory: &str) -> Container {
    let mut container = Container::default();
    for (name, amount) in [("cpu", cpu), ("memory", memory)] {
        let quantity = amount.parse().expect("tests write amounts that can be read");
        container.resources.requests.insert(name.to_owned(), quantity);
    }
    container
}

/// A node with this much to give, and room for 110 pods.
pub fn node(name: &str, cpu: &str, memory: &str) -> Arc<Node> {
    let mut node = Node::default();
    node.metadata.name = name.to_owned();
    node.metadata.labels.insert("kubernetes.io/hostname".to_owned(), name.to_owned());
    for (resource, amount) in [("cpu", cpu), ("memory", memory), ("pods", "110")] {
        let quantity = amount.parse().expect("tests write amounts that can be read");
        node.status.allocatable.insert(resource.to_owned(), quantity);
    }
    Arc::new(node)
}

/// The same node, changed.
pub fn change(node: Arc<Node>, change: impl FnOnce(&mut Node)) -> Arc<Node> {
    let mut node = (*node).clone();
    change(&mut node);
    Arc::new(node)
}

/// A pod as the scheduler looks at it.
pub fn info(pod: Pod) -> Arc<PodInfo> {
    Arc::new(PodInfo::new(Arc::new(pod)))
}
