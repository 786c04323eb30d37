//! Runs one CNI plugin: parameters in the environment, configuration on standard input, result on standard output.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::NetworkError;

/// What a plugin is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Attach.
    Add,
    /// Detach.
    Del,
    /// Compare with what was attached.
    Check,
}

impl Command {
    fn wire(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Del => "delete",
            Self::Check => "check",
        }
    }
}

/// The parameters of one execution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Invocation<'a> {
    pub command: Command,
    pub container_id: &'a str,
    pub netns: &'a str,
    pub interface: &'a str,
    pub args: &'a str,
    pub bin_dir: &'a Path,
    pub timeout: Duration,
}

/// Executes the plugin that `config.type` names; `Null` where it answers nothing.
pub(super) async fn run(invocation: &Invocation<'_>, config: &Value) -> Result<Value, NetworkError> {
    let plugin = config["type"].as_str().unwrap_or_default();
    let failed = |message: String| NetworkError::Plugin {
        plugin: plugin.to_owned(),
        command: invocation.command.name(),
        message,
    };
    // A type is a file name, never a path.
    if plugin.is_empty() || plugin.contains('/') {
        return Err(failed("the plugin has no valid type".to_owned()));
    }
    let mut child = tokio::process::Command::new(invocation.bin_dir.join(plugin))
        .env("CNI_COMMAND", invocation.command.wire())
        .env("CNI_CONTAINERID", invocation.container_id)
        .env("CNI_NETNS", invocation.netns)
        .env("CNI_IFNAME", invocation.interface)
        .env("CNI_ARGS", invocation.args)
        .env("CNI_PATH", invocation.bin_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot be executed: {error}")))?;
    let input = config.to_string();
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A plugin that does not read its input fails by its exit code.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(invocation.timeout, talk).await {
        Ok(output) => output.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("no answer within {:?}", invocation.timeout))),
    };
    let answer: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    if output.status.success() {
        return Ok(answer.unwrap_or_default());
    }
    let message = answer.as_ref().and_then(|answer| {
        let message = answer["msg"].as_str()?;
        let details = answer["details"].as_str().filter(|details| !details.is_empty());
        Some(details.map_or_else(|| message.to_owned(), |details| format!("{message}: {details}")))
    });
    let stderr = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(message.unwrap_or_else(|| format!("{}: {}", output.status, stderr()))))
}
