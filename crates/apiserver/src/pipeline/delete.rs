//! Delete: planned without side effects, then written.
//!
//! An object goes at once unless something keeps it: its finalizers (the garbage collector's among them), a
//! namespace's content, or a pod's grace period. What is kept is marked, and goes when the last of these is over.

use std::sync::Arc;

use api::encode;
use api::registry::ResourceDef;
use api::status::Status;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Author, Change, Entry, Precondition, Write, WriteError};

use super::admit::Admitted;
use super::object::{self, finalizers, meta};
use super::options::shortened;
use super::types::{Answer, DeleteOptions, Deleted, Propagation, RequestContext, SuccessStatus, Target};
use super::{Pipeline, convert, metadata, rules};
use crate::admission::Operation;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// How often a deletion is planned again because another change came between.
const TRIES: usize = 64;

/// What a deletion does to an object.
#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    /// Nothing: it is being deleted already.
    Nothing,
    /// It is marked and stays for now.
    Mark(Value),
    /// It goes; this is the last state.
    Remove(Value),
}

impl Pipeline {
    /// Deletes an object.
    pub async fn delete(
        &self,
        context: &RequestContext,
        target: &Target,
        options: &DeleteOptions,
    ) -> Answer<Deleted> {
        self.allowed(context, "delete", target)?;
        if target.subresource.is_some() {
            return Err(object::method_not_allowed());
        }
        self.remove(context, target, options).await
    }

    /// Deletes without asking who wants it.
    pub(super) async fn remove(
        &self,
        context: &RequestContext,
        target: &Target,
        options: &DeleteOptions,
    ) -> Answer<Deleted> {
        self.remove_admitted(context, target, options, false).await
    }

    /// Deletes; `is_admitted` says that admission has been asked about it already, as about an eviction.
    pub(super) async fn remove_admitted(
        &self,
        context: &RequestContext,
        target: &Target,
        options: &DeleteOptions,
        is_admitted: bool,
    ) -> Answer<Deleted> {
        let def = &target.def;
        let storage = self.registry().storage(def);
        let (dry_run, operation) = (options.dry_run, Operation::Delete);
        let admitted = Admitted { context, target, storage: &storage, part: None, dry_run, operation };
        for _ in 0..TRIES {
            let snapshot = self.inner.store.snapshot();
            let entry = self.existing(&snapshot, target)?;
            check_preconditions(def, &entry, options)?;
            let old = object::stored(&entry)?;
            let shown = match convert::is_needed(def, &entry) {
                true => Some(object::stored(&*self.shown(def, entry.clone()).await?)?),
                false => None,
            };
            let judged = shown.as_ref().or(Some(&old));
            let _permit = match is_admitted {
                true => None,
                false => Some(self.judge(&admitted, &snapshot, None, judged, &mut Vec::new()).await?),
            };
            let plan = plan(def, &old, options, context.now);
            if options.dry_run || plan == Plan::Nothing {
                return self.pretend(def, entry, plan).await;
            }
            let Some(write) = to_write(&entry, &plan, self.author(context, "")) else { continue };
            match self.inner.store.write(write).await {
                Ok(written) => {
                    self.written(def, matches!(plan, Plan::Remove(_)), context.now).await;
                    return self.deleted(def, written, &plan).await;
                }
                Err(WriteError::PreconditionFailed { current: None }) => {
                    return Err(object::not_found(def, entry.key.name()));
                }
                Err(WriteError::PreconditionFailed { .. }) => {}
                Err(error) => return Err(object::write_failed(&error)),
            }
        }
        Err(metadata::conflict(def, target.name.as_deref().unwrap_or_default()))
    }

    /// Releases what the object held, and makes the answer.
    pub(super) async fn deleted(
        &self,
        def: &Arc<ResourceDef>,
        written: Arc<Entry>,
        plan: &Plan,
    ) -> Answer<Deleted> {
        let object = self.object(def, written).await?;
        Ok(match plan {
            Plan::Remove(last) => {
                self.inner.kinds.release(&self.registry().storage(def), last);
                gone(def, object, meta(last, "uid"))
            }
            Plan::Mark(_) | Plan::Nothing => Deleted::Terminating(object),
        })
    }

    async fn pretend(&self, def: &Arc<ResourceDef>, entry: Arc<Entry>, plan: Plan) -> Answer<Deleted> {
        if convert::is_needed(def, &entry) {
            // What it would become is not converted for nothing: it is shown as it is.
            let uid = object::header(&entry).uid.to_string();
            let object = self.object(def, entry).await?;
            return Ok(match plan {
                Plan::Remove(_) => gone(def, object, &uid),
                Plan::Nothing | Plan::Mark(_) => Deleted::Terminating(object),
            });
        }
        let show = |mut value: Value| {
            metadata::of(&mut value)
                .insert("resourceVersion".to_owned(), entry.revision.0.to_string().into());
            object::of_storage_value(def, value)
        };
        Ok(match plan {
            Plan::Nothing => Deleted::Terminating(show(object::stored(&entry).unwrap_or_default())),
            Plan::Mark(value) => Deleted::Terminating(show(value)),
            Plan::Remove(value) => {
                let uid = object::header(&entry).uid.to_string();
                gone(def, show(value), &uid)
            }
        })
    }
}

/// The write that a plan means for the state it was made from.
pub(super) fn to_write(entry: &Entry, plan: &Plan, author: Author) -> Option<Write> {
    let change = match plan {
        Plan::Nothing => return None,
        Plan::Mark(value) => Change::Put(object::template(value)),
        Plan::Remove(last) => Change::Delete { last: object::template(last) },
    };
    let precondition = Precondition::Revision(entry.revision);
    Some(Write { key: entry.key.clone(), precondition, change, author: Some(author) })
}

/// Decides what a deletion does. Pure.
pub(super) fn plan(def: &ResourceDef, old: &Value, options: &DeleteOptions, now: Timestamp) -> Plan {
    let rules = rules::of(def);
    let deleting = !meta(old, "deletionTimestamp").is_empty();
    let mut object = old.clone();

    if !deleting && &*def.bucket == api::structural::definition::BUCKET {
        crate::crd::begin_deletion(&mut object, now);
    }
    // The grace period: only pods have one, and it can only become shorter.
    let mut grace = 0;
    let mut changed = false;
    if rules.graceful {
        let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
        if deleting {
            let left = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
            grace = asked.map_or(left, |asked| asked.min(left));
            if grace < left {
                let ends = meta(old, "deletionTimestamp").parse::<Timestamp>().unwrap_or(now);
                let began = ends.checked_sub(jiff::SignedDuration::from_secs(left)).unwrap_or(now);
                metadata::mark_deleting(&mut object, began, grace);
                changed = true;
            }
        } else {
            grace = pod_grace(old, asked);
            metadata::mark_deleting(&mut object, now, grace);
            changed = true;
        }
    }

    if let Some(wanted) =
        collector_finalizers(&object, options.propagation).filter(|_| rules.garbage_collected)
    {
        changed = true;
        let metadata = metadata::of(&mut object);
        if wanted.is_empty() {
            metadata.shift_remove("finalizers");
        } else {
            metadata.insert("finalizers".to_owned(), wanted.into());
        }
    }

    let namespace = &*def.bucket == "namespaces";
    let kept = finalizers(&object).next().is_some()
        || (namespace && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty()));
    if !kept && grace == 0 {
        return Plan::Remove(without_version(object));
    }
    if !deleting && !rules.graceful {
        metadata::mark_deleting(&mut object, now, 0);
        if namespace {
            metadata::of(&mut object).shift_remove("deletionGracePeriodSeconds");
            object["status"]["phase"] = "Terminating".into();
        }
        changed = true;
    }
    if changed { Plan::Mark(without_version(object)) } else { Plan::Nothing }
}

/// How long a pod has: what was asked for, else its own; none where nothing runs.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let own = || pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let scheduled = pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let over = matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    if !scheduled || over {
        return 0;
    }
    match asked.unwrap_or_else(own) {
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

/// The finalizers with those of the garbage collector as the policy wants them; nothing where they are so already.
fn collector_finalizers(object: &Value, policy: Option<Propagation>) -> Option<Vec<String>> {
    let has = |name: &str| finalizers(object).any(|finalizer| finalizer == name);
    let (orphan, foreground) = match policy {
        Some(Propagation::Orphan) => (true, false),
        Some(Propagation::Foreground) => (false, true),
        Some(Propagation::Background) => (false, false),
        None => (has(ORPHAN), has(FOREGROUND) && !has(ORPHAN)),
    };
    if orphan == has(ORPHAN) && foreground == has(FOREGROUND) {
        return None;
    }
    let others = finalizers(object).filter(|name| *name != ORPHAN && *name != FOREGROUND).map(str::to_owned);
    let added = [(orphan, ORPHAN), (foreground, FOREGROUND)];
    Some(
        others
            .chain(added.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| (*name).to_owned()))
            .collect(),
    )
}

fn without_version(mut object: Value) -> Value {
    metadata::of(&mut object).shift_remove("resourceVersion");
    object
}

/// Checks the preconditions of a deletion.
pub(super) fn check_preconditions(def: &ResourceDef, entry: &Entry, options: &DeleteOptions) -> Answer<()> {
    let refuse = |why: &str| Err(Status::conflict(&def.group, &def.kind, entry.key.name(), why));
    if let Some(uid) = options.uid.as_deref().filter(|uid| **uid != *object::header(entry).uid) {
        return refuse(&format!(
            "the UID in the precondition ({}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            shortened(uid),
            object::header(entry).uid
        ));
    }
    let revision = entry.revision.0.to_string();
    if let Some(version) = options.resource_version.as_deref().filter(|version| *version != revision) {
        return refuse(&format!(
            "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({revision}). The object might have been modified",
            shortened(version)
        ));
    }
    Ok(())
}

fn gone(def: &ResourceDef, object: super::types::Object, uid: &str) -> Deleted {
    if rules::of(def).returns_deleted {
        return Deleted::GoneWithObject(object);
    }
    let name = object.entry.as_ref().map_or_else(String::new, |entry| entry.key.name().to_owned());
    let mut details = json!({"name": name});
    if !def.group.is_empty() {
        details["group"] = (*def.group).into();
    }
    details["kind"] = (*def.plural).into();
    details["uid"] = uid.into();
    let status = SuccessStatus(encode::to_bytes(&object::success(Some(details), None)));
    Deleted::Gone { object, status }
}
