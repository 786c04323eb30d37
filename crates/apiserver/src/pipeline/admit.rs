//! Admission, as the verbs call it: what is admitted is told here once, and every verb that writes comes by.

use std::time::Duration;

use api::registry::ResourceDef;
use serde_json::Value;
use store::{Bucket, Key, Snapshot};

use super::Pipeline;
use super::types::{Answer, RequestContext, Target};
use crate::admission::{self, Operation, Request};

/// How long a pod waits for the account that every namespace is given: it is made right after its namespace, by a
/// controller, and whoever makes both does not know that.
const ACCOUNT_WAIT: Duration = Duration::from_millis(1500);

/// A write, and who wants it.
#[derive(Clone, Copy)]
pub(super) struct Admitted<'a> {
    pub context: &'a RequestContext,
    pub target: &'a Target,
    /// The resource in its storage version: that of the documents.
    pub storage: &'a ResourceDef,
}

impl Admitted<'_> {
    /// Fills in and changes what is to be stored.
    pub(super) fn mutate(
        &self,
        snapshot: &Snapshot,
        operation: Operation,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Answer<()> {
        admission::mutate(&self.request(snapshot, operation), object, old)
    }

    /// Judges what is to be stored or deleted.
    pub(super) fn validate(
        &self,
        snapshot: &Snapshot,
        operation: Operation,
        object: Option<&Value>,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Answer<()> {
        admission::validate(&self.request(snapshot, operation), object, old, warnings)
    }

    fn request<'b>(&'b self, snapshot: &'b Snapshot, operation: Operation) -> Request<'b> {
        Request {
            operation,
            user: &self.context.user,
            def: self.storage,
            namespace: self.target.namespace.as_deref().unwrap_or_default(),
            name: self.target.name.as_deref().unwrap_or_default(),
            subresource: self.target.subresource,
            snapshot,
        }
    }
}

impl Pipeline {
    /// The snapshot again, or a newer one in which the default account is there that a new pod needs.
    pub(super) async fn account_of_pod(
        &self,
        snapshot: Snapshot,
        def: &ResourceDef,
        namespace: &str,
        pod: &Value,
    ) -> Snapshot {
        if &*def.bucket != "pods" || !admission::names_no_account(pod) {
            return snapshot;
        }
        let accounts = Bucket::from("serviceaccounts");
        let account = Key::new(&accounts, namespace, admission::DEFAULT_ACCOUNT);
        if snapshot.get(&account).is_some() {
            return snapshot;
        }
        let Ok(mut watch) = self.inner.store.watch(&accounts, snapshot.revision(), Some(namespace)) else {
            return snapshot;
        };
        let made = async {
            while let Ok(event) = watch.next().await {
                if event.entry.key == account {
                    break;
                }
            }
        };
        // Whether it came or not is seen in the snapshot.
        let _ = tokio::time::timeout(ACCOUNT_WAIT, made).await;
        self.inner.store.snapshot()
    }
}
