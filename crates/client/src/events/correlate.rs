//! Decides, without any I/O, what is written for an event: a new Event, a raised count, or nothing.
//!
//! Three rules, those of client-go: the same event again raises the count of the one that is there; more than ten
//! similar ones (all but the message equal) within ten minutes are combined into one; and an object about which
//! too much is said is not spoken of for a while.

use std::collections::HashMap;

use api::gvk::NamespacedName;
use api::time::Time;
use foldhash::fast::FixedState;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{EventType, ObjectReference, Recorded};

/// How many entries each memory has; the oldest half goes when it is full.
const MEMORY: usize = 4096;

/// From this many on, similar events are combined.
const SIMILAR: u32 = 10;

/// How long similar events are counted together.
const SIMILAR_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// How many events about one object may come at once, and how long until one more may.
const BURST: u32 = 25;
const REFILL: SignedDuration = SignedDuration::from_mins(5);

/// What is to be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// A new Event.
    Create { name: NamespacedName, document: Box<Value> },
    /// A merge patch of the Event that is there.
    Patch { name: NamespacedName, patch: Value },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Similar {
    object: ObjectReference,
    r#type: EventType,
    reason: String,
}

#[derive(Debug)]
struct Group {
    count: u32,
    last: Timestamp,
}

#[derive(Debug)]
struct Written {
    name: NamespacedName,
    count: u32,
    last: Timestamp,
}

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    refilled: Timestamp,
}

/// Remembers what was written.
#[derive(Debug)]
pub(super) struct Correlator {
    host: String,
    similar: HashMap<Similar, Group, FixedState>,
    written: HashMap<(Similar, String), Written, FixedState>,
    spam: HashMap<ObjectReference, Bucket, FixedState>,
    sequence: u64,
}

impl Correlator {
    pub(super) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            similar: HashMap::default(),
            written: HashMap::default(),
            spam: HashMap::default(),
            sequence: 0,
        }
    }

    /// What to write for an event; `None` where nothing is said of its object for now.
    pub(super) fn step(&mut self, event: &Recorded) -> Option<Step> {
        if !self.may_speak(event) {
            return None;
        }
        let message = self.combine(event);
        let Some(written) = self.written.get(&(similar(event), message.clone())) else {
            return Some(self.create_with(event, message));
        };
        let patch = json!({
            "count": written.count + 1,
            "lastTimestamp": Time(event.at),
            "message": message,
        });
        Some(Step::Patch { name: written.name.clone(), patch })
    }

    /// A new Event, where the one that was there is gone.
    pub(super) fn create(&mut self, event: &Recorded) -> Step {
        let message = self.message(event);
        self.written.remove(&(similar(event), message.clone()));
        self.create_with(event, message)
    }

    /// Remembers that a step was done.
    pub(super) fn written(&mut self, event: &Recorded, step: &Step) {
        let key = (similar(event), self.message(event));
        match step {
            Step::Create { name, .. } => {
                forget_oldest(&mut self.written, |written| written.last);
                self.written.insert(key, Written { name: name.clone(), count: 1, last: event.at });
            }
            Step::Patch { .. } => {
                if let Some(written) = self.written.get_mut(&key) {
                    written.count += 1;
                    written.last = event.at;
                }
            }
        }
    }

    fn may_speak(&mut self, event: &Recorded) -> bool {
        forget_oldest(&mut self.spam, |bucket| bucket.refilled);
        let about = ObjectReference { resource_version: String::new(), ..event.object.clone() };
        let bucket = self.spam.entry(about).or_insert(Bucket { tokens: BURST, refilled: event.at });
        let passed = event.at.duration_since(bucket.refilled).as_secs().max(0) / REFILL.as_secs();
        if passed > 0 {
            let gained = u32::try_from(passed).unwrap_or(BURST);
            bucket.tokens = bucket.tokens.saturating_add(gained).min(BURST);
            bucket.refilled = event.at;
        }
        let may = bucket.tokens > 0;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        may
    }

    /// Counts similar events and says under which message this one goes.
    fn combine(&mut self, event: &Recorded) -> String {
        let known = self.written.contains_key(&(similar(event), event.message.clone()));
        forget_oldest(&mut self.similar, |group| group.last);
        let group = self.similar.entry(similar(event)).or_insert(Group { count: 0, last: event.at });
        if event.at.duration_since(group.last) > SIMILAR_WINDOW {
            group.count = 0;
        }
        // The same again is not another one.
        if !known {
            group.count += 1;
        }
        group.last = event.at;
        self.message(event)
    }

    fn message(&self, event: &Recorded) -> String {
        let combined = self.similar.get(&similar(event)).is_some_and(|group| group.count > SIMILAR);
        if combined {
            format!("(combined from similar events): {}", event.message)
        } else {
            event.message.clone()
        }
    }

    fn create_with(&mut self, event: &Recorded, message: String) -> Step {
        let object = &event.object;
        let namespace = if object.namespace.is_empty() { "default" } else { &object.namespace };
        // Two events of one moment about one object must not share a name.
        self.sequence += 1;
        let stamp = u64::try_from(event.at.as_nanosecond()).unwrap_or_default().wrapping_add(self.sequence);
        let name = NamespacedName::new(namespace, format!("{}.{stamp:x}", object.name));
        let at = Time(event.at);
        let mut source = json!({ "component": &*event.component });
        if !self.host.is_empty() {
            source["host"] = json!(self.host);
        }
        let document = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": name.name, "namespace": namespace },
            "involvedObject": object,
            "reason": event.reason,
            "message": message,
            "source": source,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "type": event.r#type.as_str(),
            "eventTime": null,
            "reportingComponent": &*event.component,
            "reportingInstance": self.host,
        });
        Step::Create { name, document: Box::new(document) }
    }
}

fn similar(event: &Recorded) -> Similar {
    // The version differs from event to event and says nothing of what happened.
    let object = ObjectReference { resource_version: String::new(), ..event.object.clone() };
    Similar { object, r#type: event.r#type, reason: event.reason.clone() }
}

fn forget_oldest<K: Clone + Eq + std::hash::Hash, V>(
    memory: &mut HashMap<K, V, FixedState>,
    time: impl Fn(&V) -> Timestamp,
) {
    if memory.len() < MEMORY {
        return;
    }
    let mut times: Vec<Timestamp> = memory.values().map(&time).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    let before = memory.len();
    memory.retain(|_, value| time(value) > median);
    if memory.len() == before {
        memory.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str, second: i64) -> Recorded {
        Recorded {
            component: "kubelet".into(),
            object: ObjectReference {
                kind: "Pod".into(),
                namespace: "default".into(),
                name: "web".into(),
                resource_version: second.to_string(),
                ..ObjectReference::default()
            },
            r#type: EventType::Warning,
            reason: "BackOff".into(),
            message: message.into(),
            at: Timestamp::from_second(1_800_000_000 + second).expect("a time"),
        }
    }

    fn record(correlator: &mut Correlator, event: &Recorded) -> Option<Step> {
        let step = correlator.step(event)?;
        correlator.written(event, &step);
        Some(step)
    }

    #[test]
    fn the_same_event_again_raises_the_count() {
        let mut correlator = Correlator::new("n1");
        let Some(Step::Create { name, document }) = record(&mut correlator, &event("no", 0)) else {
            panic!("the first is created")
        };
        assert_eq!(name.namespace, "default");
        assert!(name.name.starts_with("web."), "{name}");
        assert_eq!(document["source"], json!({"component": "kubelet", "host": "n1"}));
        assert_eq!(document["firstTimestamp"], "2027-01-15T08:00:00Z");
        for count in 2..5 {
            let Some(Step::Patch { name: patched, patch }) = record(&mut correlator, &event("no", count))
            else {
                panic!("it is patched")
            };
            assert_eq!((patched, &patch["count"]), (name.clone(), &json!(count)));
        }
        let gone = correlator.create(&event("no", 9));
        assert!(matches!(gone, Step::Create { .. }));
    }

    #[test]
    fn similar_events_are_combined_and_too_many_are_not_told() {
        let mut correlator = Correlator::new("n1");
        let steps: Vec<_> =
            (0..40).map(|n| record(&mut correlator, &event(&format!("message {n}"), n))).collect();
        let message = |step: &Option<Step>| match step {
            Some(Step::Create { document, .. }) => document["message"].as_str().map(str::to_owned),
            Some(Step::Patch { patch, .. }) => patch["message"].as_str().map(str::to_owned),
            None => None,
        };
        assert_eq!(message(&steps[9]).as_deref(), Some("message 9"));
        assert_eq!(message(&steps[10]).as_deref(), Some("(combined from similar events): message 10"));
        assert_eq!(steps.iter().flatten().count(), BURST as usize);
        let later = record(&mut correlator, &event("message 41", 40 + 5 * 60));
        assert!(later.is_some(), "one more after a while");
    }
}
