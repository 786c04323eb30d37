//! Binding: a pod goes to a node, once. The scheduler binds many in one call, which is one group of the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::codec;
use api::field::{FieldError, invalid_kind};
use api::registry::ResourceDef;
use api::status::Status;
use api::time::Time;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Change, Entry, Key, Precondition, Write, WriteError};

use super::admit::Admitted;
use super::object::{self, meta};
use super::types::{Answer, Binding, Body, RequestContext, Subresource, Target, WriteOptions, Written};
use super::{Pipeline, metadata};
use crate::admission::Operation;

/// How often a binding is tried again because the pod changed (its status, mostly).
const TRIES: usize = 8;

impl Pipeline {
    /// Binds pods to nodes. Each binding succeeds or fails by itself; all writes of a try share a group.
    pub async fn bind(&self, context: &RequestContext, mut bindings: Vec<Binding>) -> Vec<Answer<()>> {
        let pods = self.inner.pods.clone();
        let mut results: Vec<Option<Answer<()>>> = Vec::with_capacity(bindings.len());
        for binding in &mut bindings {
            let target = Target::object(pods.clone(), Some(&binding.namespace), &binding.pod)
                .part(Subresource::Binding);
            let refused = match self.allowed(context, "create", &target) {
                Ok(()) => self.admit_binding(context, &target, binding, false).await.err(),
                Err(status) => Some(status),
            };
            results.push(refused.map(Err));
        }
        for _ in 0..TRIES {
            let snapshot = self.inner.store.snapshot();
            let mut places = Vec::new();
            let mut writes = Vec::new();
            for (place, binding) in bindings.iter().enumerate() {
                if results[place].is_some() {
                    continue;
                }
                let key = Key::new(&self.inner.buckets.pods, &binding.namespace, &binding.pod);
                let planned = match snapshot.get(&key) {
                    None => Err(Status::not_found("", "pods", &binding.pod)),
                    Some(entry) => bound(&pods, entry, binding, context.now)
                        .map(|pod| Write { author: Some(self.author(context, "")), ..to_write(entry, &pod) }),
                };
                match planned {
                    Err(status) => results[place] = Some(Err(status)),
                    Ok(write) => {
                        places.push(place);
                        writes.push(write);
                    }
                }
            }
            if writes.is_empty() {
                break;
            }
            for (place, result) in places.into_iter().zip(self.inner.store.write_all(writes).await) {
                match result {
                    Ok(_) => results[place] = Some(Ok(())),
                    Err(WriteError::PreconditionFailed { .. }) => {}
                    Err(error) => results[place] = Some(Err(object::write_failed(&error))),
                }
            }
        }
        let lost = |binding: &Binding| Err(metadata::conflict(&pods, &binding.pod));
        results
            .into_iter()
            .zip(&bindings)
            .map(|(result, binding)| result.unwrap_or_else(|| lost(binding)))
            .collect()
    }

    /// Lets webhooks and policies change and judge a binding.
    async fn admit_binding(
        &self,
        context: &RequestContext,
        target: &Target,
        binding: &mut Binding,
        dry_run: bool,
    ) -> Answer<()> {
        let snapshot = self.inner.store.snapshot();
        if !self.has_admission(&snapshot) {
            return Ok(());
        }
        let part = object::part_def(&self.inner.pods, "binding")?;
        let operation = Operation::Create;
        let admitted =
            Admitted { context, target, storage: &target.def, part: Some(&part), dry_run, operation };
        let mut document = json!({
            "kind": "Binding",
            "apiVersion": "v1",
            "metadata": {"name": binding.pod, "namespace": binding.namespace},
            "target": {"kind": "Node", "name": binding.node},
        });
        if !binding.uid.is_empty() {
            document["metadata"]["uid"] = binding.uid.as_str().into();
        }
        if !binding.annotations.is_empty() {
            document["metadata"]["annotations"] = json!(binding.annotations);
        }
        self.ask(&admitted, &snapshot, &mut document, &mut Vec::new()).await?;
        *binding = read(&document)?;
        Ok(())
    }

    pub(super) async fn create_binding(
        &self,
        context: &RequestContext,
        target: &Target,
        body: &Body,
        options: &WriteOptions,
    ) -> Answer<Written> {
        let def = match target.subresource {
            Some(_) => object::part_def(&target.def, "binding")?,
            None => (*target.def).clone(),
        };
        let decoded =
            codec::decode(&def, body.media, &body.bytes, options.field_validation.unwrap_or_default())?;
        let mut document = decoded.object;
        metadata::place(target, &mut document)?;
        if target.name.is_some() {
            metadata::named(target, &mut document)?;
        }
        let mut binding = read(&document)?;
        if options.dry_run {
            let pod = Target::object(self.inner.pods.clone(), Some(&binding.namespace), &binding.pod)
                .part(Subresource::Binding);
            self.admit_binding(context, &pod, &mut binding, true).await?;
            let key = Key::new(&self.inner.buckets.pods, &binding.namespace, &binding.pod);
            let snapshot = self.inner.store.snapshot();
            let entry = snapshot.get(&key).ok_or_else(|| Status::not_found("", "pods", &binding.pod))?;
            bound(&self.inner.pods, entry, &binding, context.now)?;
        } else {
            for result in self.bind(context, vec![binding]).await {
                result?;
            }
        }
        Ok(Written { object: object::of_value(&object::success(None, Some(201))), created: true })
    }
}

fn read(document: &Value) -> Answer<Binding> {
    let name = meta(document, "name");
    let target = &document["target"];
    let mut errors = Vec::new();
    let kind = target["kind"].as_str().unwrap_or_default();
    if !kind.is_empty() && kind != "Node" {
        errors.push(FieldError::not_supported("target.kind", kind, &["Node", "<empty>"]));
    }
    let node = target["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    if !errors.is_empty() {
        return Err(invalid_kind("", "Binding", name, &errors));
    }
    let annotations: BTreeMap<String, String> =
        serde_json::from_value(document["metadata"]["annotations"].clone()).unwrap_or_default();
    Ok(Binding {
        namespace: meta(document, "namespace").to_owned(),
        pod: name.to_owned(),
        uid: meta(document, "uid").to_owned(),
        node: node.to_owned(),
        annotations,
    })
}

/// The pod as it is once it is bound. Pure.
fn bound(def: &Arc<ResourceDef>, entry: &Entry, binding: &Binding, now: Timestamp) -> Answer<Value> {
    let name = &binding.pod;
    let refuse = |why: String| Err(Status::conflict("", "pods/binding", name, &why));
    if !binding.uid.is_empty() && *binding.uid != *object::header(entry).uid {
        return refuse(format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            super::options::shortened(&binding.uid),
            object::header(entry).uid
        ));
    }
    if object::header(entry).deleting {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let node = object::header(entry).field(def, "spec.nodeName").unwrap_or_default();
    if !node.is_empty() {
        return refuse(format!("pod {name} is already assigned to node \"{node}\""));
    }
    let mut pod = object::stored(entry)?;
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    pod["spec"]["nodeName"] = binding.node.as_str().into();
    if !binding.annotations.is_empty() {
        let annotations = metadata::of(&mut pod).entry("annotations").or_insert_with(|| json!({}));
        for (key, value) in &binding.annotations {
            annotations[key] = value.as_str().into();
        }
    }
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    scheduled(&mut pod["status"], now);
    Ok(pod)
}

/// Sets the condition PodScheduled to True.
fn scheduled(status: &mut Value, now: Timestamp) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    let condition = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": Time(now).to_string(),
    });
    match conditions.iter_mut().find(|condition| condition["type"] == "PodScheduled") {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

fn to_write(entry: &Entry, pod: &Value) -> Write {
    Write {
        key: entry.key.clone(),
        precondition: Precondition::Revision(entry.revision),
        change: Change::Put(object::template(pod)),
        author: None,
    }
}
