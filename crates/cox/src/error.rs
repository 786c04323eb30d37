//! Why a command failed.

use std::path::PathBuf;

use client::ClientError;
use component::kubeconfig::KubeconfigError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CoxError {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Failed(String),
    /// A command in a container ended with this code: its own words say why.
    #[error("the command ended with {0}")]
    Command(u8),
    #[error("the apiserver refused")]
    Api(#[from] ClientError),
    #[error("there is no usable kubeconfig; is the cluster up?")]
    Kubeconfig(#[from] KubeconfigError),
    #[error("{what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("make a certificate request")]
    Certificate(#[from] rcgen::Error),
    #[error("{what}")]
    System {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
}

impl CoxError {
    /// 64 for a request that makes no sense, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Command(code) => *code,
            Self::Failed(_)
            | Self::Api(_)
            | Self::Kubeconfig(_)
            | Self::File { .. }
            | Self::Certificate(_)
            | Self::System { .. } => 1,
        }
    }

    /// Something about a file failed; for `map_err`.
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }

    /// Something about this machine failed; for `map_err`.
    pub(crate) fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
