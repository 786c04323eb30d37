//! Eviction: a deletion that asks the pod's disruption budget first.

use std::sync::Arc;

use api::codec;
use api::encode;
use api::selector::LabelSelector;
use api::status::{Cause, Details, Reason, Status};
use api::time::Time;
use serde_json::{Value, json};
use store::{Change, Entry, Precondition, Snapshot, Write, WriteError};

use super::admit::Admitted;
use super::types::{Answer, Body, DeleteOptions, RequestContext, Target, WriteOptions, Written};
use super::{Pipeline, object};
use crate::admission::Operation;

/// How often a budget is tried again because it changed.
const TRIES: usize = 16;

impl Pipeline {
    pub(super) async fn evict(
        &self,
        context: &RequestContext,
        target: &Target,
        body: &Body,
        options: &WriteOptions,
    ) -> Answer<Written> {
        let def = object::part_def(&target.def, "eviction")?;
        let decoded =
            codec::decode(&def, body.media, &body.bytes, options.field_validation.unwrap_or_default())?;
        let given = super::object::meta(&decoded.object, "name");
        let name = target.name.as_deref().unwrap_or_default();
        if !given.is_empty() && given != name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let mut delete = match decoded.object.get("deleteOptions") {
            Some(Value::Object(fields)) => {
                let bytes = encode::to_bytes(&Value::Object(fields.clone()));
                DeleteOptions::decode(&Body::json(bytes))?
            }
            _ => DeleteOptions::default(),
        };
        delete.dry_run |= options.dry_run;
        let pod_target = Target { subresource: None, ..target.clone() };
        let snapshot = self.inner.store.snapshot();
        let pod = object::stored(&*self.existing(&snapshot, &pod_target)?)?;
        let (dry_run, operation) = (options.dry_run, Operation::Create);
        let admitted =
            Admitted { context, target, storage: &target.def, part: Some(&def), dry_run, operation };
        let mut eviction = decoded.object;
        admitted.mutate(&snapshot, &mut eviction, Some(&pod))?;
        let mut warnings = decoded.warnings;
        self.ask(&admitted, &snapshot, &mut eviction, &mut warnings).await?;
        for _ in 0..TRIES {
            let snapshot = self.inner.store.snapshot();
            let pod = self.existing(&snapshot, &pod_target)?;
            let Some(budget) = self.budget_of(&snapshot, &pod)? else { break };
            let charged = charge(&budget, pod.key.name(), context)?;
            if delete.dry_run {
                break;
            }
            let write = Write {
                key: budget.key.clone(),
                precondition: Precondition::Revision(budget.revision),
                change: Change::Put(object::template(&charged)),
                author: Some(self.author(context, &options.field_manager)),
            };
            match self.inner.store.write(write).await {
                Ok(_) => break,
                Err(WriteError::PreconditionFailed { .. }) => {}
                Err(error) => return Err(object::write_failed(&error)),
            }
        }
        self.remove_admitted(context, &pod_target, &delete, true).await?;
        let mut done = object::of_value(&object::success(None, Some(201)));
        done.warnings = warnings;
        Ok(Written { object: done, created: true })
    }

    /// The budget that must allow the eviction of `pod`; none for pods that do not serve anyway.
    fn budget_of(&self, snapshot: &Snapshot, pod: &Entry) -> Answer<Option<Arc<Entry>>> {
        let phase = object::header(pod).field(&self.inner.pods, "status.phase").unwrap_or_default();
        if object::header(pod).deleting || matches!(phase, "Pending" | "Succeeded" | "Failed") {
            return Ok(None);
        }
        let mut found = None;
        for budget in snapshot.list(&self.inner.buckets.budgets, Some(pod.key.namespace()), None) {
            let document = object::stored(budget)?;
            let selector: Option<LabelSelector> =
                serde_json::from_value(document["spec"]["selector"].clone()).unwrap_or_default();
            if selector
                .is_some_and(|selector| selector.matches_with(|key| object::header(pod).labels.get(key)))
            {
                if found.is_some() {
                    return Err(Status::internal(
                        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                    ));
                }
                found = Some(budget.clone());
            }
        }
        Ok(found)
    }
}

/// The budget with one disruption less, and the pod noted in it.
fn charge(budget: &Entry, pod: &str, context: &RequestContext) -> Answer<Value> {
    let mut document = object::stored(budget)?;
    let status = &document["status"];
    let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
    if status["disruptedPods"].get(pod).is_some() {
        return Ok(document);
    }
    if allowed <= 0 {
        let number = |field: &str| status[field].as_i64().unwrap_or(0);
        return Err(Status::failure(
            Reason::TooManyRequests,
            "Cannot evict pod as it would violate the pod's disruption budget.",
        )
        .with_details(Details {
            causes: vec![Cause {
                reason: "DisruptionBudget".to_owned(),
                message: format!(
                    "The disruption budget {} needs {} healthy pods and has {} currently",
                    budget.key.name(),
                    number("desiredHealthy"),
                    number("currentHealthy")
                ),
                field: String::new(),
            }],
            ..Details::default()
        }));
    }
    document["status"]["disruptionsAllowed"] = (allowed - 1).into();
    if !document["status"]["disruptedPods"].is_object() {
        document["status"]["disruptedPods"] = json!({});
    }
    document["status"]["disruptedPods"][pod] = Time(context.now).to_string().into();
    Ok(document)
}
