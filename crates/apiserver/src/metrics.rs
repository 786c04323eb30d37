//! What the server counts about its requests, under the names that Kubernetes uses.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use store::Store;

/// Upper bounds of the buckets of durations, in seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// How many requests may be handled at once. Twice and more of what Kubernetes takes: none of them waits for a disk
/// that is not its own.
const MAX_READING: i64 = 1000;
const MAX_MUTATING: i64 = 1000;

/// How many watches, logs and other streams there may be before new watches are refused.
const MAX_STREAMS: i64 = 50_000;

/// What a request was, for its metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    pub(crate) verb: &'static str,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) scope: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Counted {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    code: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InFlight {
    request_kind: &'static str,
}

/// Counters of requests.
pub(crate) struct Requests {
    total: Family<Counted, Counter>,
    duration: Family<Labels, Histogram, fn() -> Histogram>,
    reading: Gauge,
    mutating: Gauge,
    watching: Gauge<i64, AtomicI64>,
}

/// A request that is being handled; ends when it is dropped.
pub(crate) struct Going(Gauge);

impl Drop for Going {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Requests {
    /// Makes the metrics known.
    pub(crate) fn register(registry: &mut Registry, store: &Store) -> Self {
        let total = Family::default();
        registry.register(
            "apiserver_request",
            "Requests by verb, resource and the HTTP code of the answer",
            total.clone(),
        );
        let duration: Family<Labels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register(
            "apiserver_request_duration_seconds",
            "How long requests took, watches left out",
            duration.clone(),
        );
        let in_flight = Family::<InFlight, Gauge>::default();
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests that are being handled",
            in_flight.clone(),
        );
        let kind = |request_kind| in_flight.get_or_create(&InFlight { request_kind }).clone();
        let watching = Gauge::default();
        registry.register("apiserver_longrunning_requests", "Open watches and logs", watching.clone());
        registry.register_collector(Box::new(OfStore(store.clone())));
        Self { total, duration, reading: kind("readOnly"), mutating: kind("mutating"), watching }
    }

    /// A request begins, if there are not too many already.
    pub(crate) fn begin(&self, mutating: bool) -> Option<Going> {
        let (gauge, most) =
            if mutating { (&self.mutating, MAX_MUTATING) } else { (&self.reading, MAX_READING) };
        let going = Going(gauge.clone());
        // The gauge is what `Going` gives back, so it counts this request from here on.
        if gauge.inc() < most { Some(going) } else { None }
    }

    /// A watch begins, unless there are too many already: each costs a little memory for as long as it lasts.
    pub(crate) fn begin_watch(&self) -> Option<Going> {
        (self.watching.get() < MAX_STREAMS).then(|| self.begin_stream())
    }

    /// A log or another stream begins.
    pub(crate) fn begin_stream(&self) -> Going {
        self.watching.inc();
        Going(self.watching.clone())
    }

    /// A request is answered.
    pub(crate) fn answered(&self, labels: Labels, code: u16, took: Option<Duration>) {
        if let Some(took) = took {
            self.duration.get_or_create(&labels).observe(took.as_secs_f64());
        }
        let Labels { verb, group, version, resource, subresource, scope } = labels;
        let counted = Counted { verb, group, version, resource, subresource, scope, code };
        self.total.get_or_create(&counted).inc();
    }
}

/// Looks at the store each time it is asked.
#[derive(Debug)]
struct OfStore(Store);

impl Collector for OfStore {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let snapshot = self.0.snapshot();
        let gauge = |number: u64| ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
        let revision = gauge(snapshot.revision().0);
        revision.encode(encoder.encode_descriptor(
            "store_revision",
            "The newest revision of the store",
            None,
            revision.metric_type(),
        )?)?;
        let oldest = gauge(self.0.oldest().0);
        oldest.encode(encoder.encode_descriptor(
            "store_oldest_revision",
            "The oldest revision that can be read",
            None,
            oldest.metric_type(),
        )?)?;
        let objects: usize = snapshot.buckets().map(|bucket| snapshot.len(bucket)).sum();
        let objects = gauge(objects as u64);
        objects.encode(encoder.encode_descriptor(
            "store_objects",
            "Objects that are stored",
            None,
            objects.metric_type(),
        )?)
    }
}
