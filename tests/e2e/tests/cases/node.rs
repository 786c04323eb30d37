//! What a node gives its pods beside containers: claims, parts of volumes, static pods, sidecars; and what it cleans up.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use e2e::{Host, is_ready};
use serde_json::Value;

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn succeeded(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Succeeded"
}

pub async fn a_claim_of_the_default_class_keeps_what_pods_write(host: &Host) -> Result<()> {
    let ns = host.namespace("claims").await?;
    let pod = |name: &str, script: &str| {
        format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]
  containers:
    - name: c
      image: busybox
      command: [sh, -c, '{script}']
      volumeMounts:
        - {{name: data, mountPath: /part, subPath: deep/part}}
        - {{name: data, mountPath: /whole, readOnly: true}}
"
        )
    };
    ns.apply("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}").await?;
    ns.apply(&pod("writer", "echo kept > /part/x; cat /whole/deep/part/x")).await?;
    ns.wait("pods", "writer", "Succeeded", succeeded).await?;
    let claim = ns
        .wait("persistentvolumeclaims", "data", "bound", |claim| text(claim, "/status/phase") == "Bound")
        .await?;
    ns.kubectl("delete pod writer").await?.ok()?;
    ns.apply(&pod("reader", "cat /part/x; touch /whole/y || echo refused")).await?;
    ns.wait("pods", "reader", "Succeeded", succeeded).await?;
    let log = ns.kubectl("logs reader").await?.ok()?;
    ensure!(log.contains("kept") && log.contains("refused"), "{log}");
    // With the claim its folder goes.
    let volume = text(&claim, "/spec/volumeName").to_owned();
    let folder = host.data_dir().join("nodes/e2e/local-volumes").join(&volume);
    ensure!(folder.is_dir(), "{} is where the data is", folder.display());
    ns.kubectl("delete pod reader").await?.ok()?;
    ns.kubectl("delete pvc data").await?.ok()?;
    until_gone(&folder).await
}

/// Waits until a namespace has no containers, running or not: the last are removed after their pod is gone.
async fn until_no_container(host: &Host, namespace: &str) -> Result<()> {
    let filter = format!("label=io.kubernetes.pod.namespace={namespace}");
    let mut look = tokio::time::interval(std::time::Duration::from_millis(200));
    let begun = std::time::Instant::now();
    loop {
        look.tick().await;
        let left = host.engine.docker(&["ps", "-aq", "--filter", &filter]).await?.ok()?;
        if left.trim().is_empty() {
            return Ok(());
        }
        ensure!(begun.elapsed() < e2e::PATIENCE, "left: {left}");
    }
}

async fn until_gone(path: &Path) -> Result<()> {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(200));
    let gone = async {
        while path.exists() {
            look.tick().await;
        }
    };
    // The node looks once a minute.
    let patience = e2e::PATIENCE.max(std::time::Duration::from_secs(90));
    tokio::time::timeout(patience, gone).await.with_context(|| format!("{} stays", path.display()))
}

pub async fn what_is_secret_is_in_memory_only_and_gone_with_its_pod(host: &Host) -> Result<()> {
    let ns = host.namespace("secrets").await?;
    ns.apply(
        "
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {word: hush}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: s, secret: {secretName: s}}]
  containers:
    - {name: c, image: busybox, command: [sleep, '3600'], volumeMounts: [{name: s, mountPath: /s}]}
",
    )
    .await?;
    let pod = ns.wait("pods", "p", "ready", is_ready).await?;
    let uid = text(&pod, "/metadata/uid");
    let folder = host.data_dir().join("nodes/e2e/pods").join(uid);
    let mounted = || -> Result<Vec<String>> {
        let table = std::fs::read_to_string("/proc/self/mounts")?;
        let place = folder.display().to_string();
        let ours = table.lines().filter(|line| line.contains(&place) && line.starts_with("tmpfs "));
        Ok(ours.map(str::to_owned).collect())
    };
    // The one of the test, and that of the token.
    ensure!(mounted()?.len() == 2, "{:?}", mounted()?);
    let word = ns.kubectl("exec p -- cat /s/word").await?.ok()?;
    ensure!(word == "hush", "{word}");
    // A kubelet that was killed finds them, and mounts nothing twice.
    host.kill("kubelet")?;
    ns.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: next}\nspec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: ['true']}]}").await?;
    ns.wait("pods", "next", "Succeeded", succeeded).await?;
    ensure!(mounted()?.len() == 2, "{:?}", mounted()?);
    ns.kubectl("delete pods --all").await?.ok()?;
    ns.wait_all("pods", "", "none", |pods| pods.is_empty()).await?;
    until_gone(&folder).await?;
    ensure!(mounted()?.is_empty(), "{:?}", mounted()?);
    Ok(())
}

pub async fn a_pod_of_the_nodes_own_folder_is_mirrored(host: &Host) -> Result<()> {
    let ns = host.namespace("static").await?;
    let folder = host.data_dir().join("nodes/e2e/manifests");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("own.yaml");
    std::fs::write(
        &file,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: own, namespace: static}\nspec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: busybox, command: [sleep, '3600']}]}",
    )?;
    let mirror = ns.wait("pods", "own-e2e", "ready", is_ready).await?;
    ensure!(mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string(), "{mirror}");
    let id = text(&mirror, "/status/containerStatuses/0/containerID").to_owned();
    // Whoever deletes the mirror deletes no pod.
    ns.kubectl("delete pod own-e2e --wait=false").await?.ok()?;
    let again = ns
        .wait("pods", "own-e2e", "mirrored again", |pod| {
            pod["metadata"]["uid"] != mirror["metadata"]["uid"] && is_ready(pod)
        })
        .await?;
    ensure!(text(&again, "/status/containerStatuses/0/containerID") == id, "the container goes on");
    std::fs::remove_file(&file)?;
    ns.wait_all("pods", "", "none", |pods| pods.is_empty()).await?;
    Ok(())
}

pub async fn a_sidecar_is_there_before_and_after_the_work(host: &Host) -> Result<()> {
    let ns = host.namespace("sidecar").await?;
    ns.apply(
        "
apiVersion: batch/v1
kind: Job
metadata: {name: work}
spec:
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 5
      volumes: [{name: log, emptyDir: {}}]
      initContainers:
        - name: side
          image: busybox
          restartPolicy: Always
          command: [sh, -c, 'trap \"echo bye; exit 0\" TERM; touch /log/up; while true; do sleep 1; done']
          startupProbe: {exec: {command: [cat, /log/up]}, periodSeconds: 1}
          volumeMounts: [{name: log, mountPath: /log}]
        - {name: first, image: busybox, command: [cat, /log/up], volumeMounts: [{name: log, mountPath: /log}]}
      containers:
        - {name: main, image: busybox, command: [cat, /log/up], volumeMounts: [{name: log, mountPath: /log}]}
",
    )
    .await?;
    let job = ns.wait("jobs.batch", "work", "complete", |job| job["status"]["succeeded"] == 1).await?;
    ensure!(job["status"]["failed"].is_null(), "{job}");
    let pods = ns.wait_all("pods", "job-name=work", "one that succeeded", |pods| {
        pods.len() == 1 && succeeded(&pods[0])
    });
    let pods = pods.await?;
    let side = &pods[0]["status"]["initContainerStatuses"][0];
    ensure!(side["state"]["terminated"]["exitCode"] == 0, "{side}");
    Ok(())
}

pub async fn a_class_without_a_runtime_is_told(host: &Host) -> Result<()> {
    let ns = host.namespace("classes").await?;
    ns.apply(
        "
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: usual}
handler: runc
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: strange}
handler: no-such-runtime
---
apiVersion: v1
kind: Pod
metadata: {name: good}
spec: {runtimeClassName: usual, restartPolicy: Never, containers: [{name: c, image: busybox, command: ['true']}]}
---
apiVersion: v1
kind: Pod
metadata: {name: bad}
spec: {runtimeClassName: strange, restartPolicy: Never, containers: [{name: c, image: busybox, command: ['true']}]}
",
    )
    .await?;
    ns.wait("pods", "good", "Succeeded", succeeded).await?;
    ns.wait_all("events", "", "that there is no such runtime", |events| {
        events.iter().any(|event| {
            event["reason"] == "FailedCreatePodSandBox" && text(event, "/message").contains("no-such-runtime")
        })
    })
    .await?;
    ns.kubectl("delete runtimeclasses usual strange").await?.ok().map(drop)
}

pub async fn an_image_is_a_volume(host: &Host) -> Result<()> {
    let ns = host.namespace("images").await?;
    ns.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  volumes: [{name: web, image: {reference: 'nginx:1.22'}}]
  containers:
    - name: c
      image: busybox
      command: [sh, -c, 'cat /web/usr/share/nginx/html/index.html; touch /web/x || echo refused']
      volumeMounts: [{name: web, mountPath: /web}]
",
    )
    .await?;
    ns.wait("pods", "p", "Succeeded", succeeded).await?;
    let log = ns.kubectl("logs p").await?.ok()?;
    ensure!(log.contains("image nginx:1.22") && log.contains("refused"), "{log}");
    ns.kubectl("delete pod p").await?.ok()?;
    until_no_container(host, "images").await?;
    Ok(())
}
