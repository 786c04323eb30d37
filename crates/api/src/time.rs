//! The two time formats of the API: [`Time`] in whole seconds, [`MicroTime`] in microseconds.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in whole seconds, written as `2026-11-23T03:12:00Z` (`metav1.Time`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

/// A moment in microseconds, written as `2026-11-23T03:12:00.000000Z` (`metav1.MicroTime`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MicroTime(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl fmt::Display for MicroTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"))
    }
}

macro_rules! wire {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map(Self).map_err(de::Error::custom)
            }
        }
    };
}

wire!(Time);
wire!(MicroTime);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_kubernetes_writes_them() {
        let moment: Timestamp = "2026-11-23T03:12:00.25Z".parse().expect("a timestamp");
        assert_eq!(Time(moment).to_string(), "2026-11-23T03:12:00Z");
        assert_eq!(MicroTime(moment).to_string(), "2026-11-23T03:12:00.250000Z");
    }

    #[test]
    fn an_offset_is_read() {
        let time: Time = serde_json::from_str("\"2026-11-23T04:12:00+01:00\"").expect("a time");
        assert_eq!(time.to_string(), "2026-11-23T03:12:00Z");
    }
}
