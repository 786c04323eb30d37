//! Routes of the cluster's networks, by netlink.
//!
//! - `unreachable` for the pod and the Service network, first of all: what nothing more specific takes (a bridge
//!   with its pods, a rule of ours) ends here and does not follow the default route off the machine.
//! - The two halves of the Service network lead to the loopback device. A process of this node picks its route
//!   before its packet meets our rules; with `unreachable` alone it would be refused before they can send it to
//!   an endpoint. No packet takes these routes to their end: it is either translated or refused.
//!
//! Ours are known by their protocol number.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use crate::{Cidr, Network};

/// The protocol number of our routes: of those that nobody has registered.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(0xc5);

/// The index of the loopback device, in every network namespace.
const LOOPBACK: u32 = 1;

/// Why a route is not in place.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// There is no netlink socket.
    #[error("open a netlink socket")]
    Open(#[source] std::io::Error),
    /// The connection to the kernel ended.
    #[error("the netlink connection ended")]
    Closed,
    /// The kernel refused.
    #[error("{doing}")]
    Refused {
        /// What was asked.
        doing: String,
        /// Why.
        #[source]
        source: rtnetlink::Error,
    },
}

/// Makes the pod and the Service network unreachable, where there is no route for exactly them.
pub async fn install_unreachable(network: &Network) -> Result<(), RouteError> {
    with_netlink(async |handle| {
        let present = list(&handle).await?;
        for cidr in [network.cluster, network.services] {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().kind(RouteType::Unreachable);
            add(&handle, &present, cidr, route).await?;
        }
        Ok(())
    })
    .await
}

/// Puts all routes in place that are not.
pub(super) async fn install(network: &Network) -> Result<(), RouteError> {
    install_unreachable(network).await?;
    with_netlink(async |handle| {
        let present = list(&handle).await?;
        for half in network.services.halves().into_iter().flatten() {
            let route =
                RouteMessageBuilder::<Ipv4Addr>::new().output_interface(LOOPBACK).scope(RouteScope::Link);
            add(&handle, &present, half, route).await?;
        }
        Ok(())
    })
    .await
}

/// Makes `wanted` the routes of ours that lead over a gateway: others go, missing ones come. What fails is told
/// after the rest has been done.
pub(super) async fn lead(wanted: &BTreeMap<Cidr, Ipv4Addr>) -> Result<(), RouteError> {
    with_netlink(async |handle| {
        let mut failure = None;
        let mut missing = wanted.clone();
        for route in list(&handle).await? {
            let (Some(cidr), Some(gateway)) = (destination(&route), gateway(&route)) else { continue };
            if route.header.protocol != PROTOCOL {
                continue;
            }
            if wanted.get(&cidr) == Some(&gateway) {
                missing.remove(&cidr);
            } else {
                failure = delete(&handle, route).await.err().or(failure);
            }
        }
        for (cidr, gateway) in missing {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway);
            failure = add(&handle, &[], cidr, route).await.err().or(failure);
        }
        failure.map_or(Ok(()), Err)
    })
    .await
}

/// Removes the routes that are ours.
pub(super) async fn remove() -> Result<(), RouteError> {
    with_netlink(async |handle| {
        for route in list(&handle).await? {
            if route.header.protocol == PROTOCOL {
                delete(&handle, route).await?;
            }
        }
        Ok(())
    })
    .await
}

/// Runs `work` beside the connection that it needs.
async fn with_netlink<T, Fut>(work: impl FnOnce(Handle) -> Fut) -> Result<T, RouteError>
where
    Fut: Future<Output = Result<T, RouteError>>,
{
    let (connection, handle, _) = rtnetlink::new_connection().map_err(RouteError::Open)?;
    tokio::select! {
        () = connection => Err(RouteError::Closed),
        done = work(handle) => done,
    }
}

async fn list(handle: &Handle) -> Result<Vec<RouteMessage>, RouteError> {
    let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let routes = handle.route().get(all).execute().try_collect().await;
    routes.map_err(|source| RouteError::Refused { doing: "list the routes".to_owned(), source })
}

async fn add(
    handle: &Handle,
    present: &[RouteMessage],
    cidr: Cidr,
    route: RouteMessageBuilder<Ipv4Addr>,
) -> Result<(), RouteError> {
    if present.iter().any(|route| destination(route) == Some(cidr)) {
        return Ok(());
    }
    let route = route.destination_prefix(cidr.address, cidr.prefix).protocol(PROTOCOL).build();
    handle
        .route()
        .add(route)
        .execute()
        .await
        .map_err(|source| RouteError::Refused { doing: format!("add the route of {cidr}"), source })
}

async fn delete(handle: &Handle, route: RouteMessage) -> Result<(), RouteError> {
    let doing = format!(
        "remove the route of {}",
        destination(&route).map_or_else(String::new, |cidr| cidr.to_string())
    );
    handle.route().del(route).execute().await.map_err(|source| RouteError::Refused { doing, source })
}

fn gateway(route: &RouteMessage) -> Option<Ipv4Addr> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    })
}

fn destination(route: &RouteMessage) -> Option<Cidr> {
    let prefix = route.header.destination_prefix_length;
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(Cidr { address: *address, prefix }),
        _ => None,
    })
}
