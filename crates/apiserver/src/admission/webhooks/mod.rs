//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook: servers of others have a say in what is stored.
//!
//! ```text
//! write ─> configurations, by name ─> rules, selectors ─> who is asked, in which version ─> matchConditions
//!       ─> one after the other (mutating), all at once (validating) ─> AdmissionReview over HTTPS ─> verdicts
//! ```
//! The order is that of the names of the configurations, and in each the order of its webhooks. A webhook that changes
//! an object makes the built-in plugins look again, and those before it that ask to be (`reinvocationPolicy`). What each
//! did is told to the audit log.
//!
//! Read on: [`config`] (who there is), [`super::matching`] (who is asked), [`review`] (how he answers), [`crate::webhook`] (how it gets there).

mod config;
mod review;

use std::collections::HashMap;
use std::sync::Arc;

use api::patch;
use api::registry::ResourceDef;
use api::status::Status;
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use store::Snapshot;
use tracing::warn;

use self::config::{Configuration, Webhook};
use self::review::Verdict;
use super::configured::Configured;
use super::expressions::{CONDITION_VARIABLES, Inputs};
use super::{Question, forbidden, matching, quoted};
use crate::audit::{self, Level};
use crate::webhook::Client;

const MUTATING: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
const VALIDATING: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";

/// The webhooks, and how they are reached.
pub(crate) struct Webhooks {
    mutating: Configured<Configuration>,
    validating: Configured<Configuration>,
    client: Arc<Client>,
}

/// What webhooks made of an object so far.
#[derive(Default)]
pub(crate) struct Invoked {
    /// For each webhook that was asked, by its place: the object as it left it, where it wants to be asked again.
    left: HashMap<usize, Option<Value>>,
}

/// A webhook in its place.
struct Place<'a> {
    configuration: &'a str,
    webhook: &'a Webhook,
    index: usize,
    round: usize,
    mutates: bool,
}

impl Place<'_> {
    /// Tells the audit log.
    fn annotate(&self, level: Level, what: &str, value: String) {
        audit::annotate(
            level,
            format!("{what}.webhook.admission.k8s.io/round_{}_index_{}", self.round, self.index),
            value,
        );
    }
}

/// The webhooks of configurations, in their order.
fn places(configurations: &[Arc<Configuration>], round: usize, mutates: bool) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    for own in configurations {
        for webhook in &own.webhooks {
            let (configuration, index) = (own.metadata.name.as_str(), places.len());
            places.push(Place { configuration, webhook, index, round, mutates });
        }
    }
    places
}

/// What a webhook that was asked said, and what it was shown.
struct Answered {
    def: Arc<ResourceDef>,
    shown: Value,
    verdict: Verdict,
}

impl Webhooks {
    /// None yet; whoever is configured is asked by `client`.
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { mutating: Configured::new(MUTATING), validating: Configured::new(VALIDATING), client }
    }

    /// Whether there are webhooks that change objects.
    pub(crate) fn may_mutate(&self, snapshot: &Snapshot) -> bool {
        self.mutating.any(snapshot)
    }

    /// Whether there are webhooks that judge objects.
    pub(crate) fn may_validate(&self, snapshot: &Snapshot) -> bool {
        self.validating.any(snapshot)
    }

    /// Lets webhooks change an object; says whether one did. In the second round only those are asked that want to be
    /// where the object is not as they left it.
    pub(crate) async fn mutate(
        &self,
        question: &Question<'_>,
        mut object: Option<&mut Value>,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
        invoked: &mut Invoked,
        round: usize,
    ) -> Result<bool, Status> {
        let configurations = self.mutating.all(question.request.snapshot);
        let mut changed = false;
        for place in places(&configurations, round, true) {
            let (index, webhook) = (place.index, place.webhook);
            if round > 0 {
                let seen = invoked.left.get(&index).and_then(Option::as_ref);
                if seen.is_none() || seen == object.as_deref() {
                    continue;
                }
            }
            let asked = self.change(question, &place, object.as_deref_mut(), old, warnings).await?;
            if let Some(has_changed) = asked {
                changed |= has_changed;
                let wants_again = webhook.reinvocation_policy == "IfNeeded";
                let left = wants_again.then(|| object.as_deref().cloned().unwrap_or_default());
                invoked.left.insert(index, left);
            }
        }
        Ok(changed)
    }

    /// Whether the webhook changed the object; nothing where it was not asked.
    async fn change(
        &self,
        question: &Question<'_>,
        place: &Place<'_>,
        object: Option<&mut Value>,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<bool>, Status> {
        let Some(answered) = self.ask(question, place, object.as_deref(), old).await? else {
            return Ok(None);
        };
        let Answered { def, shown, mut verdict } = answered;
        warnings.append(&mut verdict.warnings);
        let told = |mutated: bool| {
            let webhook = &place.webhook.name;
            json!({"configuration": place.configuration, "webhook": webhook, "mutated": mutated}).to_string()
        };
        if let Some(denied) = verdict.denied {
            place.annotate(Level::Metadata, "mutation", told(false));
            return Err(denied);
        }
        let (Some(object), false) = (object, verdict.patch.is_empty()) else {
            place.annotate(Level::Metadata, "mutation", told(false));
            return Ok(Some(false));
        };
        let mut patched = shown;
        let broken = |status: Status| Status::internal(status.message);
        let operations = json!({
            "configuration": place.configuration,
            "webhook": place.webhook.name,
            "patch": verdict.patch,
            "patchType": "JSONPatch",
        });
        patch::json::apply(&mut patched, verdict.patch).map_err(broken)?;
        if !patched.is_object() {
            return Err(Status::internal("a webhook's patch made something else of the object"));
        }
        let changed = question.take_back(&def, patched, object)?;
        place.annotate(Level::Metadata, "mutation", told(changed));
        place.annotate(Level::Request, "patch", operations.to_string());
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
        let places = places(&configurations, 0, false);
        let verdicts = join_all(places.iter().map(|place| self.ask(question, place, object, old))).await;
        let mut refused = None;
        for verdict in verdicts {
            match verdict {
                Ok(Some(Answered { mut verdict, .. })) => {
                    warnings.append(&mut verdict.warnings);
                    refused = refused.or(verdict.denied);
                }
                Ok(None) => {}
                Err(status) => refused = refused.or(Some(status)),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Asks a webhook; nothing where it is not concerned, or could not be asked and does not insist on it.
    async fn ask(
        &self,
        question: &Question<'_>,
        place: &Place<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Option<Answered>, Status> {
        let (request, webhook) = (&question.request, place.webhook);
        let candidate = question.candidate(object, old);
        let scope = webhook.scope().filter(|_| !candidate.is_exempt());
        let Some(def) = scope.and_then(|scope| candidate.within(&scope)) else { return Ok(None) };
        let (shown, shown_old) = (question.shown(def, object), question.shown(def, old));
        if !webhook.match_conditions.is_empty() {
            let inputs = Inputs::new(question, def, shown.as_ref(), shown_old.as_ref());
            match webhook.conditions.hold(&webhook.match_conditions, &CONDITION_VARIABLES, &inputs) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(_) if webhook.ignores_failure() => return Ok(None),
                Err(why) => return Err(forbidden(request.def, matching::name_of(request, object), why)),
            }
        }
        let name = quoted(&webhook.name);
        if question.dry_run && !matches!(&*webhook.side_effects, "None" | "NoneOnDryRun") {
            return Err(Status::bad_request(format!("admission webhook {name} does not support dry run")));
        }
        match self.call(question, place, def, shown.as_ref(), shown_old.as_ref()).await {
            Ok(verdict) => {
                for (key, value) in &verdict.audit {
                    audit::annotate(Level::Metadata, key.clone(), value.clone());
                }
                Ok(Some(Answered { def: def.clone(), shown: shown.unwrap_or_default(), verdict }))
            }
            Err(why) if webhook.ignores_failure() => {
                warn!(webhook = webhook.name, why, "failed calling webhook, failing open");
                let what = if place.mutates { "failed-open.mutation" } else { "failed-open.validating" };
                place.annotate(Level::Metadata, what, webhook.name.clone());
                Ok(None)
            }
            Err(why) => Err(Status::internal(format!("failed calling webhook {name}: {why}"))),
        }
    }

    async fn call(
        &self,
        question: &Question<'_>,
        place: &Place<'_>,
        def: &ResourceDef,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Verdict, String> {
        let webhook = place.webhook;
        let failed = |why: String| format!("failed to call webhook: {why}");
        let version = review::version(&webhook.admission_review_versions).ok_or_else(|| {
            failed("webhook does not accept known AdmissionReview versions (v1, v1beta1)".to_owned())
        })?;
        let mut asked = question.described(def, object);
        asked["object"] = object.cloned().unwrap_or_default();
        asked["oldObject"] = old.cloned().unwrap_or_default();
        let body = json!({
            "kind": "AdmissionReview",
            "apiVersion": format!("admission.k8s.io/{version}"),
            "request": asked,
        });
        let body = Bytes::from(serde_json::to_vec(&body).map_err(|error| failed(error.to_string()))?);
        let snapshot = question.request.snapshot;
        let answer = self.client.ask(&webhook.client_config, snapshot, webhook.timeout(), body).await;
        review::read(&answer.map_err(failed)?, version, &question.uid, &webhook.name, place.mutates)
    }
}
