//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook: servers of others have a say in what is stored.
//!
//! ```text
//! write ─> configurations, by name ─> rules, selectors ─> who is asked, in which version
//!       ─> one after the other (mutating), all at once (validating) ─> AdmissionReview over HTTPS ─> verdicts
//! ```
//! The order is that of the names of the configurations, and in each the order of its webhooks. A webhook that changes
//! an object makes the built-in plugins look again, and those before it that ask to be (`reinvocationPolicy`).
//!
//! Read on: [`config`] (who is asked), [`review`] (what is asked), [`crate::webhook`] (how it gets there).

mod config;
mod review;

use std::collections::HashMap;
use std::sync::Arc;

use api::codec::{self, FieldValidation};
use api::patch;
use api::registry::ResourceDef;
use api::status::Status;
use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::{Value, json};
use store::{Bucket, Revision, Snapshot};
use tracing::{debug, warn};

use self::config::{Configuration, Webhook};
use self::review::Verdict;
use super::{Request, quoted};
use crate::webhook::Client;

const MUTATING: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
const VALIDATING: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";

/// The webhooks, and how they are reached.
pub(crate) struct Webhooks {
    mutating: Kind,
    validating: Kind,
    client: Arc<Client>,
}

/// The configurations of one kind, as they were read.
struct Kind {
    bucket: Bucket,
    read: Mutex<HashMap<Box<str>, Read>>,
}

/// A configuration, and as of when.
type Read = (Revision, Arc<Configuration>);

impl Kind {
    fn new(bucket: &str) -> Self {
        Self { bucket: Bucket::from(bucket), read: Mutex::default() }
    }

    /// The configurations of a snapshot, by name.
    fn all(&self, snapshot: &Snapshot) -> Vec<Arc<Configuration>> {
        let mut entries = snapshot.list(&self.bucket, None, None).peekable();
        if entries.peek().is_none() {
            return Vec::new();
        }
        let mut read = self.read.lock();
        let mut all = Vec::new();
        for entry in entries {
            let name = entry.key.name();
            match read.get(name) {
                Some((revision, known)) if *revision == entry.revision => all.push(known.clone()),
                _ => {
                    let made: Configuration = serde_json::from_slice(&entry.value).unwrap_or_default();
                    let made = Arc::new(made);
                    read.insert(name.into(), (entry.revision, made.clone()));
                    all.push(made);
                }
            }
        }
        if read.len() > all.len() {
            read.retain(|name, _| snapshot.get(&store::Key::new(&self.bucket, "", name)).is_some());
        }
        all
    }
}

/// A write that webhooks are asked about.
pub(crate) struct Question<'a> {
    /// What plugins see of it.
    pub request: Request<'a>,
    /// The versions of the resource, that of the request first.
    pub versions: &'a [Arc<ResourceDef>],
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// Names the question.
    pub uid: String,
}

impl Webhooks {
    /// None yet; whoever is configured is asked by `client`.
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { mutating: Kind::new(MUTATING), validating: Kind::new(VALIDATING), client }
    }

    /// Whether there are webhooks that change objects.
    pub(crate) fn may_mutate(&self, snapshot: &Snapshot) -> bool {
        snapshot.list(&self.mutating.bucket, None, None).next().is_some()
    }

    /// Whether there are webhooks that judge objects.
    pub(crate) fn may_validate(&self, snapshot: &Snapshot) -> bool {
        snapshot.list(&self.validating.bucket, None, None).next().is_some()
    }

    /// Lets webhooks change an object, and `again` whatever is built in after each round that has changed it.
    pub(crate) async fn mutate(
        &self,
        question: &Question<'_>,
        mut object: Option<&mut Value>,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
        again: impl Fn(&mut Value) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let configurations = self.mutating.all(question.request.snapshot);
        let webhooks: Vec<&Webhook> =
            configurations.iter().flat_map(|configuration| &configuration.webhooks).collect();
        // For each webhook that was asked: the object as it left it.
        let mut left: HashMap<usize, Option<Value>> = HashMap::new();
        let mut changed = false;
        for (place, webhook) in webhooks.iter().enumerate() {
            let asked = self.change(question, webhook, object.as_deref_mut(), old, warnings).await?;
            if let Some(has_changed) = asked {
                changed |= has_changed;
                let wants_again = webhook.reinvocation_policy == "IfNeeded";
                left.insert(place, wants_again.then(|| object.as_deref().cloned().unwrap_or_default()));
            }
        }
        let Some(object) = object.filter(|_| changed) else { return Ok(()) };
        again(object)?;
        for (place, webhook) in webhooks.iter().enumerate() {
            if let Some(Some(seen)) = left.get(&place)
                && seen != object
            {
                self.change(question, webhook, Some(object), old, warnings).await?;
            }
        }
        again(object)
    }

    /// Whether the webhook changed the object; nothing where it was not asked.
    async fn change(
        &self,
        question: &Question<'_>,
        webhook: &Webhook,
        object: Option<&mut Value>,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<bool>, Status> {
        let asked = self.ask(question, webhook, object.as_deref(), old, true).await?;
        let Some((def, sent, mut verdict)) = asked else { return Ok(None) };
        warnings.append(&mut verdict.warnings);
        if let Some(denied) = verdict.denied {
            return Err(denied);
        }
        let (Some(object), false) = (object, verdict.patch.is_empty()) else { return Ok(Some(false)) };
        let mut patched = sent;
        let broken = |status: Status| Status::internal(status.message);
        patch::json::apply(&mut patched, verdict.patch).map_err(broken)?;
        if !patched.is_object() {
            return Err(Status::internal("a webhook's patch made something else of the object"));
        }
        codec::check(&def, &mut patched, FieldValidation::Ignore).map_err(broken)?;
        codec::to_storage(&def, &mut patched);
        keep_identity(&mut patched, object);
        let changed = patched != *object;
        *object = patched;
        Ok(Some(changed))
    }

    /// Lets webhooks judge an object.
    pub(crate) async fn validate(
        &self,
        question: &Question<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let configurations = self.validating.all(question.request.snapshot);
        let all = configurations.iter().flat_map(|configuration| &configuration.webhooks);
        let verdicts = join_all(all.map(|webhook| self.ask(question, webhook, object, old, false))).await;
        let mut refused = None;
        for verdict in verdicts {
            match verdict {
                Ok(Some((_, _, mut verdict))) => {
                    warnings.append(&mut verdict.warnings);
                    refused = refused.or(verdict.denied);
                }
                Ok(None) => {}
                Err(status) => refused = refused.or(Some(status)),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// What the webhook says, the version it was asked in and what it was shown; nothing where it is not concerned,
    /// or could not be asked and does not insist on it.
    async fn ask(
        &self,
        question: &Question<'_>,
        webhook: &Webhook,
        object: Option<&Value>,
        old: Option<&Value>,
        mutates: bool,
    ) -> Result<Option<(Arc<ResourceDef>, Value, Verdict)>, Status> {
        let request = &question.request;
        let Some(def) = webhook.concerns(request, question.versions, object, old) else { return Ok(None) };
        let name = quoted(&webhook.name);
        if question.dry_run && !matches!(&*webhook.side_effects, "None" | "NoneOnDryRun") {
            return Err(Status::bad_request(format!("admission webhook {name} does not support dry run")));
        }
        let shown = |document: Option<&Value>| {
            let mut shown = document.cloned()?;
            codec::from_storage(def, &mut shown);
            Some(shown)
        };
        let (object, old) = (shown(object), shown(old));
        match self.call(question, webhook, def, object.as_ref(), old.as_ref(), mutates).await {
            Ok(verdict) => {
                for (key, value) in &verdict.audit {
                    debug!(key, value, "a webhook annotates the request");
                }
                Ok(Some((def.clone(), object.unwrap_or_default(), verdict)))
            }
            Err(why) if webhook.ignores_failure() => {
                warn!(webhook = webhook.name, why, "failed calling webhook, failing open");
                Ok(None)
            }
            Err(why) => Err(Status::internal(format!("failed calling webhook {name}: {why}"))),
        }
    }

    async fn call(
        &self,
        question: &Question<'_>,
        webhook: &Webhook,
        def: &ResourceDef,
        object: Option<&Value>,
        old: Option<&Value>,
        mutates: bool,
    ) -> Result<Verdict, String> {
        let failed = |why: String| format!("failed to call webhook: {why}");
        if !webhook.match_conditions.is_empty() {
            return Err(failed("match conditions cannot be evaluated by this server".to_owned()));
        }
        let version = review::version(&webhook.admission_review_versions).ok_or_else(|| {
            failed("webhook does not accept known AdmissionReview versions (v1, v1beta1)".to_owned())
        })?;
        let body = review_of(question, def, object, old, version);
        let body = Bytes::from(serde_json::to_vec(&body).map_err(|error| failed(error.to_string()))?);
        let snapshot = question.request.snapshot;
        let answer = self.client.ask(&webhook.client_config, snapshot, webhook.timeout(), body).await;
        review::read(&answer.map_err(failed)?, version, &question.uid, &webhook.name, mutates)
    }
}

/// The question as it is sent.
fn review_of(
    question: &Question<'_>,
    def: &ResourceDef,
    object: Option<&Value>,
    old: Option<&Value>,
    version: &str,
) -> Value {
    let request = &question.request;
    let requested = question.versions.first().map_or(def, |def| def);
    let mut asked = json!({
        "uid": question.uid,
        "kind": review::kind(&def.group, &def.version, &def.kind),
        "resource": review::resource(&def.group, &def.version, &def.plural),
        "requestKind": review::kind(&requested.group, &requested.version, &requested.kind),
        "requestResource": review::resource(&requested.group, &requested.version, &requested.plural),
    });
    if let Some(part) = request.subresource {
        asked["subResource"] = part.as_str().into();
        asked["requestSubResource"] = part.as_str().into();
    }
    let name = config::name_of(request, object);
    if !name.is_empty() {
        asked["name"] = name.into();
    }
    let namespace = if &*request.def.bucket == "namespaces" { name } else { request.namespace };
    if !namespace.is_empty() {
        asked["namespace"] = namespace.into();
    }
    asked["operation"] = request.operation.as_str().into();
    asked["userInfo"] = review::user(request.user);
    asked["object"] = object.cloned().unwrap_or_default();
    asked["oldObject"] = old.cloned().unwrap_or_default();
    asked["dryRun"] = question.dry_run.into();
    asked["options"] = review::options(request.operation, question.dry_run);
    json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": asked})
}

/// What an object is called and when it was made is nobody's to change.
fn keep_identity(patched: &mut Value, before: &Value) {
    for field in ["name", "namespace", "uid", "creationTimestamp", "resourceVersion"] {
        match before["metadata"].get(field) {
            Some(own) => patched["metadata"][field] = own.clone(),
            None => {
                patched["metadata"].as_object_mut().and_then(|metadata| metadata.shift_remove(field));
            }
        }
    }
}
