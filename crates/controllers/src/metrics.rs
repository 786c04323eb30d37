//! What the controllers measure, under the names of Kubernetes: the depth of each queue, and reconciles by result.

use std::sync::atomic::AtomicU64;

use component::Metrics as Registry;
use component::prometheus_client::collector::Collector;
use component::prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use component::prometheus_client::metrics::counter::Counter;
use component::prometheus_client::metrics::family::Family;
use component::prometheus_client::metrics::gauge::ConstGauge;
use parking_lot::Mutex;
use std::sync::Arc;

type Depth = Box<dyn Fn() -> usize + Send + Sync>;

/// How a reconcile ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    controller: &'static str,
    result: &'static str,
}

/// The numbers of all controllers. Clones share them.
#[derive(Clone, Default)]
pub struct Metrics {
    depths: Arc<Mutex<Vec<(&'static str, Depth)>>>,
    reconciles: Family<ResultLabels, Counter<u64, AtomicU64>>,
}

impl Metrics {
    /// Numbers that show in `/metrics`.
    pub fn register(registry: &Registry) -> Self {
        let metrics = Self::default();
        registry.register(|registry| {
            registry.register(
                "controller_reconciles",
                "Reconciles of a controller, by result",
                metrics.reconciles.clone(),
            );
            registry.register_collector(Box::new(Depths(Arc::clone(&metrics.depths))));
        });
        metrics
    }

    /// The queue of a controller is measured from now on.
    pub fn queue(&self, name: &'static str, depth: impl Fn() -> usize + Send + Sync + 'static) {
        self.depths.lock().push((name, Box::new(depth)));
    }

    /// A reconcile has ended.
    pub fn reconciled(&self, controller: &'static str, is_ok: bool) {
        let result = if is_ok { "success" } else { "error" };
        self.reconciles.get_or_create(&ResultLabels { controller, result }).inc();
    }
}

/// Asks the queues when it is asked.
struct Depths(Arc<Mutex<Vec<(&'static str, Depth)>>>);

impl std::fmt::Debug for Depths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Depths").finish_non_exhaustive()
    }
}

impl Collector for Depths {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let first = ConstGauge::new(0i64);
        let mut family = encoder.encode_descriptor(
            "workqueue_depth",
            "Keys that wait, by queue",
            None,
            first.metric_type(),
        )?;
        for (name, depth) in self.0.lock().iter() {
            let gauge = ConstGauge::new(i64::try_from(depth()).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("name", *name)])?)?;
        }
        Ok(())
    }
}
