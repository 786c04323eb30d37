//! One write, from the request to its answer.
//!
//! Every write compares and swaps: it names the revision that its key must have, also where the caller asked for
//! nothing. So it can be tried again when an answer got lost: if the first try was done the second one fails to
//! compare, and what stands there says (by its nonce) that it was ours. A write never happens twice.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Shared;
use super::link::CallError;
use super::stored::{Nonce, Stored};
use super::wire::compare::{CompareResult, CompareTarget, TargetUnion};
use super::wire::request_op::Request as Step;
use super::wire::response_op::Response as Outcome;
use super::wire::{
    Compare, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
};
use crate::entry::Entry;
use crate::key::{Key, Revision, Timestamp};
use crate::stage::Prepared;
use crate::write::{Change, Precondition, WriteError, WriteResult};

/// How long to wait before a try that follows one that failed.
const PAUSE: Duration = Duration::from_millis(50);

/// A write on its way.
struct Attempt<'a> {
    shared: &'a Shared,
    prepared: &'a Prepared,
    place: Bytes,
    value: Bytes,
    nonce: Nonce,
    written: Timestamp,
    /// The revision that the key must have; 0 when it must not be there.
    expected: i64,
    /// A delete that does not put the last state, since etcd has no room for it. Watches end then.
    bare: bool,
}

/// Makes one write.
pub(crate) async fn write(shared: &Shared, prepared: &Prepared) -> WriteResult {
    let write = &prepared.write;
    let place =
        shared.codec.place_of(&write.key).ok_or_else(|| WriteError::InvalidKey { key: write.key.clone() })?;
    let current = || shared.hub.state().get(&write.key).cloned();
    let expected = match write.precondition {
        Precondition::None => current().map_or(0, |entry| entry.revision.0),
        Precondition::Absent => 0,
        Precondition::Revision(revision) => revision.0,
    };
    let expected = i64::try_from(expected).unwrap_or(i64::MAX);
    let deletes = matches!(write.change, Change::Delete { .. });
    let impossible = match write.precondition {
        Precondition::None => false,
        Precondition::Absent => deletes,
        Precondition::Revision(_) => expected == 0,
    };
    if impossible {
        return Err(WriteError::PreconditionFailed { current: current() });
    }
    let (Change::Put(template) | Change::Delete { last: template }) = &write.change;
    let written = (shared.clock)().into();
    let nonce = shared.next_nonce();
    let value = shared
        .codec
        .encode(&write.key, template, write.author.as_deref(), written, nonce)
        .map_err(|error| WriteError::Unavailable { reason: crate::log::chain(&error).into() })?;
    Attempt { shared, prepared, place, value, nonce, written, expected, bare: false }.run().await
}

impl Attempt<'_> {
    /// Tries until it knows, or until time is over.
    async fn run(&mut self) -> WriteResult {
        let deadline = Instant::now() + self.shared.timeout;
        // Whether an earlier try may have been done.
        let mut unsure = false;
        loop {
            let error = match self.try_once(deadline).await {
                Ok(answer) if answer.succeeded => return self.succeeded(&answer, deadline).await,
                Ok(answer) => match self.failed(answer, unsure, deadline).await {
                    Some(result) => return result,
                    None => continue,
                },
                Err(error) => error,
            };
            let reason = match error {
                CallError::Full if self.deletes() && !self.bare => {
                    self.bare = true;
                    continue;
                }
                CallError::Full if !unsure => return Err(WriteError::Full),
                CallError::TooLarge if !unsure => {
                    return Err(WriteError::TooLarge { size: self.value.len() });
                }
                CallError::Refused(reason) if !unsure => return Err(WriteError::Unavailable { reason }),
                CallError::NotDone(reason) => reason,
                CallError::Lost(reason) => {
                    unsure = true;
                    reason
                }
                error => error.to_string().into(),
            };
            if Instant::now() + PAUSE >= deadline {
                return Err(match unsure {
                    true => WriteError::Unknown { reason },
                    false => WriteError::Unavailable { reason },
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_once(&self, deadline: Instant) -> Result<TxnResponse, CallError> {
        let connection = tokio::time::timeout_at(deadline, self.shared.link.connection())
            .await
            .map_err(|_| CallError::NotDone("no member of etcd answers".into()))??;
        // A member that does not answer leaves time for another one.
        let patience = deadline.min(Instant::now() + self.shared.timeout / 2);
        let answer = match tokio::time::timeout_at(patience, connection.txn(self.request())).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Lost("etcd does not answer".into())),
        };
        if let Err(CallError::Lost(_) | CallError::NotDone(_)) = &answer {
            self.shared.link.broken(&connection).await;
        }
        answer
    }

    fn deletes(&self) -> bool {
        matches!(self.prepared.write.change, Change::Delete { .. })
    }

    fn request(&self) -> TxnRequest {
        let op = |step| RequestOp { request: Some(step) };
        let put = |key: Bytes| op(Step::RequestPut(PutRequest { key, value: self.value.clone() }));
        let get =
            |key: Bytes| op(Step::RequestRange(RangeRequest { key, limit: 1, ..RangeRequest::default() }));
        let last = self.shared.codec.last();
        let mut failure = vec![get(self.place.clone())];
        let success = match self.deletes() {
            false => vec![put(self.place.clone())],
            // What is not there cannot be deleted: to look is enough.
            true if self.expected == 0 => Vec::new(),
            true => {
                failure.push(get(last.clone()));
                let delete = DeleteRangeRequest { key: self.place.clone() };
                let delete = op(Step::RequestDeleteRange(delete));
                if self.bare { vec![delete] } else { vec![delete, put(last)] }
            }
        };
        let compare = Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: self.place.clone(),
            target_union: Some(TargetUnion::ModRevision(self.expected)),
        };
        TxnRequest { compare: vec![compare], success, failure }
    }

    async fn succeeded(&self, answer: &TxnResponse, deadline: Instant) -> WriteResult {
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        if self.deletes() && self.expected == 0 {
            self.wait_gone(revision, deadline).await;
            return Err(WriteError::PreconditionFailed { current: None });
        }
        self.arrived(revision, deadline).await
    }

    /// What it means that the key did not have the expected revision. None to try again.
    async fn failed(&mut self, answer: TxnResponse, unsure: bool, deadline: Instant) -> Option<WriteResult> {
        let seen = answer.header.as_ref().map_or(0, |header| header.revision);
        let mut found = answer.responses.into_iter().map(|op| match op.response {
            Some(Outcome::ResponseRange(range)) => range.kvs.into_iter().next(),
            _ => None,
        });
        let current = found.next().flatten();
        let last = found.next().flatten();
        if unsure {
            let ours = |kv: &&KeyValue| Stored::nonce_of(&kv.value) == Some(self.nonce);
            if let Some(kv) = [&current, &last].into_iter().flatten().find(ours) {
                return Some(self.arrived(kv.mod_revision, deadline).await);
            }
            // The key is not as it was when we began. Perhaps it was us, and another one came after.
            let reason = "its answer got lost, and the key was written again since".into();
            return Some(Err(WriteError::Unknown { reason }));
        }
        let there = current.as_ref().map(|kv| kv.mod_revision);
        if self.prepared.write.precondition == Precondition::None {
            self.expected = there.unwrap_or(0);
            return None;
        }
        // The caller looks at the state in memory next, and shall find there what it failed on.
        match there {
            Some(revision) => self.wait_reached(revision, deadline).await,
            None => self.wait_gone(seen, deadline).await,
        }
        let current = self.shared.hub.state().get(&self.prepared.write.key).cloned();
        Some(Err(WriteError::PreconditionFailed { current }))
    }

    /// The write is done; it is answered when everybody can see it.
    async fn arrived(&self, revision: i64, deadline: Instant) -> WriteResult {
        let revision = Revision(revision as u64);
        let arrival = self.shared.arrivals.reached(revision);
        if tokio::time::timeout_at(deadline, arrival).await.is_err() {
            let reason = "it is done, but etcd has not told of it in time".into();
            return Err(WriteError::Unknown { reason });
        }
        if let Some(event) = self.shared.hub.event_at(revision) {
            return Ok(event.entry.clone());
        }
        // So much has happened since that the window does not have it any more.
        let Prepared { write, extracted } = self.prepared;
        let (Change::Put(template) | Change::Delete { last: template }) = &write.change;
        Ok(std::sync::Arc::new(Entry {
            key: write.key.clone(),
            value: template.fill(revision),
            revision,
            written: self.written,
            author: write.author.clone(),
            extracted: extracted.clone(),
        }))
    }

    async fn wait_reached(&self, revision: i64, deadline: Instant) {
        let arrival = self.shared.arrivals.reached(Revision(revision as u64));
        // In vain if etcd is away by now. The answer is right nevertheless.
        let _ = tokio::time::timeout_at(deadline, arrival).await;
    }

    /// Waits until memory knows, too, that the key was not there at a revision.
    async fn wait_gone(&self, revision: i64, deadline: Instant) {
        let key: &Key = &self.prepared.write.key;
        let gone = async {
            loop {
                let news = self.shared.arrivals.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                let state = self.shared.hub.state();
                if state.get(key).is_none_or(|entry| entry.revision.0 as i64 > revision) {
                    return;
                }
                news.await;
            }
        };
        // As above.
        let _ = tokio::time::timeout_at(deadline, gone).await;
    }
}
