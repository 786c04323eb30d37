//! Which volume a claim gets, and what becomes of a volume. Pure.
//!
//! A claim and a volume are bound when each names the other. The volume's side is written first, so that a binder
//! that dies in between finds its way: a volume that names a claim is for it and no other.

pub mod claim;
pub mod matching;
pub mod provision;
pub mod volume;

#[cfg(test)]
mod tests;

use api::meta::ObjectMeta;
use client::EventType;
use serde_json::{Value, json};

pub use claim::{Observed as ObservedClaim, plan_claim};
pub use volume::{Observed as ObservedVolume, plan_volume};

/// One step. Each is done before the next; where one is refused, the rest is not tried.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Merge into a volume.
    PatchVolume {
        /// Its name.
        name: String,
        /// What to merge.
        patch: Value,
    },
    /// Merge into the status of a volume.
    PatchVolumeStatus {
        /// Its name.
        name: String,
        /// What to merge.
        patch: Value,
    },
    /// Merge into the claim.
    PatchClaim(Value),
    /// Merge into the status of the claim.
    PatchClaimStatus(Value),
    /// Make a volume.
    CreateVolume(Box<Value>),
    /// Delete a volume.
    DeleteVolume {
        /// Its name.
        name: String,
        /// It must still be this one.
        uid: String,
    },
}

/// What to tell the user of the claim or volume that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// News or trouble.
    pub kind: EventType,
    /// In one word.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
}

impl Told {
    fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: EventType::Normal, reason, message: message.into() }
    }

    fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: EventType::Warning, reason, message: message.into() }
    }
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The steps.
    pub actions: Vec<Action>,
    /// What to tell, where there is something.
    pub told: Option<Told>,
}

impl Plan {
    fn tell(mut self, told: Told) -> Self {
        self.told = Some(told);
        self
    }
}

/// A patch that holds only for the object as it was seen.
fn guarded(meta: &ObjectMeta, mut patch: Value) -> Value {
    patch["metadata"]["uid"] = json!(meta.uid);
    patch["metadata"]["resourceVersion"] = json!(meta.resource_version);
    patch
}

/// A patch that holds only for the object of that uid.
fn for_uid(meta: &ObjectMeta, mut patch: Value) -> Value {
    patch["metadata"]["uid"] = json!(meta.uid);
    patch
}
