//! The command line, and the configuration that it becomes.
//!
//! [`Args`] is text; [`Config`] is typed and checked and binds nothing. What cannot work is refused here, and the
//! daemon then ends with exit code 64.

mod etcd;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use api::quantity::Quantity;
use clap::Parser;
use component::CommonArgs;

use crate::audit::AuditArgs;
use crate::authn::AuthnArgs;
use crate::webhook::{Allowed, Network};

pub use etcd::{EtcdArgs, EtcdConfigError, EtcdStore};

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
    /// Where objects are kept: `local` (a synced log under the data directory), `memory`, or in etcd, which several
    /// apiservers can share: `etcd://host:port,host:port`.
    ///
    /// Apiservers that share an etcd cluster also share `pki/ca.crt`, `pki/ca.key`, `pki/front-proxy-ca.crt`,
    /// `pki/front-proxy-ca.key` and `store.keys` of their data directories: copy these from the first one before
    /// another one starts.
    #[arg(long, value_name = "STORE", default_value = "local")]
    pub store: String,
    /// How much of the disk the history of a `local` store may take, as `512Mi`; the oldest goes first.
    #[arg(long, value_name = "QUANTITY", default_value = HISTORY_SIZE)]
    pub history_size: String,
    /// The network of Service addresses.
    #[arg(long, value_name = "CIDR", default_value = SERVICE_NETWORK)]
    pub service_cluster_ip_range: String,
    /// The address at which nodes and pods reach this server; the bind address where it is not given.
    #[arg(long, value_name = "IP")]
    pub advertise_address: Option<IpAddr>,
    /// A network that webhooks may be in although it is loopback, link-local or the like; may be repeated. Loopback
    /// is open anyway where the server listens on loopback only.
    #[arg(long, value_name = "CIDR")]
    pub webhook_allow_network: Vec<Network>,
    /// Make a store of a backup (`cox backup`), in a data directory that has none yet or in an etcd without objects,
    /// and end.
    #[arg(long, value_name = "FILE")]
    pub restore: Option<PathBuf>,
    /// What is recorded of requests.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// Who is known.
    #[command(flatten)]
    pub authn: AuthnArgs,
    /// With a store in etcd.
    #[command(flatten)]
    pub etcd: EtcdArgs,
}

/// A week or more of a cluster of some hundred pods.
pub const HISTORY_SIZE: &str = "512Mi";

/// Four of the files that the log is trimmed by.
pub const HISTORY_SIZE_MIN: &str = "64Mi";

fn history_min() -> Quantity {
    Quantity::parse(HISTORY_SIZE_MIN).expect("a constant of the right form")
}

/// Where objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// In a synced log of revisions in this directory.
    Local(PathBuf),
    /// In memory only.
    Memory,
    /// In etcd.
    Etcd(EtcdStore),
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
    /// How many bytes of history a store on this machine's disk keeps.
    pub history_bytes: u64,
    /// The address at which nodes and pods reach the server.
    pub advertise: IpAddr,
    /// Who is known.
    pub authn: AuthnArgs,
    /// Where webhooks may be beside ordinary hosts.
    pub webhooks: Allowed,
    /// What is recorded of requests.
    pub audit: AuditArgs,
}

/// Why a command line cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A store of another kind.
    #[error("--store {0}: objects are kept in \"local\", \"memory\" or \"etcd://host:port\"")]
    Store(String),
    /// The flags of etcd.
    #[error(transparent)]
    Etcd(#[from] EtcdConfigError),
    /// No size, or one of which the log's files, trimmed as a whole, leave nothing.
    #[error("--history-size {0}: not a quantity of at least {HISTORY_SIZE_MIN}")]
    History(String),
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
            other => match other.strip_prefix("etcd://") {
                Some(list) => {
                    StoreKind::Etcd(EtcdStore::of(other, list, args.etcd, args.data_dir.join("store"))?)
                }
                None => return Err(ConfigError::Store(other.to_owned())),
            },
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
        let history = |text: &str| Quantity::parse(text).ok().filter(|size| *size >= history_min());
        let history_bytes = match history(&args.history_size) {
            Some(size) => size.value().unsigned_abs(),
            None => return Err(ConfigError::History(args.history_size)),
        };
        Ok(Self {
            data_dir: Some(args.data_dir),
            bind: SocketAddr::new(args.bind_address, args.secure_port),
            store,
            history_bytes,
            advertise,
            authn: args.authn,
            webhooks: Allowed {
                loopback: args.bind_address.is_loopback(),
                networks: args.webhook_allow_network,
            },
            audit: args.audit,
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
        assert_eq!(config.history_bytes, 512 << 20);
    }

    #[test]
    fn a_store_in_etcd_has_members_files_and_a_prefix() {
        let found = config(&["--store", "etcd://a:1,[::1]:2"]).expect("a configuration").store;
        let members = vec!["a:1".to_owned(), "[::1]:2".to_owned()];
        assert_eq!(found, StoreKind::Etcd(EtcdStore::new(members.clone(), "/d/store".into())));
        let mut more = vec!["--store", "etcd://a:1,[::1]:2", "--etcd-cafile", "/ca", "--etcd-certfile", "/c"];
        more.extend(["--etcd-keyfile", "/k", "--etcd-username", "u", "--etcd-password-file", "/p"]);
        more.extend(["--etcd-prefix", "/x/y/", "--etcd-compaction-interval", "1h"]);
        let wanted = EtcdStore {
            prefix: "/x/y/".to_owned(),
            authority: Some("/ca".into()),
            identity: Some(("/c".into(), "/k".into())),
            user: Some(("u".to_owned(), "/p".into())),
            compaction_interval: std::time::Duration::from_secs(3600),
            ..EtcdStore::new(members, "/d/store".into())
        };
        assert_eq!(config(&more).expect("a configuration").store, StoreKind::Etcd(wanted));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let refused = |more: &[&str]| config(more).expect_err("it is refused").to_string();
        assert_eq!(
            refused(&["--store", "zookeeper"]),
            "--store zookeeper: objects are kept in \"local\", \"memory\" or \"etcd://host:port\""
        );
        for store in ["etcd://", "etcd://a", "etcd://a:1,", "etcd://a:1/b", "etcd://a:99999"] {
            assert!(refused(&["--store", store]).contains("etcd://host:port,host:port"), "{store}");
        }
        assert!(refused(&["--store", "etcd://a:1", "--etcd-prefix", "/"]).contains("--etcd-prefix /:"));
        for size in ["1Mi", "0", "much", ""] {
            assert!(
                refused(&["--history-size", size]).starts_with(&format!("--history-size {size}: ")),
                "{size}"
            );
        }
        assert!(refused(&["--service-cluster-ip-range", "10.0.0.0/8"]).contains("10.96.0.0/16"));
        assert!(refused(&["--advertise-address", "0.0.0.0"]).contains("0.0.0.0"));
        assert_eq!(
            config(&["--bind-address", "0.0.0.0"]).expect("a configuration").advertise.to_string(),
            "127.0.0.1"
        );
    }
}
