//! The verbs: what each does is a request or two; how objects are named on the command line is in [`target`].

mod apply;
mod changes;
mod context;
mod delete;
mod describe;
mod diff;
mod exec;
mod export;
mod get;
mod history;
mod logs;
mod manifest;
mod port_forward;
mod rollout;
mod scale;
pub(crate) mod table;
mod target;
mod undelete;
mod user;

use client::Client;
use component::Kubeconfig;

pub(crate) use apply::apply;
pub(crate) use context::context;
pub(crate) use delete::delete;
pub(crate) use describe::describe;
pub(crate) use diff::diff;
pub(crate) use exec::{attach, exec};
pub(crate) use export::{export, import};
pub(crate) use get::get;
pub(crate) use history::history;
pub(crate) use logs::logs;
pub(crate) use port_forward::port_forward;
pub(crate) use rollout::rollout;
pub(crate) use scale::scale;
pub(crate) use undelete::undelete;
pub(crate) use user::user;

use crate::cli::Global;
use crate::cluster::DataDir;
use crate::error::CoxError;

/// A connection to the cluster that the user means, and the namespace.
pub(crate) struct Session {
    pub(crate) client: Client,
    namespace: String,
}

impl Session {
    pub(crate) fn open(global: &Global) -> Result<Self, CoxError> {
        Self::open_at(global, None)
    }

    /// The same cluster as it was at a moment, to be read only.
    fn open_at(global: &Global, moment: Option<&str>) -> Result<Self, CoxError> {
        let config = Self::config(global, moment)?;
        let client = Client::connect(&config)?.with_field_manager("cox");
        Ok(Self { client, namespace: global.namespace.clone().unwrap_or(config.namespace) })
    }

    fn config(global: &Global, moment: Option<&str>) -> Result<Kubeconfig, CoxError> {
        let path =
            global.kubeconfig.clone().unwrap_or_else(|| DataDir::new(&global.data_dir).kubeconfig("admin"));
        let mut config = Kubeconfig::load(path)?;
        if let Some(moment) = moment {
            if config.server.contains("/at/") {
                return Err(CoxError::Usage(format!("{} is in the past already", config.server)));
            }
            config.server = format!("{}/at/{moment}", config.server.trim_end_matches('/'));
        }
        Ok(config)
    }
}
