//! What a node needs besides the table: settings of the kernel, routes, the consent of other firewalls, and no
//! stale connections. All of it can be taken away again.

pub mod conntrack;
mod forward;
pub mod node_routes;
pub mod routes;
mod settings;

use component::ErrorChain;
use tracing::warn;

use crate::Network;
use crate::apply::{Apply as _, Nft};
use crate::render;

pub use settings::pods_need_masquerade;

/// Puts everything in place that is not. What fails is logged: the rules serve as far as they can.
pub async fn prepare(network: &Network) {
    if let Err(error) = settings::enable() {
        warn!(error = %ErrorChain(&error), "kernel settings");
    }
    if let Err(error) = routes::install(network).await {
        warn!(error = %ErrorChain(&error), "routes of the cluster's networks");
    }
    if let Err(error) = forward::allow(network).await {
        warn!(error = %ErrorChain(&error), "iptables may drop what pods send");
    }
}

/// Takes everything away. What fails is logged, and the rest goes on.
pub async fn cleanup(network: &Network) {
    if let Err(error) = Nft.apply(&render::remove()).await {
        warn!(error = %ErrorChain(&error), "remove the nftables table");
    }
    if let Err(error) = forward::disallow(network).await {
        warn!(error = %ErrorChain(&error), "remove the iptables rules");
    }
    if let Err(error) = routes::remove().await {
        warn!(error = %ErrorChain(&error), "remove the routes");
    }
    if let Err(error) = settings::restore() {
        warn!(error = %ErrorChain(&error), "restore the kernel settings");
    }
}
