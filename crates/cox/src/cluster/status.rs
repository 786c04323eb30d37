//! `cox status`: the daemons of this machine and the nodes of the cluster.

use client::{Client, Encoding, GroupVersionResource, ListParams};
use component::Kubeconfig;

use crate::cli::Global;
use crate::cluster::DataDir;
use crate::error::CoxError;
use crate::output::Out;
use crate::supervisor::state::{self, State};
use crate::verbs::table::Table;

pub(crate) async fn status(global: &Global, out: &mut Out) -> Result<(), CoxError> {
    let dir = DataDir::new(&global.data_dir);
    if !state::supervisor_lives(&dir)? {
        return Err(CoxError::Failed(format!("no cluster runs here ({})", dir.path().display())));
    }
    let state = State::load(&dir);
    let mut rows = vec![["DAEMON", "PID", "RESIDENT", "RESTARTS", "LAST EXIT"].map(str::to_owned).to_vec()];
    for daemon in &state.daemons {
        rows.push(vec![
            daemon.name.clone(),
            daemon.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            daemon
                .pid
                .and_then(resident)
                .map_or_else(|| "-".to_owned(), |kib| format!("{} MB", kib.div_ceil(1024))),
            daemon.restarts.to_string(),
            daemon.last_exit.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    out.table(&rows);
    let client = Client::connect(&Kubeconfig::load(dir.kubeconfig("admin"))?)?;
    let info = client.cluster_info().await?;
    out.line("");
    out.line(&format!("cluster    {}", info.cluster_id));
    out.line(&format!("version    {} (Kubernetes API {})", info.version, info.kubernetes_version));
    out.line(&format!("revision   {}", info.revision));
    let since = match info.oldest_time.as_str() {
        "" => "the beginning",
        time => time,
    };
    out.line(&format!("history    since {since} (revision {})", info.oldest_revision));
    out.line(&format!("networks   pods {}, Services {}", info.pod_network, info.service_network));
    out.line("");
    let nodes = client.dynamic(GroupVersionResource::new("", "v1", "nodes")).with_encoding(Encoding::Table);
    let mut table = Table::default();
    for chunk in nodes.list("", &ListParams::default()).await?.items {
        table.extend(chunk.decode()?);
    }
    out.table(&table.rows(false, true, false));
    Ok(())
}

/// The resident memory of a process, KiB.
fn resident(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().split(' ').next()?.parse().ok()
}
