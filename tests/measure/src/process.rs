//! Daemons that are measured: started, looked at through /proc, ended.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// A running daemon. Dropped, it is killed.
pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts `name` from the folder of the binaries.
    pub(crate) fn start(name: &str, arguments: &[String]) -> Result<Self> {
        let child = Command::new(bin()?.join(name))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self { child })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Result<i32> {
        Ok(self.child.id().context("it has ended")?.try_into()?)
    }

    /// Ends it as an operator does, and waits.
    pub(crate) async fn end(mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid()?), Signal::SIGTERM)?;
        self.child.wait().await?;
        Ok(())
    }
}

/// Resident memory of a process, in MB (of 1,000,000 bytes).
pub(crate) fn resident(pid: i32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read its status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has memory")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}

/// Seconds of CPU that a process has used since it started.
pub(crate) fn cpu_seconds(pid: i32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("read its stat")?;
    // The name stands in parentheses and may hold anything; user and system time are the 12th and 13th after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).context("a stat has times");
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("ticks per second")?;
    Ok((ticks(11)? + ticks(12)?) / per_second as f64)
}

/// The folder of the binaries: `COXSWAIN_BIN_DIR`.
pub(crate) fn bin() -> Result<PathBuf> {
    Ok(std::env::var_os("COXSWAIN_BIN_DIR").context("COXSWAIN_BIN_DIR says where the daemons are")?.into())
}
