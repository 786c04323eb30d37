//! Thresholds of a node's resources, and which of them are met. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use api::quantity::Quantity;
use jiff::Timestamp;

/// What of a node may run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// Bytes of memory; first, since it runs out fastest.
    Memory,
    /// Bytes of the file system that pods write to.
    NodeFs,
    /// Inodes of it.
    NodeFsInodes,
    /// Bytes of the file system of images.
    ImageFs,
    /// Inodes of it.
    ImageFsInodes,
    /// Processes.
    Pid,
}

/// As the configuration and messages name them.
const SIGNALS: [(&str, Signal); 6] = [
    ("memory.available", Signal::Memory),
    ("nodefs.available", Signal::NodeFs),
    ("nodefs.inodesFree", Signal::NodeFsInodes),
    ("imagefs.available", Signal::ImageFs),
    ("imagefs.inodesFree", Signal::ImageFsInodes),
    ("pid.available", Signal::Pid),
];

/// What the node says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// `MemoryPressure`.
    Memory,
    /// `DiskPressure`.
    Disk,
    /// `PIDPressure`.
    Pid,
}

impl Condition {
    /// The type of the node's condition.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Pid => "PIDPressure",
        }
    }
}

impl Signal {
    /// The condition that it stands for.
    pub fn condition(self) -> Condition {
        match self {
            Self::Memory => Condition::Memory,
            Self::NodeFs | Self::NodeFsInodes | Self::ImageFs | Self::ImageFsInodes => Condition::Disk,
            Self::Pid => Condition::Pid,
        }
    }

    /// What messages call the resource.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::NodeFs | Self::ImageFs => "ephemeral-storage",
            Self::NodeFsInodes | Self::ImageFsInodes => "inodes",
            Self::Pid => "pids",
        }
    }

    /// Whether removing images and dead containers may help.
    pub fn is_disk(self) -> bool {
        self.condition() == Condition::Disk
    }

    /// An amount of it, for messages.
    pub fn amount(self, value: i64) -> Quantity {
        match self {
            Self::Memory | Self::NodeFs | Self::ImageFs => Quantity::bytes(value),
            Self::NodeFsInodes | Self::ImageFsInodes | Self::Pid => Quantity::new(value),
        }
    }
}

/// An amount, or a part of what there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// So much.
    Value(i64),
    /// From 0 to 1.
    Part(f64),
}

impl Amount {
    /// So much of `capacity`.
    pub fn of(self, capacity: i64) -> i64 {
        match self {
            Self::Value(value) => value,
            #[allow(clippy::cast_possible_truncation, reason = "a part of an i64 fits one")]
            Self::Part(part) => (capacity as f64 * part) as i64,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim().parse().ok()?;
                (0.0..=100.0).contains(&percent).then_some(Self::Part(percent / 100.0))
            }
            None => Quantity::parse(text).ok().map(|amount| Self::Value(amount.value())),
        }
    }
}

/// When too little is left of something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Of what.
    pub signal: Signal,
    /// Less than this.
    pub least: Amount,
    /// For so long, where it is a soft one.
    pub grace: Option<Duration>,
    /// It is over when so much more is there.
    pub reclaim: Option<Amount>,
}

/// What is done when resources run out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvictionConfig {
    /// Hard ones, then soft ones.
    pub thresholds: Vec<Threshold>,
    /// How long a condition stays after it was seen last.
    pub transition: Duration,
    /// The grace period of pods that a soft threshold ends.
    pub max_pod_grace: Duration,
}

impl EvictionConfig {
    /// What a hard threshold keeps back of a resource, so that pods are not promised it.
    pub fn kept_back(&self, signal: Signal, capacity: i64) -> i64 {
        let hard = self.thresholds.iter().filter(|t| t.signal == signal && t.grace.is_none());
        hard.map(|threshold| threshold.least.of(capacity)).max().unwrap_or(0)
    }
}

/// Reads `evictionHard` or `evictionSoft`: `grace` says how long a soft one waits.
pub fn parse_thresholds(
    texts: &BTreeMap<String, String>,
    reclaim: &BTreeMap<String, String>,
    grace: impl Fn(&str) -> Option<Duration>,
) -> Result<Vec<Threshold>, String> {
    let mut thresholds = Vec::new();
    for (name, text) in texts {
        let signal = SIGNALS.iter().find(|(known, _)| known == name).map(|(_, signal)| *signal);
        let signal = signal.ok_or_else(|| format!("unknown eviction signal \"{name}\""))?;
        let wrong = |text: &str| format!("eviction threshold {name}: \"{text}\" is no amount");
        let least = Amount::parse(text).ok_or_else(|| wrong(text))?;
        // As in Kubernetes, 0% and 100% switch it off.
        if matches!(least, Amount::Part(part) if part <= 0.0 || part >= 1.0) {
            continue;
        }
        let reclaim = match reclaim.get(name) {
            Some(text) => Some(Amount::parse(text).ok_or_else(|| wrong(text))?),
            None => None,
        };
        thresholds.push(Threshold { signal, least, grace: grace(name), reclaim });
    }
    Ok(thresholds)
}

/// How much there is of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// Free.
    pub available: i64,
    /// In all.
    pub capacity: i64,
}

/// What was measured; what could not be is absent.
pub type Levels = BTreeMap<Signal, Level>;

/// What is remembered from one look to the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// Threshold (by its place) to when it was met first.
    since: BTreeMap<usize, Timestamp>,
    /// Thresholds that count now, and until their reclaim is there.
    met: BTreeSet<usize>,
    /// Condition to when it was seen last.
    seen: BTreeMap<Condition, Timestamp>,
}

/// A threshold that something must be done about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shortage {
    /// Of what.
    pub signal: Signal,
    /// Below how much.
    pub least: i64,
    /// How much there is.
    pub available: i64,
    /// Whether pods end at once.
    pub hard: bool,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, least) = (self.signal.resource(), self.signal.amount(self.least));
        let available = self.signal.amount(self.available);
        write!(
            f,
            "The node was low on resource: {resource}. Threshold quantity: {least}, available: {available}. "
        )
    }
}

/// What follows from a look.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement {
    /// For the next look.
    pub memory: Memory,
    /// What the node says of itself.
    pub conditions: BTreeSet<Condition>,
    /// What something must be done about, the most pressing first.
    pub shortages: Vec<Shortage>,
}

/// Judges what was measured. Pure.
pub fn judge(config: &EvictionConfig, levels: &Levels, before: &Memory, now: Timestamp) -> Judgement {
    let mut memory = Memory { seen: before.seen.clone(), ..Memory::default() };
    let mut shortages = Vec::new();
    for (place, threshold) in config.thresholds.iter().enumerate() {
        let Some(level) = levels.get(&threshold.signal) else { continue };
        let least = threshold.least.of(level.capacity);
        let mut wanted = least;
        if before.met.contains(&place) {
            wanted += threshold.reclaim.map_or(0, |reclaim| reclaim.of(level.capacity));
        }
        if level.available >= wanted {
            continue;
        }
        let since = before.since.get(&place).copied().unwrap_or(now);
        memory.since.insert(place, since);
        memory.seen.insert(threshold.signal.condition(), now);
        let waited = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        if waited >= threshold.grace.unwrap_or_default() {
            memory.met.insert(place);
            shortages.push(Shortage {
                signal: threshold.signal,
                least,
                available: level.available,
                hard: threshold.grace.is_none(),
            });
        }
    }
    memory.seen.retain(|_, seen| {
        Duration::try_from(now.duration_since(*seen))
            .is_ok_and(|age| age < config.transition || age.is_zero())
    });
    shortages.sort_by_key(|shortage| (shortage.signal, !shortage.hard));
    Judgement { conditions: memory.seen.keys().copied().collect(), memory, shortages }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(hard: &[(&str, &str)], soft: &[(&str, &str)], reclaim: &[(&str, &str)]) -> EvictionConfig {
        let map = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut thresholds = parse_thresholds(&map(hard), &map(reclaim), |_| None).expect("good");
        let grace = |_: &str| Some(Duration::from_secs(30));
        thresholds.extend(parse_thresholds(&map(soft), &map(reclaim), grace).expect("good"));
        EvictionConfig { thresholds, transition: Duration::from_secs(300), max_pod_grace: Duration::ZERO }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn memory(available: i64) -> Levels {
        [(Signal::Memory, Level { available, capacity: 1000 })].into()
    }

    #[test]
    fn a_hard_threshold_counts_at_once_and_its_condition_stays_for_a_while() {
        let config = config(&[("memory.available", "10%")], &[], &[]);
        let fine = judge(&config, &memory(100), &Memory::default(), at(0));
        assert_eq!(fine, Judgement::default());
        let low = judge(&config, &memory(99), &fine.memory, at(10));
        assert_eq!(low.conditions, [Condition::Memory].into());
        let shortage = Shortage { signal: Signal::Memory, least: 100, available: 99, hard: true };
        assert_eq!(low.shortages, [shortage]);
        let after = judge(&config, &memory(500), &low.memory, at(300));
        assert_eq!((after.conditions.len(), after.shortages.len()), (1, 0), "nothing flaps");
        let over = judge(&config, &memory(500), &after.memory, at(310));
        assert_eq!(over, Judgement::default());
    }

    #[test]
    fn a_soft_threshold_waits_for_its_grace_period() {
        let config = config(&[], &[("memory.available", "200")], &[]);
        let first = judge(&config, &memory(150), &Memory::default(), at(0));
        assert_eq!((first.conditions.len(), first.shortages.len()), (1, 0), "the condition comes first");
        let early = judge(&config, &memory(150), &first.memory, at(29));
        assert!(early.shortages.is_empty());
        let late = judge(&config, &memory(150), &early.memory, at(30));
        assert!(!late.shortages[0].hard);
        // It begins anew when it was fine in between.
        let fine = judge(&config, &memory(250), &early.memory, at(30));
        let again = judge(&config, &memory(150), &fine.memory, at(31));
        assert!(again.shortages.is_empty());
    }

    #[test]
    fn what_is_reclaimed_must_be_a_minimum() {
        let config = config(&[("memory.available", "100")], &[], &[("memory.available", "50")]);
        let low = judge(&config, &memory(90), &Memory::default(), at(0));
        let more = judge(&config, &memory(120), &low.memory, at(10));
        assert_eq!(more.shortages.len(), 1, "not yet 150");
        assert!(judge(&config, &memory(150), &more.memory, at(20)).shortages.is_empty());
        assert!(judge(&config, &memory(120), &Memory::default(), at(20)).shortages.is_empty());
    }

    #[test]
    fn memory_comes_before_disks_and_the_message_says_how_little_is_left() {
        let config = config(&[("memory.available", "100"), ("imagefs.available", "1Gi")], &[], &[]);
        let mut levels = memory(1);
        levels.insert(Signal::ImageFs, Level { available: 1 << 20, capacity: 1 << 40 });
        let shortages = judge(&config, &levels, &Memory::default(), at(0)).shortages;
        assert_eq!(shortages[0].signal, Signal::Memory);
        assert_eq!(
            shortages[1].to_string(),
            "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 1Mi. "
        );
    }
}
