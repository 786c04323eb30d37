//! Hands statements to the kernel: behind a trait, so that netlink can take the place of the `nft` tool, and a
//! test that of both.

use std::future::Future;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::render::TABLE;

/// Why statements did not reach the kernel.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The tool cannot be started.
    #[error("run {0}")]
    Run(&'static str, #[source] std::io::Error),
    /// The tool, or the kernel, refused.
    #[error("{tool} refused: {message}")]
    Refused {
        /// Which tool.
        tool: &'static str,
        /// Its first lines.
        message: String,
    },
}

/// Changes the kernel's tables.
pub trait Apply: Send + Sync + 'static {
    /// Applies all statements in one transaction, or none.
    fn apply(&self, script: &str) -> impl Future<Output = Result<(), ApplyError>> + Send;

    /// Whether our table is there: somebody may have flushed the ruleset.
    fn is_present(&self) -> impl Future<Output = Result<bool, ApplyError>> + Send;
}

/// The `nft` tool.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nft;

impl Apply for Nft {
    async fn apply(&self, script: &str) -> Result<(), ApplyError> {
        run("nft", &["-f", "-"], script).await.map(drop)
    }

    async fn is_present(&self) -> Result<bool, ApplyError> {
        let tables = run("nft", &["list", "tables", "ip"], "").await?;
        Ok(tables.lines().any(|line| line.trim() == format!("table {TABLE}")))
    }
}

/// Runs a tool to its end and returns what it printed.
pub(crate) async fn run(tool: &'static str, arguments: &[&str], input: &str) -> Result<String, ApplyError> {
    let output = output(tool, arguments, input).await.map_err(|error| ApplyError::Run(tool, error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let message = told.lines().take(4).collect::<Vec<_>>().join(" | ");
    Err(ApplyError::Refused { tool, message })
}

async fn output(tool: &'static str, arguments: &[&str], input: &str) -> std::io::Result<Output> {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that ends early says why on standard error, which is better than "broken pipe".
        let _ended_early = stdin.write_all(input.as_bytes()).await;
    }
    child.wait_with_output().await
}
