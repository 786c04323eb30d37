//! The settings of the controllers: from arguments to values that are checked.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Parser;
use component::{CommonArgs, Kubeconfig};

/// Runs every reconcile loop of the cluster.
#[derive(Debug, Parser)]
#[command(name = "controllers", version)]
pub struct Args {
    /// How to reach the apiserver.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,
    /// The pod network, from which each node gets its share.
    #[arg(long, default_value = "10.244.0.0/16", value_name = "CIDR")]
    pub cluster_cidr: String,
    /// The size of a node's share.
    #[arg(long, default_value_t = 24, value_name = "BITS")]
    pub node_cidr_mask_size: u8,
    /// Which controllers run: `*` for all, `name` for one more, `-name` for one less.
    #[arg(
        long,
        default_value = "*",
        value_delimiter = ',',
        allow_hyphen_values = true,
        value_name = "NAMES"
    )]
    pub controllers: Vec<String>,
    /// What every daemon has.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Settings that can work.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach the apiserver.
    pub kubeconfig: Kubeconfig,
    /// The pod network.
    pub cluster_cidr: Cidr,
    /// The prefix length of a node's share.
    pub node_cidr_mask_size: u8,
    /// The names of the controllers that run.
    pub controllers: BTreeSet<&'static str>,
}

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// Its first address.
    pub address: Ipv4Addr,
    /// The length of its prefix.
    pub bits: u8,
}

/// Why settings cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The kubeconfig cannot be read.
    #[error("load kubeconfig {0}")]
    Kubeconfig(PathBuf, #[source] component::kubeconfig::KubeconfigError),
    /// The pod network is no IPv4 network.
    #[error("--cluster-cidr {0:?} is not an IPv4 network")]
    ClusterCidr(String),
    /// The share of a node is larger than the network, or too small for a pod.
    #[error("--node-cidr-mask-size {size} must be from {least} to 30")]
    MaskSize {
        /// What was asked for.
        size: u8,
        /// The prefix length of the network.
        least: u8,
    },
    /// There is no such controller.
    #[error("there is no controller {0:?}")]
    UnknownController(String),
}

impl Cidr {
    /// Reads `10.244.0.0/16`; bits behind the prefix must be zero.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits): (Ipv4Addr, u8) = (address.parse().ok()?, bits.parse().ok()?);
        let host = u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
        (bits <= 32 && u32::from(address) & host == 0).then_some(Self { address, bits })
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let cluster_cidr =
            Cidr::parse(&args.cluster_cidr).ok_or(ConfigError::ClusterCidr(args.cluster_cidr))?;
        let size = args.node_cidr_mask_size;
        if size < cluster_cidr.bits || size > 30 {
            return Err(ConfigError::MaskSize { size, least: cluster_cidr.bits });
        }
        let controllers = select(&args.controllers)?;
        let kubeconfig = Kubeconfig::load(&args.kubeconfig)
            .map_err(|error| ConfigError::Kubeconfig(args.kubeconfig.clone(), error))?;
        Ok(Self { kubeconfig, cluster_cidr, node_cidr_mask_size: size, controllers })
    }
}

impl Config {
    /// All controllers with the usual networks: for tests and for daemons in one process.
    pub fn new(kubeconfig: Kubeconfig) -> Self {
        Self {
            kubeconfig,
            cluster_cidr: Cidr { address: Ipv4Addr::new(10, 244, 0, 0), bits: 16 },
            node_cidr_mask_size: 24,
            controllers: crate::NAMES.into_iter().collect(),
        }
    }
}

fn select(words: &[String]) -> Result<BTreeSet<&'static str>, ConfigError> {
    let named = |name: &str| {
        crate::NAMES
            .into_iter()
            .find(|known| *known == name)
            .ok_or_else(|| ConfigError::UnknownController(name.to_owned()))
    };
    let mut selected = BTreeSet::new();
    if words.iter().any(|word| word == "*") {
        selected.extend(crate::NAMES);
    }
    for word in words.iter().filter(|word| *word != "*") {
        match word.strip_prefix('-') {
            Some(name) => {
                selected.remove(named(name)?);
            }
            None => {
                selected.insert(named(word)?);
            }
        }
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_refused() {
        assert_eq!(Cidr::parse("10.244.0.0/16").unwrap().to_string(), "10.244.0.0/16");
        for bad in ["10.244.0.1/16", "10.244.0.0", "10.244.0.0/33", "fd00::/64", "x/16"] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn controllers_are_chosen_by_name() {
        let words = |words: &[&str]| select(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["*"]).unwrap().len(), crate::NAMES.len());
        assert_eq!(words(&["*", "-deployment"]).unwrap().len(), crate::NAMES.len() - 1);
        assert_eq!(words(&["deployment"]).unwrap(), BTreeSet::from(["deployment"]));
        assert!(words(&["plumber"]).is_err());
    }
}
