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
        let (queue, reconcile) = (queue.clone(), Arc::clone(&reconcile));
        spawn(shutdown, name, async move {
            while let Some(key) = queue.next().await {
                let span = debug_span!("reconcile", controller = name, %key);
                match reconcile(key.clone()).instrument(span).await {
                    Ok(again) => {
                        queue.forget(&key);
                        if let Some(delay) = again {
                            queue.add_after(key.clone(), delay);
                        }
                    }
                    Err(error) => {
                        report(name, &key, queue.failures(&key), &error);
                        queue.add_rate_limited(key.clone());
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

/// A conflict, or an apiserver that is away for a moment, is daily life; what stays is worth a line.
fn report<E: Error + 'static>(controller: &str, key: &impl Display, failures: u32, error: &E) {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut daily = false;
    while let Some(error) = cause {
        if let Some(client) = error.downcast_ref::<ClientError>() {
            daily = client.is_conflict() || client.is_not_found() || client.is_retryable();
        }
        cause = error.source();
    }
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
}
