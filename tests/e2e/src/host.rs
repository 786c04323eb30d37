//! A machine with a cluster: what `cox up` makes of a temporary directory.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use client::Client;
use component::Kubeconfig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Command;

use crate::process::{Output, run};
use crate::{Engine, Namespace};

/// The port of the apiserver under test: beside a cluster that may run on this machine.
pub const PORT: u16 = 26443;

/// A machine with a cluster.
pub struct Host {
    folder: tempfile::TempDir,
    bin: PathBuf,
    /// Its Docker Engine.
    pub engine: Engine,
}

impl Host {
    /// Starts an engine and a cluster.
    pub async fn start() -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("the end-to-end tests need root, for network namespaces and nftables");
        }
        let folder = tempfile::Builder::new().prefix("coxswain-e2e.").tempdir()?;
        let engine = Engine::start(&folder.path().join("engine")).await?;
        let host = Self { bin: bin()?, engine, folder };
        host.up().await?.ok()?;
        Ok(host)
    }

    /// Ends the cluster and the engine, and the cluster once more: what is gone already needs no engine to go.
    pub async fn end(self) -> Result<()> {
        let down = self.cox(&["down"], "").await?.ok();
        self.engine.end().await?;
        down?;
        self.cox(&["down", "--purge"], "").await?.ok()?;
        anyhow::ensure!(!self.data_dir().exists(), "the data is there after it was purged");
        Ok(())
    }

    /// `cox up` with this host's settings.
    pub async fn up(&self) -> Result<Output> {
        let mirror = std::env::var("COXSWAIN_TEST_REGISTRY").unwrap_or("http://127.0.0.1:5000".to_owned());
        let flags = [
            "up".to_owned(),
            format!("--secure-port={PORT}"),
            "--node-name=e2e".to_owned(),
            format!("--docker-endpoint={}", self.engine.endpoint()),
            format!("--registry-mirror=docker.io={mirror}"),
        ];
        // As a script with a lock would: what it holds open is none of the daemons' business.
        let mut command = Command::new("sh");
        command.args(["-c", "exec 7>\"$0\" && exec \"$@\""]).arg(self.held()).arg(self.bin.join("cox"));
        command.arg("--data-dir").arg(self.data_dir()).args(flags).env_remove("KUBECONFIG");
        run(&mut command, "").await
    }

    /// A file that the one who calls `cox up` has open.
    pub fn held(&self) -> PathBuf {
        self.folder.path().join("held")
    }

    /// A program under test.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Where the cluster keeps its data.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir().join("admin.kubeconfig")
    }

    /// A client of the cluster.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::connect(&Kubeconfig::load(self.kubeconfig())?)?)
    }

    /// A namespace of the test's own.
    pub async fn namespace(&self, name: &str) -> Result<Namespace<'_>> {
        Namespace::create(self, name).await
    }

    /// Runs cox.
    pub async fn cox(&self, arguments: &[&str], input: &str) -> Result<Output> {
        run(&mut self.cox_command(arguments), input).await
    }

    /// cox, not started yet.
    pub fn cox_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join("cox"));
        command.arg("--data-dir").arg(self.data_dir()).args(arguments).env_remove("KUBECONFIG");
        command
    }

    /// Runs kubectl.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<Output> {
        self.kubectl_at(Path::new("kubectl"), arguments, input).await
    }

    /// Runs some other kubectl.
    pub async fn kubectl_at(&self, program: &Path, arguments: &[&str], input: &str) -> Result<Output> {
        let home = self.folder.path().join("home");
        let mut command = Command::new(program);
        command.args(arguments).env("KUBECONFIG", self.kubeconfig()).env("HOME", home);
        run(&mut command, input).await
    }

    /// The process id of a daemon, as `cox status` knows it.
    pub fn pid(&self, daemon: &str) -> Result<Option<i32>> {
        let state: Value = serde_json::from_slice(&std::fs::read(self.data_dir().join("run/state.json"))?)?;
        let daemons = state["daemons"].as_array().context("a state has daemons")?;
        let found = daemons.iter().find(|entry| entry["name"] == daemon).context("no such daemon")?;
        Ok(found["pid"].as_i64().map(|pid| pid as i32))
    }

    /// Kills a daemon without grace.
    pub fn kill(&self, daemon: &str) -> Result<()> {
        let pid = self.pid(daemon)?.with_context(|| format!("{daemon} does not run"))?;
        Ok(kill(Pid::from_raw(pid), Signal::SIGKILL)?)
    }

    /// The last lines of each daemon's log, to explain a failure.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.data_dir().join("log")).into_iter().flatten().flatten() {
            let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(15).collect();
            text += &format!("--- {}\n", entry.file_name().to_string_lossy());
            for line in lines.iter().rev() {
                text += &format!("{line}\n");
            }
        }
        text
    }
}

/// The folder of the binaries under test: `COXSWAIN_BIN_DIR`, or the one beside this test's own.
fn bin() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("COXSWAIN_BIN_DIR") {
        return Ok(folder.into());
    }
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).context("a test runs from target/<profile>/deps")?.to_owned();
    if !folder.join("cox").exists() {
        bail!("{} has no cox: build the daemons first", folder.display());
    }
    Ok(folder)
}
