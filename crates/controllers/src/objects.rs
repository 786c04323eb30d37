//! Projections: the fields of each kind that controllers read, and no more (a full Pod costs ten times as much).
//!
//! Nothing is written back from a projection. What must be carried whole, a pod template, stays as bytes
//! ([`PodTemplate`]) until a pod is made from it.

pub mod batch;
pub mod core;
pub mod definitions;
pub mod network;
pub mod policy;
pub mod storage;
pub mod workloads;

pub use batch::*;
pub use core::*;
pub use definitions::*;
pub use network::*;
pub use policy::*;
pub use storage::*;
pub use workloads::*;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use serde_json::value::RawValue;

use api::time::Time;

/// As `apps/v1`.
pub fn api_version<K: client::Resource>() -> String {
    if K::GROUP.is_empty() { K::VERSION.to_owned() } else { format!("{}/{}", K::GROUP, K::VERSION) }
}

/// Part of an object that is kept as the bytes it came in: a pod template, a volume claim template.
#[derive(Clone)]
pub struct RawJson(Arc<RawValue>);

/// The template of pods.
pub type PodTemplate = RawJson;

impl RawJson {
    /// The document.
    pub fn value(&self) -> Value {
        serde_json::from_str(self.0.get()).unwrap_or(Value::Null)
    }

    /// Keeps `value`.
    pub fn of(value: &Value) -> Self {
        match serde_json::value::to_raw_value(value) {
            Ok(raw) => Self(Arc::from(raw)),
            Err(_) => Self::default(),
        }
    }
}

impl Default for RawJson {
    fn default() -> Self {
        Self(Arc::from(RawValue::NULL.to_owned()))
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get() || self.value() == other.value()
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer).map_err(de::Error::custom)?;
        Ok(Self(Arc::from(raw)))
    }
}

/// `now` as the API keeps it: in whole seconds, so that what is read back compares equal.
pub fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Seconds from `since` to `now`.
pub fn seconds_since(since: Time, now: Timestamp) -> i64 {
    now.as_second() - since.0.as_second()
}
