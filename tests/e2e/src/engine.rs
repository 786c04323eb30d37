//! A Docker Engine of the test's own, which it may stop and kill without harm to the machine's.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::PATIENCE;
use crate::process::{Output, run};

/// The bridge of its own network, which no test uses. An engine that is told to have none takes away the bridge of the
/// machine's own engine.
const BRIDGE: &str = "coxe2e0";

/// A Docker Engine.
pub struct Engine {
    folder: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Engine {
    /// Starts an engine that keeps everything in `folder`.
    pub async fn start(folder: &Path) -> Result<Self> {
        let engine = Self { folder: folder.to_owned(), child: Mutex::new(None) };
        engine.resume().await?;
        Ok(engine)
    }

    /// Where it listens, as a URL.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.folder.join("docker.sock").display())
    }

    /// Starts it again after [`Engine::stop`].
    pub async fn resume(&self) -> Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        if !Path::new("/sys/class/net").join(BRIDGE).exists() {
            run(Command::new("ip").args(["link", "add", BRIDGE, "type", "bridge"]), "").await?.ok()?;
            run(Command::new("ip").args(["address", "add", "172.31.255.1/24", "dev", BRIDGE]), "")
                .await?
                .ok()?;
        }
        *self.child.lock().await = Some(self.spawn()?);
        let mut look = tokio::time::interval(Duration::from_millis(100));
        let answers = async {
            while !self.docker(&["info"]).await.is_ok_and(|info| info.success) {
                look.tick().await;
                // After it was killed it may give up waiting for what it has left behind: who runs it starts it again.
                let mut child = self.child.lock().await;
                if child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|ended| ended.is_some())) {
                    *child = Some(self.spawn()?);
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, answers).await.context("Docker Engine does not answer")?
    }

    fn spawn(&self) -> Result<Child> {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("dockerd.log"))?;
        let file = |name: &str| self.folder.join(name).display().to_string();
        Command::new("dockerd")
            .args(["--data-root", &file("data"), "--exec-root", &file("exec"), "--pidfile", &file("pid")])
            .args(["--host", &self.endpoint(), "--bridge", BRIDGE, "--iptables=false", "--ip-masq=false"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start dockerd")
    }

    /// Ends it, containers and all, and waits until it has ended.
    pub async fn stop(&self) -> Result<()> {
        let Some(mut child) = self.child.lock().await.take() else { return Ok(()) };
        if let Some(id) = child.id() {
            kill(Pid::from_raw(id.try_into()?), Signal::SIGTERM)?;
        }
        child.wait().await?;
        Ok(())
    }

    /// Kills it without grace; its containers run on until it is back.
    pub async fn kill(&self) -> Result<()> {
        let Some(mut child) = self.child.lock().await.take() else { return Ok(()) };
        child.start_kill()?;
        child.wait().await?;
        Ok(())
    }

    /// Ends it for good, and takes its bridge away.
    pub async fn end(&self) -> Result<()> {
        self.stop().await?;
        // One that was killed does not find all of its mounts again; the folder is to be removed.
        let table = std::fs::read_to_string("/proc/self/mounts")?;
        let points = table.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        let mut left: Vec<&Path> = points.filter(|point| point.starts_with(&self.folder)).collect();
        left.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
        for point in left {
            let _gone_with_the_one_above = umount2(point, MntFlags::MNT_DETACH);
        }
        run(Command::new("ip").args(["link", "delete", BRIDGE]), "").await?.ok().map(drop)
    }

    /// Runs the docker client against this engine.
    pub async fn docker(&self, arguments: &[&str]) -> Result<Output> {
        run(Command::new("docker").arg("--host").arg(self.endpoint()).args(arguments), "").await
    }
}
