//! Shutdown as a parameter: one token that says "stop", one tracker that knows which tasks still run.
//!
//! Clones share everything. A task that panics fails the whole: the daemon drains and exits with 1, and whoever
//! supervises it starts it anew with a clean state.

use std::any::Any;
use std::borrow::Cow;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// Tells every task to end, and waits until they have.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
    failure: Arc<OnceLock<String>>,
}

impl Shutdown {
    /// A shutdown that nobody has asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every task to end.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Asks every task to end because something cannot go on; the first reason is kept.
    pub fn fail(&self, reason: impl Into<String>) {
        let _already_failed = self.failure.set(reason.into());
        self.trigger();
    }

    /// Why the daemon ends, when it does not end because it was asked to.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Whether the end has been asked for.
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the end is asked for. Safe to use in `select!`.
    pub async fn triggered(&self) {
        self.token.cancelled().await;
    }

    /// The token itself, for libraries that take one.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Waits until every task has ended, at most `grace`; says whether all have.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }

    /// How many tasks run.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }
}

/// Starts a task: the only way to do so. The task has a name for logs, is waited for at shutdown, and its panic
/// ends the daemon.
pub fn spawn<F>(shutdown: &Shutdown, name: impl Into<Cow<'static, str>>, task: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let name = name.into();
    let owner = shutdown.clone();
    shutdown.tasks.spawn(async move {
        if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
            let reason = panic_text(panic.as_ref());
            error!(task = %name, %reason, "task panicked");
            owner.fail(format!("task {name} panicked: {reason}"));
        }
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&'static str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_a_task_fails_the_daemon() {
        let shutdown = Shutdown::new();
        spawn(&shutdown, "quiet", async {});
        spawn(&shutdown, "loud", async { panic!("no more {}", "rope") });
        shutdown.triggered().await;
        assert_eq!(shutdown.failure(), Some("task loud panicked: no more rope"));
        assert!(shutdown.drain(Duration::from_secs(5)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn draining_gives_up_after_the_grace_period() {
        let shutdown = Shutdown::new();
        let never = spawn(&shutdown, "never", std::future::pending());
        shutdown.trigger();
        assert!(!shutdown.drain(Duration::from_secs(5)).await);
        never.abort();
        assert!(shutdown.drain(Duration::from_secs(5)).await);
    }
}
