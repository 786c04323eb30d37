//! The settings of the scheduler.

use std::path::PathBuf;

use clap::Parser;
use component::{CommonArgs, Kubeconfig};

/// Binds pods to nodes.
#[derive(Debug, Parser)]
#[command(name = "scheduler", version)]
pub struct Args {
    /// How to reach the apiserver.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,
    /// What every daemon has.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Settings that can work.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach the apiserver.
    pub kubeconfig: Kubeconfig,
}

/// Why settings cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The kubeconfig cannot be read.
    #[error("load kubeconfig {0}")]
    Kubeconfig(PathBuf, #[source] component::kubeconfig::KubeconfigError),
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let kubeconfig = Kubeconfig::load(&args.kubeconfig)
            .map_err(|error| ConfigError::Kubeconfig(args.kubeconfig.clone(), error))?;
        Ok(Self { kubeconfig })
    }
}
