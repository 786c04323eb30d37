//! The flags of authentication.

use std::path::PathBuf;

use clap::Args;

/// Who is known beside the certificates of the cluster's authority and the tokens in the store.
#[derive(Debug, Clone, Default, Args)]
pub struct AuthnArgs {
    /// A file of tokens, one user a line: token,user,uid,"group1,group2". It is read once, at the start.
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
}
