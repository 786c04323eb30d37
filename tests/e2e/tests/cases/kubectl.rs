//! What people type: logs, watches, descriptions; with an old kubectl too.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use e2e::{Host, PATIENCE, is_ready};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::services::{OLD, TODAY};

pub async fn logs_watch_and_describe(host: &Host) -> Result<()> {
    let ns = host.namespace("look").await?;
    let mut watch = Command::new("kubectl")
        .args(["--namespace", "look", "get", "pods", "-o", "wide", "-w"])
        .env("KUBECONFIG", host.kubeconfig())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(watch.stdout.take().context("a pipe")?).lines();
    ns.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: busybox, command: [sh, -c, 'echo one; echo two; echo three; sleep 3600']}]}",
    )
    .await?;
    let seen = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains("Running") && line.contains("10.244.") {
                return anyhow::Ok(line);
            }
        }
        anyhow::bail!("the watch ended")
    };
    let line =
        tokio::time::timeout(PATIENCE, seen).await.context("kubectl get -w shows the running pod")??;
    ensure!(line.contains("e2e"), "the node's name: {line}");
    watch.kill().await?;

    ns.wait("pods", "p", "ready", is_ready).await?;
    ensure!(ns.kubectl("logs p").await?.ok()? == "one\ntwo\nthree\n");
    ensure!(ns.kubectl("logs p --tail=1").await?.ok()? == "three\n");
    let stamped = ns.kubectl("logs p --timestamps").await?.ok()?;
    ensure!(stamped.lines().all(|line| line.starts_with("20")), "{stamped}");
    let missing = ns.kubectl("logs p -c nope").await?.refused()?;
    ensure!(missing.contains("container nope is not valid for pod p"), "{missing}");

    let description = ns.kubectl("describe pod p").await?.ok()?;
    for word in ["Successfully assigned look/p to e2e", "Pulled", "Created", "Started", "IP:", "Running"] {
        ensure!(description.contains(word), "{word} is not in\n{description}");
    }
    for resource in
        ["nodes", "namespaces", "services -A", "endpointslices -A", "all -A", "events -A", "pods -A -o yaml"]
    {
        ns.kubectl(&format!("get {resource}")).await?.ok()?;
    }
    ns.kubectl("describe node e2e").await?.ok()?;
    Ok(())
}

/// Debian's 1.20, where it is there: `COXSWAIN_OLD_KUBECTL`.
pub async fn an_old_kubectl_works_too(host: &Host) -> Result<()> {
    let Some(old) = std::env::var_os("COXSWAIN_OLD_KUBECTL") else {
        anyhow::bail!("COXSWAIN_OLD_KUBECTL is not set: scripts/test does");
    };
    let ns = host.namespace("oldkubectl").await?;
    let run = async |words: &str, input: &str| {
        let mut arguments = vec!["--namespace", "oldkubectl"];
        arguments.extend(words.split_whitespace());
        host.kubectl_at(Path::new(&old), &arguments, input).await?.ok()
    };
    let version = run("version --short", "").await?;
    ensure!(version.contains("Server Version: v1.36"), "{version}");
    run("apply -f -", OLD).await?;
    run("apply -f -", TODAY).await?;
    ns.ready_pods("app=nginx", 2).await?;
    ns.ready_pods("app=web", 2).await?;
    run("scale deployment web --replicas=3", "").await?;
    ns.ready_pods("app=web", 3).await?;
    run("set image deployment/web nginx=nginx:1.22", "").await?;
    run("rollout status deployment/web --timeout=120s", "").await?;
    run("rollout undo deployment/web", "").await?;
    run("rollout status deployment/web --timeout=120s", "").await?;
    ensure!(run("get pods -o wide", "").await?.contains("Running"));
    run("describe deployment web", "").await?;
    run("delete deployment web nginx-deployment", "").await?;
    ns.wait_all("pods", "", "no pod", |pods| pods.is_empty()).await?;
    Ok(())
}
