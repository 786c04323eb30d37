//! apiserver, scheduler and controllers without a node: how soon they are ready, what they need, what they bear.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use component::Kubeconfig;
use hyper::Method;

use crate::load::{self, Rest};
use crate::process::{Daemon, cpu_seconds, resident};
use crate::report::{Better, Peer, Report};

/// Beside a cluster that may run on this machine.
const PORT: u16 = 26443;
const SCHEDULER_PORT: u16 = 26259;
const CONTROLLERS_PORT: u16 = 26257;

/// How many requests are under way at a time.
const IN_FLIGHT: usize = 64;

/// How many pods are created for each speed.
const PODS: usize = 10_000;

/// How many are stored while memory is looked at.
const STORED: usize = 1_000;

/// How long daemons that have nothing to do are watched.
const IDLE: Duration = Duration::from_secs(15);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures all of it.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("coxswain-bench.").tempdir()?;
    let first = folder.path().join("first");
    let (daemon, _rest, ready) = start_apiserver(&first).await.context("start the apiserver")?;
    report.row("apiserver, empty data directory: start to ready", ready * 1e3, "ms", None);
    daemon.end().await?;
    let (daemon, rest, ready) = start_apiserver(&first).await.context("start the apiserver again")?;
    report.row("apiserver, again: start to ready", ready * 1e3, "ms", Some(Peer(2200.0, Better::Less)));

    let others = [("scheduler", SCHEDULER_PORT), ("controllers", CONTROLLERS_PORT)].map(|(name, port)| {
        let file = first.join(format!("{name}.kubeconfig"));
        let flags =
            [format!("--kubeconfig={}", file.display()), format!("--metrics-bind-address=127.0.0.1:{port}")];
        Daemon::start(name, &flags).map(|daemon| (name, daemon))
    });
    let [scheduler, controllers] = others;
    let daemons = [("apiserver", daemon), scheduler?, controllers?];
    memory(report, &daemons, "idle", [Some(283.0), Some(66.0), Some(118.0)]).await?;
    rest.create("stored", STORED, IN_FLIGHT).await?;
    memory(report, &daemons, "1,000 pods", [None; 3]).await?;
    for (_, daemon) in daemons {
        daemon.end().await?;
    }

    let (daemon, rest, _) = start_apiserver(&folder.path().join("second")).await?;
    requests(report, &rest, &kubeconfig(&folder.path().join("second"))?).await?;
    report.row("resident with 20,500 pods, apiserver", resident(daemon.pid()?)?, "MB", None);
    daemon.end().await
}

async fn requests(report: &mut Report, rest: &Rest, config: &Kubeconfig) -> Result<()> {
    let pods = "/api/v1/namespaces/default/pods";
    let creates = |speed: f64| (speed, "/s", Some(Peer(990.0, Better::More)));
    let one = rest.create("one", 500, 1).await?;
    let (value, peer) = (one.median.as_secs_f64() * 1e3, Peer(1.4, Better::Less));
    report.row("pod create, REST, one client: median", value, "ms", Some(peer));
    let speed = rest.create("rest", PODS, IN_FLIGHT).await?;
    let (value, unit, peer) = creates(speed.per_second);
    report.row("pod creates, REST, 64 in flight", value, unit, peer);
    let (value, peer) = (speed.median.as_secs_f64() * 1e3, Peer(55.0, Better::Less));
    report.row("pod create, REST, 64 in flight: median", value, "ms", Some(peer));
    let speed = load::create_over_grpc(config, "grpc", PODS, IN_FLIGHT).await?;
    let (value, unit, peer) = creates(speed.per_second);
    report.row("pod creates, gRPC, 64 in flight", value, unit, peer);

    let get = async |number: usize| {
        rest.ask(Method::GET, &format!("{pods}/rest-{}", number % PODS), Bytes::new()).await.map(drop)
    };
    let speed = load::run(30_000, IN_FLIGHT, get).await?;
    report.row("pod GETs, REST, 64 in flight", speed.per_second, "/s", Some(Peer(3000.0, Better::More)));

    let begun = Instant::now();
    let mut length = 0;
    for _ in 0..5 {
        length += rest.ask(Method::GET, &format!("{pods}?limit=5000"), Bytes::new()).await?;
    }
    let speed = length as f64 / 1e6 / begun.elapsed().as_secs_f64();
    report.row("LIST of 5,000 pods", speed, "MB/s", Some(Peer(42.0, Better::More)));
    let none = async |_| {
        rest.ask(Method::GET, &format!("{pods}?labelSelector=app%3Dnone"), Bytes::new()).await.map(drop)
    };
    let speed = load::run(100, 1, none).await?;
    report.row(
        "LIST of 20,500 pods by a selector that matches none",
        speed.median.as_secs_f64() * 1e3,
        "ms",
        None,
    );
    Ok(())
}

async fn memory(
    report: &mut Report,
    daemons: &[(&str, Daemon); 3],
    when: &str,
    peers: [Option<f64>; 3],
) -> Result<()> {
    let before = cpu(daemons)?;
    let begun = Instant::now();
    let _elapsed = tokio::time::timeout(IDLE, std::future::pending::<()>()).await;
    let share = (cpu(daemons)? - before) / begun.elapsed().as_secs_f64() * 100.0;
    for ((name, daemon), theirs) in daemons.iter().zip(peers) {
        let peer = theirs.map(|theirs| Peer(theirs, Better::Less));
        report.row(&format!("resident, {when}, {name}"), resident(daemon.pid()?)?, "MB", peer);
    }
    report.row(&format!("CPU, {when}, all three"), share, "% of a core", None);
    Ok(())
}

fn cpu(daemons: &[(&str, Daemon)]) -> Result<f64> {
    daemons.iter().map(|(_, daemon)| cpu_seconds(daemon.pid()?)).sum()
}

/// Starts an apiserver, and says after how many seconds it was ready.
async fn start_apiserver(data: &Path) -> Result<(Daemon, Rest, f64)> {
    let flags = [format!("--data-dir={}", data.display()), format!("--secure-port={PORT}")];
    let begun = Instant::now();
    let daemon = Daemon::start("apiserver", &flags)?;
    let mut look = tokio::time::interval(Duration::from_millis(1));
    let ready = async {
        loop {
            look.tick().await;
            let Ok(config) = kubeconfig(data) else { continue };
            let Ok(rest) = Rest::connect(&config).await else { continue };
            if rest.ask(Method::GET, "/readyz", Bytes::new()).await.is_ok() {
                return rest;
            }
        }
    };
    let rest = tokio::time::timeout(PATIENCE, ready).await.context("the apiserver is not ready in time")?;
    Ok((daemon, rest, begun.elapsed().as_secs_f64()))
}

fn kubeconfig(data: &Path) -> Result<Kubeconfig> {
    Ok(Kubeconfig::load(data.join("admin.kubeconfig"))?)
}
