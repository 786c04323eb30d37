//! The log on standard error: text for people, JSON for programs, and what `-v` means.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What `-v LEVEL` shows, with the levels of Kubernetes: 0 and 1 what an operator cares about, 2 and 3 the same
/// (Kubernetes' daemons are usually run with 2), 4 and 5 each reconcile, 6 and above everything.
pub fn filter(verbosity: u8) -> String {
    let (ours, others) = match verbosity {
        0..=3 => ("info", "warn"),
        4 | 5 => ("debug", "warn"),
        6..=8 => ("trace", "info"),
        _ => ("trace", "debug"),
    };
    format!(
        "{ours},hyper={others},h2={others},tonic={others},tower={others},rustls={others},bollard={others},sled={others},netlink_proto={others},hickory_server=warn"
    )
}

/// Installs the log of this process. A second call changes nothing.
pub fn init(format: LogFormat, verbosity: u8) {
    let filter = EnvFilter::new(filter(verbosity));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let _installed_before = match format {
        LogFormat::Text => builder.with_target(false).compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
