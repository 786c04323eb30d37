//! What nodes and pods use, and what they may use: `kubectl top`, the kubelet's metrics, control groups, limits.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use e2e::{Host, get, is_ready, run};
use serde_json::Value;
use tokio::process::Command;

/// Where the kubelet serves its metrics.
const METRICS: &str = "127.0.0.1:10248";

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub async fn kubectl_top_shows_what_nodes_and_containers_use(host: &Host) -> Result<()> {
    let ns = host.namespace("top").await?;
    ns.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: busy, labels: {app: busy}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: spin, image: busybox, command: [sh, -c, 'while true; do true; done'], resources: {limits: {cpu: 200m, memory: 32Mi}}}
    - {name: rest, image: busybox, command: [sleep, '3600']}
",
    )
    .await?;
    ns.wait("pods", "busy", "ready", is_ready).await?;
    let nodes = ns.kubectl("top nodes").await?.ok()?;
    let line = nodes.lines().find(|line| line.starts_with("e2e ")).context("the node is shown")?;
    ensure!(line.contains('%') && !line.contains("unknown"), "{nodes}");
    // A rate over all of its life grows to its limit within moments.
    let mut look = tokio::time::interval(std::time::Duration::from_millis(200));
    let shown = async {
        loop {
            look.tick().await;
            let pods = ns.kubectl("top pods --containers --no-headers").await?.ok()?;
            let milli = |name: &str| -> Option<u64> {
                let line = pods.lines().find(|line| line.split_whitespace().nth(1) == Some(name))?;
                line.split_whitespace().nth(2)?.strip_suffix('m')?.parse().ok()
            };
            if milli("spin").is_some_and(|milli| (150..=250).contains(&milli)) && milli("rest") == Some(0) {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(e2e::PATIENCE, shown).await.context("the busy container is never seen")??;
    let selected = ns.kubectl("top pods -l app=none").await?;
    ensure!(selected.stderr.contains("No resources found"), "{selected:?}");
    let table = ns.kubectl("get pods.metrics.k8s.io").await?.ok()?;
    ensure!(table.starts_with("NAME") && table.contains("busy"), "{table}");

    let cadvisor = get(METRICS, "/metrics/cadvisor").await?.body;
    let sample = cadvisor
        .lines()
        .find(|line| {
            line.starts_with("container_cpu_cfs_throttled_periods_total{container=\"spin\"")
                && line.contains("namespace=\"top\"")
        })
        .context("the busy container has samples")?;
    ensure!(!sample.contains("} 0 "), "it is held back: {sample}");
    ensure!(cadvisor.contains("container_network_receive_bytes_total{container=\"\""), "{cadvisor}");
    let summary: Value = serde_json::from_str(&get(METRICS, "/stats/summary").await?.body)?;
    let pods = summary["pods"].as_array().context("pods")?;
    let pod = pods.iter().find(|pod| pod["podRef"]["namespace"] == "top").context("the pod")?;
    ensure!(pod["containers"].as_array().is_some_and(|list| list.len() == 2), "{pod}");
    ensure!(pod["ephemeral-storage"]["usedBytes"].is_u64() && pod["network"]["rxBytes"].is_u64(), "{pod}");
    Ok(())
}

/// The folders of a control group, one for each controller that has one.
fn groups(path: &Path) -> Vec<PathBuf> {
    let mount = Path::new("/sys/fs/cgroup");
    if mount.join("cgroup.controllers").exists() {
        return vec![mount.join(path)].into_iter().filter(|path| path.exists()).collect();
    }
    let mounts = std::fs::read_dir(mount).into_iter().flatten().flatten();
    mounts.map(|entry| entry.path().join(path)).filter(|path| path.exists()).collect()
}

pub async fn pods_have_groups_by_their_class_and_leave_none(host: &Host) -> Result<()> {
    let ns = host.namespace("groups").await?;
    let driver = host.engine.docker(&["info", "--format", "{{.CgroupDriver}}"]).await?.ok()?;
    if driver.trim() != "cgroupfs" {
        return Ok(());
    }
    let mut uids = Vec::new();
    for (name, resources, class) in [
        ("all", "{limits: {cpu: 100m, memory: 16Mi}}", "Guaranteed"),
        ("some", "{requests: {cpu: 50m, memory: 8Mi}}", "Burstable"),
        ("none", "{}", "BestEffort"),
    ] {
        ns.apply(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: busybox, command: [sleep, '3600'], resources: {resources}}}]}}")).await?;
        let pod = ns.wait("pods", name, "ready", is_ready).await?;
        ensure!(text(&pod, "/status/qosClass") == class);
        uids.push(text(&pod, "/metadata/uid").to_owned());
    }
    let places = ["kubepods", "kubepods/burstable", "kubepods/besteffort"];
    for (place, uid) in places.iter().zip(&uids) {
        let found = groups(&Path::new(place).join(format!("pod{uid}")));
        ensure!(!found.is_empty(), "{uid} has no group in {place}");
        let holds = |folder: &PathBuf| {
            std::fs::read_dir(folder).is_ok_and(|all| all.flatten().any(|entry| entry.path().is_dir()))
        };
        ensure!(found.iter().any(holds), "the container is in the group of its pod");
    }
    let guaranteed = groups(&Path::new(places[0]).join(format!("pod{}", uids[0])));
    let limits = ["memory.limit_in_bytes", "memory.max"];
    let limit = guaranteed
        .iter()
        .flat_map(|group| limits.map(|name| group.join(name)))
        .find_map(|file| std::fs::read_to_string(file).ok())
        .context("a limit")?;
    ensure!(limit.trim() == (16 << 20).to_string(), "{limit}");
    ns.kubectl("delete pods --all").await?.ok()?;
    ns.wait_all("pods", "", "none", |pods| pods.is_empty()).await?;
    // Pods without a grace period are gone before their node has seen it.
    let left = || -> Vec<PathBuf> {
        let all = places.iter().zip(&uids);
        all.flat_map(|(place, uid)| groups(&Path::new(place).join(format!("pod{uid}")))).collect()
    };
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    let gone = async {
        while !left().is_empty() {
            look.tick().await;
        }
    };
    tokio::time::timeout(e2e::PATIENCE, gone).await.with_context(|| format!("left: {:?}", left()))
}

pub async fn who_takes_too_much_memory_or_disk_is_ended_and_told_why(host: &Host) -> Result<()> {
    let ns = host.namespace("limits").await?;
    ns.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: memory}
spec:
  restartPolicy: Never
  containers:
    - name: c
      image: busybox
      # The first process itself: a shell could outlive the command that the kernel kills.
      command: [tail, -c, 64m, /dev/zero]
      resources: {limits: {memory: 16Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: disk}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  volumes: [{name: scratch, emptyDir: {sizeLimit: 4Mi}}]
  containers:
    - name: c
      image: busybox
      command: [sh, -c, 'head -c 16m /dev/zero > /scratch/x; sleep 3600']
      volumeMounts: [{name: scratch, mountPath: /scratch}]
---
apiVersion: v1
kind: Pod
metadata: {name: root}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: c
      image: busybox
      command: [sh, -c, 'head -c 16m /dev/zero > /tmp/x; sleep 3600']
      resources: {limits: {ephemeral-storage: 4Mi}}
",
    )
    .await?;
    let memory = ns.wait("pods", "memory", "ended", |pod| text(pod, "/status/phase") == "Failed").await?;
    let ended = &memory["status"]["containerStatuses"][0]["state"]["terminated"];
    ensure!(ended["reason"] == "OOMKilled" && ended["exitCode"] == 137, "{ended}");
    for (name, why) in [
        ("disk", "Usage of EmptyDir volume \"scratch\" exceeds the limit \"4Mi\". "),
        ("root", "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. "),
    ] {
        let pod = ns.wait("pods", name, "evicted", |pod| text(pod, "/status/reason") == "Evicted").await?;
        let message = text(&pod, "/status/message");
        let of_container = "Container c exceeded its local ephemeral storage limit \"4Mi\". ";
        ensure!(message == why || message == of_container, "{name}: {message:?}");
    }
    Ok(())
}

pub async fn a_running_container_is_given_more(host: &Host) -> Result<()> {
    let ns = host.namespace("resize").await?;
    ns.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: busybox, command: [sleep, '3600'], resources: {limits: {cpu: 100m, memory: 32Mi}}}]}").await?;
    let before = ns.wait("pods", "p", "ready", is_ready).await?;
    let patch = r#"{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"200m","memory":"48Mi"},"limits":{"cpu":"200m","memory":"48Mi"}}}]}}"#;
    host.kubectl(&["-n", "resize", "patch", "pod", "p", "--subresource", "resize", "-p", patch], "")
        .await?
        .ok()?;
    let after = ns
        .wait("pods", "p", "resized", |pod| {
            text(pod, "/status/containerStatuses/0/resources/limits/memory") == "48Mi"
        })
        .await?;
    let id = |pod: &Value| text(pod, "/status/containerStatuses/0/containerID").to_owned();
    ensure!(id(&before) == id(&after), "it goes on");
    let id = id(&after).replace("docker://", "");
    let given = host
        .engine
        .docker(&["inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.CpuQuota}}", &id])
        .await?
        .ok()?;
    ensure!(given.trim() == format!("{} 20000", 48 << 20), "{given}");
    let group = format!("kubepods/pod{}", text(&after, "/metadata/uid"));
    let quota = groups(Path::new(&group))
        .iter()
        .find_map(|folder| std::fs::read_to_string(folder.join("cpu.cfs_quota_us")).ok());
    ensure!(quota.is_none_or(|quota| quota.trim() == "20000"), "the pod as a whole has more, too");
    Ok(())
}

/// A registry on this machine that asks who comes.
struct Registry {
    folder: tempfile::TempDir,
    child: tokio::process::Child,
    port: u16,
}

impl Registry {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let free = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = free.local_addr()?.port();
        drop(free);
        // The password is "hush".
        let hashed = "$2b$05$2kl7nvM32s9gzdlzIRR1Luy3Odqqr2JlfErbyKTDTU5BLxkrPg1.6";
        std::fs::write(folder.path().join("htpasswd"), format!("sailor:{hashed}\n"))?;
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {0}/data}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\nauth: {{htpasswd: {{realm: port, path: {0}/htpasswd}}}}\n",
            folder.path().display()
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config)?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(std::process::Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("start docker-registry")?;
        let registry = Self { folder, child, port };
        let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
        let answers = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                look.tick().await;
            }
        };
        tokio::time::timeout(e2e::PATIENCE, answers).await.context("the registry does not answer")?;
        Ok(registry)
    }
}

pub async fn images_are_pulled_with_the_accounts_of_the_pod(host: &Host) -> Result<()> {
    let ns = host.namespace("accounts").await?;
    let mut registry = Registry::start().await?;
    let name = format!("127.0.0.1:{}/deck/busybox:1", registry.port);
    // The image goes there by the engine under test, with an account that only this command has.
    let home = registry.folder.path().join("home");
    let docker = async |arguments: &[&str]| {
        let mut command = Command::new("docker");
        command.arg("--config").arg(&home).arg("--host").arg(host.engine.endpoint()).args(arguments);
        run(&mut command, "hush").await?.ok()
    };
    let mirror = std::env::var("COXSWAIN_TEST_REGISTRY").unwrap_or("http://127.0.0.1:5000".to_owned());
    let source = format!("{}/library/busybox:latest", mirror.trim_start_matches("http://"));
    docker(&["login", "--username", "sailor", "--password-stdin", &format!("127.0.0.1:{}", registry.port)])
        .await?;
    docker(&["pull", &source]).await?;
    docker(&["tag", &source, &name]).await?;
    docker(&["push", &name]).await?;
    docker(&["rmi", &name]).await?;

    let pod = |name: &str, secrets: &str, image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{restartPolicy: Never, imagePullSecrets: [{secrets}], containers: [{{name: c, image: '{image}', imagePullPolicy: Always, command: ['true']}}]}}"
        )
    };
    ns.apply(&pod("stranger", "", &name)).await?;
    let stranger = ns
        .wait("pods", "stranger", "refused", |pod| {
            text(pod, "/status/containerStatuses/0/state/waiting/reason") == "ErrImagePull"
                || text(pod, "/status/containerStatuses/0/state/waiting/reason") == "ImagePullBackOff"
        })
        .await?;
    let message = text(&stranger, "/status/containerStatuses/0/state/waiting/message").to_owned();
    ensure!(message.contains("no basic auth credentials") || message.contains("unauthorized"), "{message}");
    ns.kubectl(&format!("create secret docker-registry account --docker-server=127.0.0.1:{} --docker-username=sailor --docker-password=hush", registry.port)).await?.ok()?;
    ns.apply(&pod("known", "{name: account}", &name)).await?;
    ns.wait("pods", "known", "ended well", |pod| text(pod, "/status/phase") == "Succeeded").await?;
    registry.child.start_kill()?;
    registry.child.wait().await?;
    Ok(())
}
