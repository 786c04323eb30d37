//! Undelete: brings back a deleted object, and what it owned, as it was before its deletion began.
//!
//! What comes back is created anew through the pipeline: it is checked, allocated and authorized like any new object,
//! and has a uid of its own, because those who saw the old one go (kubelets, controllers) remember its uid as gone.
//! References between the objects are carried over to the new uids. What others make of them (the pods of a workload,
//! endpoints, events) is left to those others; status is left out, and so is the node of a pod.
//!
//! The plan is pure ([`plan`], [`renewed`]); read on: [`super::create`] for what happens to each object.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use api::registry::creation_rank;
use api::status::{Details, Reason, Status};
use serde::Deserialize;
use serde_json::Value;
use store::{Bucket, Entry, EventKind, Scope, Snapshot};

use super::create::New;
use super::object::{self, meta};
use super::types::{Answer, RequestContext, Target, WriteOptions};
use super::{Pipeline, metadata};

/// Buckets whose objects are made from others, or tell of the moment only.
const MADE_BY_OTHERS: [&str; 5] = [
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "endpoints",
    "endpointslices.discovery.k8s.io",
];

/// What became of one object of an undeletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is back.
    Restored,
    /// One of that name is there already, and was left as it is.
    Exists,
    /// It could not be made again.
    Failed(String),
}

/// One object of an undeletion.
#[derive(Debug, Clone)]
pub struct Undeleted {
    /// As it was.
    pub entry: Arc<Entry>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Pipeline {
    /// Brings back an object that was deleted, and what it owned then.
    pub async fn undelete(
        &self,
        context: &RequestContext,
        target: &Target,
        dry_run: bool,
    ) -> Answer<Vec<Undeleted>> {
        self.allowed(context, "create", &Target { name: None, ..target.clone() })?;
        let key = object::key(target);
        let def = &target.def;
        let present = self.inner.store.snapshot();
        if let Some(entry) = present.get(&key) {
            let why =
                if object::header(entry).deleting { "it is still being deleted" } else { "it is there" };
            return Err(Status::conflict(&def.group, &def.plural, key.name(), why));
        }
        let events = self.inner.store.history(&key).await.map_err(|error| self.unreachable(&error))?;
        // From the deletion back to the last version that nobody had begun to delete.
        let is_whole = |event: &Arc<store::Event>| {
            event.kind == EventKind::Put && !object::header(&event.entry).deleting
        };
        let Some(last) = events.iter().position(is_whole).filter(|last| *last > 0) else {
            return Err(Status::failure(
                Reason::NotFound,
                format!("{} \"{}\" is not in the history", def.qualified(), key.name()),
            )
            .with_details(Details::default()));
        };
        let before = store::Revision(events[last - 1].revision().0 - 1);
        let before = self.inner.store.snapshot_at(before).await.map_err(|error| self.unreachable(&error))?;
        let mut uids = HashMap::new();
        let mut all = Vec::new();
        for entry in plan(&before, &events[last].entry) {
            let outcome = if present.get(&entry.key).is_some() {
                Outcome::Exists
            } else {
                self.make_again(context, &entry, &mut uids, dry_run).await
            };
            all.push(Undeleted { entry, outcome });
        }
        Ok(all)
    }

    async fn make_again(
        &self,
        context: &RequestContext,
        entry: &Entry,
        uids: &mut HashMap<String, String>,
        dry_run: bool,
    ) -> Outcome {
        let tried = async {
            let Some(def) = self.stored_in(entry.key.bucket()) else {
                return Err(Status::internal("its resource is not served any more"));
            };
            let namespace = Some(entry.key.namespace()).filter(|_| def.namespaced);
            let target = Target::collection(def, namespace);
            self.allowed(context, "create", &target)?;
            let old = object::stored(entry)?;
            let document = renewed(entry.key.bucket().as_str(), &old, uids);
            // Objects of a namespace that is only pretended to be there cannot be tried.
            if dry_run {
                return Ok(None);
            }
            let options = WriteOptions { field_manager: "undelete".to_owned(), ..WriteOptions::default() };
            let new = |document| New { document, warnings: Vec::new(), applied: true };
            let created = match self.create_document(context, &target, new(document.clone()), &options).await
            {
                // Its address or port may be another's by now.
                Err(status) if entry.key.bucket().as_str() == "services" && !status.is_already_exists() => {
                    let document = without_addresses(document);
                    self.create_document(context, &target, new(document), &options).await?
                }
                created => created?,
            };
            let uid = created.object.entry.as_ref().map(|entry| object::header(entry).uid.to_string());
            Ok(Some((meta(&old, "uid").to_owned(), uid.unwrap_or_default())))
        };
        match tried.await {
            Ok(None) => Outcome::Restored,
            Ok(Some((old, new))) => {
                uids.insert(old, new);
                Outcome::Restored
            }
            Err(status) if status.is_already_exists() => Outcome::Exists,
            Err(status) => Outcome::Failed(status.message),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Partial {
    metadata: Own,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Own {
    uid: String,
    owner_references: Vec<Owner>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Owner {
    uid: String,
    controller: bool,
}

/// The root, and what it owned in that state, owners before what they own.
fn plan(before: &Snapshot, root: &Arc<Entry>) -> Vec<Arc<Entry>> {
    let namespace = (root.key.bucket().as_str() == "namespaces").then(|| root.key.name());
    let mut candidates = Vec::new();
    let buckets: Vec<&Bucket> = before.buckets().collect();
    for bucket in buckets.into_iter().filter(|bucket| !MADE_BY_OTHERS.contains(&bucket.as_str())) {
        for entry in before.list(bucket, Scope::All, None) {
            let Partial { metadata } = serde_json::from_slice(&entry.value).unwrap_or_default();
            // A workload makes its pods itself.
            let is_made =
                bucket.as_str() == "pods" && metadata.owner_references.iter().any(|own| own.controller);
            if !is_made && entry.key != root.key && !object::header(entry).deleting {
                candidates.push((entry, metadata));
            }
        }
    }
    let mut wanted: HashSet<String> = HashSet::from([object::header(root).uid.to_string()]);
    let mut found = vec![root.clone()];
    // In a namespace first what nobody owns there, then level by level.
    loop {
        let (next, rest): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|(entry, metadata)| {
            let is_owned = metadata.owner_references.iter().any(|owner| wanted.contains(&owner.uid));
            let is_inside = namespace.is_some_and(|namespace| entry.key.namespace() == namespace);
            is_owned || (is_inside && metadata.owner_references.is_empty())
        });
        if next.is_empty() {
            // What remains in the namespace has owners that are not restored.
            let inside =
                |entry: &Entry| namespace.is_some_and(|namespace| entry.key.namespace() == namespace);
            found.extend(rest.into_iter().map(|(entry, _)| entry).filter(|entry| inside(entry)).cloned());
            return found;
        }
        let mut level: Vec<&Arc<Entry>> = Vec::with_capacity(next.len());
        for (entry, metadata) in next {
            wanted.insert(metadata.uid);
            level.push(entry);
        }
        level.sort_by_key(|entry| (creation_rank(entry.key.bucket().as_str()), entry.key.clone()));
        found.extend(level.into_iter().cloned());
        candidates = rest;
    }
}

/// The object as it is created anew: its references lead to the new uids, those to objects that are not back are
/// left out.
fn renewed(bucket: &str, old: &Value, uids: &HashMap<String, String>) -> Value {
    let mut object = old.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.shift_remove("status");
    }
    let metadata = metadata::of(&mut object);
    for field in ["resourceVersion", "uid", "creationTimestamp", "generation"] {
        metadata.shift_remove(field);
    }
    if let Some(owners) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
        owners.retain_mut(|owner| match owner["uid"].as_str().and_then(|uid| uids.get(uid)) {
            Some(uid) => {
                owner["uid"] = uid.as_str().into();
                true
            }
            None => false,
        });
        if owners.is_empty() {
            metadata.shift_remove("ownerReferences");
        }
    }
    let drop = |object: &mut Value, place: &str, fields: &[&str]| {
        if let Some(map) = object.pointer_mut(place).and_then(Value::as_object_mut) {
            fields.iter().for_each(|field| std::mem::drop(map.shift_remove(*field)));
        }
    };
    match bucket {
        "pods" => drop(&mut object, "/spec", &["nodeName"]),
        "jobs.batch" if old["spec"]["manualSelector"] != true => {
            let own = ["controller-uid", "batch.kubernetes.io/controller-uid"];
            drop(&mut object, "/spec", &["selector"]);
            drop(&mut object, "/metadata/labels", &own);
            drop(&mut object, "/spec/template/metadata/labels", &own);
        }
        _ => {}
    }
    object
}

/// A Service that takes any address and ports.
fn without_addresses(mut service: Value) -> Value {
    if let Some(spec) = service["spec"].as_object_mut() {
        if spec.get("clusterIP").is_some_and(|address| address != "None") {
            spec.shift_remove("clusterIP");
            spec.shift_remove("clusterIPs");
        }
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(port) = port.as_object_mut() {
                port.shift_remove("nodePort");
            }
        }
    }
    service
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_lead_to_the_new_uids_and_what_the_server_wrote_is_gone() {
        let old = json!({"metadata": {"name": "x", "uid": "1", "resourceVersion": "7", "labels": {"a": "b"},
            "ownerReferences": [{"uid": "o"}, {"uid": "other"}]}, "spec": {"nodeName": "n", "x": 1}, "status": {}});
        let uids = HashMap::from([("o".to_owned(), "new".to_owned())]);
        assert_eq!(
            renewed("pods", &old, &uids),
            json!({"metadata": {"name": "x", "labels": {"a": "b"}, "ownerReferences": [{"uid": "new"}]},
                "spec": {"x": 1}})
        );
        let alone = renewed("pods", &old, &HashMap::new());
        assert_eq!(alone["metadata"].get("ownerReferences"), None);
    }

    #[test]
    fn a_service_can_do_without_its_addresses() {
        let service = json!({"spec": {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "ports": [{"port": 80, "nodePort": 30000}]}});
        assert_eq!(without_addresses(service), json!({"spec": {"ports": [{"port": 80}]}}));
        let headless = json!({"spec": {"clusterIP": "None", "ports": []}});
        assert_eq!(without_addresses(headless.clone()), headless);
    }
}
