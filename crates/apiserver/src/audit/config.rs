//! The flags of the audit log, as kube-apiserver has them.

use std::path::PathBuf;

use clap::Args;

/// Where the audit log goes and what is in it.
#[derive(Debug, Clone, Default, Args)]
pub struct AuditArgs {
    /// The file that requests are recorded in, one JSON object a line; without it nothing is recorded.
    #[arg(long, value_name = "FILE")]
    pub audit_log_path: Option<PathBuf>,
    /// What is recorded of which requests (audit.k8s.io/v1 Policy); without it Metadata of all.
    #[arg(long, value_name = "FILE", requires = "audit_log_path")]
    pub audit_policy_file: Option<PathBuf>,
    /// The size in megabytes at which another file is begun; 0 is the default of 100.
    #[arg(long, value_name = "MEGABYTES", default_value_t = 0)]
    pub audit_log_maxsize: u64,
    /// How many old files are kept; 0 is all of them.
    #[arg(long, value_name = "FILES", default_value_t = 0)]
    pub audit_log_maxbackup: usize,
    /// How many days old files are kept; 0 is for ever.
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    pub audit_log_maxage: u64,
}
