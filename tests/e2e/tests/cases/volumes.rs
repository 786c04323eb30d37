//! Volumes that outlive their pods.

use anyhow::{Result, ensure};
use e2e::Host;

const SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: c
          image: busybox
          command: [sh, -c, 'echo $(hostname) >> /data/starts; sleep 3600']
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
";

pub async fn a_stateful_set_finds_its_data_again(host: &Host) -> Result<()> {
    let ns = host.namespace("set-claims").await?;
    ns.apply(SET).await?;
    ns.ready_pods("app=db", 2).await?;
    for name in ["data-db-0", "data-db-1"] {
        ns.wait("persistentvolumeclaims", name, "bound", |claim| claim["status"]["phase"] == "Bound").await?;
    }
    ns.kubectl("delete pod db-1").await?.ok()?;
    ns.ready_pods("app=db", 2).await?;
    let starts = ns.kubectl("exec db-1 -- cat /data/starts").await?.ok()?;
    ensure!(starts == "db-1\ndb-1\n", "each has a volume of its own, and it stays: {starts}");

    let claim = ns.kubectl("get pvc data-db-1 -o jsonpath={.spec.volumeName}").await?.ok()?;
    ns.kubectl("delete statefulset db").await?.ok()?;
    ns.wait_all("pods", "", "no pod", |pods| pods.is_empty()).await?;
    ns.kubectl("delete pvc --all --timeout=60s").await?.ok()?;
    ns.kubectl(&format!("wait --for=delete pv/{claim} --timeout=60s")).await?.ok()?;
    Ok(())
}

pub async fn a_debug_container_joins_a_pod(host: &Host) -> Result<()> {
    let ns = host.namespace("debug").await?;
    ns.kubectl("run p --image=busybox --command -- sleep 3600").await?.ok()?;
    ns.kubectl("wait --for=condition=Ready pod/p --timeout=60s").await?.ok()?;
    ns.kubectl("debug p --image=busybox --profile=general --container=look -- sh -c echo").await?.ok()?;
    ns.wait("pods", "p", "the container ran", |pod| {
        let state = &pod["status"]["ephemeralContainerStatuses"][0];
        state["name"] == "look" && state["state"]["terminated"]["exitCode"] == 0
    })
    .await?;
    Ok(())
}
