//! Image garbage collection: which images go when the disk of images fills. Pure, but for the [`Ledger`].
//!
//! The engine may hold images that a person put there. Only those go that this kubelet has pulled: a ledger beside
//! the pods' folders says which, and when each was used last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::threshold::Level;
use crate::runtime::NodeImage;

/// When images go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectorConfig {
    /// At this percentage of the disk.
    pub high: u8,
    /// Down to this one.
    pub low: u8,
    /// Not before it has been here for so long.
    pub min_age: Duration,
    /// When it has not been used for so long, whatever the disk.
    pub max_age: Option<Duration>,
}

/// An image that may go, and when it was used last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// Of the runtime.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// Pulled, or seen in use.
    pub used: Timestamp,
}

/// How many bytes are to be freed of a disk; 0 below the high threshold.
pub fn to_free(config: &CollectorConfig, level: Level) -> u64 {
    if level.capacity <= 0 {
        return 0;
    }
    let percent = 100 - level.available.saturating_mul(100) / level.capacity;
    if percent < i64::from(config.high) {
        return 0;
    }
    let wanted = level.capacity / 100 * (100 - i64::from(config.low));
    u64::try_from(wanted - level.available).unwrap_or(0)
}

/// The images to remove: the longest unused first, until so many bytes are free; and those that are too old. Pure.
pub fn plan(config: &CollectorConfig, unused: &[Unused], bytes: u64, now: Timestamp) -> Vec<String> {
    let age = |image: &Unused| Duration::try_from(now.duration_since(image.used)).unwrap_or_default();
    let mut sorted: Vec<&Unused> = unused.iter().collect();
    sorted.sort_by_key(|image| image.used);
    let mut freed = 0;
    let mut plan = Vec::new();
    for image in sorted {
        let is_old = config.max_age.is_some_and(|most| age(image) > most);
        if is_old || (freed < bytes && age(image) >= config.min_age) {
            freed += image.size;
            plan.push(image.id.clone());
        }
    }
    plan
}

/// Which images this kubelet has pulled: a small file for each, with the time of its last use.
#[derive(Debug, Clone)]
pub struct Ledger(PathBuf);

impl Ledger {
    /// Below the root directory of a kubelet.
    pub fn new(root: &Path) -> Self {
        Self(root.join("images"))
    }

    /// An image was pulled, or is in use.
    pub async fn note(&self, id: &str, now: Timestamp) -> std::io::Result<()> {
        tokio::fs::create_dir_all(&self.0).await?;
        tokio::fs::write(self.file(id), now.to_string()).await
    }

    /// An image is gone.
    pub async fn forget(&self, id: &str) -> std::io::Result<()> {
        tokio::fs::remove_file(self.file(id)).await
    }

    /// Of these images, those that this kubelet has pulled and nothing uses; what is used is noted.
    pub async fn unused(&self, images: &[NodeImage], now: Timestamp) -> std::io::Result<Vec<Unused>> {
        let mut known = BTreeMap::new();
        for image in images {
            if let Ok(text) = tokio::fs::read_to_string(self.file(&image.id)).await {
                known.insert(image.id.as_str(), text.trim().parse::<Timestamp>().unwrap_or(now));
            }
        }
        let mut unused = Vec::new();
        for image in images {
            let Some(used) = known.get(image.id.as_str()) else { continue };
            if image.in_use {
                self.note(&image.id, now).await?;
            } else {
                unused.push(Unused { id: image.id.clone(), size: image.size, used: *used });
            }
        }
        Ok(unused)
    }

    fn file(&self, id: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        self.0.join(id.chars().map(plain).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: CollectorConfig =
        CollectorConfig { high: 85, low: 80, min_age: Duration::from_secs(120), max_age: None };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_disk_is_emptied_from_the_high_to_the_low_threshold() {
        for (available, bytes) in [(200, 0), (160, 0), (150, 50), (0, 200)] {
            assert_eq!(to_free(&CONFIG, Level { available, capacity: 1000 }), bytes, "{available}");
        }
    }

    #[test]
    fn the_longest_unused_images_go_first_and_new_ones_stay() {
        let image = |id: &str, used| Unused { id: id.to_owned(), size: 100, used: at(used) };
        let images = [image("b", 200), image("a", 100), image("new", 950), image("c", 300)];
        assert_eq!(plan(&CONFIG, &images, 150, at(1000)), ["a", "b"]);
        assert_eq!(plan(&CONFIG, &images, u64::MAX, at(1000)), ["a", "b", "c"]);
        assert!(plan(&CONFIG, &images, 0, at(1000)).is_empty());
        let config = CollectorConfig { max_age: Some(Duration::from_secs(850)), ..CONFIG };
        assert_eq!(plan(&config, &images, 0, at(1000)), ["a"]);
    }

    #[tokio::test]
    async fn only_images_that_were_pulled_here_and_that_nothing_uses_may_go() {
        let root = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::new(root.path());
        let image = |id: &str, in_use| NodeImage { id: id.to_owned(), size: 1, in_use, names: Vec::new() };
        let images = [image("sha256:a", false), image("sha256:b", true), image("sha256:users", false)];
        ledger.note("sha256:a", at(5)).await.expect("it writes");
        ledger.note("sha256:b", at(5)).await.expect("it writes");
        let unused = ledger.unused(&images, at(9)).await.expect("it reads");
        assert_eq!(unused, [Unused { id: "sha256:a".to_owned(), size: 1, used: at(5) }]);
        let all = [image("sha256:b", false)];
        assert_eq!(ledger.unused(&all, at(20)).await.expect("it reads")[0].used, at(9), "it was in use");
        ledger.forget("sha256:a").await.expect("it is there");
        assert!(ledger.unused(&images, at(9)).await.expect("it reads").is_empty());
    }
}
