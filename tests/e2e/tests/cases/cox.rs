//! The same with cox, over gRPC.

use anyhow::{Context as _, Result, ensure};
use e2e::Host;

use super::services::{OLD, TODAY};

pub async fn every_verb(host: &Host) -> Result<()> {
    let ns = host.namespace("withcox").await?;
    let applied = ns.cox("apply -f -", OLD).await?.ok()?;
    ensure!(applied == "deployment.extensions/nginx-deployment created\n", "{applied}");
    let applied = ns.cox("apply -f -", TODAY).await?.ok()?;
    ensure!(
        applied.contains("deployment.apps/web created") && applied.contains("service/web created"),
        "{applied}"
    );
    ns.ready_pods("app=nginx", 2).await?;
    let pods = ns.ready_pods("app=web", 2).await?;
    let again = ns.cox("apply -f -", TODAY).await?.ok()?;
    ensure!(again.lines().all(|line| line.ends_with("unchanged")), "{again}");

    let table = ns.cox("get pods -o wide", "").await?.ok()?;
    ensure!(table.starts_with("NAME") && table.contains("Running") && table.contains("10.244."), "{table}");
    let all = ns.cox("get deployments,services -A", "").await?.ok()?;
    ensure!(all.contains("NAMESPACE") && all.contains("kubernetes"), "{all}");
    ensure!(ns.cox("get deploy/web -o yaml", "").await?.ok()?.contains("replicas: 2"));

    let name = pods[0]["metadata"]["name"].as_str().unwrap_or_default();
    let described = ns.cox(&format!("describe pod/{name}"), "").await?.ok()?;
    ensure!(described.contains("Successfully assigned"), "{described}");
    let log = ns.cox("logs deploy/web --tail 5", "").await?.ok()?;
    ensure!(log.contains("GET / HTTP/1.1"), "the probes are in the log: {log}");

    ns.cox("scale deploy/web --replicas 3", "").await?.ok()?;
    ns.ready_pods("app=web", 3).await?;
    ns.kubectl("set image deployment/web nginx=nginx:1.22").await?.ok()?;
    let status = ns.cox("rollout status deploy/web", "").await?.ok()?;
    ensure!(status.contains("successfully rolled out"), "{status}");
    let history = ns.cox("rollout history deploy/web", "").await?.ok()?;
    ensure!(history.lines().count() >= 4, "{history}");
    ns.cox("rollout undo deploy/web", "").await?.ok()?;
    ns.cox("rollout status deploy/web", "").await?.ok()?;
    ns.cox("rollout pause deploy/web", "").await?.ok()?;
    ns.cox("rollout resume deploy/web", "").await?.ok()?;

    ns.cox("delete deploy web nginx-deployment", "").await?.ok()?;
    ns.wait_all("pods", "", "no pod", |pods| pods.is_empty()).await?;
    let missing = ns.cox("get pod/nope", "").await?.refused()?;
    ensure!(missing.contains("pods \"nope\" not found"), "{missing}");
    let status = host.cox(&["status"], "").await?.ok()?;
    for daemon in ["apiserver", "scheduler", "controllers", "kubelet", "kube-proxy"] {
        ensure!(status.contains(daemon), "{status}");
    }
    Ok(())
}

pub async fn daemons_keep_nothing_open_of_who_started_them(host: &Host) -> Result<()> {
    for daemon in ["apiserver", "scheduler", "controllers", "kubelet", "kube-proxy"] {
        let pid = host.pid(daemon)?.with_context(|| format!("{daemon} runs"))?;
        let open: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/fd"))?
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .collect();
        ensure!(!open.is_empty(), "{daemon} has files open");
        ensure!(!open.contains(&host.held()), "{daemon} has the file of its caller open: {open:?}");
    }
    Ok(())
}
