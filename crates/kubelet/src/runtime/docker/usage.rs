//! What running containers use: from the kernel, not from the engine's statistics, which take a second each.

use std::collections::HashMap;

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::{DockerRuntime, failed, labels};
use crate::runtime::{ContainerUsage, RuntimeError, cgroup};

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
                (cgroup::usage_of(pid), log)
            });
            let Ok((Some(cgroup), log)) = kernel.await else { continue };
            let written = summary.size_rw.and_then(|bytes| u64::try_from(bytes).ok());
            usages.push(ContainerUsage {
                id: inspect.id.clone().unwrap_or_default(),
                pod_uid: labels::get(&inspect, labels::POD_UID).to_owned(),
                name: labels::get(&inspect, labels::CONTAINER_NAME).to_owned(),
                started_at: labels::container_record(&inspect).started_at,
                cgroup,
                disk: disk.then(|| written.unwrap_or(0) + log),
            });
        }
        Ok(usages)
    }
}
