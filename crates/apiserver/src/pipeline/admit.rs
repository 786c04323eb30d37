//! Admission, as the verbs call it: what is admitted is told here once, and every verb that writes comes by.

use std::sync::Arc;
use std::time::Duration;

use api::registry::{Registry, ResourceDef};
use serde_json::Value;
use store::{Bucket, Key, Snapshot};

use super::types::{Answer, RequestContext, Subresource, Target};
use super::{Pipeline, object, scale};
use crate::admission::{self, Invoked, Mutated, Operation, Permit, Question, Request};

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
    /// What the documents are, where they are not of the resource itself: a Binding, say.
    pub part: Option<&'a ResourceDef>,
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
        let (policies, webhooks) = (&self.inner.policies, &self.inner.webhooks);
        if !(policies.may_mutate(snapshot) || webhooks.may_mutate(snapshot)) {
            return Ok(());
        }
        if admitted.target.subresource == Some(Subresource::Scale) {
            let (def, old) = (&admitted.target.def, old.unwrap_or(object));
            let (part, old) = scale::shown(def, old)?;
            let (_, mut scaled) = scale::shown(def, object)?;
            let admitted = Admitted { part: Some(&part), ..*admitted };
            self.mutate(&admitted, snapshot, &mut scaled, Some(&old), warnings, |_| Ok(())).await?;
            return scale::put_back(def, object, &scaled);
        }
        let again = |object: &mut Value| admitted.mutate(snapshot, object, old);
        self.mutate(admitted, snapshot, object, old, warnings, again).await
    }

    /// Lets policies and webhooks change a document, and `again` what is built in where they did.
    async fn mutate(
        &self,
        admitted: &Admitted<'_>,
        snapshot: &Snapshot,
        object: &mut Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
        again: impl Fn(&mut Value) -> Answer<()>,
    ) -> Answer<()> {
        let (policies, webhooks) = (&self.inner.policies, &self.inner.webhooks);
        let (versions, registry) = (self.all_versions(&admitted.target.def), self.registry());
        let question = self.question(admitted, snapshot, &versions, &registry);
        let (mut mutated, mut invoked) = (Mutated::default(), Invoked::default());
        for round in 0..2 {
            let by_policies = policies.mutate(&question, object, old, &mut mutated, round)?;
            let by_webhooks =
                webhooks.mutate(&question, Some(object), old, warnings, &mut invoked, round).await?;
            if round == 0 && !(by_policies || by_webhooks) {
                break;
            }
            again(object)?;
        }
        Ok(())
    }

    /// Whether anybody but what is built in has a say.
    pub(super) fn has_admission(&self, snapshot: &Snapshot) -> bool {
        let (policies, webhooks) = (&self.inner.policies, &self.inner.webhooks);
        webhooks.may_mutate(snapshot)
            || webhooks.may_validate(snapshot)
            || policies.may_mutate(snapshot)
            || policies.may_validate(snapshot)
    }

    /// Lets policies and webhooks change and judge a document that is not of the resource itself, as a Binding.
    pub(super) async fn ask(
        &self,
        admitted: &Admitted<'_>,
        snapshot: &Snapshot,
        object: &mut Value,
        warnings: &mut Vec<String>,
    ) -> Answer<()> {
        if !self.has_admission(snapshot) {
            return Ok(());
        }
        self.mutate(admitted, snapshot, object, None, warnings, |_| Ok(())).await?;
        self.judged_by(admitted, snapshot, Some(object), None, warnings).await
    }

    /// Whether a stream may be opened to an object, or a request passed on to it. `options` say what is wanted of it,
    /// as `PodExecOptions`; what webhooks change in them is not heeded.
    pub(crate) async fn connect(
        &self,
        context: &RequestContext,
        target: &Target,
        mut options: Value,
    ) -> Answer<()> {
        let snapshot = self.inner.store.snapshot();
        if !self.has_admission(&snapshot) {
            return Ok(());
        }
        let name = target.subresource.map_or("", Subresource::as_str);
        let part = target.def.subresource(name).ok_or_else(object::method_not_allowed)?;
        // Of the options there is a name, and no schema.
        let (group, version, kind) = (part.group.clone(), part.version.clone(), part.kind.clone());
        let part = ResourceDef { group, version, kind, ..(*target.def).clone() };
        if let Some(fields) = options.as_object_mut() {
            fields.insert("kind".to_owned(), (*part.kind).into());
            fields.insert("apiVersion".to_owned(), part.api_version().into());
        }
        let admitted = Admitted {
            context,
            target,
            storage: &target.def,
            part: Some(&part),
            dry_run: false,
            operation: Operation::Connect,
        };
        self.ask(&admitted, &snapshot, &mut options, &mut Vec::new()).await
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
        let request = admitted.request(snapshot);
        admission::validate(&request, object, old, warnings)?;
        admission::check_certificates(&request, &*self.inner.authorizer, object, old)?;
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
        let (policies, webhooks) = (&self.inner.policies, &self.inner.webhooks);
        // Webhooks that change objects have a say in deletions too.
        let deleted = admitted.operation == Operation::Delete;
        let (changes, judges) = (deleted && webhooks.may_mutate(snapshot), webhooks.may_validate(snapshot));
        let decides = policies.may_validate(snapshot);
        if !(changes || judges || decides) {
            return Ok(());
        }
        if let (Some(Subresource::Scale), Some(object), Some(old)) =
            (admitted.target.subresource, object, old)
        {
            let def = &admitted.target.def;
            let ((part, scaled), (_, old)) = (scale::shown(def, object)?, scale::shown(def, old)?);
            let admitted = Admitted { part: Some(&part), ..*admitted };
            return self.judged_by(&admitted, snapshot, Some(&scaled), Some(&old), warnings).await;
        }
        self.judged_by(admitted, snapshot, object, old, warnings).await
    }

    async fn judged_by(
        &self,
        admitted: &Admitted<'_>,
        snapshot: &Snapshot,
        object: Option<&Value>,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Answer<()> {
        let (policies, webhooks) = (&self.inner.policies, &self.inner.webhooks);
        let (versions, registry) = (self.all_versions(&admitted.target.def), self.registry());
        let question = self.question(admitted, snapshot, &versions, &registry);
        if admitted.operation == Operation::Delete {
            webhooks.mutate(&question, None, old, warnings, &mut Invoked::default(), 0).await?;
        }
        policies.judge(&question, object, old, warnings)?;
        webhooks.validate(&question, object, old, warnings).await
    }

    fn question<'a>(
        &'a self,
        admitted: &'a Admitted<'a>,
        snapshot: &'a Snapshot,
        versions: &'a [Arc<ResourceDef>],
        registry: &'a Registry,
    ) -> Question<'a> {
        Question {
            request: admitted.request(snapshot),
            versions,
            part: admitted.part,
            dry_run: admitted.dry_run,
            uid: self.inner.names.uid(),
            authorizer: &self.inner.authorizer,
            registry,
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
