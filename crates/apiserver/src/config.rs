//! The command line, and the configuration that it becomes.
//!
//! [`Args`] is text; [`Config`] is typed and checked and binds nothing. What cannot work is refused here, and the
//! daemon then ends with exit code 64.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;
use component::CommonArgs;

/// The network of Service addresses.
pub const SERVICE_NETWORK: &str = "10.96.0.0/16";

/// The network of pods.
pub const POD_NETWORK: &str = "10.244.0.0/16";

/// The domain of cluster DNS.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// The address at which pods reach the API: the first of the Service network.
pub const API_SERVICE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));

/// Keeps the objects of the cluster and serves them over gRPC and the Kubernetes REST API.
#[derive(Debug, Clone, Parser)]
#[command(name = "apiserver", version)]
pub struct Args {
    /// What every daemon has.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Where objects, keys and kubeconfigs are kept; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The address to listen on.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub bind_address: IpAddr,
    /// The port to listen on; 0 takes any that is free.
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    pub secure_port: u16,
    /// Where objects are kept: `local` (a synced log under the data directory) or `memory`.
    #[arg(long, value_name = "STORE", default_value = "local")]
    pub store: String,
    /// The network of Service addresses.
    #[arg(long, value_name = "CIDR", default_value = SERVICE_NETWORK)]
    pub service_cluster_ip_range: String,
    /// The address at which nodes and pods reach this server; the bind address where it is not given.
    #[arg(long, value_name = "IP")]
    pub advertise_address: Option<IpAddr>,
    /// Make the store of a data directory that has none yet of a backup (`cox backup`), and end.
    #[arg(long, value_name = "FILE")]
    pub restore: Option<PathBuf>,
}

/// Where objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// In a synced log of revisions in this directory.
    Local(PathBuf),
    /// In memory only.
    Memory,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where keys, certificates and kubeconfigs are kept; without it they are made anew and written nowhere.
    pub data_dir: Option<PathBuf>,
    /// Where to listen; port 0 takes any.
    pub bind: SocketAddr,
    /// Where objects are kept.
    pub store: StoreKind,
    /// The address at which nodes and pods reach the server.
    pub advertise: IpAddr,
}

/// Why a command line cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A store of another kind.
    #[error("--store {0}: this build keeps objects in \"local\" or \"memory\" only")]
    Store(String),
    /// Another network.
    #[error("--service-cluster-ip-range {0}: Services have their addresses in {SERVICE_NETWORK} only")]
    ServiceNetwork(String),
    /// An address that nobody can reach.
    #[error("--advertise-address {0}: not an address that others can connect to")]
    Advertise(IpAddr),
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let store = match args.store.as_str() {
            "local" => StoreKind::Local(args.data_dir.join("store")),
            "memory" => StoreKind::Memory,
            other => return Err(ConfigError::Store(other.to_owned())),
        };
        if args.service_cluster_ip_range != SERVICE_NETWORK {
            return Err(ConfigError::ServiceNetwork(args.service_cluster_ip_range));
        }
        let advertise = match args.advertise_address {
            Some(address) if address.is_unspecified() || address.is_multicast() => {
                return Err(ConfigError::Advertise(address));
            }
            Some(address) => address,
            None if args.bind_address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            None => args.bind_address,
        };
        Ok(Self {
            data_dir: Some(args.data_dir),
            bind: SocketAddr::new(args.bind_address, args.secure_port),
            store,
            advertise,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &[&str]) -> Result<Config, ConfigError> {
        let words = ["apiserver", "--data-dir", "/d"].iter().chain(more);
        Config::try_from(Args::try_parse_from(words).expect("arguments of the right form"))
    }

    #[test]
    fn the_defaults_are_a_local_store_on_loopback() {
        let config = config(&[]).expect("a configuration");
        assert_eq!(config.store, StoreKind::Local("/d/store".into()));
        assert_eq!(config.bind.to_string(), "127.0.0.1:6443");
        assert_eq!(config.advertise.to_string(), "127.0.0.1");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let refused = |more: &[&str]| config(more).expect_err("it is refused").to_string();
        assert_eq!(
            refused(&["--store", "etcd://127.0.0.1:2379"]),
            "--store etcd://127.0.0.1:2379: this build keeps objects in \"local\" or \"memory\" only"
        );
        assert!(refused(&["--service-cluster-ip-range", "10.0.0.0/8"]).contains("10.96.0.0/16"));
        assert!(refused(&["--advertise-address", "0.0.0.0"]).contains("0.0.0.0"));
        assert_eq!(
            config(&["--bind-address", "0.0.0.0"]).expect("a configuration").advertise.to_string(),
            "127.0.0.1"
        );
    }
}
