//! What running containers use: from the kernel, not from the engine's statistics, which take a second each.

use std::collections::HashMap;

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::{DockerRuntime, failed, labels};
use crate::runtime::{ContainerUsage, InterfaceUsage, RuntimeError, cgroup, interfaces};

impl DockerRuntime {
    pub(super) async fn usage_of_containers(&self, disk: bool) -> Result<Vec<ContainerUsage>, RuntimeError> {
        let docker = self.docker().await?;
        let wanted = vec![
            format!("{}={}", labels::NODE, self.config.node),
            format!("{}={}", labels::TYPE, labels::TYPE_CONTAINER),
        ];
        let filters = HashMap::from([("label", wanted)]);
        let options = ListContainersOptionsBuilder::default().size(disk).filters(&filters).build();
        let summaries = docker.list_containers(Some(options)).await.map_err(failed)?;
        let mut usages = Vec::new();
        for summary in summaries {
            // Ended since it was listed.
            let Some(inspect) = self.inspect(&docker, &summary).await? else { continue };
            let state = inspect.state.as_ref();
            let Some(pid) = state.and_then(|state| state.pid).filter(|pid| *pid > 0) else { continue };
            let log = inspect.log_path.clone().unwrap_or_default();
            let kernel = tokio::task::spawn_blocking(move || {
                let log = std::fs::metadata(log).map_or(0, |file| file.len());
                (cgroup::usage_of(pid), log, interfaces_of(pid))
            });
            let Ok((Some(cgroup), log, interfaces)) = kernel.await else { continue };
            let written = summary.size_rw.and_then(|bytes| u64::try_from(bytes).ok());
            let record = labels::container_record(&inspect);
            usages.push(ContainerUsage {
                id: record.id,
                pod_uid: labels::get(&inspect, labels::POD_UID).to_owned(),
                name: record.name,
                image: record.image,
                started_at: record.started_at,
                cgroup,
                resources: record.resources.unwrap_or_default(),
                disk: disk.then(|| written.unwrap_or(0) + log),
                log,
                interfaces,
            });
        }
        Ok(usages)
    }
}

/// The interfaces that a process sees, where they are not the node's.
fn interfaces_of(pid: i64) -> Vec<InterfaceUsage> {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let own = namespace(&pid.to_string());
    if own.is_none() || own == namespace("self") {
        return Vec::new();
    }
    interfaces(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default())
}
