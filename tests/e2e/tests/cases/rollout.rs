//! Deployments and ReplicationControllers: scale, roll over, roll back, remove.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use e2e::{Host, get};
use serde_json::Value;

use super::services::TODAY;

pub async fn scale_up_and_down(host: &Host) -> Result<()> {
    let ns = host.namespace("scale").await?;
    ns.apply(TODAY).await?;
    ns.ready_pods("app=web", 2).await?;
    ns.kubectl("scale deployment web --replicas=5").await?.ok()?;
    ns.ready_pods("app=web", 5).await?;
    let address = ns.service("web").await?;
    ns.wait("endpoints", "web", "five addresses", |endpoints| {
        endpoints["subsets"][0]["addresses"].as_array().is_some_and(|list| list.len() == 5)
    })
    .await?;
    ns.answers_of(&address, 5).await?;
    ns.kubectl("scale deployment web --replicas=2").await?.ok()?;
    ns.ready_pods("app=web", 2).await?;
    Ok(())
}

pub async fn a_new_image_rolls_over_without_a_failed_request(host: &Host) -> Result<()> {
    let ns = host.namespace("rollover").await?;
    ns.apply(TODAY).await?;
    ns.ready_pods("app=web", 2).await?;
    let address = ns.service("web").await?;
    ns.first_answer(&address).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU32::new(0));
    let client = {
        let (stop, asked, address) = (Arc::clone(&stop), Arc::clone(&asked), address.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                get(&address, "/").await.with_context(|| format!("request {number}"))?;
            }
            anyhow::Ok(())
        }
    };
    let roll = async {
        ns.kubectl("set image deployment/web nginx=nginx:1.22").await?.ok()?;
        let status = ns.kubectl("rollout status deployment/web --timeout=120s").await?.ok();
        ns.wait_all("pods", "app=web", "only new pods", |pods| {
            pods.len() == 2 && pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == "nginx:1.22")
        })
        .await?;
        stop.store(true, Ordering::Relaxed);
        ensure!(status?.contains("successfully rolled out"));
        anyhow::Ok(())
    };
    tokio::try_join!(client, roll)?;
    ensure!(asked.load(Ordering::Relaxed) > 100, "the client kept asking");
    ensure!(get(&address, "/").await?.body.contains("image nginx:1.22"));
    Ok(())
}

pub async fn history_undo_pause_and_resume(host: &Host) -> Result<()> {
    let ns = host.namespace("undo").await?;
    ns.apply(TODAY).await?;
    ns.ready_pods("app=web", 2).await?;
    ns.kubectl("set image deployment/web nginx=nginx:1.22").await?.ok()?;
    ns.kubectl("rollout status deployment/web --timeout=120s").await?.ok()?;
    let history = ns.kubectl("rollout history deployment/web").await?.ok()?;
    ensure!(
        history.lines().any(|line| line.starts_with("1 "))
            && history.lines().any(|line| line.starts_with("2 ")),
        "{history}"
    );
    ns.kubectl("rollout undo deployment/web").await?.ok()?;
    ns.kubectl("rollout status deployment/web --timeout=120s").await?.ok()?;
    let image = |deployment: &Value| deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let deployment = ns.wait("deployments.apps", "web", "the old image", |d| image(d) == "nginx").await?;
    ensure!(
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3",
        "an undo is a new revision"
    );

    ns.kubectl("rollout pause deployment/web").await?.ok()?;
    ns.kubectl("set image deployment/web nginx=nginx:1.22").await?.ok()?;
    ns.wait("deployments.apps", "web", "the pause is seen", |d| {
        d["status"]["observedGeneration"] == d["metadata"]["generation"] && image(d) == "nginx:1.22"
    })
    .await?;
    let pods = ns.ready_pods("app=web", 2).await?;
    ensure!(
        pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == "nginx"),
        "a paused roll-out rests"
    );
    ns.kubectl("rollout resume deployment/web").await?.ok()?;
    ns.kubectl("rollout status deployment/web --timeout=120s").await?.ok()?;
    ns.wait_all("pods", "app=web", "only new pods", |pods| {
        pods.len() == 2 && pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == "nginx:1.22")
    })
    .await?;
    Ok(())
}

pub async fn deleting_a_deployment_removes_what_it_owned(host: &Host) -> Result<()> {
    let ns = host.namespace("remove").await?;
    ns.apply(TODAY).await?;
    let pods = ns.ready_pods("app=web", 2).await?;
    ns.kubectl("delete deployment web").await?.ok()?;
    ns.wait_all("replicasets.apps", "app=web", "no ReplicaSet", |sets| sets.is_empty()).await?;
    ns.wait_all("pods", "app=web", "no pod", |pods| pods.is_empty()).await?;
    for pod in pods {
        let label =
            format!("label=io.kubernetes.pod.uid={}", pod["metadata"]["uid"].as_str().unwrap_or_default());
        let left = host.engine.docker(&["ps", "-aq", "--filter", &label]).await?.ok()?;
        ensure!(left.is_empty(), "containers are left: {left}");
    }
    Ok(())
}

pub async fn a_replication_controller_works_as_in_the_old_days(host: &Host) -> Result<()> {
    let ns = host.namespace("rc").await?;
    ns.apply(
        "
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: old}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: busybox, command: [sleep, '3600']}]}
",
    )
    .await?;
    let before = ns.ready_pods("app=old", 2).await?;
    let name = before[0]["metadata"]["name"].as_str().unwrap_or_default();
    ns.kubectl(&format!("delete pod {name} --wait=false")).await?.ok()?;
    ns.wait_all("pods", "app=old", "another pod instead", |pods| {
        pods.len() == 2 && pods.iter().all(|pod| pod["metadata"]["name"] != name && e2e::is_ready(pod))
    })
    .await?;
    ns.kubectl("scale rc old --replicas=1").await?.ok()?;
    ns.ready_pods("app=old", 1).await?;
    ns.kubectl("delete rc old").await?.ok()?;
    ns.wait_all("pods", "app=old", "no pod", |pods| pods.is_empty()).await?;
    Ok(())
}
