//! kube-proxy: turns Services into nftables maps, one of it on each node.
//!
//! ```text
//! Services, EndpointSlices -> rules::compute (pure) -> RuleSet
//! RuleSet before and after -> render::diff (pure) -> nft statements -> Apply: one atomic transaction
//! ```
//!
//! - [`rules`] decides what is to be served where; [`render`] says it in nftables' words, and holds the layout of
//!   our table; [`apply`] hands it to the kernel.
//! - [`proxier`] is the loop: it starts over with the whole table whenever it does not know what is there.
//! - [`host`] is everything else that the node needs: routes, forwarding, stale UDP connections; and taking all of
//!   it away again.
//!
//! Only addresses of IPv4 are served.

pub mod apply;
mod config;
pub mod host;
mod objects;
pub mod proxier;
pub mod render;
pub mod rules;
#[cfg(test)]
mod testing;

use client::{Client, Informer};
use component::{Context, ErrorChain, Failure};
use tracing::{info, warn};

use apply::Nft;
pub use config::{Args, Cidr, CidrError, Config, ConfigError, HEALTHZ_PORT, Network};
pub use objects::{EndpointSlice, Node, Service};
use proxier::Proxier;

/// Runs until shutdown, or takes away everything that a run left on the host.
pub async fn run(config: Config, context: Context) -> Result<(), Failure> {
    if config.cleanup {
        host::cleanup(&config.network).await;
        info!("kube-proxy's table, routes and rules are gone");
        context.shutdown.trigger();
        return Ok(());
    }
    let kubeconfig = config.kubeconfig.clone().ok_or(ConfigError::NoKubeconfig).map_err(Failure::config)?;
    let client = Client::connect(&kubeconfig).map_err(Failure::config)?.with_field_manager("kube-proxy");
    // First of all: what no rule serves must not leave the machine.
    if let Err(error) = host::routes::install_unreachable(&config.network).await {
        warn!(error = %ErrorChain(&error), "unreachable routes are not in place");
    }
    let shutdown = &context.shutdown;
    let wake = proxier::Wake::default();
    let (on_service, on_slice) = (wake.clone(), wake.clone());
    let services = Informer::<Service>::new().on_change(move |_, _| on_service.wake());
    let slices = Informer::<EndpointSlice>::new().on_change(move |_, _| on_slice.wake());
    let services = services.spawn(&client.api(), shutdown);
    let slices = slices.spawn(&client.api(), shutdown);
    if config.node_routes {
        let wake = proxier::Wake::default();
        let on_node = wake.clone();
        let nodes = Informer::<Node>::new().on_change(move |_, _| on_node.wake());
        let nodes = nodes.spawn(&client.api(), shutdown);
        let own = (config.node_name.clone(), config.network.cluster);
        host::node_routes::spawn(nodes, wake, own, shutdown);
    }
    let ready = context.health.register("proxy-rules");
    let metrics = context.metrics.register(proxier::SyncMetrics::register);
    let proxier = Proxier::new(Nft, config.network.clone(), config.node_name.clone());
    proxier.spawn(proxier::Inputs { services, slices, wake, ready, metrics }, shutdown);
    Ok(())
}
