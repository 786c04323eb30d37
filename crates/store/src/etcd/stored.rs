//! How keys and values stand in etcd.
//!
//! ```text
//! PREFIX objects/BUCKET/NAMESPACE/NAME   an object
//! PREFIX last                            the last state of what was deleted by the transaction that put it
//! PREFIX started                         put by every store that opens, to see where the past ends
//! ```
//! A value is a header and the object's two halves around the hole for its revision: only etcd knows the revision,
//! and only after the write, so whoever reads fills it in. The header is, all numbers little-endian:
//! format (1 byte), flags (1, those of a record of the log: the halves may be encrypted, and may have their author
//! before them), time of the write in microseconds (8), who wrote (8) and its which write it was (8),
//! length of the first half (4). Read on: [`super::follow`] for who reads.

use std::sync::Arc;

use bytes::Bytes;

use super::EtcdError;
use crate::author::{self, Author};
use crate::entry::{Entry, Extract, Extracted, Template};
use crate::key::{Key, Revision, Timestamp};
use crate::log::Names;
use crate::log::format::{AUTHORED, SEALED};
use crate::seal::Seal;

/// The format that this build writes, and the newest that it reads.
const FORMAT: u8 = 1;

/// Bytes of the header.
const HEADER: usize = 30;

/// Which write of which store it was, so that a store knows its own write again when the answer got lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nonce {
    /// A random number of the store.
    pub(crate) writer: u64,
    /// The store's count.
    pub(crate) sequence: u64,
}

/// A value, read.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) written: Timestamp,
    pub(crate) author: Option<Author>,
    pub(crate) template: Template,
}

/// What a key of etcd is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An object.
    Object(Key),
    /// Where last states are put.
    Last,
    /// Something else.
    Other,
}

/// Translates both ways.
pub(crate) struct Codec {
    prefix: String,
    seal: Option<Arc<dyn Seal>>,
}

impl Codec {
    pub(crate) fn new(prefix: &str, seal: Option<Arc<dyn Seal>>) -> Codec {
        Codec { prefix: prefix.to_owned(), seal }
    }

    /// Everything of this store: from the first to the second, which is not part of it.
    pub(crate) fn everything(&self) -> (Bytes, Bytes) {
        range_of(&self.prefix)
    }

    /// All objects.
    pub(crate) fn objects(&self) -> (Bytes, Bytes) {
        range_of(&format!("{}objects/", self.prefix))
    }

    /// Where the last state goes of what is deleted.
    pub(crate) fn last(&self) -> Bytes {
        format!("{}last", self.prefix).into()
    }

    /// What a store puts when it opens.
    pub(crate) fn started(&self) -> Bytes {
        format!("{}started", self.prefix).into()
    }

    /// Where an object stands. None for one whose bucket or namespace has a slash inside.
    pub(crate) fn place_of(&self, key: &Key) -> Option<Bytes> {
        let (bucket, namespace) = (key.bucket().as_str(), key.namespace());
        if !key.is_valid() || bucket.contains('/') || namespace.contains('/') {
            return None;
        }
        Some(format!("{}objects/{bucket}/{namespace}/{}", self.prefix, key.name()).into())
    }

    /// What stands there.
    pub(crate) fn place(&self, key: &[u8], names: &mut Names) -> Place {
        let Some(rest) = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(&self.prefix)) else {
            return Place::Other;
        };
        if rest == "last" {
            return Place::Last;
        }
        let Some(path) = rest.strip_prefix("objects/") else { return Place::Other };
        let mut parts = path.splitn(3, '/');
        let (Some(bucket), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Place::Other;
        };
        match names.key(bucket, &format!("{namespace}\0{name}")) {
            Some(key) => Place::Object(key),
            None => Place::Other,
        }
    }

    /// The value that is put for an object, or for the last state of one.
    pub(crate) fn encode(
        &self,
        key: &Key,
        template: &Template,
        author: Option<&str>,
        written: Timestamp,
        nonce: Nonce,
    ) -> Result<Bytes, EtcdError> {
        let Template { head, tail } = template;
        let seal = self.seal.as_ref().filter(|seal| seal.seals(key.bucket()));
        let mut value = Vec::with_capacity(HEADER + head.len() + tail.len());
        value.push(FORMAT);
        let plain = [&head[..], &tail[..]].concat();
        let (flags, plain) = author::with_author(author, &plain);
        value.push(if seal.is_some() { flags | SEALED } else { flags });
        value.extend_from_slice(&written.0.to_le_bytes());
        value.extend_from_slice(&nonce.writer.to_le_bytes());
        value.extend_from_slice(&nonce.sequence.to_le_bytes());
        value.extend_from_slice(&(head.len() as u32).to_le_bytes());
        match seal {
            None => value.extend_from_slice(&plain),
            Some(seal) => {
                let sealed = seal
                    .seal(&context(key, &value), &plain)
                    .map_err(|source| EtcdError::Sealed { key: key.clone(), source })?;
                value.extend_from_slice(&sealed);
            }
        }
        Ok(value.into())
    }

    /// Reads a value.
    pub(crate) fn decode(&self, key: &Key, value: &Bytes) -> Result<Stored, EtcdError> {
        let malformed = || EtcdError::Malformed { key: key.clone() };
        match value.first() {
            Some(&FORMAT) => {}
            Some(&found) if found > FORMAT && value.len() >= HEADER => {
                return Err(EtcdError::NewerFormat { key: key.clone(), found });
            }
            _ => return Err(malformed()),
        }
        let (header, halves) = value.split_at_checked(HEADER).ok_or_else(malformed)?;
        let mut written = [0; 8];
        written.copy_from_slice(&header[2..10]);
        let length = u32::from_le_bytes([header[26], header[27], header[28], header[29]]) as usize;
        let flags = header[1];
        if flags & !(SEALED | AUTHORED) != 0 {
            return Err(malformed());
        }
        let plain: Bytes = match (flags & SEALED, &self.seal) {
            (0, _) => value.slice(HEADER..),
            (_, Some(seal)) => seal
                .open(&context(key, header), halves)
                .map_err(|source| EtcdError::Sealed { key: key.clone(), source })?
                .into(),
            (_, None) => {
                let source = crate::seal::SealError::NoKey;
                return Err(EtcdError::Sealed { key: key.clone(), source });
            }
        };
        let (author, halves) = author::split(flags, plain);
        if length > halves.len() {
            return Err(malformed());
        }
        Ok(Stored {
            written: Timestamp(i64::from_le_bytes(written)),
            author,
            template: Template { head: halves.slice(..length), tail: halves.slice(length..) },
        })
    }
}

impl Stored {
    /// Which write made the value, if it is one of ours.
    pub(crate) fn nonce_of(value: &[u8]) -> Option<Nonce> {
        let number = |at: usize| Some(u64::from_le_bytes(value.get(at..at + 8)?.try_into().ok()?));
        (value.first() == Some(&FORMAT)).then_some(())?;
        Some(Nonce { writer: number(10)?, sequence: number(18)? })
    }

    /// The entry that the value is at its revision. Its time is never before `after`.
    pub(crate) fn entry(
        self,
        key: Key,
        revision: Revision,
        after: Timestamp,
        extract: &Extract,
    ) -> Arc<Entry> {
        let value = self.template.fill(revision);
        let extracted = extract(&key, &value).unwrap_or_else(|reason| {
            tracing::error!(%key, %reason, "a stored value is not understood");
            Extracted::nothing()
        });
        let (written, author) = (self.written.max(after), self.author);
        Arc::new(Entry { key, value, revision, written, author, extracted })
    }
}

/// What a sealed value is bound to: its key and its header.
fn context(key: &Key, header: &[u8]) -> Vec<u8> {
    let mut context = Vec::with_capacity(128);
    context.extend_from_slice(key.bucket().as_str().as_bytes());
    context.push(0);
    context.extend_from_slice(key.path().0.as_bytes());
    context.push(0);
    context.extend_from_slice(header);
    context
}

/// All keys that begin so.
fn range_of(prefix: &str) -> (Bytes, Bytes) {
    let mut end = prefix.as_bytes().to_vec();
    // A prefix ends with a slash, so there is a byte after its last one.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (prefix.to_owned().into(), end.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Bucket;
    use crate::testing::{object, pod};

    const NONCE: Nonce = Nonce { writer: 7, sequence: 9 };

    fn codec() -> Codec {
        Codec::new("/c/", None)
    }

    #[test]
    fn keys_are_read_back_from_where_they_stand() {
        let nodes = Bucket::from("nodes");
        let keys = [pod("a/x"), pod("x"), pod("a/x:y.z"), Key::new(&nodes, "", "with/slash")];
        for key in keys {
            let place = codec().place_of(&key).expect("a place");
            assert_eq!(codec().place(&place, &mut Names::default()), Place::Object(key));
        }
        assert_eq!(codec().place_of(&pod("a/x")).expect("a place"), "/c/objects/pods/a/x");
        for key in [Key::new(&Bucket::from("a/b"), "", "x"), Key::new(&nodes, "a/b", "x"), pod("a/")] {
            assert_eq!(codec().place_of(&key), None);
        }
        let place = |key: &str| codec().place(key.as_bytes(), &mut Names::default());
        assert_eq!(place("/c/last"), Place::Last);
        for other in
            ["/c/started", "/d/objects/pods/a/x", "/c/objects/pods", "/c/objects//a/x", "/c/objects/pods/a/"]
        {
            assert_eq!(place(other), Place::Other, "{other}");
        }
        assert_eq!(codec().everything(), ("/c/".into(), "/c0".into()));
    }

    #[test]
    fn values_are_read_back_and_what_is_no_value_is_refused() {
        let (key, template) = (pod("a/x"), object("one"));
        let value = codec().encode(&key, &template, Some("me"), Timestamp(-5), NONCE).expect("encoded");
        let stored = codec().decode(&key, &value).expect("decoded");
        assert_eq!((stored.written, stored.author.as_deref()), (Timestamp(-5), Some("me")));
        assert_eq!(stored.template, template);
        assert_eq!(Stored::nonce_of(&value), Some(NONCE));
        let mut newer = value.to_vec();
        newer[0] = 2;
        let refused = |value: &[u8]| codec().decode(&key, &value.to_vec().into()).expect_err("refused");
        assert!(matches!(refused(&newer), EtcdError::NewerFormat { found: 2, .. }));
        for length in 0..HEADER + "me".len() + 1 + template.head.len() {
            assert!(matches!(refused(&value[..length]), EtcdError::Malformed { .. }), "{length}");
        }
        assert!(matches!(
            refused(b"{\"kind\":\"Pod\"}"),
            EtcdError::Malformed { .. } | EtcdError::NewerFormat { .. }
        ));
    }
}
