//! The frame of every controller: workers take keys from a queue and reconcile them, one key at a time.

use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use component::{ErrorChain, Shutdown, spawn};
use tracing::{Instrument as _, debug, debug_span, warn};

use crate::{ClientError, WorkQueue};

/// How long a key waits for an apiserver that does not answer: that is not the key's fault, and its delay does not
/// grow.
const NO_ANSWER_DELAY: Duration = Duration::from_secs(1);

/// Runs `workers` workers until shutdown. `reconcile` brings one key to where it should be; it says when to look
/// again, if at all. After an error the key is tried again with a growing delay.
pub fn run_controller<T, F, Fut, E>(
    name: &'static str,
    queue: &WorkQueue<T>,
    workers: usize,
    reconcile: F,
    shutdown: &Shutdown,
) where
    T: Clone + Eq + Hash + Display + Send + Sync + 'static,
    F: Fn(T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<Duration>, E>> + Send + 'static,
    E: Error + Send + Sync + 'static,
{
    let reconcile = Arc::new(reconcile);
    for _ in 0..workers {
        let (queue, reconcile, stop) = (queue.clone(), Arc::clone(&reconcile), shutdown.clone());
        spawn(shutdown, name, async move {
            while let Some(key) = queue.next().await {
                if stop.is_triggered() {
                    // What is left is found again by the next one to start.
                    return;
                }
                let span = debug_span!("reconcile", controller = name, %key);
                match reconcile(key.clone()).instrument(span).await {
                    Ok(again) => {
                        queue.forget(&key);
                        if let Some(delay) = again {
                            queue.add_after(key.clone(), delay);
                        }
                    }
                    Err(error) => {
                        let cause = client_error(&error);
                        report(name, &key, queue.failures(&key), &error, cause);
                        if matches!(cause, Some(ClientError::Transport(_))) {
                            queue.add_after(key.clone(), NO_ANSWER_DELAY);
                        } else {
                            queue.add_rate_limited(key.clone());
                        }
                    }
                }
                queue.done(&key);
            }
        });
    }
    let (stop, queue) = (shutdown.clone(), queue.clone());
    spawn(shutdown, name, async move {
        stop.triggered().await;
        queue.shut_down();
    });
}

/// The failed request that is behind an error, if one is.
fn client_error<E: Error + 'static>(error: &E) -> Option<&ClientError> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(client) = error.downcast_ref() {
            return Some(client);
        }
        cause = error.source();
    }
    None
}

/// A conflict, or an apiserver that is away for a moment, is daily life; what stays is worth a line.
fn report(
    controller: &str,
    key: &impl Display,
    failures: u32,
    error: &(dyn Error + 'static),
    cause: Option<&ClientError>,
) {
    let daily =
        cause.is_some_and(|cause| cause.is_conflict() || cause.is_not_found() || cause.is_retryable());
    if daily && failures < 5 {
        debug!(controller, %key, failures, error = %ErrorChain(error), "reconcile failed");
    } else {
        warn!(controller, %key, failures, error = %ErrorChain(error), "reconcile failed");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_tried_until_it_succeeds_and_again_when_asked_for() {
        let shutdown = Shutdown::new();
        let queue = WorkQueue::new();
        let calls = Arc::new(AtomicU32::new(0));
        let (seen, stop) = (Arc::clone(&calls), shutdown.clone());
        let reconcile = move |key: String| {
            let call = seen.fetch_add(1, Ordering::SeqCst);
            let stop = stop.clone();
            async move {
                assert_eq!(key, "default/web");
                match call {
                    0 | 1 => Err(ClientError::Protocol("not yet")),
                    2 => Ok(Some(Duration::from_secs(60))),
                    _ => {
                        stop.trigger();
                        Ok(None)
                    }
                }
            }
        };
        run_controller("test", &queue, 3, reconcile, &shutdown);
        let start = Instant::now();
        queue.add("default/web".to_owned());
        shutdown.triggered().await;
        assert_eq!(start.elapsed().as_secs(), 60);
        assert!(shutdown.drain(Duration::from_secs(5)).await);
        assert_eq!(calls.load(Ordering::SeqCst), 4);
        assert_eq!(queue.failures(&"default/web".to_owned()), 0);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("sync the status")]
    struct Outer(#[source] ClientError);

    #[tokio::test(start_paused = true)]
    async fn an_apiserver_that_is_away_for_long_does_not_make_a_key_wait_for_long() {
        let shutdown = Shutdown::new();
        let queue = WorkQueue::new();
        let (stop, start) = (shutdown.clone(), Instant::now());
        let reconcile = move |_: &'static str| {
            let stop = stop.clone();
            async move {
                // Away for ten minutes.
                if start.elapsed() < Duration::from_secs(600) {
                    return Err(Outer(tonic::Status::unavailable("connection refused").into()));
                }
                stop.trigger();
                Ok(None)
            }
        };
        run_controller("test", &queue, 1, reconcile, &shutdown);
        queue.add("web");
        shutdown.triggered().await;
        assert!(start.elapsed() < Duration::from_secs(602), "{:?}", start.elapsed());
        assert!(shutdown.drain(Duration::from_secs(5)).await);
    }
}
