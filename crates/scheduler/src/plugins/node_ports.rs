//! NodePorts: a host port is taken once.

use crate::snapshot::{NodeInfo, PodInfo};

use super::Reason;

/// Whether a port that the pod takes is taken already.
pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Option<Reason> {
    if pod.host_ports.is_empty() || node.host_ports == 0 {
        return None;
    }
    let mut taken = node.pods.values().flat_map(|other| &other.host_ports);
    let conflict = taken.any(|taken| pod.host_ports.iter().any(|wanted| wanted.conflicts_with(taken)));
    conflict.then_some(Reason::NodePorts)
}
