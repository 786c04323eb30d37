//! The volumes of a pod: what they show is fetched, they are made, and later kept up to date.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::{PodState, Shared, SyncError};
use crate::container::References;
use crate::pod::{Pod, PullPolicy, default_pull_policy};
use crate::runtime::image::Reference;
use crate::runtime::{RuntimePod, SandboxState};
use crate::volumes::claim::{self, PersistentVolume};
use crate::volumes::{self, Paths, TokenCache, Tokens, VolumeError, VolumeInput};

/// How long what volumes show may lag behind the ConfigMaps and Secrets it comes from.
const REFRESH: Duration = Duration::from_secs(60);

/// Persistent volumes by the name of the volume in the pod.
type Persistent = BTreeMap<String, PersistentVolume>;

/// What a worker remembers of the volumes of its pod.
#[derive(Default)]
pub(super) struct VolumeState {
    tokens: TokenCache,
    /// When the volumes were made or looked at last, and from which state of the pod.
    seen: Option<(Timestamp, Arc<Pod>)>,
}

impl Shared {
    /// Makes the volumes of a pod, and fetches what they show. `references` may hold more, for environments.
    pub(super) async fn set_up_volumes(
        &self,
        state: &mut PodState,
        pod: &Arc<Pod>,
        ips: &[String],
        mut references: References,
    ) -> Result<(References, Paths), SyncError> {
        let (config_maps, secrets) = volumes::references(pod);
        self.fetch(pod, config_maps, secrets, &mut references).await?;
        let made = async {
            let tokens = self.tokens(state, pod).await?;
            let persistent = self.persistent_volumes(pod).await?;
            self.unpack_images(pod).await?;
            self.write_volumes(pod, ips, references, (tokens, persistent)).await
        };
        match made.await {
            Ok(made) => {
                state.volumes.seen = Some((self.dependencies.clock.now(), Arc::clone(pod)));
                Ok(made)
            }
            Err(error) => {
                if let SyncError::Volume(error) = &error {
                    let message = component::ErrorChain(error).to_string();
                    self.event(pod, "", EventType::Warning, "FailedMount", message);
                }
                Err(error)
            }
        }
    }

    /// Fetches ConfigMaps and Secrets that are not there yet.
    pub(super) async fn fetch(
        &self,
        pod: &Pod,
        config_maps: Vec<String>,
        secrets: Vec<String>,
        references: &mut References,
    ) -> Result<(), SyncError> {
        let (control, namespace) = (&self.dependencies.control, &pod.metadata.namespace);
        for name in config_maps {
            if let Entry::Vacant(free) = references.config_maps.entry(name) {
                let values = control.config_map(namespace, free.key()).await?;
                free.insert(values);
            }
        }
        for name in secrets {
            if let Entry::Vacant(free) = references.secrets.entry(name) {
                let values = control.secret(namespace, free.key()).await?;
                free.insert(values);
            }
        }
        Ok(())
    }

    /// Brings the volumes of a pod that runs up to date, where that is due. Says when it will be.
    pub(super) async fn refresh_volumes(
        &self,
        state: &mut PodState,
        pod: &Arc<Pod>,
        runtime: &RuntimePod,
    ) -> Result<Option<Duration>, SyncError> {
        let ready = runtime.sandboxes.iter().find(|sandbox| sandbox.state == SandboxState::Ready);
        let (Some(sandbox), true) = (ready, volumes::changes(pod) && runtime.has_running()) else {
            return Ok(None);
        };
        let now = self.dependencies.clock.now();
        if state.volumes.next(pod).is_none_or(|at| at <= now) {
            let ips = self.pod_ips(pod, sandbox);
            self.set_up_volumes(state, pod, &ips, References::default()).await?;
        }
        let next = state.volumes.next(pod);
        Ok(next.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default()))
    }

    /// The tokens that the volumes of a pod show: those that are held, or new ones.
    async fn tokens(&self, state: &mut PodState, pod: &Pod) -> Result<Tokens, SyncError> {
        let (control, clock) = (&self.dependencies.control, &self.dependencies.clock);
        let cache = &mut state.volumes.tokens;
        for key in cache.due(pod, clock.now()) {
            let account = volumes::service_account(pod);
            match control.token(&pod.metadata.namespace, account, &key.request(pod)).await {
                Ok(token) => cache.keep(key, token, clock.now()),
                Err(error) if cache.still_serves(&key, clock.now()) => {
                    let error = component::ErrorChain(&error).to_string();
                    warn!(pod = %pod.key(), %error, "the token of a pod is not replaced yet");
                }
                Err(error) => {
                    let shows = |volume: &&crate::pod::Volume| volumes::shows_token(volume);
                    let volume = pod.spec.volumes.iter().find(shows).map_or("", |volume| &volume.name);
                    let message = format!("failed to fetch token: {}", error.to_status());
                    return Err(VolumeError::SetUp { volume: volume.to_owned(), message }.into());
                }
            }
        }
        Ok(cache.texts())
    }

    /// Unpacks the images that are volumes, once for each pod: what a container sees does not change under it.
    async fn unpack_images(&self, pod: &Pod) -> Result<(), SyncError> {
        let runtime = &self.dependencies.runtime;
        for volume in &pod.spec.volumes {
            let Some(source) = &volume.image else { continue };
            let path = self.folder(&pod.metadata.uid).image(&volume.name);
            if path.exists() {
                continue;
            }
            let failed = |message: String| VolumeError::SetUp { volume: volume.name.clone(), message };
            let reference = Reference::parse(&source.reference, &self.config.registry)
                .map_err(|error| failed(format!("invalid image \"{}\": {error}", source.reference)))?;
            let name = reference.familiar();
            let known = runtime.image(&name).await?;
            let policy = source.pull_policy.unwrap_or_else(|| default_pull_policy(&source.reference));
            match (policy, known) {
                (PullPolicy::Never | PullPolicy::IfNotPresent, Some(_)) => {}
                (PullPolicy::Never, None) => {
                    let why = "is not present with pull policy of Never";
                    return Err(failed(format!("container image \"{}\" {why}", source.reference)).into());
                }
                (PullPolicy::Always, _) | (PullPolicy::IfNotPresent, None) => {
                    self.pull_in_turn(pod, &reference).await.map_err(|error| {
                        failed(format!("failed to pull image \"{}\": {error}", source.reference))
                    })?;
                }
            }
            // Half of an image is none: the folder has its name only when it is whole.
            let partial = path.with_extension("partial");
            let io = |path: &Path| {
                let path = path.to_owned();
                move |source| SyncError::Io { path, source }
            };
            if partial.exists() {
                tokio::fs::remove_dir_all(&partial).await.map_err(io(&partial))?;
            }
            tokio::fs::create_dir_all(&partial).await.map_err(io(&partial))?;
            runtime.unpack_image(&name, &partial).await.map_err(|error| failed(error.to_string()))?;
            tokio::fs::rename(&partial, &path).await.map_err(io(&path))?;
        }
        Ok(())
    }

    /// What the claims of a pod's volumes are bound to, by the name of the volume in the pod.
    async fn persistent_volumes(&self, pod: &Pod) -> Result<Persistent, SyncError> {
        let (control, namespace) = (&self.dependencies.control, &pod.metadata.namespace);
        let mut found = Persistent::new();
        for volume in &pod.spec.volumes {
            let Some(name) = claim::claim_name(pod, volume) else { continue };
            let failed = |message| VolumeError::SetUp { volume: volume.name.clone(), message };
            let claim = control.claim(namespace, &name).await?;
            let bound = claim::check(pod, volume, &name, claim.as_ref()).map_err(failed)?;
            let persistent = control.persistent_volume(&bound).await?;
            let uid = claim.map(|claim| claim.metadata.uid).unwrap_or_default();
            let is_ours = |volume: &PersistentVolume| {
                volume.spec.claim_ref.as_ref().is_some_and(|reference| reference.uid == uid)
            };
            let Some(persistent) = persistent.filter(is_ours) else {
                return Err(failed(format!("PersistentVolume \"{bound}\" is not bound to the claim")).into());
            };
            found.insert(volume.name.clone(), persistent);
        }
        Ok(found)
    }

    /// Takes away the folders of node-local volumes that are gone.
    pub(super) async fn collect_volumes(&self) {
        let root = self.config.root.clone();
        for name in claim::folders(&root) {
            // Only the apiserver's word counts: what it cannot be asked about stays.
            match self.dependencies.control.persistent_volume(&name).await {
                Ok(None) => {}
                Ok(Some(volume)) => {
                    let root = root.clone();
                    let kept = tokio::task::spawn_blocking(move || claim::remember(&root, &volume)).await;
                    if let Ok(Err(error)) = kept {
                        warn!(volume = %name, %error, "cannot note the reclaim policy of a volume");
                    }
                    continue;
                }
                Err(error) => {
                    let error = component::ErrorChain(&error).to_string();
                    debug!(volume = %name, %error, "cannot ask about a volume");
                    continue;
                }
            }
            let (root, volume) = (root.clone(), name.clone());
            let removed = tokio::task::spawn_blocking(move || claim::remove(&root, &volume)).await;
            match removed.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                Ok(false) => {}
                Ok(true) => info!(volume = %name, "removed the folder of a volume that is gone"),
                Err(error) => warn!(volume = %name, %error, "cannot remove the folder of a volume"),
            }
        }
    }

    async fn write_volumes(
        &self,
        pod: &Arc<Pod>,
        ips: &[String],
        references: References,
        (tokens, persistent): (Tokens, Persistent),
    ) -> Result<(References, Paths), SyncError> {
        let folder = self.folder(&pod.metadata.uid);
        let (root, in_memory) = (self.config.root.clone(), self.config.secrets_in_memory);
        let (pod, node, ips) = (Arc::clone(pod), self.config.node.clone(), ips.to_vec());
        let written = tokio::task::spawn_blocking(move || {
            let input = VolumeInput {
                pod: &pod,
                node: &node,
                pod_ips: &ips,
                references: &references,
                tokens: &tokens,
                persistent: &persistent,
                root: &root,
                in_memory,
            };
            volumes::set_up(&folder, input).map(|paths| (references, paths))
        });
        match written.await {
            Ok(written) => Ok(written?),
            Err(error) => {
                let source = std::io::Error::other(error);
                Err(SyncError::Io { path: self.config.root.clone(), source })
            }
        }
    }
}

impl VolumeState {
    /// When the volumes are to be looked at; `None` for at once.
    fn next(&self, pod: &Pod) -> Option<Timestamp> {
        let (at, seen) = self.seen.as_ref()?;
        let (old, new) = (&seen.metadata, &pod.metadata);
        if old.labels != new.labels || old.annotations != new.annotations {
            return None;
        }
        let refresh = at.checked_add(REFRESH).ok()?;
        Some(self.tokens.next().map_or(refresh, |token| token.min(refresh)))
    }
}
