//! Decides what this node serves where: pure, from Services and EndpointSlices to a [`RuleSet`].
//!
//! Each port of a Service has up to three chains, named after it:
//! - `cluster/NAMESPACE/NAME/PORT` spreads new connections over all endpoints;
//! - `local/...` over those of this node, for a policy of `Local`;
//! - `external/...` is where what comes from outside the cluster goes first: it is marked for masquerading, or
//!   led to the local endpoints.
//!
//! With session affinity each endpoint has a chain and a set of the clients that it has served. What has no
//! endpoints has no chain: it is refused, by the Service network as a whole or by a set of other addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use crate::objects::{Endpoint, EndpointSlice, Service, ServicePort};

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The label of a Service that another proxy serves.
const SERVICE_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// How long a client stays at its endpoint unless the Service says otherwise: three hours, as in Kubernetes.
const AFFINITY_SECONDS: u32 = 10_800;

/// What a port speaks. (SCTP is not served.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// Reads it as the API writes it; empty is TCP.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Where a Service is reached: an address, a protocol and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frontend {
    /// The cluster address, or one from outside.
    pub address: Ipv4Addr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// A port of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodePort {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// What a chain does with a new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// Sends it to one of the endpoints by chance. There is at least one.
    Spread {
        /// TCP or UDP.
        protocol: Protocol,
        /// Ordered.
        endpoints: Vec<SocketAddrV4>,
    },
    /// Sends it where its client was before, or else to one of the endpoints' chains by chance.
    Stick {
        /// The chain of each endpoint, and the set of its clients.
        endpoints: Vec<StickyEndpoint>,
    },
    /// Remembers the client and sends the connection to the endpoint.
    Remember {
        /// TCP or UDP.
        protocol: Protocol,
        /// The endpoint.
        endpoint: SocketAddrV4,
        /// The set of its clients.
        clients: String,
    },
    /// Has the connection masqueraded (its answers must come back here) and goes on.
    Masquerade {
        /// With which chain.
        next: String,
    },
    /// For `externalTrafficPolicy: Local`: what comes from pods or from this node goes to all endpoints, what
    /// comes from outside to those of this node, with its address kept. Without local endpoints it is dropped,
    /// so that a load balancer looks elsewhere.
    Local {
        /// The chain of all endpoints.
        cluster: String,
        /// The chain of the endpoints here.
        local: Option<String>,
    },
    /// Drops it: `internalTrafficPolicy: Local` without an endpoint here.
    Drop,
}

/// An endpoint of [`Chain::Stick`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StickyEndpoint {
    /// A chain of kind [`Chain::Remember`].
    pub chain: String,
    /// The set of its clients.
    pub clients: String,
}

/// Everything that this node serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Which chain serves an address.
    pub frontends: BTreeMap<Frontend, String>,
    /// Which chain serves a port of this node.
    pub node_ports: BTreeMap<NodePort, String>,
    /// Addresses outside the Service network that have no endpoints.
    pub refused: BTreeSet<Frontend>,
    /// Ports of this node that have no endpoints.
    pub refused_node_ports: BTreeSet<NodePort>,
    /// The chains by name.
    pub chains: BTreeMap<String, Chain>,
    /// Sets of clients by name, and how many seconds each client stays.
    pub client_sets: BTreeMap<String, u32>,
    /// The addresses of all endpoints: what one of them sends to itself through a Service is masqueraded.
    pub endpoints: BTreeSet<Ipv4Addr>,
}

/// Decides what the node named `node` serves. Pure; the order of the inputs does not matter.
pub fn compute(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], node: &str) -> RuleSet {
    let mut slices_of: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        if let Some(service) = slice.metadata.labels.get(SERVICE_NAME) {
            slices_of.entry((&slice.metadata.namespace, service)).or_default().push(slice);
        }
    }
    let mut ordered: Vec<&Service> = services.iter().map(Arc::as_ref).collect();
    ordered.sort_by(|a, b| {
        (&a.metadata.namespace, &a.metadata.name).cmp(&(&b.metadata.namespace, &b.metadata.name))
    });
    let mut rules = RuleSet::default();
    for service in ordered {
        if service.spec.r#type == "ExternalName" || service.metadata.labels.contains_key(SERVICE_PROXY_NAME) {
            continue;
        }
        let Some(cluster_ip) = cluster_ip(service) else { continue };
        let key = (service.metadata.namespace.as_str(), service.metadata.name.as_str());
        let slices = slices_of.get(&key).map(Vec::as_slice).unwrap_or_default();
        for port in &service.spec.ports {
            if let Some(protocol) = Protocol::parse(&port.protocol) {
                let endpoints = Endpoints::of(slices, port, protocol, node);
                rules.serve(&Port { service, port, protocol, cluster_ip }, &endpoints);
            }
        }
    }
    rules
}

fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    let all = service.spec.cluster_ips.iter().chain([&service.spec.cluster_ip]);
    all.filter_map(|address| address.parse().ok()).next()
}

/// The endpoints of a port that are to be used.
#[derive(Debug, Default)]
struct Endpoints {
    all: Vec<SocketAddrV4>,
    local: Vec<SocketAddrV4>,
}

impl Endpoints {
    fn of(slices: &[&EndpointSlice], port: &ServicePort, protocol: Protocol, node: &str) -> Self {
        let mut found: BTreeMap<SocketAddrV4, &Endpoint> = BTreeMap::new();
        for slice in slices {
            let number = slice.ports.iter().flatten().find_map(|candidate| {
                let same = candidate.name.as_deref().unwrap_or_default() == port.name
                    && Protocol::parse(candidate.protocol.as_deref().unwrap_or_default()) == Some(protocol);
                candidate.port.filter(|_| same)
            });
            let Some(number) = number else { continue };
            for endpoint in slice.endpoints.iter().flatten() {
                let address: Option<Ipv4Addr> =
                    endpoint.addresses.first().and_then(|address| address.parse().ok());
                let Some(address) = address else { continue };
                // While an endpoint moves from one slice to another it may be in both: the better one counts.
                found
                    .entry(SocketAddrV4::new(address, number))
                    .and_modify(|known| {
                        if rank(endpoint) > rank(known) {
                            *known = endpoint;
                        }
                    })
                    .or_insert(endpoint);
            }
        }
        let usable = |local: bool| {
            let candidates =
                || found.iter().filter(|(_, endpoint)| !local || endpoint.node_name.as_deref() == Some(node));
            // Those that are ready; where there is none, those that still serve while they end.
            let best = candidates().map(|(_, endpoint)| rank(endpoint)).max().unwrap_or(Rank::Unusable);
            if best == Rank::Unusable {
                return Vec::new();
            }
            candidates().filter(|(_, endpoint)| rank(endpoint) == best).map(|(address, _)| *address).collect()
        };
        Self { all: usable(false), local: usable(true) }
    }
}

/// How good an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Unusable,
    ServingTerminating,
    Ready,
}

fn rank(endpoint: &Endpoint) -> Rank {
    let conditions = &endpoint.conditions;
    let ready = conditions.ready.unwrap_or(true);
    if ready {
        Rank::Ready
    } else if conditions.serving.unwrap_or(ready) && conditions.terminating == Some(true) {
        Rank::ServingTerminating
    } else {
        Rank::Unusable
    }
}

/// One port of one Service.
struct Port<'a> {
    service: &'a Service,
    port: &'a ServicePort,
    protocol: Protocol,
    cluster_ip: Ipv4Addr,
}

impl Port<'_> {
    fn chain(&self, kind: &str) -> String {
        let metadata = &self.service.metadata;
        // A port without a name is told from others by its protocol: `tcp` cannot be doubled without names.
        let port = if self.port.name.is_empty() { self.protocol.to_string() } else { self.port.name.clone() };
        format!("{kind}/{}/{}/{port}", metadata.namespace, metadata.name)
    }

    fn affinity(&self) -> Option<u32> {
        let spec = &self.service.spec;
        (spec.session_affinity == "ClientIP").then(|| {
            let config = spec.session_affinity_config.as_ref();
            config.and_then(|config| config.client_ip.timeout_seconds).unwrap_or(AFFINITY_SECONDS).max(1)
        })
    }

    fn external_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let spec = &self.service.spec;
        let balanced = self.service.status.load_balancer.ingress.iter();
        let balanced = balanced.filter(|ingress| ingress.ip_mode != "Proxy").map(|ingress| &ingress.ip);
        spec.external_ips.iter().chain(balanced).filter_map(|address| address.parse().ok())
    }
}

impl RuleSet {
    fn serve(&mut self, port: &Port<'_>, endpoints: &Endpoints) {
        let cluster = self.spread(port, "cluster", &endpoints.all);
        let spec = &port.service.spec;
        let internal_local = spec.internal_traffic_policy == "Local";
        let external_local = spec.external_traffic_policy == "Local";
        let local = (internal_local || external_local)
            .then(|| self.spread(port, "local", &endpoints.local))
            .flatten();

        let internal = match (internal_local, &local) {
            (false, _) => cluster.clone(),
            (true, Some(local)) => Some(local.clone()),
            // Elsewhere there are endpoints, so this is not "refused" but "not here".
            (true, None) => cluster.as_ref().map(|_| self.add(port.chain("local"), Chain::Drop)),
        };
        self.reach(port, port.cluster_ip, internal.as_deref());

        let external: Vec<Ipv4Addr> = port.external_addresses().collect();
        if external.is_empty() && port.port.node_port == 0 {
            return;
        }
        let chain = cluster.map(|cluster| {
            let chain = if external_local {
                Chain::Local { cluster, local }
            } else {
                Chain::Masquerade { next: cluster }
            };
            self.add(port.chain("external"), chain)
        });
        for address in external {
            self.reach(port, address, chain.as_deref());
            if chain.is_none() {
                self.refused.insert(Frontend { address, protocol: port.protocol, port: port.port.port });
            }
        }
        if port.port.node_port != 0 {
            let node_port = NodePort { protocol: port.protocol, port: port.port.node_port };
            match chain {
                Some(chain) => {
                    self.node_ports.entry(node_port).or_insert(chain);
                }
                None => {
                    self.refused_node_ports.insert(node_port);
                }
            }
        }
    }

    fn reach(&mut self, port: &Port<'_>, address: Ipv4Addr, chain: Option<&str>) {
        if let Some(chain) = chain {
            let frontend = Frontend { address, protocol: port.protocol, port: port.port.port };
            // Two Services cannot have one address; should it happen, the first by name has it.
            self.frontends.entry(frontend).or_insert_with(|| chain.to_owned());
        }
    }

    fn add(&mut self, name: String, chain: Chain) -> String {
        self.chains.insert(name.clone(), chain);
        name
    }

    /// Adds the chain that spreads over the endpoints, and what belongs to it; none where there are none.
    fn spread(&mut self, port: &Port<'_>, kind: &str, endpoints: &[SocketAddrV4]) -> Option<String> {
        if endpoints.is_empty() {
            return None;
        }
        self.endpoints.extend(endpoints.iter().map(|endpoint| *endpoint.ip()));
        let protocol = port.protocol;
        let chain = match port.affinity() {
            None => Chain::Spread { protocol, endpoints: endpoints.to_vec() },
            Some(seconds) => {
                let sticky = endpoints.iter().map(|&endpoint| {
                    let place = format!("{}/{}", endpoint.ip(), endpoint.port());
                    // The timeout is part of the name: that of a set cannot be changed.
                    let clients = format!("{}/{place}/{seconds}", port.chain("clients"));
                    let chain = format!("{}/{place}", port.chain("endpoint"));
                    self.client_sets.insert(clients.clone(), seconds);
                    let remember = Chain::Remember { protocol, endpoint, clients: clients.clone() };
                    self.chains.insert(chain.clone(), remember);
                    StickyEndpoint { chain, clients }
                });
                Chain::Stick { endpoints: sticky.collect() }
            }
        };
        Some(self.add(port.chain(kind), chain))
    }
}

#[cfg(test)]
mod tests;
