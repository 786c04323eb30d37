//! Images for containers: what is there, what has to be pulled, what went wrong with the last pull.
//!
//! A pull is a task of its own; its end wakes the pod. After a failure the next pull waits, twice as long each time.

use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use component::spawn;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tracing::warn;

use super::{PodState, Shared, SyncError};
use crate::actions::{BACKOFF_INITIAL, BACKOFF_MAX, Problem};
use crate::pod::{Container, Pod, PullPolicy};
use crate::runtime::image::Reference;
use crate::runtime::keyring::Keyring;
use crate::runtime::{Credentials, Image, ImagePull, Runtime, RuntimeError};
use crate::status::reasons;

/// How long a failure is called by its own name before it is called a back-off.
const FRESH: Duration = Duration::from_secs(2);

/// The image and how long its pull took, or why there is none.
type Pulled = Result<(Image, SignedDuration), String>;

/// Where the image of one container stands.
pub(super) enum Pull {
    /// Being pulled; the result appears here.
    Running { since: Timestamp, result: Arc<Mutex<Option<Pulled>>>, failures: u32 },
    /// Pulled for the start that comes next.
    Done(Image),
    /// The last pull failed.
    Failed { message: String, at: Timestamp, until: Timestamp, failures: u32, told: bool },
}

impl Shared {
    /// The image of a container that is to be started, with its name in the runtime; `None` while it is not there.
    pub(super) async fn image_for(
        self: &Arc<Self>,
        state: &mut PodState,
        pod: &Arc<Pod>,
        container: &Container,
    ) -> Result<Option<(Image, String)>, SyncError> {
        let (name, text) = (&container.name, &container.image);
        let reference = match Reference::parse(text, &self.config.registry) {
            Ok(reference) => reference,
            Err(error) => {
                let message = format!("Failed to apply default image tag \"{text}\": {error}");
                self.event(pod, name, EventType::Warning, "InspectFailed", message.clone());
                self.event(pod, name, EventType::Warning, "Failed", "Error: InvalidImageName".to_owned());
                let retry_at = self.dependencies.clock.now().checked_add(BACKOFF_MAX).ok();
                let problem = Problem { reason: reasons::INVALID_IMAGE_NAME, message, retry_at };
                state.problems.insert(name.clone(), problem);
                return Ok(None);
            }
        };
        let known_as = reference.familiar();
        if let Some(Pull::Done(_)) = state.pulls.get(name)
            && let Some(Pull::Done(image)) = state.pulls.remove(name)
        {
            return Ok(Some((image, known_as)));
        }
        let present = self.dependencies.runtime.image(&known_as).await?;
        match (container.pull_policy(), present) {
            (PullPolicy::IfNotPresent | PullPolicy::Never, Some(image)) => {
                let message = format!("Container image \"{text}\" already present on machine");
                self.event(pod, name, EventType::Normal, "Pulled", message);
                state.pulls.remove(name);
                Ok(Some((image, known_as)))
            }
            (PullPolicy::Never, None) => {
                let message = format!("Container image \"{text}\" is not present with pull policy of Never");
                self.event(pod, name, EventType::Warning, "ErrImageNeverPull", message.clone());
                self.event(pod, name, EventType::Warning, "Failed", "Error: ErrImageNeverPull".to_owned());
                let retry_at = self.dependencies.clock.now().checked_add(BACKOFF_INITIAL).ok();
                let problem = Problem { reason: reasons::ERR_IMAGE_NEVER_PULL, message, retry_at };
                state.problems.insert(name.clone(), problem);
                Ok(None)
            }
            (PullPolicy::Always, _) | (PullPolicy::IfNotPresent, None) => {
                self.pull(state, pod, container, reference);
                Ok(None)
            }
        }
    }

    fn pull(
        self: &Arc<Self>,
        state: &mut PodState,
        pod: &Arc<Pod>,
        container: &Container,
        reference: Reference,
    ) {
        let failures = match state.pulls.get(&container.name) {
            Some(Pull::Running { .. }) => return,
            Some(Pull::Failed { failures, .. }) => *failures,
            Some(Pull::Done(_)) | None => 0,
        };
        let message = format!("Pulling image \"{}\"", container.image);
        self.event(pod, &container.name, EventType::Normal, "Pulling", message);
        let result = Arc::new(Mutex::new(None));
        let since = self.dependencies.clock.now();
        let running = Pull::Running { since, result: Arc::clone(&result), failures };
        state.pulls.insert(container.name.clone(), running);
        let waiting = Problem { reason: reasons::CONTAINER_CREATING, message: String::new(), retry_at: None };
        state.problems.insert(container.name.clone(), waiting);
        let (this, uid, pod) = (Arc::clone(self), pod.metadata.uid.clone(), Arc::clone(pod));
        spawn(&self.dependencies.shutdown, "pull", async move {
            let pulled = this.pull_in_turn(&pod, &reference).await;
            *result.lock() = Some(pulled.map_err(|error| error.to_string()));
            this.queue.add(uid);
        });
    }

    /// Pulls when it is this image's turn, with the accounts of the pod and then those of the node.
    pub(super) async fn pull_in_turn(
        &self,
        pod: &Pod,
        reference: &Reference,
    ) -> Result<(Image, SignedDuration), RuntimeError> {
        let keyring = self.keyring(pod).await;
        let _turn = match &self.pulls {
            Some(pulls) => pulls.acquire().await.ok(),
            None => None,
        };
        let clock = &self.dependencies.clock;
        let began = clock.now();
        let image =
            pull_from_any(&*self.dependencies.runtime, reference, &self.config.registry, &keyring).await?;
        if let Err(error) = self.ledger.note(&image.id, clock.now()).await {
            warn!(image = image.id, %error, "cannot write down that an image was pulled");
        }
        Ok((image, clock.now().duration_since(began)))
    }

    /// The accounts in the secrets that the pod names.
    async fn keyring(&self, pod: &Pod) -> Keyring {
        let mut keyring = Keyring::default();
        let mut missing = Vec::new();
        for secret in &pod.spec.image_pull_secrets {
            match self.dependencies.control.secret(&pod.metadata.namespace, &secret.name).await {
                Ok(Some(values)) => keyring.add(&values),
                Ok(None) | Err(_) => missing.push(secret.name.as_str()),
            }
        }
        if !missing.is_empty() {
            let text = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            self.event(pod, "", EventType::Warning, "FailedToRetrieveImagePullSecret", text);
        }
        keyring
    }

    /// Takes in what pulls have brought since the last look.
    pub(super) fn collect_pulls(&self, state: &mut PodState, pod: &Pod) {
        let now = self.dependencies.clock.now();
        let mut changes = Vec::new();
        for (name, pull) in &mut state.pulls {
            match pull {
                Pull::Running { since, result, failures } => {
                    let Some(result) = result.lock().take() else { continue };
                    changes.push((name.clone(), self.pulled(pod, name, result, (*since, now), *failures)));
                }
                Pull::Failed { message, at, told, .. } => {
                    let fresh = Duration::try_from(now.duration_since(*at)).is_ok_and(|age| age < FRESH);
                    if !fresh && !std::mem::replace(told, true) {
                        let image = image_of(pod, name);
                        let text = format!("Back-off pulling image \"{image}\"");
                        self.event(pod, name, EventType::Normal, "BackOff", text.clone());
                        self.event(
                            pod,
                            name,
                            EventType::Warning,
                            "Failed",
                            "Error: ImagePullBackOff".to_owned(),
                        );
                        if let Some(problem) = state.problems.get_mut(name) {
                            problem.reason = reasons::IMAGE_PULL_BACK_OFF;
                            problem.message = format!("{text}: ErrImagePull: {message}");
                        }
                    }
                }
                Pull::Done(_) => {}
            }
        }
        for (name, pull) in changes {
            match &pull {
                Pull::Failed { message, until, .. } => {
                    let problem = Problem {
                        reason: reasons::ERR_IMAGE_PULL,
                        message: message.clone(),
                        retry_at: Some(*until),
                    };
                    state.problems.insert(name.clone(), problem);
                }
                Pull::Running { .. } | Pull::Done(_) => {
                    state.problems.remove(&name);
                }
            }
            state.pulls.insert(name, pull);
        }
    }

    fn pulled(
        &self,
        pod: &Pod,
        name: &str,
        result: Pulled,
        (since, now): (Timestamp, Timestamp),
        failures: u32,
    ) -> Pull {
        let text = image_of(pod, name);
        match result {
            Ok((image, took)) => {
                let message = format!(
                    "Successfully pulled image \"{text}\" in {} ({} including waiting). Image size: {} bytes.",
                    seconds(took),
                    seconds(now.duration_since(since)),
                    image.size
                );
                self.event(pod, name, EventType::Normal, "Pulled", message);
                Pull::Done(image)
            }
            Err(message) => {
                let told = format!("Failed to pull image \"{text}\": {message}");
                self.event(pod, name, EventType::Warning, "Failed", told);
                self.event(pod, name, EventType::Warning, "Failed", "Error: ErrImagePull".to_owned());
                let wait = (BACKOFF_INITIAL * 2_u32.saturating_pow(failures.min(16))).min(BACKOFF_MAX);
                let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
                Pull::Failed { message, at: now, until, failures: failures + 1, told: false }
            }
        }
    }

    /// When a failed pull has to be called a back-off.
    pub(super) fn next_pull_step(state: &PodState) -> Option<Duration> {
        let fresh = state.pulls.values().any(|pull| matches!(pull, Pull::Failed { told: false, .. }));
        fresh.then_some(FRESH)
    }
}

fn image_of<'a>(pod: &'a Pod, container: &str) -> &'a str {
    super::sync::find(pod, container).map_or("", |container| container.image.as_str())
}

fn seconds(took: SignedDuration) -> String {
    let took = took.as_millis();
    if took < 1000 { format!("{took}ms") } else { format!("{:.3}s", took as f64 / 1000.0) }
}

/// Tries the mirrors and then the registry itself. The error is the registry's own, with what each mirror said: where
/// the registry cannot be reached at all, that is what helps.
async fn pull_from_any(
    runtime: &dyn Runtime,
    reference: &Reference,
    config: &crate::runtime::image::RegistryConfig,
    keyring: &Keyring,
) -> Result<Image, RuntimeError> {
    let mut last = RuntimeError::NotFound(reference.name());
    let mut said: Vec<(String, String)> = Vec::new();
    for source in reference.sources(config) {
        let mut accounts: Vec<Option<Credentials>> =
            keyring.lookup(&source.name).into_iter().map(Some).collect();
        if accounts.is_empty() || source.credentials.is_some() {
            accounts.push(source.credentials);
        }
        for credentials in accounts {
            let pull = ImagePull { source: source.name.clone(), name: reference.name(), credentials };
            match runtime.pull_image(&pull).await {
                Ok(image) => return Ok(image),
                Err(error) if error.is_down() => return Err(error),
                Err(error) => last = error,
            }
        }
        said.push((source.name, last.to_string()));
    }
    let registry = said.pop();
    match registry {
        Some((_, message)) if !said.is_empty() => {
            let mirrors =
                said.into_iter().map(|(name, message)| format!("; from the mirror as {name}: {message}"));
            Err(RuntimeError::Failed(mirrors.fold(message, |all, mirror| all + &mirror)))
        }
        Some(_) | None => Err(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::image::RegistryConfig;
    use crate::testing::{FakeRuntime, Script};

    #[tokio::test(start_paused = true)]
    async fn who_cannot_pull_hears_of_the_mirror_too() {
        let shutdown = component::Shutdown::new();
        let clock = component::TestClock::at(Timestamp::UNIX_EPOCH);
        let runtime = FakeRuntime::new(clock, &shutdown);
        let refusals = ["manifest unknown", "no such host"].map(str::to_owned);
        runtime.script("web:2", Script { pull_errors: refusals.into(), ..Script::default() });
        let mirrors = [("docker.io".to_owned(), vec!["http://mirror:5000".to_owned()])].into();
        let config = RegistryConfig { mirrors, ..RegistryConfig::default() };
        let reference = Reference::parse("web:2", &config).expect("a valid name");
        let error = pull_from_any(&runtime, &reference, &config, &Keyring::default()).await.err();
        let expected = "no such host; from the mirror as mirror:5000/library/web:2: manifest unknown";
        assert_eq!(error.map(|error| error.to_string()).as_deref(), Some(expected));
    }
}
