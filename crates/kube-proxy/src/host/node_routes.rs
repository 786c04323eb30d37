//! The way to the pods of other nodes: a route for each node's pods, over that node's address.
//!
//! It is all that nodes on one link need to be one pod network, and costs nothing per packet. The wanted routes
//! follow from the Nodes purely ([`wanted`]).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use client::Store;
use component::{ErrorChain, Shutdown, spawn as spawn_task};
use tracing::{debug, warn};

use super::routes::{self, RouteError};
use crate::Cidr;
use crate::objects::Node;
use crate::proxier::{RESYNC, Wake};

/// The routes to the pods of all nodes but `own`: their network, and the address that leads there.
pub fn wanted(nodes: &[Arc<Node>], own: &str, cluster: Cidr) -> BTreeMap<Cidr, Ipv4Addr> {
    let others = nodes.iter().filter(|node| node.metadata.name != own);
    others
        .flat_map(|node| {
            let addresses = node.status.addresses.iter().filter(|address| address.r#type == "InternalIP");
            let gateway = addresses.filter_map(|address| address.address.parse().ok()).next();
            let cidrs = node.spec.pod_cidrs.iter().filter_map(|cidr| cidr.parse::<Cidr>().ok());
            // A Node says of itself where its pods are: never believe one that claims other networks.
            let inside =
                cidrs.filter(move |cidr| cidr.prefix > cluster.prefix && cluster.contains(cidr.address));
            inside.filter_map(move |cidr| Some((cidr, gateway?)))
        })
        .collect()
}

/// Brings the routes to what the Nodes say.
pub async fn sync(nodes: &[Arc<Node>], own: &str, cluster: Cidr) -> Result<(), RouteError> {
    routes::lead(&wanted(nodes, own, cluster)).await
}

/// Follows the Nodes until shutdown. `own` is this node's name, and the pod network.
pub fn spawn(nodes: Store<Node>, wake: Wake, (own, cluster): (String, Cidr), shutdown: &Shutdown) {
    let stop = shutdown.clone();
    spawn_task(shutdown, "node-routes", async move {
        tokio::select! {
            () = stop.triggered() => {}
            () = follow(nodes, wake, own, cluster) => {}
        }
    });
}

async fn follow(nodes: Store<Node>, wake: Wake, own: String, cluster: Cidr) {
    nodes.wait_synced().await;
    // Nodes report often; their routes change seldom.
    let mut applied = None;
    loop {
        let routes = wanted(&nodes.list(), &own, cluster);
        if applied.as_ref() != Some(&routes) {
            match routes::lead(&routes).await {
                Ok(()) => debug!(routes = routes.len(), "routes to other nodes' pods"),
                Err(error) => warn!(error = %ErrorChain(&error), "routes to other nodes' pods"),
            }
            applied = Some(routes);
        }
        tokio::select! {
            () = wake.woken() => {}
            () = tokio::time::sleep(RESYNC) => applied = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, pods: &[&str], addresses: &[(&str, &str)]) -> Arc<Node> {
        let addresses: Vec<_> =
            addresses.iter().map(|(kind, address)| json!({"type": kind, "address": address})).collect();
        let document = json!({
            "metadata": {"name": name},
            "spec": {"podCIDRs": pods},
            "status": {"addresses": addresses},
        });
        Arc::new(serde_json::from_value(document).expect("a Node"))
    }

    #[test]
    fn each_other_node_with_a_network_and_an_address_has_a_route() {
        let internal = |address| [("Hostname", "n"), ("InternalIP", address)];
        let nodes = [
            node("n1", &["10.244.0.0/24"], &internal("192.0.2.1")),
            node(
                "n2",
                &["fd00::/64", "10.244.1.0/24"],
                &[("InternalIP", "fd00::2"), ("InternalIP", "192.0.2.2")],
            ),
            node("new", &[], &internal("192.0.2.3")),
            node("silent", &["10.244.4.0/24"], &[]),
            node("greedy", &["0.0.0.0/0", "10.96.0.0/24", "10.244.0.0/16"], &internal("192.0.2.5")),
        ];
        let cluster = "10.244.0.0/16".parse().expect("a network");
        let routes: Vec<String> =
            wanted(&nodes, "n1", cluster).iter().map(|(cidr, via)| format!("{cidr} via {via}")).collect();
        assert_eq!(routes, ["10.244.1.0/24 via 192.0.2.2"]);
    }
}
