//! The flags of authentication.

use std::path::PathBuf;

use clap::{Args, Parser};

/// Who is known beside the certificates of the cluster's authority and the tokens in the store.
#[derive(Debug, Clone, Args)]
pub struct AuthnArgs {
    /// A file of tokens, one user a line: token,user,uid,"group1,group2". It is read once, at the start.
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// The authority (PEM) of front proxies, which say in headers who their users are; `pki/front-proxy-ca.crt` of the
    /// data directory where it is not given. It must sign nothing but front proxies.
    #[arg(long, value_name = "FILE")]
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// The names in the certificates of front proxies; empty allows all that their authority has signed.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "front-proxy-client")]
    pub requestheader_allowed_names: Vec<String>,
    /// The headers in which a front proxy names its user.
    #[arg(long, value_name = "HEADERS", value_delimiter = ',', default_value = "X-Remote-User")]
    pub requestheader_username_headers: Vec<String>,
    /// The headers in which it tells the user's uid.
    #[arg(long, value_name = "HEADERS", value_delimiter = ',', default_value = "X-Remote-Uid")]
    pub requestheader_uid_headers: Vec<String>,
    /// The headers in which it tells the user's groups.
    #[arg(long, value_name = "HEADERS", value_delimiter = ',', default_value = "X-Remote-Group")]
    pub requestheader_group_headers: Vec<String>,
    /// What the headers begin with in which it tells what else there is to say.
    #[arg(long, value_name = "PREFIXES", value_delimiter = ',', default_value = "X-Remote-Extra-")]
    pub requestheader_extra_headers_prefix: Vec<String>,
}

impl Default for AuthnArgs {
    fn default() -> Self {
        /// The flags alone.
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            own: AuthnArgs,
        }
        Alone::parse_from(["apiserver"]).own
    }
}
