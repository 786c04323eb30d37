//! Objects of custom resources in the version of a request, where a webhook converts between versions.
//!
//! Nothing else has to wait for anybody: what is built in, and custom resources without such a webhook, are moved from
//! one version to another where they are encoded ([`super::object::render`]). With a webhook, an object is converted
//! before that: what the verbs then see is an entry like the stored one (same key, same revision) whose bytes are of
//! the version that was asked for. What was converted is kept for a while, so that a hundred watchers are one question.
//!
//! Read on: [`crate::crd::convert`] for what is asked and what of the answer is taken.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::encode;
use api::object::scan;
use api::registry::ResourceDef;
use api::status::{Reason, Status};
use api::structural::Conversion;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use store::{Entry, Key, Revision};

use super::types::{Answer, Object};
use super::{Pipeline, object};
use crate::crd::convert;
use crate::webhook::ClientConfig;

/// How long a webhook may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How many objects are converted with one question.
const BATCH: usize = 500;

/// How many bytes of converted objects are kept.
const KEPT: usize = 8 << 20;

/// What was converted.
#[derive(Default)]
pub(super) struct Converted {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    bytes: usize,
    /// By version and key: as of which revision of the object and of the definition.
    entries: HashMap<(String, Key), (Revision, u64, Arc<Entry>)>,
}

impl Converted {
    fn find(&self, version: &str, entry: &Entry, definition: u64) -> Option<Arc<Entry>> {
        let kept = self.kept.lock();
        let (revision, of, found) = kept.entries.get(&(version.to_owned(), entry.key.clone()))?;
        (*revision == entry.revision && *of == definition).then(|| found.clone())
    }

    fn keep(&self, version: &str, definition: u64, entry: &Arc<Entry>) {
        let mut kept = self.kept.lock();
        if kept.bytes + entry.value.len() > KEPT {
            *kept = Kept::default();
        }
        kept.bytes += entry.value.len();
        let made = (entry.revision, definition, entry.clone());
        if let Some((.., old)) = kept.entries.insert((version.to_owned(), entry.key.clone()), made) {
            kept.bytes -= old.value.len();
        }
    }
}

/// The webhook that converts objects of a resource, where there is one.
pub(super) fn webhook(def: &ResourceDef) -> Option<&Arc<Conversion>> {
    def.custom.as_ref()?.conversion.as_ref()
}

/// Whether an entry is not in the version of `def`, and a webhook has to make it so.
pub(super) fn is_needed(def: &ResourceDef, entry: &Entry) -> bool {
    webhook(def).is_some() && version_of(&entry.value) != Some(def.api_version().as_str())
}

/// The `apiVersion` of an encoded object: it stands at the beginning.
fn version_of(bytes: &[u8]) -> Option<&str> {
    let head = std::str::from_utf8(&bytes[..encode::split_type(bytes)?]).ok()?;
    head.trim_end_matches("\",").rsplit('"').next()
}

fn failed(message: String) -> Status {
    // As Kubernetes tells errors that have no words of their own: a code, and no reason.
    let mut status = Status::failure(Reason::InternalError, message);
    status.reason = None;
    status
}

impl Pipeline {
    /// An entry in the version of `def`.
    pub(super) async fn shown(&self, def: &ResourceDef, entry: Arc<Entry>) -> Answer<Arc<Entry>> {
        if !is_needed(def, &entry) {
            return Ok(entry);
        }
        let mut all = self.convert_entries(def, vec![entry], false).await?;
        all.pop().ok_or_else(|| failed("nothing was converted".to_owned()))
    }

    /// Entries in the version of `def`.
    pub(super) async fn all_shown(
        &self,
        def: &ResourceDef,
        entries: Vec<Arc<Entry>>,
    ) -> Answer<Vec<Arc<Entry>>> {
        if webhook(def).is_none() || !entries.iter().any(|entry| is_needed(def, entry)) {
            return Ok(entries);
        }
        self.convert_entries(def, entries, true).await
    }

    /// The object of `entry`, to send in the version of `def`.
    pub(super) async fn object(&self, def: &ResourceDef, entry: Arc<Entry>) -> Answer<Object> {
        object::of_entry(def, self.shown(def, entry).await?)
    }

    async fn convert_entries(
        &self,
        def: &ResourceDef,
        mut entries: Vec<Arc<Entry>>,
        is_list: bool,
    ) -> Answer<Vec<Arc<Entry>>> {
        let (wanted, definition) = (def.api_version(), revision(def));
        let mut places = Vec::new();
        for (place, entry) in entries.iter_mut().enumerate() {
            if !is_needed(def, entry) {
                continue;
            }
            match self.inner.converted.find(&wanted, entry, definition) {
                Some(known) => *entry = known,
                None => places.push(place),
            }
        }
        for batch in places.chunks(BATCH) {
            let originals: Answer<Vec<Value>> =
                batch.iter().map(|place| object::stored(&entries[*place])).collect();
            let converted = self.convert(def, &wanted, originals?, is_list).await?;
            for (place, document) in batch.iter().zip(converted) {
                let bytes = encode::to_bytes(&document);
                let header = scan(def, &bytes).map_err(Status::internal)?;
                let made = Arc::new(entries[*place].in_form(bytes, Arc::new(header)));
                self.inner.converted.keep(&wanted, definition, &made);
                entries[*place] = made;
            }
        }
        Ok(entries)
    }

    /// A document of the version of `def` as it is stored.
    pub(super) async fn stored_form<'d>(
        &self,
        def: &ResourceDef,
        document: &'d Value,
    ) -> Answer<Cow<'d, Value>> {
        if webhook(def).is_none() || def.is_stored() {
            return Ok(Cow::Borrowed(document));
        }
        let desired = def.storage.to_string();
        let mut converted = self.convert(def, &desired, vec![document.clone()], false).await?;
        let mut made = converted.pop().ok_or_else(|| failed("nothing was converted".to_owned()))?;
        let storage = self.registry().resource(&def.storage.group, &def.storage.version, &def.plural);
        if let Some(custom) = storage.as_ref().and_then(|storage| storage.custom.as_ref()) {
            // What the schema does not know is not stored, wherever it came from.
            api::structural::prune::document(&custom.schema, &mut made).map_err(failed)?;
            api::structural::default::document(&custom.schema, &mut made);
        }
        Ok(Cow::Owned(made))
    }

    async fn convert(
        &self,
        def: &ResourceDef,
        desired: &str,
        originals: Vec<Value>,
        is_list: bool,
    ) -> Answer<Vec<Value>> {
        let Some(webhook) = webhook(def) else { return Ok(originals) };
        // Kubernetes names a list by its own kind, and one object by the kind that it has before.
        let (of, asked) = match is_list {
            true => {
                let of = convert::gvk(&def.api_version(), &def.list_kind);
                (of.clone(), of)
            }
            false => {
                let before = originals.first().and_then(|own| own["apiVersion"].as_str()).unwrap_or_default();
                (convert::gvk(before, &def.kind), convert::gvk("", ""))
            }
        };
        let answered = self.ask_converter(webhook, desired, &originals).await;
        let converted = answered.map_err(|why| match why {
            Unconverted::NotAsked(why) => failed(format!("conversion for {of} failed: {why}")),
            Unconverted::Asked(why) => {
                failed(format!("conversion for {of} failed: conversion webhook for {asked} failed: {why}"))
            }
        })?;
        if converted.len() != originals.len() {
            let (got, wanted) = (converted.len(), originals.len());
            return Err(failed(format!("conversion for {of} returned {got} objects, expected {wanted}")));
        }
        let pairs = originals.iter().zip(converted).enumerate();
        pairs
            .map(|(place, (original, converted))| {
                convert::accept(original, converted, desired, place)
                    .map_err(|why| failed(format!("conversion for {of} {why}")))
            })
            .collect()
    }

    async fn ask_converter(
        &self,
        webhook: &Conversion,
        desired: &str,
        originals: &[Value],
    ) -> Result<Vec<Value>, Unconverted> {
        let version = convert::version(&webhook.review_versions)
            .ok_or_else(|| Unconverted::NotAsked("no supported conversion review versions".to_owned()))?;
        let uid = self.inner.names.uid();
        let question = convert::review(version, &uid, desired, originals).to_string();
        let config = serde_json::from_value::<ClientConfig>(webhook.client_config.clone());
        let config = config.map_err(|error| Unconverted::NotAsked(error.to_string()))?;
        let snapshot = self.inner.store.snapshot();
        let asked = self.inner.client.ask(&config, &snapshot, LIMIT, Bytes::from(question));
        let answer = asked.await.map_err(Unconverted::Asked)?;
        convert::read(&answer, version, &uid).map_err(Unconverted::Asked)
    }
}

/// Why nothing was converted, and whether anybody was asked to.
enum Unconverted {
    NotAsked(String),
    Asked(String),
}

/// The revision of the definition.
fn revision(def: &ResourceDef) -> u64 {
    def.custom.as_ref().map_or(0, |custom| custom.revision)
}
