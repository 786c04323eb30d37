//! Names of things in the store: revisions, buckets, keys and record times.
//!
//! A [`Key`] is kept as one string, `namespace NUL name`, because that single string sorts exactly as the pair
//! does: NUL is below every character a name may hold. Maps of a bucket are ordered by it, so a namespace is one
//! contiguous range. Read on: [`crate::entry`] for what stands under a key.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Position of a write in the history of the whole store. Strictly increasing, one for each write, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of a store that nobody has written to. Not 0, since a resourceVersion of "0" means "any" in
    /// the Kubernetes API and must never name a real state.
    pub const FIRST: Revision = Revision(1);

    /// The revision after this one.
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When a record was written, in microseconds since 1970. Never goes back within one store, even if the clock does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment as the system's type.
    pub fn to_system_time(self) -> SystemTime {
        let magnitude = Duration::from_micros(self.0.unsigned_abs());
        if self.0 >= 0 { UNIX_EPOCH + magnitude } else { UNIX_EPOCH - magnitude }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp(after.as_micros() as i64),
            Err(before) => Timestamp(-(before.duration().as_micros() as i64)),
        }
    }
}

/// A family of keys that is listed and watched together: one for each resource, such as `pods` or
/// `deployments.apps`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(Arc<str>);

impl Bucket {
    /// Names a bucket. The name must not be empty and must not hold NUL.
    pub fn new(name: impl Into<Arc<str>>) -> Bucket {
        Bucket(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Bucket {
    fn from(name: &str) -> Bucket {
        Bucket::new(name)
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Bucket {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// `namespace NUL name`, shared between a key and the maps that are ordered by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Path(pub(crate) Arc<str>);

impl Borrow<str> for Path {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What names an object: its bucket, its namespace (empty when cluster-scoped) and its name.
/// Ordered by bucket, namespace, name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    bucket: Bucket,
    path: Path,
}

impl Key {
    /// Names an object. Neither namespace nor name may hold NUL; [`Key::is_valid`] says whether that is so, and
    /// a write to a key that is not valid is refused.
    pub fn new(bucket: &Bucket, namespace: &str, name: &str) -> Key {
        let mut path = String::with_capacity(namespace.len() + 1 + name.len());
        path.push_str(namespace);
        path.push('\0');
        path.push_str(name);
        Key { bucket: bucket.clone(), path: Path(path.into()) }
    }

    /// The bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// The namespace; empty when cluster-scoped.
    pub fn namespace(&self) -> &str {
        self.path.0.split_once('\0').map_or("", |(namespace, _)| namespace)
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.path.0.split_once('\0').map_or("", |(_, name)| name)
    }

    /// A key from its stored form, if it is one.
    pub(crate) fn from_path(bucket: Bucket, path: &str) -> Option<Key> {
        let key = Key { bucket, path: Path(path.into()) };
        key.is_valid().then_some(key)
    }

    /// Whether this is the key with this stored form.
    pub(crate) fn is(&self, bucket: &str, path: &str) -> bool {
        &*self.path.0 == path && self.bucket.as_str() == bucket
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the store accepts the key: bucket and name not empty, no NUL inside, and short enough for a record.
    pub fn is_valid(&self) -> bool {
        let bucket = self.bucket.as_str();
        !bucket.is_empty()
            && !bucket.contains('\0')
            && bucket.len() <= 1024
            && self.path.0.len() <= 4096
            && self.path.0.split_once('\0').is_some_and(|(_, name)| !name.is_empty() && !name.contains('\0'))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace() {
            "" => write!(f, "{}/{}", self.bucket, self.name()),
            namespace => write!(f, "{}/{namespace}/{}", self.bucket, self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_namespace_and_then_by_name() {
        let pods = Bucket::from("pods");
        let mut keys = [("b", "a"), ("a", "z"), ("a-b", "a"), ("", "z"), ("a", "b"), ("a", "b-c")]
            .map(|(namespace, name)| Key::new(&pods, namespace, name));
        keys.sort();
        let sorted: Vec<_> = keys.iter().map(|key| (key.namespace(), key.name())).collect();
        assert_eq!(sorted, [("", "z"), ("a", "b"), ("a", "b-c"), ("a", "z"), ("a-b", "a"), ("b", "a")]);
    }

    #[test]
    fn a_key_with_a_nul_or_without_a_name_is_not_valid() {
        let pods = Bucket::from("pods");
        assert!(Key::new(&pods, "", "x").is_valid());
        assert!(Key::new(&pods, "ns", "x").is_valid());
        assert!(!Key::new(&pods, "ns", "").is_valid());
        assert!(!Key::new(&pods, "n\0s", "x").is_valid());
        assert!(!Key::new(&pods, "ns", "x\0y").is_valid());
        assert!(!Key::new(&Bucket::from(""), "ns", "x").is_valid());
    }

    #[test]
    fn times_before_1970_survive_the_round_trip() {
        for micros in [0, 1, -1, 1_700_000_000_000_000] {
            assert_eq!(Timestamp::from(Timestamp(micros).to_system_time()), Timestamp(micros));
        }
    }
}
