//! The behaviour suite: what every backend must do, written once.
//!
//! A backend's test hands [`run_all`] a function that makes an empty store. Read on: [`behaviours`] for the list,
//! [`histories`] for
//! random ones, [`disk`] for a disk that fails, [`etcd`] for a real etcd cluster.

pub mod behaviours;

pub mod disk;

pub mod etcd;

pub mod histories;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use crate::{
    Bucket, Change, Clock, Entry, Extract, Extracted, Key, Precondition, Revision, Store, Template, Term,
    Write,
};

/// Runs every behaviour, each on a store of its own.
pub async fn run_all<F: Future<Output = Store>>(make_store: impl Fn() -> F) {
    behaviours::puts_and_gets(make_store().await).await;
    behaviours::preconditions_hold(make_store().await).await;
    behaviours::a_group_is_each_write_by_itself(make_store().await).await;
    behaviours::lists_are_ordered_and_scoped(make_store().await).await;
    behaviours::terms_follow_their_objects(make_store().await).await;
    behaviours::snapshots_do_not_change(make_store().await).await;
    behaviours::the_past_can_be_read(make_store().await).await;
    behaviours::watches_resume_from_any_revision(make_store().await).await;
    behaviours::watches_are_scoped(make_store().await).await;
    behaviours::a_watch_waits_and_is_woken(make_store().await).await;
    behaviours::bookmarks_are_never_ahead(make_store().await).await;
    behaviours::an_encoding_is_made_once(make_store().await).await;
    behaviours::the_future_is_refused(make_store().await).await;
    behaviours::invalid_writes_leave_no_trace(make_store().await).await;
    behaviours::history_is_newest_first(make_store().await).await;
    behaviours::a_closed_store_takes_no_writes(make_store().await).await;
    for seed in 0..5 {
        histories::a_random_history_is_what_the_model_says(make_store().await, seed, 600).await;
    }
}

/// A key in the bucket `pods`, as `namespace/name`, or as `name` alone when it has no namespace.
pub fn pod(path: &str) -> Key {
    let (namespace, name) = path.split_once('/').unwrap_or(("", path));
    Key::new(&Bucket::from("pods"), namespace, name)
}

/// The template of a small object: `text` is a list of `name=value` labels or anything else.
pub fn object(text: &str) -> Template {
    Template::new(format!("{{\"data\":\"{text}\",\"resourceVersion\":\""), "\"}")
}

/// A put without precondition.
pub fn put(key: &Key, text: &str) -> Write {
    let change = Change::Put(object(text));
    Write { key: key.clone(), precondition: Precondition::None, change, author: None }
}

/// A put that asks for something.
pub fn put_if(key: &Key, text: &str, precondition: Precondition) -> Write {
    Write { precondition, ..put(key, text) }
}

/// A delete without precondition.
pub fn delete(key: &Key, text: &str) -> Write {
    let change = Change::Delete { last: object(text) };
    Write { key: key.clone(), precondition: Precondition::None, change, author: None }
}

/// A deterministic clock: each look at it is a millisecond later.
pub fn ticking_clock() -> Clock {
    let millis = AtomicI64::new(1_000_000);
    Arc::new(move || UNIX_EPOCH + Duration::from_millis(millis.fetch_add(1, Ordering::Relaxed) as u64))
}

/// An extract function for values of [`object`]: each word `name=value` is a term, the whole text the header.
pub fn word_terms() -> Extract {
    Arc::new(|_, value| {
        let text = std::str::from_utf8(value)?;
        let text = text.split('"').nth(3).ok_or("no text")?;
        if text == "malformed" {
            return Err("the text says so".into());
        }
        let terms = text.split(' ').filter_map(|word| word.split_once('='));
        Ok(Extracted {
            header: Arc::new(text.to_owned()),
            terms: terms.map(|(name, value)| Term::new("label", name, value)).collect(),
        })
    })
}

/// The text of an entry made from [`object`].
pub fn text(entry: &Entry) -> &str {
    entry.header::<String>().map_or("", String::as_str)
}

/// Puts and expects it to succeed. Gives the revision.
pub async fn must(store: &Store, write: Write) -> Revision {
    match store.write(write).await {
        Ok(entry) => entry.revision,
        Err(error) => panic!("write failed: {error}"),
    }
}
