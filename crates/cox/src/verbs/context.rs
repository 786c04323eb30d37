//! `cox context`: a kubeconfig with which plain kubectl sees the cluster of a past moment, to be read only.

use client::Client;

use super::Session;
use crate::cli::{ContextArgs, Global};
use crate::error::CoxError;
use crate::output::Out;

pub(crate) async fn context(global: &Global, args: &ContextArgs, out: &mut Out) -> Result<(), CoxError> {
    let mut config = Session::config(global, Some(&args.at))?;
    // The server says whether the moment can be reached, and which revision it is.
    let revision = Client::connect(&config)?.cluster_info().await?.revision;
    // "10m" would be another moment with each request.
    if args.at.parse::<jiff::Timestamp>().is_err() {
        config = Session::config(global, Some(&format!("r{revision}")))?;
    }
    if let Some(namespace) = &global.namespace {
        config.namespace.clone_from(namespace);
    }
    config.cluster_name = format!("{}-at-r{revision}", config.cluster_name);
    config.write(&args.filename)?;
    out.line(&format!("export KUBECONFIG={}", args.filename.display()));
    Ok(())
}
