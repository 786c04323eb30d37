//! Last words: what containers that have ended left in their termination file, or else at the end of their log.
//!
//! Both are the container's own writing, of any size: never more than a few kilobytes are read, from the end, and not
//! on a thread that others wait for. What a container said last does not change: it is read once.

use std::collections::HashMap;
use std::io::SeekFrom;
use std::path::Path;

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::sync::find;
use super::{PodState, Shared};
use crate::pod::{Pod, TerminationMessagePolicy};
use crate::runtime::{ContainerRecord, ContainerState, LogOptions, RuntimePod};

/// No more of a termination file is reported.
const FILE_LIMIT: usize = 4096;

/// No more of a log: so many bytes of so many lines.
const LOG_LIMIT: usize = 2048;
const LOG_LINES: u64 = 80;

/// All containers of a pod together say no more than this.
const POD_LIMIT: usize = 12 * 1024;

impl Shared {
    /// Reads the last words of containers that have ended since the last look.
    pub(super) async fn hear_last_words(&self, state: &mut PodState, pod: &Pod, runtime: &RuntimePod) {
        state.last_words.retain(|id, _| runtime.containers.iter().any(|record| record.id == *id));
        let count = pod.spec.containers.len() + pod.spec.init_containers.len();
        let share = POD_LIMIT / count.max(1);
        for record in &runtime.containers {
            let is_shown = [runtime.latest(&record.name), runtime.previous(&record.name)]
                .into_iter()
                .flatten()
                .any(|shown| shown.id == record.id);
            let has_ended = record.state == ContainerState::Exited && record.start_error.is_none();
            if is_shown && has_ended && !state.last_words.contains_key(&record.id) {
                let words = self.last_words(pod, record).await;
                state.last_words.insert(record.id.clone(), text(&words[..words.len().min(share)]));
            }
        }
    }

    async fn last_words(&self, pod: &Pod, record: &ContainerRecord) -> Vec<u8> {
        let mut words = Vec::new();
        if let Some(path) = &record.termination_message {
            match tail(path, FILE_LIMIT).await {
                Ok(bytes) => words = bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return format!("Error on reading termination log {}: {error}", path.display()).into();
                }
            }
        }
        let falls_back = find(pod, &record.name).is_some_and(|container| {
            container.termination_message_policy == TerminationMessagePolicy::FallbackToLogsOnError
        });
        if words.is_empty() && falls_back && record.exit_code != 0 {
            words = self.end_of_log(&record.id).await;
        }
        words
    }

    async fn end_of_log(&self, id: &str) -> Vec<u8> {
        let options =
            LogOptions { tail: Some(LOG_LINES), stdout: true, stderr: true, ..LogOptions::default() };
        let mut log = self.dependencies.runtime.logs(id, options);
        let mut end = Vec::new();
        while let Some(piece) = log.next().await {
            match piece {
                Ok(piece) => end.extend_from_slice(&piece),
                Err(error) => return format!("Error reading container log: {error}").into(),
            }
            end.drain(..end.len().saturating_sub(LOG_LIMIT));
        }
        end
    }
}

/// The last bytes of a file.
async fn tail(path: &Path, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut file = tokio::fs::File::open(path).await?;
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let length = file.metadata().await?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit))).await?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Container id to its last words.
pub type LastWords = HashMap<String, String>;
