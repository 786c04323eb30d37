//! The log of a test: shown when the test fails, and a failure itself where it warns of what nobody expects.

use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::{EnvFilter, Registry, fmt};

/// What is logged for a test on this thread, until this is dropped.
pub struct Logs {
    warnings: Arc<Mutex<Vec<String>>>,
    expected: Vec<(&'static str, &'static str)>,
    _guard: DefaultGuard,
}

impl Logs {
    /// Begins to listen to this thread.
    pub fn listen() -> Self {
        let warnings = Arc::default();
        let subscriber = Registry::default()
            .with(EnvFilter::new("info,h2=warn,hyper=warn,tower=warn"))
            .with(fmt::layer().with_test_writer().with_ansi(false))
            .with(Warnings(Arc::clone(&warnings)));
        let guard = tracing::subscriber::set_default(subscriber);
        Self { warnings, expected: Vec::new(), _guard: guard }
    }

    /// Lets pass what contains `text`, because of `reason`.
    pub fn expect(&mut self, text: &'static str, reason: &'static str) {
        assert!(!reason.is_empty(), "say why {text:?} is expected");
        self.expected.push((text, reason));
    }

    /// The warnings and errors that nobody expects.
    pub fn unexpected(&self) -> Vec<String> {
        let warnings = self.warnings.lock();
        let is_expected = |line: &&String| self.expected.iter().any(|(text, _)| line.contains(text));
        warnings.iter().filter(|line| !is_expected(line)).cloned().collect()
    }
}

struct Warnings(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level <= Level::WARN {
            let mut line = Line(format!("{level} {}:", event.metadata().target()));
            event.record(&mut line);
            self.0.lock().push(line.0);
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_kept_and_the_expected_ones_pass() {
        let mut logs = Logs::listen();
        tracing::info!("all is well");
        tracing::warn!(node = "n1", "silent");
        tracing::error!("broken");
        assert_eq!(logs.unexpected().len(), 2);
        logs.expect("silent", "the test silences it");
        assert_eq!(logs.unexpected(), ["ERROR cluster::logs::tests: broken"]);
    }
}
