//! What the scheduler knows: nodes, the pods on them, and the sums that it asks for again and again.
//!
//! The snapshot is kept up to date change by change and never copied. A pod that has been given a node is in it at
//! once ("assumed"), long before the watch shows the binding.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::objects::{Node, Pod};
use crate::resources::{Resources, requests, scored_requests};
use crate::storage::Storage;

/// A pod with what is asked of it often worked out once.
#[derive(Debug, Clone)]
pub struct PodInfo {
    /// The pod.
    pub pod: Arc<Pod>,
    /// What it needs.
    pub requests: Resources,
    /// What it is taken to need when nodes are compared: thousandths of a core and bytes.
    pub scored: (i64, i64),
    /// The ports of the node that it takes.
    pub host_ports: Vec<HostPort>,
}

/// A port of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Empty for every address.
    pub ip: String,
    /// The number.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be taken on one node.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let same_address = self.ip.is_empty() || other.ip.is_empty() || self.ip == other.ip;
        self.port == other.port && self.protocol == other.protocol && same_address
    }
}

impl PodInfo {
    /// Works out what is asked of the pod often.
    pub fn new(pod: Arc<Pod>) -> Self {
        let ports = pod.spec.containers.iter().flat_map(|container| &container.ports);
        let taken = ports.filter(|port| port.host_port > 0).map(|port| HostPort {
            protocol: if port.protocol.is_empty() { "TCP".to_owned() } else { port.protocol.clone() },
            ip: if port.host_ip == "0.0.0.0" { String::new() } else { port.host_ip.clone() },
            port: port.host_port,
        });
        Self { host_ports: taken.collect(), requests: requests(&pod), scored: scored_requests(&pod), pod }
    }

    /// The uid of what manages the pod: pods of the same owner are spread.
    pub fn owner(&self) -> Option<&str> {
        self.pod.metadata.controller().map(|owner| owner.uid.as_str())
    }

    /// Whether the pod keeps others away.
    pub fn has_anti_affinity(&self) -> bool {
        self.pod.spec.affinity.pod_anti_affinity.as_ref().is_some_and(|anti| !anti.required.is_empty())
    }
}

/// A node with the sums over its pods.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// The node.
    pub node: Arc<Node>,
    /// What pods can use.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub allowed_pods: i64,
    /// What its pods need.
    pub requested: Resources,
    /// What its pods are taken to need when nodes are compared.
    pub scored: (i64, i64),
    /// Its pods by uid.
    pub pods: HashMap<String, Arc<PodInfo>, FixedState>,
    /// How many pods each owner has here.
    owners: HashMap<String, u32, FixedState>,
    /// How many of its pods keep others away.
    pub with_anti_affinity: usize,
    /// How many host ports are taken.
    pub host_ports: usize,
}

impl NodeInfo {
    fn new(node: Arc<Node>) -> Self {
        let mut info = Self {
            node: Arc::clone(&node),
            allocatable: Resources::default(),
            allowed_pods: 0,
            requested: Resources::default(),
            scored: (0, 0),
            pods: HashMap::default(),
            owners: HashMap::default(),
            with_anti_affinity: 0,
            host_ports: 0,
        };
        info.set_node(node);
        info
    }

    fn set_node(&mut self, node: Arc<Node>) {
        let allocatable = &node.status.allocatable;
        self.allocatable = Resources::of(allocatable);
        self.allowed_pods = allocatable.get("pods").map_or(0, api::quantity::Quantity::value);
        self.node = node;
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.node.metadata.name
    }

    /// How many pods of an owner run here.
    pub fn siblings(&self, owner: &str) -> u32 {
        self.owners.get(owner).copied().unwrap_or(0)
    }

    fn add(&mut self, info: Arc<PodInfo>) {
        self.requested.add(&info.requests);
        self.scored.0 += info.scored.0;
        self.scored.1 += info.scored.1;
        self.host_ports += info.host_ports.len();
        self.with_anti_affinity += usize::from(info.has_anti_affinity());
        if let Some(owner) = info.owner() {
            *self.owners.entry(owner.to_owned()).or_default() += 1;
        }
        self.pods.insert(info.pod.metadata.uid.clone(), info);
    }

    fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let info = self.pods.remove(uid)?;
        self.requested.subtract(&info.requests);
        self.scored.0 -= info.scored.0;
        self.scored.1 -= info.scored.1;
        self.host_ports -= info.host_ports.len();
        self.with_anti_affinity -= usize::from(info.has_anti_affinity());
        if let Some(owner) = info.owner()
            && let Some(count) = self.owners.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(owner);
            }
        }
        Some(info)
    }

    /// The same node without some of its pods: what it would be after preemption.
    pub fn without(&self, uids: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut info = self.clone();
        for uid in uids {
            info.remove(uid.as_ref());
        }
        info
    }
}

/// All nodes, ordered by name, and where each pod is.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Claims, volumes and classes.
    pub storage: Storage,
    nodes: Vec<NodeInfo>,
    /// Where each node is in `nodes`.
    index: HashMap<String, usize, FixedState>,
    /// The node of each pod, by uid.
    places: HashMap<String, String, FixedState>,
    /// Pods on nodes that are not known (yet).
    homeless: BTreeMap<String, HashMap<String, Arc<PodInfo>>>,
    /// How many pods keep others away, over all nodes.
    with_anti_affinity: usize,
}

impl Snapshot {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The nodes, ordered by name.
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.index.get(name).map(|index| &self.nodes[*index])
    }

    /// Whether any pod keeps others away.
    pub fn has_anti_affinity(&self) -> bool {
        self.with_anti_affinity > 0
    }

    /// The node of a pod.
    pub fn place(&self, uid: &str) -> Option<&str> {
        self.places.get(uid).map(String::as_str)
    }

    /// A node is new or has changed.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone();
        if let Some(index) = self.index.get(&name) {
            self.nodes[*index].set_node(node);
            return;
        }
        let mut info = NodeInfo::new(node);
        for pod in self.homeless.remove(&name).into_iter().flat_map(HashMap::into_values) {
            info.add(pod);
        }
        self.with_anti_affinity += info.with_anti_affinity;
        let at = self.nodes.partition_point(|other| other.name() < name.as_str());
        self.nodes.insert(at, info);
        self.reindex(at);
    }

    /// A node is gone. Its pods are kept in mind: it may come back.
    pub fn remove_node(&mut self, name: &str) {
        let Some(index) = self.index.remove(name) else { return };
        let info = self.nodes.remove(index);
        self.with_anti_affinity -= info.with_anti_affinity;
        if !info.pods.is_empty() {
            self.homeless.insert(name.to_owned(), info.pods.into_iter().collect());
        }
        self.reindex(index);
    }

    /// A pod is on a node, or will be. One that was there before is replaced.
    pub fn add_pod(&mut self, info: Arc<PodInfo>, node: &str) {
        let uid = info.pod.metadata.uid.clone();
        self.remove_pod(&uid);
        match self.index.get(node) {
            Some(index) => {
                self.with_anti_affinity += usize::from(info.has_anti_affinity());
                self.nodes[*index].add(info);
            }
            None => {
                self.homeless.entry(node.to_owned()).or_default().insert(uid.clone(), info);
            }
        }
        self.places.insert(uid, node.to_owned());
    }

    /// A pod is gone, or has run to its end. Whether it was on a node.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(node) = self.places.remove(uid) else { return false };
        if let Some(index) = self.index.get(&node) {
            if let Some(info) = self.nodes[*index].remove(uid) {
                self.with_anti_affinity -= usize::from(info.has_anti_affinity());
            }
        } else if let Some(pods) = self.homeless.get_mut(&node) {
            pods.remove(uid);
            if pods.is_empty() {
                self.homeless.remove(&node);
            }
        }
        true
    }

    fn reindex(&mut self, from: usize) {
        for (index, info) in self.nodes.iter().enumerate().skip(from) {
            self.index.insert(info.name().to_owned(), index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn sums_follow_every_change_and_a_node_that_comes_back_has_its_pods() {
        let mut snapshot = Snapshot::new();
        let info = testing::info(testing::pod_with("a", "100m", "1Mi"));
        snapshot.add_pod(Arc::clone(&info), "n1");
        snapshot.set_node(testing::node("n1", "1", "1Gi"));
        snapshot.set_node(testing::node("n0", "1", "1Gi"));
        assert_eq!(snapshot.node("n1").unwrap().requested.milli_cpu, 100);
        snapshot.add_pod(Arc::clone(&info), "n1");
        assert_eq!(snapshot.node("n1").unwrap().requested.milli_cpu, 100, "twice is once");
        snapshot.remove_node("n1");
        assert!(snapshot.node("n1").is_none());
        snapshot.set_node(testing::node("n1", "1", "1Gi"));
        assert_eq!(snapshot.node("n1").unwrap().requested.milli_cpu, 100);
        assert!(snapshot.remove_pod("uid-a"));
        assert_eq!(snapshot.node("n1").unwrap().requested, Resources::default());
        assert!(!snapshot.remove_pod("uid-a"));
    }
}
