//! The past with real kubectl and cox, and what comes back of it: a deployment, a namespace, a whole cluster.

use anyhow::{Result, ensure};
use e2e::Host;

use super::services::TODAY;

pub async fn the_past_is_read_with_kubectl_and_cox(host: &Host) -> Result<()> {
    let ns = host.namespace("past").await?;
    ns.apply(TODAY).await?;
    ns.ready_pods("app=web", 2).await?;
    let file = host.data_dir().join("past.kubeconfig").display().to_string();
    ns.cox(&format!("context --at 0s --filename {file}"), "").await?.ok()?;
    ns.kubectl("scale deployment web --replicas=1").await?.ok()?;
    ns.ready_pods("app=web", 1).await?;
    ns.kubectl("delete deployment web").await?.ok()?;
    ns.wait_all("pods", "", "no pod", |pods| pods.is_empty()).await?;

    let words = |words: &str| format!("--kubeconfig {file} {words}");
    let pods = ns.kubectl(&words("get pods --no-headers")).await?.ok()?;
    ensure!(pods.lines().count() == 2 && pods.lines().all(|line| line.contains("Running")), "{pods}");
    let described = ns.kubectl(&words("describe deployment web")).await?.ok()?;
    ensure!(described.contains("2 desired"), "{described}");
    let refused = ns.kubectl(&words("delete deployment web")).await?.refused()?;
    ensure!(refused.contains("this is the past"), "{refused}");

    let history = ns.cox("history deployment/web", "").await?.ok()?;
    for told in
        ["kubernetes-admin (kubectl", "spec.replicas: 2 -> 1", "system:kube-controller-manager", "deleted"]
    {
        ensure!(history.contains(told), "{told} is not in\n{history}");
    }
    let diff = ns.cox("diff --since 1h deployments,services", "").await?.ok()?;
    ensure!(diff.contains("+ service/web") && !diff.contains("deployment"), "{diff}");
    let status = host.cox(&["status"], "").await?.ok()?;
    ensure!(status.contains("history    since"), "{status}");
    Ok(())
}

pub async fn a_namespace_comes_back_and_works(host: &Host) -> Result<()> {
    let ns = host.namespace("lost").await?;
    ns.apply(TODAY).await?;
    ns.kubectl("create secret generic s --from-literal=k=v").await?.ok()?;
    ns.ready_pods("app=web", 2).await?;
    let address = ns.service("web").await?;
    host.kubectl(&["delete", "namespace", "lost"], "").await?.ok()?;
    let back = host.cox(&["undelete", "namespace/lost"], "").await?.ok()?;
    for what in ["namespace/lost", "deployment.apps/web", "service/web", "secret/s"] {
        ensure!(back.contains(&format!("{what} restored")), "{back}");
    }
    ns.ready_pods("app=web", 2).await?;
    ensure!(ns.service("web").await? == address, "the Service has its address again");
    ns.first_answer(&address).await?;
    ns.answers_of(&address, 2).await?;
    Ok(())
}

pub async fn a_cluster_comes_back_from_a_backup(host: &Host) -> Result<()> {
    let ns = host.namespace("saved").await?;
    ns.apply(TODAY).await?;
    ns.ready_pods("app=web", 2).await?;
    let file = host.data_dir().join("saved.backup").display().to_string();
    host.cox(&["backup", &file], "").await?.ok()?;
    ns.kubectl("delete deployment web").await?.ok()?;
    ns.apply(&TODAY.replace("name: web", "name: later")).await?;
    ns.wait_all("pods", "", "other pods", |pods| pods.len() == 2).await?;

    let refused = host.cox(&["restore", &file], "").await?.refused()?;
    ensure!(refused.contains("the cluster is up"), "{refused}");
    host.cox(&["down"], "").await?.ok()?;
    let refused = host.cox(&["restore", &file], "").await?.refused()?;
    ensure!(refused.contains("--replace"), "{refused}");
    host.cox(&["restore", "--replace", &file], "").await?.ok()?;
    host.up().await?.ok()?;
    ns.wait_all("deployments.apps", "", "the old deployment alone", |all| {
        all.len() == 1 && all[0]["metadata"]["name"] == "web"
    })
    .await?;
    ns.ready_pods("app=web", 2).await?;
    let address = ns.service("web").await?;
    ns.first_answer(&address).await?;
    Ok(())
}
