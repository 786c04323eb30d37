//! What may happen to a machine: daemons killed, Docker Engine gone, everything taken down.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use e2e::{Host, is_ready};
use serde_json::Value;

use super::services::TODAY;

/// Container id by pod name.
fn containers(pods: &[Value]) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    pods.iter()
        .map(|pod| {
            (text(&pod["metadata"]["name"]), text(&pod["status"]["containerStatuses"][0]["containerID"]))
        })
        .collect()
}

pub async fn every_daemon_may_be_killed_while_it_works(host: &Host) -> Result<()> {
    let ns = host.namespace("killing").await?;
    ns.apply(TODAY).await?;
    ns.ready_pods("app=web", 2).await?;
    for daemon in ["apiserver", "scheduler", "controllers", "kubelet", "kube-proxy"] {
        for replicas in [5_usize, 2] {
            ns.kubectl(&format!("scale deployment web --replicas={replicas}")).await?.ok()?;
            host.kill(daemon)?;
            ns.ready_pods("app=web", replicas).await?;
        }
        let deployment: Value = ns.api("deployments.apps")?.get("killing", "web").await?.decode()?;
        ensure!(
            deployment["spec"]["replicas"] == 2,
            "what was acknowledged is there after {daemon} was killed"
        );
    }
    let address = ns.service("web").await?;
    ns.wait("endpoints", "web", "two addresses", |endpoints| {
        endpoints["subsets"][0]["addresses"].as_array().is_some_and(|list| list.len() == 2)
    })
    .await?;
    ns.first_answer(&address).await?;
    ns.answers_of(&address, 2).await?;
    Ok(())
}

pub async fn a_kubelet_finds_its_pods_again(host: &Host) -> Result<()> {
    let ns = host.namespace("found").await?;
    ns.apply(TODAY).await?;
    let before = containers(&ns.ready_pods("app=web", 2).await?);
    host.kill("kubelet")?;
    // A new pod proves that the kubelet is back.
    ns.kubectl("scale deployment web --replicas=3").await?.ok()?;
    let after = containers(&ns.ready_pods("app=web", 3).await?);
    for (pod, container) in before {
        ensure!(after.get(&pod) == Some(&container), "{pod} was disturbed");
    }
    Ok(())
}

pub async fn without_docker_a_node_is_not_ready_and_pods_come_back_with_it(host: &Host) -> Result<()> {
    let ns = host.namespace("engine").await?;
    ns.apply(TODAY).await?;
    let before = containers(&ns.ready_pods("app=web", 2).await?);
    let kubelet = host.pid("kubelet")?;
    host.engine.stop().await?;
    let ready = |node: &Value| {
        let conditions = node["status"]["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready")
            .cloned()
            .unwrap_or_default()
    };
    let node = ns.wait("nodes", "e2e", "NotReady", |node| ready(node)["status"] == "False").await?;
    let message = ready(&node)["message"].as_str().unwrap_or_default().to_owned();
    ensure!(message.starts_with("container runtime is down"), "{message}");
    ensure!(host.pid("kubelet")? == kubelet, "the kubelet lives on");
    host.engine.resume().await?;
    ns.wait("nodes", "e2e", "Ready", |node| ready(node)["status"] == "True").await?;
    let after = ns
        .wait_all("pods", "app=web", "two pods that run again", |pods| {
            let now = containers(pods);
            pods.len() == 2
                && pods.iter().all(is_ready)
                && before.iter().all(|(pod, id)| now.get(pod) != Some(id))
        })
        .await?;
    ensure!(containers(&after).len() == 2);
    let address = ns.service("web").await?;
    ns.first_answer(&address).await?;
    Ok(())
}

/// The short form of what `scripts/test --soak` does for long.
pub async fn nothing_is_left_of_pods_that_came_and_went_among_faults(host: &Host) -> Result<()> {
    let time = std::time::Duration::from_secs(40);
    e2e::soak(host, e2e::Soak { pods: 10, time, seed: 7 }).await
}

pub async fn up_twice_changes_nothing_and_down_leaves_nothing(host: &Host) -> Result<()> {
    let before = std::fs::read_to_string(host.data_dir().join("run/state.json"))?;
    host.up().await?.ok()?;
    ensure!(std::fs::read_to_string(host.data_dir().join("run/state.json"))? == before);
    host.cox(&["down"], "").await?.ok()?;
    let left = host.engine.docker(&["ps", "-aq"]).await?.ok()?;
    ensure!(left.is_empty(), "containers are left: {left}");
    let run = async |program: &str, words: &[&str]| {
        e2e::run(tokio::process::Command::new(program).args(words), "").await?.ok()
    };
    let links = run("ip", &["-brief", "link"]).await?;
    ensure!(!links.contains("cox-"), "a bridge is left: {links}");
    let tables = run("nft", &["list", "tables"]).await?;
    ensure!(!tables.contains("coxswain"), "a table is left: {tables}");
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let data = host.data_dir().display().to_string();
    ensure!(!mounts.lines().any(|line| line.contains(&data)), "a mount is left");
    // Data stays: the next start knows what there was.
    host.up().await?.ok()?;
    let namespaces = host.kubectl(&["get", "namespace", "killing"], "").await?.ok()?;
    ensure!(namespaces.contains("Active"), "{namespaces}");
    Ok(())
}
