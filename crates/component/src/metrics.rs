//! The metrics of a daemon in the OpenMetrics text format, with the process metrics every daemon has.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

/// What `/metrics` answers as.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Clock ticks per second in /proc (`USER_HZ`, which Linux fixes for user space).
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes per page in /proc/self/statm, on the machines we run on.
const PAGE: u64 = 4096;

/// A gauge of a fraction, as seconds.
pub type FloatGauge = Gauge<f64, AtomicU64>;

/// A document that a daemon serves beside its own metrics: its type and its text, made when it is asked for.
pub type Page = Pin<Box<dyn Future<Output = (&'static str, String)> + Send>>;

type Maker = Arc<dyn Fn() -> Page + Send + Sync>;

/// The registry of a daemon. Clones share it.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    pages: Arc<Mutex<HashMap<&'static str, Maker>>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry with the process metrics.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        Self { registry: Arc::new(Mutex::new(registry)), pages: Arc::default() }
    }

    /// Serves one more document at a path of the metrics address, as `/metrics/cadvisor`.
    pub fn serve_page(&self, path: &'static str, make: impl Fn() -> Page + Send + Sync + 'static) {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).insert(path, Arc::new(make));
    }

    /// Begins to make the document of a path, where there is one.
    pub fn page(&self, path: &str) -> Option<Page> {
        let maker = self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        maker.map(|make| make())
    }

    /// Registers what a module measures: each module has one struct with a `register` that is called here.
    pub fn register<T>(&self, with: impl FnOnce(&mut Registry) -> T) -> T {
        with(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics as text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("writing to a String does not fail");
        text
    }
}

/// Reads /proc each time it is asked.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(usage) = usage() else { return Ok(()) };
        let cpu = ConstCounter::new(usage.cpu_seconds);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds",
            None,
            cpu.metric_type(),
        )?)?;
        let memory = ConstGauge::new(usage.resident_bytes);
        memory.encode(encoder.encode_descriptor(
            "process_resident_memory_bytes",
            "Resident memory size in bytes",
            None,
            memory.metric_type(),
        )?)?;
        let start = ConstGauge::new(usage.start_time);
        start.encode(encoder.encode_descriptor(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds",
            None,
            start.metric_type(),
        )?)?;
        let files = ConstGauge::new(usage.open_files);
        files.encode(encoder.encode_descriptor(
            "process_open_fds",
            "Number of open file descriptors",
            None,
            files.metric_type(),
        )?)
    }
}

struct Usage {
    cpu_seconds: f64,
    resident_bytes: i64,
    start_time: f64,
    open_files: i64,
}

fn usage() -> Option<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses and may hold spaces: count from behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    let booted: f64 = std::fs::read_to_string("/proc/stat")
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    let pages: u64 =
        std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(Usage {
        cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
        resident_bytes: i64::try_from(pages * PAGE).ok()?,
        start_time: booted + ticks(19)? / TICKS_PER_SECOND,
        open_files: i64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_metrics_have_their_usual_names_and_plausible_values() {
        let text = Metrics::new().encode();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.and_then(|line| line.split(' ').nth(1)?.parse().ok())
                .unwrap_or_else(|| panic!("{name}: {text}"))
        };
        assert!(value("process_resident_memory_bytes") > 500_000.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_start_time_seconds") > 1.7e9);
        assert!(value("process_open_fds") >= 3.0);
    }
}
