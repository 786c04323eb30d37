//! ResourceQuota: a namespace uses no more than it may, however many write at once.
//!
//! What is used is counted from the objects themselves, not from what a quota's status says of them, so a count is
//! never behind and never drifts. Writes that a quota concerns wait for each other, in their namespace: each holds a
//! [`Permit`] until it is stored, and the next counts it. What an object uses is remembered by its revision, so that a
//! count looks into new and changed objects only. With several servers on one store, two of them may count at the same
//! moment, and the last object that fits may become two.

use std::collections::HashMap;
use std::sync::Arc;

use api::quota::{Amounts, Quota, add, show, usage};
use api::status::Status;
use parking_lot::Mutex;
use serde_json::Value;
use store::{Bucket, Revision, Snapshot, Store};
use tokio::sync::OwnedMutexGuard;

use super::{Operation, Request, read};
use crate::pipeline::Subresource;

const BUCKET: &str = "resourcequotas";

/// What the objects of a namespace use, as far as it was looked at.
#[derive(Default)]
pub(crate) struct Ledger {
    known: HashMap<Box<str>, HashMap<Box<str>, Known>>,
}

struct Known {
    revision: Revision,
    used: Amounts,
    /// Whether each quota counts it depends on the object too.
    object: Arc<Value>,
}

/// The ledgers of all namespaces that have quotas.
#[derive(Default)]
pub(crate) struct Quotas(Mutex<HashMap<Box<str>, Arc<tokio::sync::Mutex<Ledger>>>>);

/// A write that was counted goes on; until this is dropped, nobody else counts.
#[must_use]
pub(crate) struct Permit {
    _held: Option<OwnedMutexGuard<Ledger>>,
}

impl Permit {
    /// For what no quota concerns.
    pub(crate) fn free() -> Self {
        Self { _held: None }
    }
}

impl Quotas {
    /// Whether the object still fits.
    pub(crate) async fn admit(
        &self,
        request: &Request<'_>,
        store: &Store,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Permit, Status> {
        let Some(object) = object.filter(|_| is_charged(request)) else { return Ok(Permit::free()) };
        let quotas = of_namespace(request.snapshot, request.namespace);
        let bucket = &*request.def.bucket;
        if !quotas.iter().any(|quota| quota.buckets().contains(bucket)) {
            return Ok(Permit::free());
        }
        let ledger = self.0.lock().entry(request.namespace.into()).or_default().clone();
        let mut ledger = ledger.lock_owned().await;
        // What was written while this waited counts.
        let snapshot = store.snapshot();
        let before = old.map(|old| (old, usage(bucket, old)));
        let after = usage(bucket, object);
        for quota in of_namespace(&snapshot, request.namespace) {
            if !quota.counts(bucket, object) {
                continue;
            }
            if request.operation == Operation::Create
                && bucket == "pods"
                && let Some(unsaid) = quota.unsaid(object)
            {
                let why = format!("failed quota: {}: {unsaid}", quota.name);
                return Err(request.forbid(Some(object), why));
            }
            let counted = before.as_ref().filter(|(old, _)| quota.counts(bucket, old));
            let more = beyond(&quota.bounded(&after), counted.map(|(_, before)| before));
            if more.is_empty() {
                continue;
            }
            let used = ledger.used(&snapshot, request.namespace, bucket, &quota);
            if let Some(why) = exceeded(&quota, &more, &used) {
                return Err(request.forbid(Some(object), why));
            }
        }
        Ok(Permit { _held: Some(ledger) })
    }
}

/// Whether the write can make an object use more.
fn is_charged(request: &Request<'_>) -> bool {
    match (request.operation, request.subresource) {
        _ if request.namespace.is_empty() => false,
        (Operation::Create, None) => true,
        (Operation::Update, None) => {
            matches!(&*request.def.bucket, "services" | "persistentvolumeclaims")
        }
        (Operation::Update, Some(Subresource::Resize)) => true,
        _ => false,
    }
}

fn of_namespace(snapshot: &Snapshot, namespace: &str) -> Vec<Quota> {
    let entries = snapshot.list(&Bucket::from(BUCKET), Some(namespace), None);
    entries.filter_map(|entry| read(entry)).map(|quota| Quota::read(&quota)).collect()
}

/// What is asked for beyond what was counted already; nothing where that is less.
fn beyond(after: &Amounts, before: Option<&Amounts>) -> Amounts {
    after
        .iter()
        .filter_map(|(name, amount)| {
            let more = match before.and_then(|before| before.get(name)) {
                Some(before) => amount.checked_sub(before)?,
                None => *amount,
            };
            more.sign().is_gt().then(|| (name.clone(), more))
        })
        .collect()
}

fn exceeded(quota: &Quota, more: &Amounts, used: &Amounts) -> Option<String> {
    let mut sum = used.clone();
    add(&mut sum, more);
    let over: Vec<&String> = more.keys().filter(|name| sum.get(*name) > quota.hard.get(*name)).collect();
    if over.is_empty() {
        return None;
    }
    let only = |all: &Amounts| -> Amounts {
        over.iter().filter_map(|name| Some(((*name).clone(), *all.get(*name)?))).collect()
    };
    Some(format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        quota.name,
        show(&only(more)),
        show(&only(used)),
        show(&only(&quota.hard))
    ))
}

impl Ledger {
    /// What the objects of one bucket use that the quota counts.
    fn used(&mut self, snapshot: &Snapshot, namespace: &str, bucket: &str, quota: &Quota) -> Amounts {
        let known = self.known.entry(bucket.into()).or_default();
        let mut used = quota.nothing();
        let mut present = 0;
        for entry in snapshot.list(&Bucket::from(bucket), Some(namespace), None) {
            present += 1;
            let name = entry.key.name();
            if known.get(name).is_none_or(|known| known.revision != entry.revision) {
                let object = Arc::new(read(entry).unwrap_or_default());
                let used = usage(bucket, &object);
                known.insert(name.into(), Known { revision: entry.revision, used, object });
            }
            if let Some(known) = known.get(name).filter(|known| quota.counts(bucket, &known.object)) {
                add(&mut used, &quota.bounded(&known.used));
            }
        }
        if known.len() > present {
            let bucket = Bucket::from(bucket);
            known.retain(|name, _| snapshot.get(&store::Key::new(&bucket, namespace, name)).is_some());
        }
        used
    }
}
