//! Admission, as the verbs call it: what is admitted is told here once, and every verb that writes comes by.

use std::sync::Arc;
use std::time::Duration;

use api::registry::ResourceDef;
use serde_json::Value;
use store::{Bucket, Key, Snapshot};

use super::Pipeline;
use super::types::{Answer, RequestContext, Subresource, Target};
use crate::admission::{self, Operation, Permit, Question, Request};

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
    pub dry_run: bool,
    pub operation: Operation,
}

impl Admitted<'_> {
    /// What is built in, where only that is asked.
    pub(super) fn mutate(&self, snapshot: &Snapshot, object: &mut Value, old: Option<&Value>) -> Answer<()> {
        admission::mutate(&self.request(snapshot), object, old)
    }

    fn request<'b>(&'b self, snapshot: &'b Snapshot) -> Request<'b> {
        Request {
            operation: self.operation,
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
    /// Fills in and changes what is to be stored.
    pub(super) async fn admit(
        &self,
        admitted: &Admitted<'_>,
        snapshot: &Snapshot,
        object: &mut Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Answer<()> {
        admitted.mutate(snapshot, object, old)?;
        let webhooks = &self.inner.webhooks;
        if !is_shown(admitted.target) || !webhooks.may_mutate(snapshot) {
            return Ok(());
        }
        let versions = self.all_versions(&admitted.target.def);
        let question = self.question(admitted, snapshot, &versions);
        let again = |object: &mut Value| admitted.mutate(snapshot, object, old);
        webhooks.mutate(&question, Some(object), old, warnings, again).await
    }

    /// Judges what is to be stored, or deleted. What is permitted has to be stored while it holds the permit.
    pub(super) async fn judge(
        &self,
        admitted: &Admitted<'_>,
        snapshot: &Snapshot,
        object: Option<&Value>,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Answer<Permit> {
        admission::validate(&admitted.request(snapshot), object, old, warnings)?;
        self.ask_judges(admitted, snapshot, object, old, warnings).await?;
        // Last, since who is counted is in the way of others.
        self.inner.quotas.admit(&admitted.request(snapshot), &self.inner.store, object, old).await
    }

    async fn ask_judges(
        &self,
        admitted: &Admitted<'_>,
        snapshot: &Snapshot,
        object: Option<&Value>,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Answer<()> {
        let webhooks = &self.inner.webhooks;
        // Who changes objects has a say in deletions too.
        let deleted = admitted.operation == Operation::Delete;
        let (changes, judges) = (deleted && webhooks.may_mutate(snapshot), webhooks.may_validate(snapshot));
        if !is_shown(admitted.target) || !(changes || judges) {
            return Ok(());
        }
        let versions = self.all_versions(&admitted.target.def);
        let question = self.question(admitted, snapshot, &versions);
        if changes {
            webhooks.mutate(&question, None, old, warnings, |_| Ok(())).await?;
        }
        webhooks.validate(&question, object, old, warnings).await
    }

    fn question<'a>(
        &self,
        admitted: &'a Admitted<'a>,
        snapshot: &'a Snapshot,
        versions: &'a [Arc<ResourceDef>],
    ) -> Question<'a> {
        Question {
            request: admitted.request(snapshot),
            versions,
            dry_run: admitted.dry_run,
            uid: self.inner.names.uid(),
        }
    }

    /// The versions of a resource, this one first.
    fn all_versions(&self, def: &Arc<ResourceDef>) -> Vec<Arc<ResourceDef>> {
        let own = std::iter::once(def.clone());
        let same = |other: &&Arc<ResourceDef>| {
            other.bucket == def.bucket && (&other.group, &other.version) != (&def.group, &def.version)
        };
        own.chain(self.registry().all().iter().filter(same).cloned()).collect()
    }

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

/// Whether the documents are what a webhook expects: of a scale they are the whole object, which it is not.
fn is_shown(target: &Target) -> bool {
    target.subresource != Some(Subresource::Scale)
}
