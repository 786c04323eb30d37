//! The flags of a store in etcd. They are named as those of Kubernetes' apiserver where it has them.
//!
//! Read on: [`store::EtcdOptions`] for what becomes of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use store::{EtcdOptions, EtcdTls};

/// How etcd is used, with `--store etcd://...`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Store in etcd")]
pub struct EtcdArgs {
    /// The certificate authority (PEM) of etcd's members: connections are encrypted.
    #[arg(long, value_name = "FILE")]
    pub etcd_cafile: Option<PathBuf>,
    /// The certificate (PEM) that is shown to etcd, where it asks for one.
    #[arg(long, value_name = "FILE", requires = "etcd_keyfile", requires = "etcd_cafile")]
    pub etcd_certfile: Option<PathBuf>,
    /// The private key (PEM) of that certificate.
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    pub etcd_keyfile: Option<PathBuf>,
    /// The user, where etcd asks for users.
    #[arg(long, value_name = "NAME", requires = "etcd_password_file")]
    pub etcd_username: Option<String>,
    /// A file with the user's password.
    #[arg(long, value_name = "FILE", requires = "etcd_username")]
    pub etcd_password_file: Option<PathBuf>,
    /// What all keys in etcd begin with.
    #[arg(long, value_name = "PREFIX", default_value = "/coxswain")]
    pub etcd_prefix: String,
    /// How long etcd keeps what was replaced; 0s leaves compaction to others.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub etcd_compaction_interval: SignedDuration,
}

/// A store in etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdStore {
    /// The members, each as `host:port`.
    pub members: Vec<String>,
    /// Beside it is the file with the keys of Secrets.
    pub beside: PathBuf,
    /// What all keys begin with.
    pub prefix: String,
    /// The members' certificate authority.
    pub authority: Option<PathBuf>,
    /// Certificate and key that are shown to them.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// A name, and the file with its password.
    pub user: Option<(String, PathBuf)>,
    /// How long replaced values are kept.
    pub compaction_interval: Duration,
}

/// Why the flags cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EtcdConfigError {
    /// Not a list of members.
    #[error("--store {0}: members of etcd are named as etcd://host:port,host:port")]
    Members(String),
    /// A prefix that is not a path.
    #[error("--etcd-prefix {0}: begins with a slash and has more behind it")]
    Prefix(String),
    /// Less than nothing.
    #[error("--etcd-compaction-interval: not before now")]
    Interval,
}

impl EtcdStore {
    /// The usual store in etcd.
    pub fn new(members: Vec<String>, beside: PathBuf) -> Self {
        Self {
            members,
            beside,
            prefix: "/coxswain/".to_owned(),
            authority: None,
            identity: None,
            user: None,
            compaction_interval: Duration::from_secs(300),
        }
    }

    /// What `--store etcd://LIST` and its flags mean. Keys of Secrets are beside `beside`.
    pub(super) fn of(
        store: &str,
        list: &str,
        args: EtcdArgs,
        beside: PathBuf,
    ) -> Result<Self, EtcdConfigError> {
        let is_member = |member: &str| {
            let port = member.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'));
            port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        };
        let members: Vec<_> = list.split(',').map(str::to_owned).collect();
        if !members.iter().all(|member| is_member(member)) {
            return Err(EtcdConfigError::Members(store.to_owned()));
        }
        let prefix = args.etcd_prefix.trim_end_matches('/');
        if !prefix.starts_with('/') {
            return Err(EtcdConfigError::Prefix(args.etcd_prefix));
        }
        let interval =
            Duration::try_from(args.etcd_compaction_interval).map_err(|_| EtcdConfigError::Interval)?;
        Ok(Self {
            prefix: format!("{prefix}/"),
            authority: args.etcd_cafile,
            identity: args.etcd_certfile.zip(args.etcd_keyfile),
            user: args.etcd_username.zip(args.etcd_password_file),
            compaction_interval: interval,
            ..Self::new(members, beside)
        })
    }

    /// Reads the files. Gives which one cannot be read, and why.
    pub(crate) fn options(&self) -> Result<EtcdOptions, (PathBuf, std::io::Error)> {
        let read = |file: &Path| std::fs::read(file).map_err(|error| (file.to_owned(), error));
        let mut options = EtcdOptions::new(self.members.clone());
        options.prefix.clone_from(&self.prefix);
        options.compaction_interval = self.compaction_interval;
        if let Some(authority) = &self.authority {
            let identity = match &self.identity {
                Some((certificate, key)) => Some((read(certificate)?, read(key)?)),
                None => None,
            };
            options.tls = Some(EtcdTls { authority: read(authority)?, identity });
        }
        if let Some((name, file)) = &self.user {
            let password = String::from_utf8(read(file)?)
                .map_err(|error| (file.clone(), std::io::Error::other(error)))?;
            options.user = Some((name.clone(), password.trim_end_matches(['\r', '\n']).to_owned()));
        }
        Ok(options)
    }
}
