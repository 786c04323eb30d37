//! Tasks of this process that follow what is stored and write what follows from it, as controllers do: begun again
//! from the start whenever a watch ends too early or a write fails. What they do is level-triggered, so nothing is
//! lost by that.

use std::future::Future;
use std::time::Duration;

use api::status::Status;
use component::{Context, ErrorChain, spawn};
use store::ReadError;
use tracing::warn;

/// How long a task rests after a write that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// Why following ended.
pub(crate) enum Failure {
    /// The watch did.
    Read(ReadError),
    /// What follows could not be written.
    Write(Status),
}

/// Runs `follow`, over and over, until it ends by itself, the store is closed, or shutdown. `doing` is what a failed
/// write is told as.
pub(crate) fn keep<F>(
    context: &Context,
    name: &'static str,
    doing: &'static str,
    follow: impl Fn() -> F + Send + 'static,
) where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let stopping = context.shutdown.clone();
    spawn(&context.shutdown, name, async move {
        loop {
            let ended = tokio::select! {
                () = stopping.triggered() => return,
                ended = follow() => ended,
            };
            match ended {
                Ok(()) | Err(Failure::Read(ReadError::Closed)) => return,
                Err(Failure::Read(_)) => {}
                Err(Failure::Write(status)) => {
                    warn!(error = %ErrorChain(&status), task = name, doing);
                    tokio::select! {
                        () = stopping.triggered() => return,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
            }
        }
    });
}
