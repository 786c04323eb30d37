//! The loop: whenever Services or their endpoints change, compute, compare, apply.
//!
//! Level-triggered: a wake-up says that something has changed, not what. While one change is applied others gather,
//! and the next round takes them all. What is in the kernel is known from what was applied; where that is not
//! known (a start, a failure, a table that somebody flushed) the whole table is replaced.

use std::sync::Arc;
use std::time::Duration;

use client::Store;
use component::health::Check;
use component::prometheus_client::metrics::counter::Counter;
use component::prometheus_client::metrics::gauge::Gauge;
use component::prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use component::prometheus_client::registry::Registry;
use component::{ErrorChain, Shutdown, spawn};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::apply::{Apply, ApplyError};
use crate::objects::{EndpointSlice, Service};
use crate::rules::{self, RuleSet};
use crate::{Network, host, render};

/// How often it is looked whether everything is still in place, when nothing changes.
pub(crate) const RESYNC: Duration = Duration::from_secs(60);

/// The waits after failures.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Says that something has changed. Clones wake the same loop.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Something has changed.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits until something has.
    pub(crate) async fn woken(&self) {
        self.0.notified().await;
    }
}

/// What the loop reads and tells.
pub struct Inputs {
    /// The Services.
    pub services: Store<Service>,
    /// Their endpoints.
    pub slices: Store<EndpointSlice>,
    /// Woken when one of both changes.
    pub wake: Wake,
    /// Whether the kernel has what it should have.
    pub ready: Check,
    /// What is measured.
    pub metrics: SyncMetrics,
}

/// What is measured, under the names of Kubernetes.
#[derive(Debug, Clone)]
pub struct SyncMetrics {
    duration: Histogram,
    last: Gauge,
    failures: Counter,
}

impl SyncMetrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            duration: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            last: Gauge::default(),
            failures: Counter::default(),
        };
        registry.register(
            "kubeproxy_sync_proxy_rules_duration_seconds",
            "Latency of one round of syncing rules",
            metrics.duration.clone(),
        );
        registry.register(
            "kubeproxy_sync_proxy_rules_services",
            "Addresses of Services that are served",
            metrics.last.clone(),
        );
        registry.register(
            "kubeproxy_sync_proxy_rules_nftables_sync_failures",
            "Transactions that failed",
            metrics.failures.clone(),
        );
        metrics
    }
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// Nothing differed.
    Nothing,
    /// What differed was applied.
    Difference,
    /// The whole table was replaced.
    Everything,
}

/// Keeps the kernel's table equal to the rules.
pub struct Proxier<A> {
    apply: A,
    layout: render::Layout,
    node: String,
    /// What the kernel has, as far as that is known.
    applied: Option<RuleSet>,
}

impl<A: Apply> Proxier<A> {
    /// Nothing is known of what the kernel has.
    pub fn new(apply: A, network: Network, node: String) -> Self {
        let layout = render::Layout { network, masquerade_pods: false };
        Self { apply, layout, node, applied: None }
    }

    /// Brings the kernel from what it has to `rules`.
    pub async fn sync(&mut self, rules: RuleSet) -> Result<Synced, ApplyError> {
        let (script, synced) = match &self.applied {
            Some(applied) => (render::diff(applied, &rules), Synced::Difference),
            None => (render::full(&self.layout, &rules), Synced::Everything),
        };
        if script.is_empty() {
            return Ok(Synced::Nothing);
        }
        // Unknown until the transaction is through.
        let before = self.applied.take().unwrap_or_default();
        self.apply.apply(&script).await?;
        host::conntrack::forget_stale(&before, &rules);
        self.applied = Some(rules);
        Ok(synced)
    }

    /// Looks whether the table is still what was applied to, and forgets that it was where it is not.
    pub async fn check(&mut self, masquerade_pods: bool) -> Result<(), ApplyError> {
        if self.layout.masquerade_pods != masquerade_pods {
            self.layout.masquerade_pods = masquerade_pods;
            self.applied = None;
        }
        if self.applied.is_some() && !self.apply.is_present().await? {
            warn!("the nftables table is gone: making it anew");
            self.applied = None;
        }
        Ok(())
    }

    /// Runs until shutdown.
    pub fn spawn(mut self, inputs: Inputs, shutdown: &Shutdown) {
        let stop = shutdown.clone();
        spawn(shutdown, "proxier", async move {
            tokio::select! {
                () = stop.triggered() => {}
                () = self.run(inputs) => {}
            }
        });
    }

    async fn run(&mut self, inputs: Inputs) {
        // Applying half of what there is would cut the connections of the other half.
        inputs.services.wait_synced().await;
        inputs.slices.wait_synced().await;
        let mut retry = RETRY.0;
        let mut check_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= check_at {
                check_at = now + RESYNC;
                host::prepare(&self.layout.network).await;
                let checked = self.check(host::pods_need_masquerade()).await;
                if let Err(error) = checked {
                    warn!(error = %ErrorChain(&error), "look at the nftables table");
                }
            }
            let rules = rules::compute(&inputs.services.list(), &inputs.slices.list(), &self.node);
            let addresses = rules.frontends.len();
            let wait = match self.sync(rules).await {
                Ok(synced) => {
                    self.report(synced, addresses, now.elapsed(), &inputs);
                    retry = RETRY.0;
                    check_at.saturating_duration_since(Instant::now())
                }
                Err(error) => {
                    warn!(error = %ErrorChain(&error), ?retry, "sync of the rules failed");
                    inputs.metrics.failures.inc();
                    inputs.ready.fail(ErrorChain(&error).to_string());
                    let wait = retry;
                    retry = (retry * 2).min(RETRY.1);
                    tokio::time::sleep(wait).await;
                    continue;
                }
            };
            tokio::select! {
                () = inputs.wake.woken() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn report(&self, synced: Synced, addresses: usize, took: Duration, inputs: &Inputs) {
        inputs.ready.ok();
        match synced {
            Synced::Nothing => return,
            Synced::Difference => debug!(addresses, ?took, "rules changed"),
            Synced::Everything => info!(addresses, ?took, "rules are in place"),
        }
        inputs.metrics.duration.observe(took.as_secs_f64());
        inputs.metrics.last.set(i64::try_from(addresses).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
