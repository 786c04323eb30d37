//! What is tidied up every minute: events live an hour, and what abandoned writes had taken is given back.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use store::{Change, Entry, Precondition, Write};

use super::{Answer, Pipeline, object};

/// How long an event is kept after its last change.
const TIME_TO_LIVE: SignedDuration = SignedDuration::from_secs(3600);

/// How often maintenance looks: an event may outlive its hour by this.
pub const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// How many events go in one group.
const GROUP: usize = 512;

impl Pipeline {
    /// Deletes the events whose time is over, gives how many, and gives back the Service addresses of abandoned
    /// writes. To be called every [`EXPIRE_EVERY`].
    pub async fn expire_events(&self, now: Timestamp) -> Answer<usize> {
        let snapshot = self.inner.store.snapshot();
        self.inner.kinds.reconcile(&snapshot);
        let old: Vec<_> = snapshot
            .list(&self.inner.buckets.events, None, None)
            .filter(|entry| is_over(entry, now))
            .cloned()
            .collect();
        let mut gone = 0;
        for group in old.chunks(GROUP) {
            let mut writes = Vec::with_capacity(group.len());
            for entry in group {
                writes.push(Write {
                    key: entry.key.clone(),
                    precondition: Precondition::Revision(entry.revision),
                    change: Change::Delete { last: object::template(&object::stored(entry)?) },
                    author: None,
                });
            }
            let results = self.inner.store.write_all(writes).await;
            gone += results.iter().filter(|result| result.is_ok()).count();
        }
        Ok(gone)
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Times {
    metadata: CreationTime,
    last_timestamp: Option<String>,
    series: Option<Series>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct CreationTime {
    creation_timestamp: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Series {
    last_observed_time: Option<String>,
}

fn is_over(entry: &Entry, now: Timestamp) -> bool {
    let Ok(times) = serde_json::from_slice::<Times>(&entry.value) else { return false };
    let series = times.series.and_then(|series| series.last_observed_time);
    let last = [times.metadata.creation_timestamp, times.last_timestamp, series]
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse::<Timestamp>().ok())
        .max();
    last.is_some_and(|last| now.duration_since(last) > TIME_TO_LIVE)
}
