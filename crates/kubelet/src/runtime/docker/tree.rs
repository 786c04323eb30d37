//! The control groups of pods, made for an engine: which driver it has decides their names.

use std::path::Path;

use bollard::models::SystemInfoCgroupDriverEnum;
use tracing::{info, warn};

use super::{DockerRuntime, failed};
use crate::runtime::groups::{Driver, Groups};
use crate::runtime::{NodeResources, PodResources, RuntimeError, cgroup};

impl DockerRuntime {
    /// The tree; nothing where pods have none here.
    pub(super) async fn groups(&self) -> Result<Option<Groups>, RuntimeError> {
        let mut known = self.groups.lock().await;
        if let Some(groups) = &*known {
            return Ok(groups.clone());
        }
        let Some(root) = &self.config.groups.root else {
            *known = Some(None);
            return Ok(None);
        };
        let info = self.docker().await?.info().await.map_err(failed)?;
        let driver = match info.cgroup_driver {
            Some(SystemInfoCgroupDriverEnum::SYSTEMD) => Driver::Systemd,
            Some(SystemInfoCgroupDriverEnum::CGROUPFS) => Driver::Cgroupfs,
            Some(SystemInfoCgroupDriverEnum::NONE | SystemInfoCgroupDriverEnum::EMPTY) | None => {
                warn!("the engine has no control groups: pods are not kept to what they may use together");
                *known = Some(None);
                return Ok(None);
            }
        };
        let groups = Groups::new(driver, Path::new(cgroup::MOUNT), root);
        // Where the kubelet may not write, containers stay where the engine puts them.
        let given = NodeResources { burstable_shares: 2, ..NodeResources::default() };
        let trial = groups.clone();
        let made = tokio::task::spawn_blocking(move || trial.set_node(&given)).await;
        let groups = match made.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(()) => {
                info!(?driver, "pods have control groups");
                Some(groups)
            }
            Err(error) => {
                warn!(%error, "cannot make control groups: pods are not kept to what they may use together");
                None
            }
        };
        *known = Some(groups.clone());
        Ok(groups)
    }

    pub(super) async fn set_group(&self, uid: &str, given: PodResources) -> Result<(), RuntimeError> {
        let Some(groups) = self.groups().await? else { return Ok(()) };
        let given = PodResources { pids: self.config.groups.pod_pids.or(given.pids), ..given };
        let uid = uid.to_owned();
        blocking("the control group of the pod", move || groups.set_pod(&uid, &given)).await
    }

    pub(super) async fn remove_group(&self, uid: &str) -> Result<(), RuntimeError> {
        let Some(groups) = self.groups().await? else { return Ok(()) };
        let uid = uid.to_owned();
        blocking("the control group of the pod", move || groups.remove_pod(&uid)).await
    }

    pub(super) async fn set_tree(&self, mut given: NodeResources) -> Result<(), RuntimeError> {
        let Some(groups) = self.groups().await? else { return Ok(()) };
        if !self.config.groups.enforce_allocatable {
            given.all = crate::runtime::Resources { cpu_quota: None, memory: None, ..given.all };
        }
        blocking("the control groups of the node", move || groups.set_node(&given)).await
    }

    /// Takes the tree away, if no pod is in it.
    pub async fn remove_groups(&self) -> Result<(), RuntimeError> {
        let Some(groups) = self.groups().await? else { return Ok(()) };
        blocking("the control groups of the node", move || {
            groups.remove_node();
            Ok(())
        })
        .await
    }
}

async fn blocking(
    what: &'static str,
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> Result<(), RuntimeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(|error| RuntimeError::Failed(format!("{what}: {error}")))
}
