//! The metrics API, `metrics.k8s.io`: what nodes and pods use now, asked of their kubelets when somebody wants to know.
//!
//! Nothing of it is stored. Its resources stand in the registry as all others do, so that discovery, authorization and
//! OpenAPI know them; [`get`] and [`list`] are called in the place of the pipeline's verbs ([`serves`]). Who registers
//! an APIService for the group is asked instead: that is decided before a request comes here.
//!
//! Read on: [`object`], which makes the objects.

mod object;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::registry::ResourceDef;
use api::selector::{FieldSelector, Selector};
use api::status::{Reason, Status};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream;
use rpc::v1::{StatsRequest, StatsResponse};
use serde::Deserialize;
use serde_json::Value;
use store::{Bucket, Entry, Key, Scope, Snapshot};
use tracing::debug;

use crate::logs::Kubelets;
use crate::pipeline::{
    Answer, ListOptions, Object, Pipeline, RequestContext, Target, header, object_of_value,
};
use crate::view::{ListMeta, View};

/// The group.
const GROUP: &str = "metrics.k8s.io";

/// How long a kubelet may take: it measures for a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many kubelets are asked at a time.
const AT_ONCE: usize = 64;

/// Whether the objects of a resource are made here.
pub(crate) fn serves(def: &ResourceDef) -> bool {
    &*def.group == GROUP
}

/// Where kubelets are asked.
pub(crate) struct Asking<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) kubelets: &'a Arc<Kubelets>,
    pub(crate) context: &'a RequestContext,
}

/// What one node or pod uses.
pub(crate) async fn get(asking: &Asking<'_>, target: &Target) -> Answer<Object> {
    asking.pipeline.allowed(asking.context, "get", target)?;
    let name = target.name.as_deref().unwrap_or_default();
    let missing = || {
        let shown = target.namespace.as_ref().map_or(name.to_owned(), |own| format!("{own}/{name}"));
        Status::not_found(GROUP, &target.def.plural, &shown)
    };
    let options = ListOptions { field_selector: format!("metadata.name={name}"), ..ListOptions::default() };
    let found = select(asking, target, &options)?;
    if found.is_empty() {
        return Err(missing());
    }
    let made = measure(asking, target, found).await;
    made.first().map(object_of_value).ok_or_else(missing)
}

/// What the selected nodes or pods use; those that nobody can be asked about are left out.
pub(crate) async fn list(asking: &Asking<'_>, target: &Target, options: &ListOptions) -> Answer<Vec<Value>> {
    asking.pipeline.allowed(asking.context, "list", target)?;
    let found = select(asking, target, options)?;
    Ok(measure(asking, target, found).await)
}

/// All of them as a list, in the form of the view.
pub(crate) fn together(view: &View, objects: &[Value]) -> Bytes {
    let mut out = BytesMut::from(&*view.list_head(&ListMeta::default()));
    for (place, object) in objects.iter().enumerate() {
        if place > 0 {
            out.put_u8(b',');
        }
        let bytes = api::encode::to_bytes(object);
        view.item(&bytes, &bytes, &mut out);
    }
    out.put_slice(view.list_tail());
    out.freeze()
}

/// The nodes or pods themselves.
fn select(asking: &Asking<'_>, target: &Target, options: &ListOptions) -> Answer<Vec<Arc<Entry>>> {
    if asking.context.at.is_some() {
        let why = "what was used in the past is not kept";
        return Err(Status::failure(Reason::MethodNotAllowed, why));
    }
    let bad = |error: &dyn std::fmt::Display| Status::bad_request(error.to_string());
    let labels = Selector::parse(&options.label_selector).map_err(|error| bad(&error))?;
    let fields = FieldSelector::parse(&options.field_selector).map_err(|error| bad(&error))?;
    let known = ["metadata.name", "metadata.namespace"];
    if let Some(other) = fields.requirements().iter().find(|own| !known.contains(&&*own.field)) {
        return Err(Status::bad_request(format!("field label not supported: {}", other.field)));
    }
    let namespace = target.namespace.as_deref();
    let snapshot = asking.pipeline.store().snapshot();
    let matches = |entry: &&Arc<Entry>| {
        (labels.is_empty() || labels.matches_with(|key| header(entry).labels.get(key)))
            && (fields.is_empty()
                || fields.matches(|field| match field {
                    "metadata.name" => Some(entry.key.name()),
                    "metadata.namespace" => Some(entry.key.namespace()),
                    _ => None,
                }))
    };
    // `nodes` and `pods` are named as what they are about.
    let bucket = Bucket::from(&*target.def.plural);
    let scope = Scope::from(namespace);
    Ok(snapshot.list(&bucket, scope, None).filter(matches).cloned().collect())
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Placed {
    spec: PlacedSpec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PlacedSpec {
    node_name: String,
}

/// Asks the kubelets and makes the objects, in the order of the names.
async fn measure(asking: &Asking<'_>, target: &Target, found: Vec<Arc<Entry>>) -> Vec<Value> {
    let is_node = &*target.def.plural == "nodes";
    let node_of = |entry: &Entry| {
        if is_node {
            return entry.key.name().to_owned();
        }
        serde_json::from_slice::<Placed>(&entry.value).unwrap_or_default().spec.node_name
    };
    let nodes: BTreeSet<String> =
        found.iter().map(|entry| node_of(entry)).filter(|node| !node.is_empty()).collect();
    let snapshot = asking.pipeline.store().snapshot();
    let answers: Vec<StatsResponse> = stream::iter(nodes)
        .map(|node| ask(asking, &snapshot, node))
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let now = asking.context.now;
    let object = |entry: &Arc<Entry>| {
        if is_node {
            let name = entry.key.name();
            let node = answers.iter().filter_map(|own| own.node.as_ref()).find(|own| own.name == name)?;
            return object::node(node, &entry.value, now);
        }
        let (namespace, name) = (entry.key.namespace(), entry.key.name());
        let mut pods = answers.iter().flat_map(|answer| &answer.pods);
        let pod = pods.find(|own| own.name == name && own.namespace == namespace)?;
        object::pod(pod, &entry.value, now)
    };
    found.iter().filter_map(object).collect()
}

/// What one node says; nothing where it does not answer in time.
async fn ask(asking: &Asking<'_>, snapshot: &Snapshot, node: String) -> Option<StatsResponse> {
    let entry = snapshot.get(&Key::new(&Bucket::from("nodes"), "", &node))?;
    let host = crate::kinds::pod::node_host(&node, entry).ok()?;
    let request = StatsRequest { node: node.clone(), disk: false };
    let asked = asking.kubelets.stats(&host, request);
    match tokio::time::timeout(PATIENCE, asked).await {
        // Whatever a kubelet calls itself, it speaks of its own node only.
        Ok(Ok(mut answer)) => {
            if let Some(own) = &mut answer.node {
                own.name = node;
            }
            Some(answer)
        }
        Ok(Err(status)) => {
            debug!(node, error = status.message, "the kubelet does not say what is used");
            None
        }
        Err(_) => {
            debug!(node, "the kubelet does not say in time what is used");
            None
        }
    }
}
