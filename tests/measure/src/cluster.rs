//! A whole cluster with its own Docker Engine: from `cox up` and `kubectl apply` to the first answer of nginx, and what
//! each daemon needs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use component::Kubeconfig;
use e2e::{Host, get};

use crate::load::Rest;
use crate::process::resident;
use crate::report::Report;

/// The demo, whose NodePort is asked.
const NGINX: &str = include_str!("../../../scripts/demo/nginx.yaml");
const NODE_PORT: &str = "127.0.0.1:30080";

const DAEMONS: [&str; 5] = ["apiserver", "scheduler", "controllers", "kubelet", "kube-proxy"];

/// How long the daemons have to come to rest.
const REST: Duration = Duration::from_secs(15);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures it.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let host = Host::start().await.context("start a cluster")?;
    let measured = on(&host, report).await;
    host.end().await?;
    measured
}

async fn on(host: &Host, report: &mut Report) -> Result<()> {
    for (down, what) in [(["down", "--purge"].as_slice(), "empty data directory"), (&["down"], "again")] {
        host.cox(down, "").await?.ok()?;
        let begun = Instant::now();
        host.up().await?.ok()?;
        let row = format!("cox up, {what}: start to a node that is ready");
        report.row(&row, begun.elapsed().as_secs_f64(), "s", None);
    }
    memory(host, report, "idle").await?;

    // Once with the image to be pulled, once with the image there.
    for what in ["image to be pulled", "image there"] {
        let begun = Instant::now();
        host.kubectl(&["apply", "-f", "-"], NGINX).await?.ok()?;
        let mut look = tokio::time::interval(Duration::from_millis(5));
        let answered = async {
            while get(NODE_PORT, "/").await.is_err() {
                look.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.context("nginx does not answer")?;
        let row = format!("kubectl apply to the first answered request of nginx, {what}");
        report.row(&row, begun.elapsed().as_secs_f64(), "s", None);
        host.kubectl(&["delete", "-f", "-", "--wait=true"], NGINX).await?.ok()?;
        host.kubectl(&["wait", "--for=delete", "pod", "--selector=app=nginx", "--timeout=60s"], "")
            .await?
            .ok()?;
    }

    let rest = Rest::connect(&Kubeconfig::load(host.kubeconfig())?).await?;
    rest.create("stored", 1_000, 64).await?;
    memory(host, report, "1,000 pods stored").await
}

async fn memory(host: &Host, report: &mut Report, when: &str) -> Result<()> {
    let _elapsed = tokio::time::timeout(REST, std::future::pending::<()>()).await;
    for name in DAEMONS {
        let pid = host.pid(name)?.with_context(|| format!("{name} does not run"))?;
        report.row(&format!("resident in a cluster, {when}, {name}"), resident(pid)?, "MB", None);
    }
    Ok(())
}
