//! What the scheduler measures, under the names of Kubernetes.

use std::sync::atomic::AtomicU64;

use component::Metrics as Registry;
use component::prometheus_client::encoding::EncodeLabelSet;
use component::prometheus_client::metrics::counter::Counter;
use component::prometheus_client::metrics::family::Family;
use component::prometheus_client::metrics::gauge::Gauge;

use crate::queue::Queue;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Which part of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabel {
    queue: &'static str,
}

/// The scheduler's numbers.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    attempts: Family<ResultLabel, Counter<u64, AtomicU64>>,
    pending: Family<QueueLabel, Gauge>,
}

impl Metrics {
    /// Numbers that show in `/metrics`.
    pub fn register(registry: &Registry) -> Self {
        let metrics = Self::default();
        registry.register(|registry| {
            registry.register(
                "scheduler_schedule_attempts",
                "Attempts to schedule pods, by result",
                metrics.attempts.clone(),
            );
            registry.register(
                "scheduler_pending_pods",
                "Pods that wait, by the part of the queue",
                metrics.pending.clone(),
            );
        });
        metrics
    }

    /// A pod was tried.
    pub fn attempted(&self, scheduled: bool) {
        let result = if scheduled { "scheduled" } else { "unschedulable" };
        self.attempts.get_or_create(&ResultLabel { result }).inc();
    }

    /// The queue as it is.
    pub fn waiting(&self, queue: &Queue) {
        let (active, backoff, unschedulable, gated) = queue.lengths();
        let parts =
            [("active", active), ("backoff", backoff), ("unschedulable", unschedulable), ("gated", gated)];
        for (queue, length) in parts {
            self.pending.get_or_create(&QueueLabel { queue }).set(i64::try_from(length).unwrap_or(i64::MAX));
        }
    }
}
