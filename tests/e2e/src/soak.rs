//! A soak: pods come and go while the kubelet and the engine are killed, and at the end there is what is wanted and
//! nothing else: no container, mount, interface, address, control group or folder of a pod that is gone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::{Host, Namespace, PATIENCE, is_ready};

/// How a soak is run.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// So many pods there are at most.
    pub pods: usize,
    /// For so long they come and go.
    pub time: Duration,
    /// Decides what happens; the same number lets the same happen.
    pub seed: u64,
}

/// Numbers that look like chance: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or(0)
    }
}

const MANIFEST: &str = "
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {word: hush}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: soak}
spec:
  replicas: 0
  strategy: {type: Recreate}
  selector: {matchLabels: {app: soak}}
  template:
    metadata: {labels: {app: soak}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes:
        - {name: s, secret: {secretName: s}}
        - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
        - {name: disk, emptyDir: {}}
      containers:
        - name: c
          image: busybox
          command: [sh, -c, 'mkdir -p /disk/part; exec sleep 36000']
          volumeMounts:
            - {name: s, mountPath: /s}
            - {name: memory, mountPath: /memory}
            - {name: disk, mountPath: /disk}
            - {name: disk, mountPath: /part, subPath: part}
";

/// Runs a soak in a namespace of its own, and says what it found.
pub async fn soak(host: &Host, how: Soak) -> Result<()> {
    let ns = host.namespace("soak").await?;
    // Of another cluster on this machine, perhaps.
    let before = groups();
    ns.apply(MANIFEST).await?;
    scale(&ns, how.pods).await?;
    settle(&ns, how.pods, how).await?;
    let mut chance = Chance(how.seed.max(1));
    let (mut kubelets, mut engines, mut deleted) = (0, 0, 0);
    let churn = async {
        let mut beat = tokio::time::interval(Duration::from_millis(700));
        loop {
            beat.tick().await;
            match chance.below(40) {
                0 => {
                    host.engine.kill().await?;
                    host.engine.resume().await?;
                    engines += 1;
                }
                // The supervisor may be about to start it again.
                1..=3 => {
                    if let Some(pid) = host.pid("kubelet")? {
                        let _gone_already = kill(Pid::from_raw(pid), Signal::SIGKILL);
                        kubelets += 1;
                    }
                }
                4..=8 => scale(&ns, how.pods / 2 + chance.below(how.pods / 2 + 1)).await?,
                _ => {
                    let pods = names(&ns).await?;
                    if !pods.is_empty() {
                        let name = &pods[chance.below(pods.len())];
                        let grace = if chance.below(4) == 0 { "--force --grace-period=0" } else { "" };
                        ns.kubectl(&format!("delete pod {name} --wait=false {grace}")).await?;
                        deleted += 1;
                    }
                }
            }
        }
    };
    if let Ok(ended) = tokio::time::timeout(how.time, churn).await {
        // What goes wrong must not leave a machine without an engine: nothing could be taken away.
        host.engine.kill().await?;
        host.engine.resume().await?;
        return ended;
    }
    // The last thing that happened may have been half of a restart of the engine.
    host.engine.kill().await?;
    host.engine.resume().await?;
    scale(&ns, how.pods).await?;
    settle(&ns, how.pods, how).await?;
    nothing_else(host, &ns, how.pods, &before).await.with_context(|| {
        format!(
            "seed {}: {deleted} pods deleted, kubelet killed {kubelets} times, engine {engines}",
            how.seed
        )
    })?;
    scale(&ns, 0).await?;
    settle(&ns, 0, how).await?;
    nothing_else(host, &ns, 0, &before).await
}

async fn scale(ns: &Namespace<'_>, replicas: usize) -> Result<()> {
    ns.kubectl(&format!("scale deployment soak --replicas={replicas}")).await?.ok().map(drop)
}

async fn names(ns: &Namespace<'_>) -> Result<Vec<String>> {
    let list = ns.api("pods")?.list(&ns.name, &Default::default()).await?;
    let pods: Vec<Value> = list.items.iter().map(|item| item.decode()).collect::<Result<_, _>>()?;
    Ok(pods.iter().filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned())).collect())
}

/// Waits until so many pods are ready and there is no other. An engine makes a few containers in a second.
async fn settle(ns: &Namespace<'_>, pods: usize, how: Soak) -> Result<()> {
    let patience = PATIENCE + Duration::from_secs(3) * u32::try_from(how.pods)?;
    let mut look = tokio::time::interval(Duration::from_secs(1));
    let mut seen = 0;
    let settled = async {
        loop {
            look.tick().await;
            let list = ns.api("pods")?.list(&ns.name, &Default::default()).await?;
            let all: Vec<Value> = list.items.iter().map(|item| item.decode()).collect::<Result<_, _>>()?;
            seen = all.iter().filter(|pod| is_ready(pod)).count();
            if all.len() == pods && seen == pods {
                return anyhow::Ok(());
            }
        }
    };
    match tokio::time::timeout(patience, settled).await {
        Ok(settled) => settled,
        Err(_) => bail!("{seen} of {pods} pods are ready, and no more\n{}", ns.host.logs()),
    }
}

/// Waits until only what belongs to the pods that there are is left on the node.
async fn nothing_else(host: &Host, ns: &Namespace<'_>, pods: usize, before: &[PathBuf]) -> Result<()> {
    let mut look = tokio::time::interval(Duration::from_secs(2));
    let mut last = String::new();
    let clean = async {
        loop {
            look.tick().await;
            match left(host, ns, pods, before).await {
                Ok(()) => return,
                Err(error) => last = format!("{error:#}"),
            }
        }
    };
    // The node looks for what was forgotten once a minute.
    let patience = Duration::from_secs(150);
    if tokio::time::timeout(patience, clean).await.is_err() {
        bail!("{last}\n{}", host.logs());
    }
    Ok(())
}

async fn left(host: &Host, ns: &Namespace<'_>, pods: usize, before: &[PathBuf]) -> Result<()> {
    let list = ns.api("pods")?.list("", &Default::default()).await?;
    let all: Vec<Value> = list.items.iter().map(|item| item.decode()).collect::<Result<_, _>>()?;
    let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let uids: BTreeSet<String> = all.iter().map(uid).collect();
    // One without an address has no sandbox: not bound yet, or of a class that the runtime does not know.
    let networked = all.iter().filter(|pod| {
        pod["spec"]["hostNetwork"] != json!(true)
            && pod["status"]["podIP"].is_string()
            && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
    });
    let networked = networked.count();

    let format = "{{.Label \"io.kubernetes.pod.uid\"}} {{.State}} {{.Label \"io.kubernetes.pod.namespace\"}}";
    let containers = host.engine.docker(&["ps", "-a", "--format", format]).await?.ok()?;
    let mut running = 0;
    for line in containers.lines() {
        let mut words = line.split(' ');
        let (owner, state) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        ensure!(uids.contains(owner), "a container of a pod that is gone: {line}");
        running += usize::from(state == "running" && words.next() == Some("soak"));
    }
    ensure!(running == 2 * pods, "{running} containers run for {pods} pods");

    let node = host.data_dir().join("nodes/e2e");
    let folders: Vec<String> = entries(&node.join("pods"));
    let stray: Vec<&String> = folders.iter().filter(|name| !uids.contains(*name)).collect();
    ensure!(stray.is_empty(), "folders of pods that are gone: {stray:?}");
    let place = node.join("pods").display().to_string();
    let table = std::fs::read_to_string("/proc/self/mounts")?;
    for line in table.lines().filter(|line| line.contains(&place)) {
        ensure!(uids.iter().any(|uid| line.contains(uid)), "a mount of a pod that is gone: {line}");
    }

    let bridges = entries(Path::new("/sys/class/net")).into_iter().filter(|name| name.starts_with("cox-"));
    let ports: usize =
        bridges.map(|name| entries(&Path::new("/sys/class/net").join(name).join("brif")).len()).sum();
    ensure!(ports == networked, "{ports} interfaces for {networked} pods");
    let addresses = addresses(&node.join("cni"));
    ensure!(
        addresses.len() == networked,
        "{} addresses for {networked} pods: {addresses:?}",
        addresses.len()
    );

    for group in groups().into_iter().filter(|group| !before.contains(group)) {
        let name = group.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let owner = name.trim_start_matches("pod");
        ensure!(uids.contains(owner), "a control group of a pod that is gone: {}", group.display());
    }
    Ok(())
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The files that are named as an address: each is one that is taken.
fn addresses(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in entries(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            found.extend(addresses(&path));
        } else if name.parse::<std::net::IpAddr>().is_ok() {
            found.push(name);
        }
    }
    found
}

/// The control groups of pods, of one controller.
fn groups() -> Vec<PathBuf> {
    let mount = Path::new("/sys/fs/cgroup");
    let tree =
        if mount.join("cgroup.controllers").exists() { mount.to_owned() } else { mount.join("memory") };
    let mut found = Vec::new();
    for branch in ["kubepods", "kubepods/burstable", "kubepods/besteffort"] {
        let pods = entries(&tree.join(branch)).into_iter().filter(|name| name.starts_with("pod"));
        found.extend(pods.map(|name| tree.join(branch).join(name)));
    }
    found
}
