//! The command line, and what it means.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use component::kubeconfig::KubeconfigError;
use component::{CommonArgs, Failure, Kubeconfig};

/// Where health and metrics are served unless said otherwise: the port of Kubernetes.
pub const HEALTHZ_PORT: u16 = 10256;

/// Turns Services into nftables maps.
#[derive(Debug, Parser)]
#[command(name = "kube-proxy", version)]
pub struct Args {
    /// Those of every daemon.
    #[command(flatten)]
    pub common: CommonArgs,
    /// How to reach the apiserver.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The name of this node, where it is not the host's name.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub hostname_override: String,
    /// The pod network.
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/16")]
    pub cluster_cidr: Cidr,
    /// The Service network.
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16")]
    pub service_cluster_ip_range: Cidr,
    /// The networks whose addresses of this node serve node ports; all of its addresses unless given.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub nodeport_addresses: Vec<Cidr>,
    /// Whether pods of other nodes are reached by routes over those nodes' addresses; for nodes on one link, where
    /// no other network between nodes is set up.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub configure_node_routes: bool,
    /// Takes away everything that kube-proxy left on this host, and ends.
    #[arg(long)]
    pub cleanup: bool,
}

/// A network of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    /// The first address.
    pub address: Ipv4Addr,
    /// How many bits are those of the network.
    pub prefix: u8,
}

/// What is not a network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a network of IPv4, as 10.96.0.0/16")]
pub struct CidrError;

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = text.split_once('/').ok_or(CidrError)?;
        let address: Ipv4Addr = address.parse().map_err(|_| CidrError)?;
        let prefix: u8 = prefix.parse().map_err(|_| CidrError)?;
        if prefix > 32 {
            return Err(CidrError);
        }
        Ok(Self { address: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Cidr {
    /// Whether an address is one of this network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.address.to_bits()
    }

    /// The two halves of this network; none of a single address.
    pub fn halves(&self) -> Option<[Self; 2]> {
        let prefix = self.prefix.checked_add(1).filter(|prefix| *prefix <= 32)?;
        let upper = Ipv4Addr::from_bits(self.address.to_bits() | 1 << (32 - u32::from(prefix)));
        Some([Self { prefix, ..*self }, Self { prefix, address: upper }])
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The networks of the cluster, as this node serves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The pod network.
    pub cluster: Cidr,
    /// The Service network.
    pub services: Cidr,
    /// The networks whose addresses of this node serve node ports; empty for all.
    pub node_port_addresses: Vec<Cidr>,
}

/// What kube-proxy runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach the apiserver; not needed for the cleanup.
    pub kubeconfig: Option<Kubeconfig>,
    /// The name of this node.
    pub node_name: String,
    /// The networks of the cluster.
    pub network: Network,
    /// Whether there are routes to the pods of other nodes.
    pub node_routes: bool,
    /// Take everything away instead.
    pub cleanup: bool,
}

/// Why the configuration cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no way to the apiserver.
    #[error("--kubeconfig is required")]
    NoKubeconfig,
    /// The kubeconfig is not usable.
    #[error("load the kubeconfig")]
    Kubeconfig(#[source] KubeconfigError),
    /// The host does not say its name.
    #[error("no --hostname-override, and the host's name is not known")]
    Hostname(#[source] nix::Error),
}

impl TryFrom<Args> for Config {
    type Error = Failure;

    fn try_from(args: Args) -> Result<Self, Failure> {
        // The cleanup works where nothing else is left.
        let file = args.kubeconfig.as_ref().filter(|_| !args.cleanup);
        let kubeconfig = file.map(Kubeconfig::load).transpose();
        let kubeconfig = kubeconfig.map_err(|error| Failure::config(ConfigError::Kubeconfig(error)))?;
        if kubeconfig.is_none() && !args.cleanup {
            return Err(Failure::config(ConfigError::NoKubeconfig));
        }
        let node_name = if args.hostname_override.is_empty() {
            let host = nix::unistd::gethostname();
            let host = host.map_err(|error| Failure::config(ConfigError::Hostname(error)))?;
            host.to_string_lossy().to_lowercase()
        } else {
            args.hostname_override
        };
        Ok(Self {
            kubeconfig,
            node_name,
            network: Network {
                cluster: args.cluster_cidr,
                services: args.service_cluster_ip_range,
                node_port_addresses: args.nodeport_addresses,
            },
            node_routes: args.configure_node_routes,
            cleanup: args.cleanup,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &str) -> Result<Config, Failure> {
        let arguments = std::iter::once("kube-proxy").chain(arguments.split_whitespace());
        Config::try_from(Args::try_parse_from(arguments).expect("arguments"))
    }

    #[test]
    fn a_kubeconfig_is_needed_but_for_the_cleanup() {
        assert!(matches!(config(""), Err(Failure::Config(_))));
        assert!(matches!(config("--kubeconfig /none"), Err(Failure::Config(_))));
        let cleanup = config("--cleanup --kubeconfig /none --hostname-override n1").expect("a configuration");
        assert!(cleanup.cleanup && cleanup.kubeconfig.is_none());
        assert_eq!(cleanup.node_name, "n1");
        assert_eq!(cleanup.network.services.to_string(), "10.96.0.0/16");
    }

    #[test]
    fn networks_are_read_and_halved() {
        let network: Cidr = "10.96.5.0/16".parse().expect("a network");
        assert_eq!(network.to_string(), "10.96.0.0/16");
        assert!(network.contains(Ipv4Addr::new(10, 96, 255, 255)));
        assert!(!network.contains(Ipv4Addr::new(10, 97, 0, 0)));
        let halves = network.halves().expect("halves").map(|half| half.to_string());
        assert_eq!(halves, ["10.96.0.0/17", "10.96.128.0/17"]);
        let all: Cidr = "0.0.0.0/0".parse().expect("a network");
        assert_eq!(all.halves().expect("halves").map(|half| half.to_string()), ["0.0.0.0/1", "128.0.0.0/1"]);
        for bad in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "fd00::/8", ""] {
            assert_eq!(bad.parse::<Cidr>(), Err(CidrError), "{bad}");
        }
    }
}
