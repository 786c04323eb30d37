//! What the server needs to know of a stored object without decoding it: a scan of its bytes.
//!
//! The scan skips everything but `metadata` and the selectable fields of the kind; it allocates for what it keeps only.

use std::fmt;

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::registry::{ResourceDef, SelectableField};

/// Labels, ordered by key.
///
/// They lie in one piece of memory, lengths before texts: a selector that is tried on many objects touches one place
/// for each, and an object's labels cost one allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(Box<[u8]>);

/// The bytes of the two lengths before each label.
const LENGTHS: usize = 8;

impl Labels {
    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs().find(|(own, _)| *own == key.as_bytes()).map(|(_, value)| text(value))
    }

    /// Key and value, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs().map(|(key, value)| (text(key), text(value)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (lengths, after) = rest.split_first_chunk::<LENGTHS>()?;
            let [a, b, c, d, e, f, g, h] = *lengths;
            let (key, after) = after.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize)?;
            let (value, after) = after.split_at_checked(u32::from_le_bytes([e, f, g, h]) as usize)?;
            rest = after;
            Some((key, value))
        })
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it was text when it was put in")
}

impl<K: AsRef<str> + Ord, V: AsRef<str> + Ord> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        let mut all: Vec<(K, V)> = iter.into_iter().collect();
        all.sort();
        all.dedup_by(|right, left| right.0 == left.0);
        let size = |(key, value): &(K, V)| LENGTHS + key.as_ref().len() + value.as_ref().len();
        let mut bytes = Vec::with_capacity(all.iter().map(size).sum());
        for (key, value) in &all {
            let (key, value) = (key.as_ref().as_bytes(), value.as_ref().as_bytes());
            // Labels are a few hundred bytes; what is longer than four gigabytes is no request's.
            let length = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
            bytes.extend_from_slice(&length(key));
            bytes.extend_from_slice(&length(value));
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(value);
        }
        Self(bytes.into_boxed_slice())
    }
}

/// What is known of an object without decoding it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// Empty for cluster-scoped objects.
    pub namespace: Box<str>,
    /// The name.
    pub name: Box<str>,
    /// Unique over all time.
    pub uid: Box<str>,
    /// What selectors select by.
    pub labels: Labels,
    /// The values of the kind's selectable fields, in the order of [`ResourceDef::fields`].
    pub fields: Box<[Box<str>]>,
    /// Whether deletion has been asked for.
    pub deleting: bool,
    /// The uids of the owners.
    pub owners: Box<[Box<str>]>,
}

impl Header {
    /// The value of a selectable field by its label, `metadata.name` and `metadata.namespace` among them.
    pub fn field<'a>(&'a self, def: &ResourceDef, label: &str) -> Option<&'a str> {
        match label {
            "metadata.name" => Some(&self.name),
            "metadata.namespace" => Some(&self.namespace),
            label => {
                let place = def.fields.iter().position(|field| field.label == label)?;
                self.fields.get(place).map(|value| &**value)
            }
        }
    }
}

/// The bytes are no object.
#[derive(Debug, thiserror::Error)]
#[error("scan object")]
pub struct ScanError(#[source] serde_json::Error);

/// Reads the header of an object from its JSON bytes.
pub fn scan(def: &ResourceDef, bytes: &[u8]) -> Result<Header, ScanError> {
    let mut found = vec![Vec::new(); def.fields.len()];
    for (values, field) in found.iter_mut().zip(&def.fields) {
        values.resize(field.paths.len(), None);
    }
    let mut header = Header::default();
    let mut walk = Walk { fields: &def.fields, found: &mut found, header: &mut header };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    (Level { walk: &mut walk, path: Path::default(), kind: LevelKind::Object })
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(ScanError)?;
    header.fields = found
        .into_iter()
        .zip(&def.fields)
        .map(|(values, field)| pick(values, field))
        .collect::<Vec<_>>()
        .into_boxed_slice();
    Ok(header)
}

/// The header of a decoded object.
pub fn header(def: &ResourceDef, object: &Value) -> Header {
    // A Value always encodes, and what it encodes to is an object or has an empty header.
    serde_json::to_vec(object).ok().and_then(|bytes| scan(def, &bytes).ok()).unwrap_or_default()
}

fn pick(values: Vec<Option<Box<str>>>, field: &SelectableField) -> Box<str> {
    let value = values.into_iter().flatten().find(|value| !value.is_empty());
    value.unwrap_or_else(|| Box::from(&*field.default))
}

/// The keys on the way to where the scan is.
#[derive(Default, Clone)]
struct Path(Vec<String>);

struct Walk<'a> {
    fields: &'a [SelectableField],
    found: &'a mut [Vec<Option<Box<str>>>],
    header: &'a mut Header,
}

impl Walk<'_> {
    /// Whether a selectable field stands at or below `path`.
    fn leads(&self, path: &[String]) -> bool {
        let starts = |full: &[crate::schema::Name]| {
            full.len() >= path.len() && full.iter().zip(path).all(|(left, right)| left == right)
        };
        self.fields.iter().flat_map(|field| &field.paths).any(|full| starts(full))
    }

    fn keep(&mut self, path: &[String], value: &str) {
        for (field, found) in self.fields.iter().zip(self.found.iter_mut()) {
            for (full, slot) in field.paths.iter().zip(found) {
                if full.len() == path.len() && full.iter().zip(path).all(|(left, right)| left == right) {
                    *slot = Some(Box::from(value));
                }
            }
        }
    }
}

enum LevelKind {
    Object,
    Metadata,
    Labels,
    Owners,
    Owner,
    Field,
}

struct Level<'a, 'w> {
    walk: &'a mut Walk<'w>,
    path: Path,
    kind: LevelKind,
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut labels = Vec::new();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match (&self.kind, &*key) {
                (LevelKind::Labels, _) => {
                    labels.push((key.into_owned(), map.next_value::<String>()?));
                    continue;
                }
                (LevelKind::Metadata, "name") => self.walk.header.name = map.next_value()?,
                (LevelKind::Metadata, "namespace") => self.walk.header.namespace = map.next_value()?,
                (LevelKind::Metadata, "uid") => self.walk.header.uid = map.next_value()?,
                (LevelKind::Metadata, "deletionTimestamp") => {
                    self.walk.header.deleting = map.next_value::<Option<IgnoredAny>>()?.is_some();
                }
                (LevelKind::Metadata, "labels") => self.descend(&mut map, &key, LevelKind::Labels)?,
                (LevelKind::Metadata, "ownerReferences") => {
                    self.descend(&mut map, &key, LevelKind::Owners)?
                }
                (LevelKind::Owner, "uid") => {
                    let mut owners = std::mem::take(&mut self.walk.header.owners).into_vec();
                    owners.push(map.next_value()?);
                    self.walk.header.owners = owners.into_boxed_slice();
                }
                (LevelKind::Object, "metadata") => self.descend(&mut map, &key, LevelKind::Metadata)?,
                (LevelKind::Object | LevelKind::Field, _) => {
                    self.path.0.push(key.into_owned());
                    if self.walk.leads(&self.path.0) {
                        let key = self.path.0.pop().unwrap_or_default();
                        self.descend(&mut map, &key, LevelKind::Field)?;
                    } else {
                        self.path.0.pop();
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if matches!(self.kind, LevelKind::Labels) {
            self.walk.header.labels = labels.into_iter().collect();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if matches!(self.kind, LevelKind::Owners) {
            loop {
                let seed = Level { walk: &mut *self.walk, path: Path::default(), kind: LevelKind::Owner };
                if seq.next_element_seed(seed)?.is_none() {
                    return Ok(());
                }
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.walk.keep(&self.path.0, value);
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.walk.keep(&self.path.0, if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.walk.keep(&self.path.0, &value.to_string());
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.walk.keep(&self.path.0, &value.to_string());
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.walk.keep(&self.path.0, &value.to_string());
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}

impl Level<'_, '_> {
    fn descend<'de, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        key: &str,
        kind: LevelKind,
    ) -> Result<(), A::Error> {
        let mut path = self.path.clone();
        path.0.push(key.to_owned());
        map.next_value_seed(Level { walk: &mut *self.walk, path, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::registry;

    #[test]
    fn a_scan_finds_labels_and_selectable_fields() {
        let pods = registry().resource("", "v1", "pods").expect("pods");
        let bytes = br#"{"kind":"Pod","metadata":{"name":"a","namespace":"b","uid":"u","labels":{"z":"1","app":"x"},
            "ownerReferences":[{"kind":"ReplicaSet","uid":"o1"},{"uid":"o2"}],"deletionTimestamp":null},
            "spec":{"nodeName":"n1","containers":[{"name":"c"}],"hostNetwork":true},"status":{"phase":"Running"}}"#;
        let header = scan(&pods, bytes).expect("an object");
        assert_eq!((&*header.name, &*header.namespace, &*header.uid), ("a", "b", "u"));
        assert_eq!(header.labels.get("app"), Some("x"));
        assert_eq!(header.labels.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["app", "z"]);
        assert_eq!(header.field(&pods, "spec.nodeName"), Some("n1"));
        assert_eq!(header.field(&pods, "status.phase"), Some("Running"));
        assert_eq!(header.field(&pods, "spec.hostNetwork"), Some("true"));
        assert_eq!(header.field(&pods, "spec.restartPolicy"), Some(""));
        assert_eq!(header.field(&pods, "metadata.name"), Some("a"));
        assert_eq!(header.field(&pods, "spec.bogus"), None);
        assert_eq!(header.owners.len(), 2);
        assert!(!header.deleting);
    }

    #[test]
    fn a_field_without_a_value_reads_as_its_default() {
        let nodes = registry().resource("", "v1", "nodes").expect("nodes");
        let header = scan(&nodes, br#"{"metadata":{"name":"n"}}"#).expect("an object");
        assert_eq!(header.field(&nodes, "spec.unschedulable"), Some("false"));
        let events = registry().resource("events.k8s.io", "v1", "events").expect("events");
        let header = scan(&events, br#"{"metadata":{},"reportingComponent":"k"}"#).expect("an object");
        assert_eq!(header.field(&events, "source"), Some("k"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let nodes = registry().resource("", "v1", "nodes").expect("nodes");
        assert!(scan(&nodes, b"{\"metadata\":").is_err());
        assert!(scan(&nodes, b"{} x").is_err());
    }
}
