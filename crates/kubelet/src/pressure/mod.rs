//! What a node does when it runs out of memory, disk or processes: it says so, removes what nobody needs, and ends
//! pods, one at a time.
//!
//! ```text
//! signals -> threshold::judge -> conditions of the node
//!                             -> shortages -> images (disk) -> rank -> Workers::evict
//! ```
//! [`threshold`], [`rank`] and the plan of [`images`] are pure; [`Guard`] measures and acts. The kernel tells nobody
//! that little is left, so it looks every ten seconds, as Kubernetes does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use component::{SharedClock, Shutdown, spawn};
use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::node::Readiness;
use crate::pod::Pod;
use crate::pods::Pods;
use crate::runtime::{Runtime, RuntimeError};
use crate::workers::{Failure, Workers};

pub mod images;
pub mod rank;
pub mod signals;
pub mod threshold;

use images::{CollectorConfig, Ledger};
use rank::Candidate;
use signals::Signals;
use threshold::{EvictionConfig, Judgement, Memory, Shortage, Signal};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(10);

/// Between two looks at images, where nothing presses.
const IMAGES_PERIOD: Duration = Duration::from_secs(300);

/// How long the end of one pod is waited for before the next one goes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The grace period of pods that a hard threshold ends.
const NO_GRACE: Duration = Duration::from_secs(1);

/// Looks after the node's resources.
pub struct Guard {
    /// When something counts as running out.
    pub eviction: EvictionConfig,
    /// When images go.
    pub collector: CollectorConfig,
    /// What is measured.
    pub signals: Arc<dyn Signals>,
    /// The containers.
    pub runtime: Arc<dyn Runtime>,
    /// The pods of this node.
    pub pods: Pods,
    /// Who ends pods.
    pub workers: Workers,
    /// Where the node's conditions are told.
    pub readiness: Arc<watch::Sender<Readiness>>,
    /// The time.
    pub clock: SharedClock,
    /// The root directory of the kubelet.
    pub root: PathBuf,
}

#[derive(Default)]
struct State {
    memory: Memory,
    images_at: Option<Timestamp>,
    /// The pod that is being ended, and since when.
    ending: Option<(String, Timestamp)>,
}

impl Guard {
    /// Starts looking.
    pub fn start(self, shutdown: &Shutdown) {
        let stop = shutdown.clone();
        spawn(shutdown, "node-pressure", async move {
            let mut state = State::default();
            let mut tick = tokio::time::interval(PERIOD);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.triggered() => return,
                    _ = tick.tick() => {}
                }
                match self.look(&mut state).await {
                    Err(error) if !error.is_down() => warn!(%error, "cannot look after the node's resources"),
                    Ok(()) | Err(_) => {}
                }
            }
        });
    }

    async fn look(&self, state: &mut State) -> Result<(), RuntimeError> {
        let levels = self.signals.read().await;
        let now = self.clock.now();
        let mut judgement = threshold::judge(&self.eviction, &levels, &state.memory, now);
        self.tell(&judgement);
        let since = |at: Timestamp| Duration::try_from(now.duration_since(at)).unwrap_or_default();
        if state.images_at.is_none_or(|at| since(at) >= IMAGES_PERIOD) {
            state.images_at = Some(now);
            let images = levels.get(&Signal::ImageFs).or_else(|| levels.get(&Signal::NodeFs));
            let bytes = images.map_or(0, |level| images::to_free(&self.collector, *level));
            self.collect_images(bytes).await?;
        }
        if judgement.shortages.iter().any(|shortage| shortage.signal.is_disk()) {
            // Perhaps that is enough.
            if self.collect_images(u64::MAX).await? > 0 {
                let levels = self.signals.read().await;
                judgement = threshold::judge(&self.eviction, &levels, &judgement.memory, now);
            }
        }
        let Judgement { memory, shortages, .. } = judgement;
        state.memory = memory;
        if let Some((uid, at)) = &state.ending {
            let is_there = self.pods.by_uid(uid).is_some_and(|pod| !pod.is_terminal());
            if is_there && since(*at) < PATIENCE {
                return Ok(());
            }
            state.ending = None;
        }
        let (pods, limited): (Vec<Arc<Pod>>, bool) = self.living();
        if shortages.is_empty() && !limited {
            return Ok(());
        }
        if let Some((uid, failure)) = self.choose(&pods, shortages.first(), limited).await? {
            info!(uid, message = failure.message, "evict pod");
            self.workers.evict(&uid, failure);
            state.ending = Some((uid, now));
        } else if let Some(shortage) = shortages.first() {
            debug!(%shortage, "no pod to end");
        }
        Ok(())
    }

    fn tell(&self, judgement: &Judgement) {
        self.readiness.send_if_modified(|readiness| {
            let changed = readiness.pressure != judgement.conditions;
            readiness.pressure.clone_from(&judgement.conditions);
            changed
        });
    }

    /// The pods that have begun and not ended, and whether any has limits of what it may use of the disk.
    fn living(&self) -> (Vec<Arc<Pod>>, bool) {
        let lives = |pod: &Arc<Pod>| {
            !pod.is_terminal() && !pod.metadata.is_being_deleted() && pod.status.start_time.is_some()
        };
        let pods: Vec<Arc<Pod>> = self.pods.list().into_iter().filter(lives).collect();
        let limited = pods.iter().any(|pod| rank::has_limits(pod));
        (pods, limited)
    }

    /// The pod that goes next, if any.
    async fn choose(
        &self,
        pods: &[Arc<Pod>],
        shortage: Option<&Shortage>,
        limited: bool,
    ) -> Result<Option<(String, Failure)>, RuntimeError> {
        let disk = limited || shortage.is_some_and(|shortage| shortage.signal.is_disk());
        let usage = self.runtime.usage(disk).await?;
        let mut sizes = Vec::new();
        for pod in pods {
            let folder = crate::volumes::PodFolder::new(&self.root, &pod.metadata.uid).empty_dirs();
            let memory_only: Vec<String> = pod
                .spec
                .volumes
                .iter()
                .filter(|volume| volume.empty_dir.as_ref().is_none_or(|dir| dir.medium == "Memory"))
                .map(|volume| volume.name.clone())
                .collect();
            let measured = if disk {
                tokio::task::spawn_blocking(move || folder_sizes(&folder, &memory_only))
                    .await
                    .unwrap_or_default()
            } else {
                Vec::new()
            };
            sizes.push(measured);
        }
        let candidates: Vec<Candidate<'_>> = pods
            .iter()
            .zip(&sizes)
            .map(|(pod, sizes)| Candidate {
                pod,
                usage: usage.iter().filter(|usage| usage.pod_uid == pod.metadata.uid).collect(),
                volumes: sizes.iter().map(|(_, size)| size).sum(),
            })
            .collect();
        let evicted = |message: String, grace: Duration| Failure {
            reason: "Evicted".to_owned(),
            message,
            disrupted: true,
            grace: Some(grace),
            ..Failure::default()
        };
        for (candidate, sizes) in candidates.iter().zip(&sizes) {
            if let Some(message) = rank::over_limit(candidate, sizes) {
                return Ok(Some((candidate.pod.metadata.uid.clone(), evicted(message, NO_GRACE))));
            }
        }
        let Some(shortage) = shortage else { return Ok(None) };
        Ok(rank::rank(&candidates, shortage.signal).first().map(|first| {
            let grace = if shortage.hard { NO_GRACE } else { self.eviction.max_pod_grace.max(NO_GRACE) };
            (first.pod.metadata.uid.clone(), evicted(rank::message(shortage, first), grace))
        }))
    }

    /// Removes images that nothing uses; says how many.
    async fn collect_images(&self, bytes: u64) -> Result<usize, RuntimeError> {
        if bytes == 0 && self.collector.max_age.is_none() {
            return Ok(0);
        }
        let (ledger, now) = (Ledger::new(&self.root), self.clock.now());
        let images = self.runtime.images().await?;
        let failed = |error: std::io::Error| RuntimeError::Failed(format!("the ledger of images: {error}"));
        let unused = ledger.unused(&images, now).await.map_err(failed)?;
        let plan = images::plan(&self.collector, &unused, bytes, now);
        for id in &plan {
            info!(image = id, "remove an image that nothing uses");
            self.runtime.remove_image(id).await?;
            ledger.forget(id).await.map_err(failed)?;
        }
        Ok(plan.len())
    }
}

/// The sizes of the folders in a folder, but for some. Blocking.
pub(crate) fn folder_sizes(folder: &Path, except: &[String]) -> Vec<(String, i64)> {
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !except.contains(&name) {
            sizes.push((name, size(&entry.path())));
        }
    }
    sizes
}

/// What a folder takes of the disk. Links are not followed.
fn size(path: &Path) -> i64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
    let own = i64::try_from(metadata.blocks().saturating_mul(512)).unwrap_or(i64::MAX);
    if !metadata.is_dir() {
        return own;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).fold(own, i64::saturating_add)
}
