//! Pods: restarts, probes, images, ends, configuration.

use anyhow::{Result, ensure};
use e2e::{Host, is_ready};
use serde_json::{Value, json};

use super::services::TODAY;

fn restarts(pod: &Value) -> i64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or(0)
}

pub async fn a_killed_container_is_started_again(host: &Host) -> Result<()> {
    let ns = host.namespace("killed").await?;
    ns.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: busybox, command: [sleep, '3600']}]}").await?;
    let pod = ns.wait("pods", "p", "ready", is_ready).await?;
    let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
    let id = id.strip_prefix("docker://").unwrap_or(id);
    host.engine.docker(&["kill", id]).await?.ok()?;
    let pod = ns.wait("pods", "p", "running again", |pod| restarts(pod) == 1 && is_ready(pod)).await?;
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    ensure!(last["exitCode"] == 137 && last["reason"] == "Error", "{last}");
    ensure!(pod["status"]["podIP"] != Value::Null, "the pod keeps its sandbox");
    Ok(())
}

pub async fn a_failing_liveness_probe_restarts_the_container(host: &Host) -> Result<()> {
    let ns = host.namespace("liveness").await?;
    ns.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: c
      image: busybox
      command: [sh, -c, 'touch /tmp/alive; sleep 3; rm /tmp/alive; sleep 3600']
      livenessProbe: {exec: {command: [cat, /tmp/alive]}, periodSeconds: 1, failureThreshold: 1}
",
    )
    .await?;
    ns.wait("pods", "p", "restarted", |pod| restarts(pod) >= 1).await?;
    ns.wait_all("events", "", "an event of the probe", |events| {
        events.iter().any(|event| event["reason"] == "Unhealthy")
            && events
                .iter()
                .any(|event| event["message"] == "Container c failed liveness probe, will be restarted")
    })
    .await?;
    Ok(())
}

pub async fn a_deleted_pod_is_replaced(host: &Host) -> Result<()> {
    let ns = host.namespace("replaced").await?;
    ns.apply(TODAY).await?;
    let before = ns.ready_pods("app=web", 2).await?;
    let name = before[0]["metadata"]["name"].as_str().unwrap_or_default();
    ns.kubectl(&format!("delete pod {name}")).await?.ok()?;
    let after = ns.ready_pods("app=web", 2).await?;
    ensure!(after.iter().all(|pod| pod["metadata"]["name"] != name), "the deleted pod does not come back");
    Ok(())
}

pub async fn a_bad_image_is_told_and_backed_off(host: &Host) -> Result<()> {
    let ns = host.namespace("image").await?;
    ns.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: 'nginx:no-such-tag'}]}").await?;
    let waits = |reason: &'static str| {
        move |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason
    };
    ns.wait("pods", "p", "ErrImagePull", waits("ErrImagePull")).await?;
    let pod = ns.wait("pods", "p", "ImagePullBackOff", waits("ImagePullBackOff")).await?;
    ensure!(pod["status"]["phase"] == "Pending");
    let events = ns.kubectl("get events").await?.ok()?;
    ensure!(events.contains("Failed to pull image \"nginx:no-such-tag\""), "{events}");
    let pods = ns.kubectl("get pods").await?.ok()?;
    ensure!(pods.contains("ImagePullBackOff") || pods.contains("ErrImagePull"), "{pods}");
    Ok(())
}

pub async fn a_pod_ends_by_its_exit_codes(host: &Host) -> Result<()> {
    let ns = host.namespace("exit").await?;
    for (name, policy, script) in
        [("good", "OnFailure", "exit 0"), ("bad", "Never", "exit 3"), ("crash", "Always", "exit 1")]
    {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"restartPolicy": policy, "containers": [{"name": "c", "image": "busybox", "command": ["sh", "-c", script]}]},
        });
        ns.apply(&pod.to_string()).await?;
    }
    let phase = |phase: &'static str| move |pod: &Value| pod["status"]["phase"] == phase;
    ns.wait("pods", "good", "Succeeded", phase("Succeeded")).await?;
    let bad = ns.wait("pods", "bad", "Failed", phase("Failed")).await?;
    ensure!(bad["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3);
    ns.wait("pods", "crash", "CrashLoopBackOff", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            && restarts(pod) >= 1
    })
    .await?;
    let table = ns.kubectl("get pods").await?.ok()?;
    for word in ["Completed", "Error", "CrashLoopBackOff"] {
        ensure!(table.contains(word), "{word} is not in\n{table}");
    }
    Ok(())
}

pub async fn configuration_comes_in_by_environment_and_files(host: &Host) -> Result<()> {
    let ns = host.namespace("config").await?;
    ns.apply(
        "
apiVersion: v1
kind: ConfigMap
metadata: {name: cm}
data: {greeting: hello, file: from the map}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {word: hush}
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {tier: front}}
spec:
  restartPolicy: Never
  volumes:
    - {name: cm, configMap: {name: cm}}
    - {name: scratch, emptyDir: {}}
  initContainers:
    - {name: first, image: busybox, command: [sh, -c, 'echo prepared > /scratch/x'], volumeMounts: [{name: scratch, mountPath: /scratch}]}
  containers:
    - name: c
      image: busybox
      command: [sh, -c, 'echo $(GREETING) $SECRET $NODE; cat /cm/file /scratch/x; hostname; grep nameserver /etc/resolv.conf']
      env:
        - {name: GREETING, valueFrom: {configMapKeyRef: {name: cm, key: greeting}}}
        - {name: SECRET, valueFrom: {secretKeyRef: {name: s, key: word}}}
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
      volumeMounts:
        - {name: cm, mountPath: /cm}
        - {name: scratch, mountPath: /scratch}
",
    )
    .await?;
    ns.wait("pods", "p", "Succeeded", |pod| pod["status"]["phase"] == "Succeeded").await?;
    let log = ns.kubectl("logs p").await?.ok()?;
    ensure!(log == "hello hush e2e\nfrom the mapprepared\np\nnameserver 10.96.0.10\n", "{log}");
    Ok(())
}
