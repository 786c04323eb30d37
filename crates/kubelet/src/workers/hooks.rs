//! Hooks of containers: after their start and before their end.
//!
//! A hook is no probe: any answer to a request counts, and a connection alone is nothing that Kubernetes serves here,
//! though the API has a field for it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use component::spawn;

use super::Shared;
use crate::pod::{Container, LifecycleHandler, Pod};
use crate::probe::run::{Verdict, exec, http_request};
use crate::runtime::Signal;

/// A command of a hook may take as long as its container lives, or as its grace period lasts.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);

impl Shared {
    /// Runs a hook to its end.
    async fn hook(
        &self,
        container: &Container,
        id: &str,
        ip: Option<IpAddr>,
        hook: &LifecycleHandler,
    ) -> Result<(), String> {
        if let Some(action) = &hook.exec {
            match exec(&*self.dependencies.runtime, id, action, NO_LIMIT).await {
                Verdict::Success => Ok(()),
                Verdict::Failure(message) | Verdict::Unknown(message) => Err(message),
            }
        } else if let Some(action) = &hook.http_get {
            http_request(container, ip, action).await.map(|_| ())
        } else if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
            Ok(())
        } else {
            Err("invalid handler: only exec, httpGet and sleep are supported".to_owned())
        }
    }

    /// Runs the hook beside everything else; a container whose hook fails is ended.
    pub(super) fn post_start(
        self: &Arc<Self>,
        pod: &Arc<Pod>,
        ips: &[String],
        container: &Container,
        id: String,
    ) {
        let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone())
        else {
            return;
        };
        let (this, pod, container) = (Arc::clone(self), Arc::clone(pod), container.clone());
        let ip = ips.first().and_then(|ip| ip.parse().ok());
        spawn(&self.dependencies.shutdown, "post-start", async move {
            let Err(message) = this.hook(&container, &id, ip, &hook).await else { return };
            let text = format!("PostStartHook failed: {message}");
            this.event(&pod, &container.name, EventType::Warning, "FailedPostStartHook", text);
            let grace = Duration::from_secs(u64::try_from(pod.grace_seconds()).unwrap_or(0));
            if !grace.is_zero() {
                this.signal(&id, Signal::Stop).await;
                tokio::time::sleep(grace).await;
            }
            this.signal(&id, Signal::Kill).await;
        });
    }

    /// Runs the hook of a container that is to end. The caller bounds it by the grace period.
    pub(super) async fn pre_stop(
        &self,
        pod: &Pod,
        container: &Container,
        id: &str,
        hook: &LifecycleHandler,
        ip: Option<IpAddr>,
    ) {
        if let Err(message) = self.hook(container, id, ip, hook).await {
            let text = format!("PreStopHook failed: {message}");
            self.event(pod, &container.name, EventType::Warning, "FailedPreStopHook", text);
        }
    }
}
