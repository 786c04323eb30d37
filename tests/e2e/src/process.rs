//! Programs that a test runs.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

/// What a program printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Whether it ended with 0.
    pub success: bool,
    /// What it ended with; nothing where a signal ended it.
    pub code: Option<i32>,
}

impl Output {
    /// Standard output, if the program succeeded.
    pub fn ok(self) -> Result<String> {
        if !self.success {
            bail!("failed: {}{}", self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }

    /// Standard error, if the program failed.
    pub fn refused(self) -> Result<String> {
        if self.success {
            bail!("succeeded, and should not have: {}", self.stdout);
        }
        Ok(self.stderr)
    }
}

/// Runs a program to its end, with `input` on its standard input.
pub async fn run(command: &mut Command, input: &str) -> Result<Output> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {name}"))?;
    let mut stdin = child.stdin.take().context("standard input is a pipe")?;
    let input = input.to_owned();
    let feed = async move {
        // A program that does not read its input closes it; what it says about that is in its output.
        let _closed = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
        drop(stdin);
    };
    let (_, output) = tokio::join!(feed, child.wait_with_output());
    let output = output.with_context(|| format!("wait for {name}"))?;
    Ok(Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        success: output.status.success(),
        code: output.status.code(),
    })
}
