//! Making and deleting pods for an owner: each write is expected before it is made, and told as an event after it.

use futures_util::future::join_all;
use serde_json::Value;

use api::meta::{ObjectMeta, OwnerReference};
use client::{ClientError, DeleteOptions, EventType, ObjectReference};

use crate::context::Context;
use crate::expectations::Expectations;
use crate::objects::Pod;
use crate::writes;

/// How many pods a slow start creates at first; each batch that succeeds doubles it.
const FIRST_BATCH: usize = 1;

/// A pod to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPod {
    /// Chosen by the plan, so that it is known what to expect.
    pub name: String,
    /// The whole document.
    pub document: Value,
}

/// A pod to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Its name.
    pub name: String,
    /// It must still be this one.
    pub uid: String,
}

impl From<&Pod> for Victim {
    fn from(pod: &Pod) -> Self {
        Self { name: pod.metadata.name.clone(), uid: pod.metadata.uid.clone() }
    }
}

/// Some pods could not be made, or not be deleted.
#[derive(Debug)]
pub struct PodsFailed {
    /// How many.
    pub count: usize,
    /// Why the first of them could not.
    pub error: ClientError,
}

/// Whose pods are written.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The owner's metadata.
    pub meta: &'a ObjectMeta,
    /// The reference by which it manages its pods.
    pub reference: &'a OwnerReference,
}

/// Writes pods for the owners of one controller.
#[derive(Clone)]
pub struct PodWrites {
    /// The controller's surroundings.
    pub context: Context,
    /// What it has written and not seen yet.
    pub expectations: Expectations,
}

impl PodWrites {
    /// Creates one pod, then two, then four: where a quota or an admission refuses, it is asked once, not a thousand
    /// times. A namespace that is going away is no failure.
    pub async fn create(&self, owner: Owner<'_>, pods: &[NewPod]) -> Result<(), PodsFailed> {
        let mut rest = pods;
        let mut batch = FIRST_BATCH;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(batch.min(rest.len()));
            let results = join_all(now.iter().map(|pod| self.create_one(owner, pod))).await;
            let failed = results.iter().filter(|result| result.is_err()).count();
            if let Some(error) = results.into_iter().find_map(Result::err) {
                if writes::namespace_is_terminating(&error) {
                    return Ok(());
                }
                return Err(PodsFailed { count: failed + later.len(), error });
            }
            rest = later;
            batch *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, owner: Owner<'_>, pod: &NewPod) -> Result<(), ClientError> {
        let uid = &owner.meta.uid;
        self.expectations.will_create(uid, &pod.name, self.context.now());
        let api = self.context.api::<Pod>();
        match api.dynamic().create(&owner.meta.namespace, &pod.document, &Default::default()).await {
            Ok(_) => {
                let message = format!("Created pod: {}", pod.name);
                self.tell(owner, EventType::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) => {
                // Without an answer the pod may have been created: the note stays until the pod is seen or it expires.
                if error.status().is_some() {
                    self.expectations.forget_creation(uid, &pod.name);
                }
                if !writes::namespace_is_terminating(&error) {
                    let message = format!("Error creating: {}", error.to_status());
                    self.tell(owner, EventType::Warning, "FailedCreate", message);
                }
                Err(error)
            }
        }
    }

    /// Deletes pods, all at once.
    pub async fn delete(&self, owner: Owner<'_>, victims: &[Victim]) -> Result<(), PodsFailed> {
        let results = join_all(victims.iter().map(|victim| self.delete_one(owner, victim))).await;
        let count = results.iter().filter(|result| result.is_err()).count();
        match results.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some(error) => Err(PodsFailed { count, error }),
        }
    }

    async fn delete_one(&self, owner: Owner<'_>, victim: &Victim) -> Result<(), ClientError> {
        let uid = &owner.meta.uid;
        self.expectations.will_delete(uid, &victim.uid, self.context.now());
        let api = self.context.api::<Pod>();
        match api.delete(&owner.meta.namespace, &victim.name, &DeleteOptions::uid(&*victim.uid)).await {
            Ok(_) => {
                let message = format!("Deleted pod: {}", victim.name);
                self.tell(owner, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) => {
                self.expectations.forget_deletion(uid, &victim.uid);
                // Gone already, or made anew under the same name: either way this one is gone.
                if error.is_not_found() || error.is_conflict() {
                    return Ok(());
                }
                let message = format!("Error deleting: {}", error.to_status());
                self.tell(owner, EventType::Warning, "FailedDelete", message);
                Err(error)
            }
        }
    }

    /// Tells something about the owner.
    pub fn tell(&self, owner: Owner<'_>, r#type: EventType, reason: &str, message: String) {
        let object = ObjectReference::new(&owner.reference.api_version, &owner.reference.kind, owner.meta);
        self.context.events.event(&object, r#type, reason, message);
    }
}
