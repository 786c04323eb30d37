//! A disk that is really full: writes are refused with the reason, everything else goes on, and so do writes when there
//! is space again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use client::{Client, DeleteOptions, GroupVersionResource, WriteOptions};
use component::Kubeconfig;
use e2e::{Host, PATIENCE, run};
use serde_json::json;
use tokio::process::{Child, Command};

/// A file system in memory of a size that is changed at will; gone with this.
struct SmallDisk(PathBuf);

impl SmallDisk {
    async fn mount(folder: &Path, size: &str) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder);
        run(&mut mount, "").await?.ok()?;
        Ok(Self(folder.to_owned()))
    }

    async fn resize(&self, size: &str) -> Result<()> {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}")]).arg(&self.0);
        run(&mut mount, "").await?.ok().map(drop)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _not_mounted = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// An apiserver of its own on that disk.
async fn start(host: &Host, dir: &Path) -> Result<(Child, Client)> {
    let log = std::fs::File::create(dir.with_extension("log"))?;
    let mut apiserver = Command::new(host.program("apiserver"));
    apiserver.arg("--data-dir").arg(dir).args(["--secure-port", "0"]).stderr(log).kill_on_drop(true);
    let child = apiserver.spawn()?;
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let answers = async {
        loop {
            look.tick().await;
            let Ok(config) = Kubeconfig::load(dir.join("admin.kubeconfig")) else { continue };
            let Ok(client) = Client::connect(&config) else { continue };
            if client.cluster_info().await.is_ok() {
                return client;
            }
        }
    };
    let client = tokio::time::timeout(PATIENCE, answers).await.context("the apiserver does not answer")?;
    Ok((child, client))
}

pub async fn full_it_takes_no_writes_and_goes_on_when_there_is_space(host: &Host) -> Result<()> {
    let folder = host.data_dir().with_file_name("small");
    let disk = SmallDisk::mount(&folder, "24m").await?;
    let dir = folder.join("data");
    let (mut apiserver, client) = start(host, &dir).await?;
    let maps = client.dynamic(GroupVersionResource::new("", "v1", "configmaps"));
    let map = |number: usize| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{number}")},
            "data": {"k": "x".repeat(900_000)}})
    };
    let mut stored = 0;
    let refused = loop {
        match maps.create("default", &map(stored), &WriteOptions::default()).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        ensure!(stored < 40, "24 MB never became full");
    };
    let status = refused.status().context("a full disk is told")?.clone();
    ensure!(status.code == 503 && status.message.contains("the disk is full"), "{status:?}");
    for number in 0..stored {
        maps.get("default", &format!("m{number}")).await.context("what was stored is read")?;
    }
    let gone = maps.delete("default", "m0", &DeleteOptions::default()).await.context("deletes go on")?;
    ensure!(gone.gone);
    ensure!(
        maps.create("default", &map(stored), &WriteOptions::default()).await.is_err(),
        "it is still full"
    );

    disk.resize("96m").await?;
    maps.create("default", &map(stored), &WriteOptions::default()).await.context("there is space")?;
    // And all of it survives a kill.
    apiserver.start_kill()?;
    apiserver.wait().await?;
    let (mut apiserver, client) = start(host, &dir).await?;
    let maps = client.dynamic(GroupVersionResource::new("", "v1", "configmaps"));
    for number in 1..=stored {
        maps.get("default", &format!("m{number}")).await.context("what was acknowledged is there")?;
    }
    if maps.get("default", "m0").await.is_ok() {
        bail!("what was deleted is back");
    }
    apiserver.start_kill()?;
    apiserver.wait().await?;
    Ok(())
}
