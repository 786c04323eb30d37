//! The command line, the configuration file, and what becomes of both: [`Config`].

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;
use component::{CommonArgs, Kubeconfig};

use crate::runtime::image::RegistryConfig;
use crate::server::Keys;

mod file;

use file::File;
pub(crate) use file::Settings;
pub use file::{GroupSettings, LogLimits};

/// Runs the pods of one node on Docker Engine.
#[derive(Debug, Parser)]
#[command(name = "kubelet", version)]
pub struct Args {
    /// What every daemon takes.
    #[command(flatten)]
    pub common: CommonArgs,
    /// How to reach the apiserver
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,
    /// A KubeletConfiguration
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The name of the node
    #[arg(long, value_name = "NAME")]
    pub node_name: String,
    /// The address of the node
    #[arg(long, value_name = "ADDRESS")]
    pub node_ip: IpAddr,
    /// Where the kubelet keeps what belongs to pods
    #[arg(long, default_value = "/var/lib/kubelet", value_name = "DIR")]
    pub root_dir: PathBuf,
    /// Where the service of the node listens
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<IpAddr>,
    /// The port of the service of the node; 0 is any
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// The certificate of the service of the node
    #[arg(long, value_name = "FILE")]
    pub tls_cert_file: PathBuf,
    /// Its private key
    #[arg(long, value_name = "FILE")]
    pub tls_private_key_file: PathBuf,
    /// The authority that its clients' certificates must come from
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: PathBuf,
    /// Where Docker Engine listens
    #[arg(long, default_value = "unix:///var/run/docker.sock", value_name = "URL")]
    pub docker_endpoint: String,
    /// Where the CNI plugins are
    #[arg(long, default_value = "/usr/lib/cni", value_name = "DIR")]
    pub cni_bin_dir: PathBuf,
    /// Where the CNI configuration is
    #[arg(long, default_value = "/etc/cni/net.d", value_name = "DIR")]
    pub cni_conf_dir: PathBuf,
    /// Take away all that this node's kubelet has made, and end
    #[arg(long)]
    pub cleanup: bool,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration file is not valid.
    #[error("{path} is not a valid KubeletConfiguration: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The kubeconfig is not usable.
    #[error("the kubeconfig is not usable")]
    Kubeconfig(#[from] component::kubeconfig::KubeconfigError),
}

/// Everything that a kubelet is told.
pub struct Config {
    pub(crate) kubeconfig: Kubeconfig,
    pub(crate) node_name: String,
    pub(crate) node_ip: IpAddr,
    pub(crate) root: PathBuf,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) keys: Keys,
    pub(crate) docker_endpoint: String,
    pub(crate) cni_bin_dir: PathBuf,
    pub(crate) cni_conf_dir: PathBuf,
    pub(crate) registry: RegistryConfig,
    pub(crate) cluster_dns: Vec<String>,
    pub(crate) cluster_domain: String,
    pub(crate) settings: Settings,
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| ConfigError::Read { path: path.clone(), source })
        };
        let invalid =
            |message: String| ConfigError::Invalid { path: args.config.clone().unwrap_or_default(), message };
        let file = match &args.config {
            None => File::default(),
            Some(path) => {
                let text = String::from_utf8_lossy(&read(path)?).into_owned();
                serde_saphyr::from_str(&text).map_err(|error| {
                    invalid(error.to_string().lines().next().unwrap_or_default().to_owned())
                })?
            }
        };
        Ok(Self {
            settings: file.settings().map_err(invalid)?,
            kubeconfig: Kubeconfig::load(&args.kubeconfig)?,
            keys: Keys {
                certificate: read(&args.tls_cert_file)?,
                key: read(&args.tls_private_key_file)?,
                client_ca: read(&args.client_ca_file)?,
            },
            node_name: args.node_name,
            node_ip: args.node_ip,
            // Others are told of places in it.
            root: std::path::absolute(&args.root_dir).unwrap_or(args.root_dir),
            address: args.address.unwrap_or(file.address),
            port: args.port.unwrap_or(file.port),
            docker_endpoint: args.docker_endpoint,
            cni_bin_dir: args.cni_bin_dir,
            cni_conf_dir: args.cni_conf_dir,
            registry: file.registry,
            cluster_dns: file.cluster_dns,
            cluster_domain: file.cluster_domain,
        })
    }
}
