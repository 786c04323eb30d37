//! Requests to what runs in the cluster: one connection each, so that each is balanced anew.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take. A packet that nobody answers must not look like a slow server for long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The body.
    pub body: String,
    /// Which pod answered, as the demo image says.
    pub served_by: String,
}

/// Asks `address` (host:port) for `path`; anything but a complete 200 is an error.
pub async fn get(address: &str, path: &str) -> Result<Answer> {
    tokio::time::timeout(TIMEOUT, ask(address, path)).await.context("no answer in time")?
}

async fn ask(address: &str, path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address).await.context("connect")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("send")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.context("read")?;
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("not an answer: {text:?}"))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("{}", head.lines().next().unwrap_or_default());
    }
    let header = |name: &str| {
        head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let length = header("content-length").and_then(|(_, value)| value.parse().ok()).unwrap_or(body.len());
    if body.len() < length {
        bail!("{} of {length} bytes", body.len());
    }
    let served_by = header("x-served-by").map(|(_, value)| value.to_owned()).unwrap_or_default();
    Ok(Answer { body: body.to_owned(), served_by })
}
