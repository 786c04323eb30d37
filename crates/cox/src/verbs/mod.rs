//! The verbs: what each does is a request or two; how objects are named on the command line is in [`target`].

mod apply;
mod delete;
mod describe;
mod export;
mod get;
mod logs;
mod manifest;
mod rollout;
mod scale;
pub(crate) mod table;
mod target;

use client::Client;
use component::Kubeconfig;

pub(crate) use apply::apply;
pub(crate) use delete::delete;
pub(crate) use describe::describe;
pub(crate) use export::{export, import};
pub(crate) use get::get;
pub(crate) use logs::logs;
pub(crate) use rollout::rollout;
pub(crate) use scale::scale;

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
        let path =
            global.kubeconfig.clone().unwrap_or_else(|| DataDir::new(&global.data_dir).kubeconfig("admin"));
        let config = Kubeconfig::load(path)?;
        let client = Client::connect(&config)?.with_field_manager("cox");
        Ok(Self { client, namespace: global.namespace.clone().unwrap_or(config.namespace) })
    }
}
