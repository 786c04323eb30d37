//! `cox diff`: every object that differs between two moments, and how.

use client::{DifferencesRequest, GroupVersionResource, Object};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::Session;
use super::changes::changes;
use super::target::{label, parse};
use crate::cli::{DiffArgs, Global};
use crate::error::CoxError;
use crate::output::Out;

/// What changes all the time: shown only when it is asked for.
const NOISE: [&str; 3] = ["events", "events.events.k8s.io", "leases.coordination.k8s.io"];

pub(crate) async fn diff(global: &Global, args: &DiffArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let wanted = args.types.as_ref().map(|types| parse(std::slice::from_ref(types))).transpose()?;
    let resources = wanted.iter().flatten().map(|target| {
        let def = &target.def;
        GroupVersionResource::new(&*def.group, &*def.version, &*def.plural).to_proto()
    });
    let request = DifferencesRequest {
        since: args.since.clone(),
        until: args.until.clone(),
        namespace: if args.all_namespaces { String::new() } else { session.namespace.clone() },
        resources: resources.collect(),
    };
    let mut differences = session.client.differences(request).await?;
    while let Some(difference) = differences.next().await {
        let difference = difference?;
        let resource = difference.resource.unwrap_or_default();
        let def = api::registry::registry().resource(&resource.group, &resource.version, &resource.resource);
        let Some(def) = def.filter(|def| wanted.is_some() || !NOISE.contains(&&*def.bucket)) else {
            continue;
        };
        let (before, after) = (difference.before, difference.after);
        let metadata = after.as_ref().or(before.as_ref()).and_then(|object| object.metadata.clone());
        let metadata = metadata.unwrap_or_default();
        let name = label(&def, &metadata.name);
        let name = match metadata.namespace.as_str() {
            namespace if args.all_namespaces && !namespace.is_empty() => format!("{name} in {namespace}"),
            _ => name,
        };
        match (before, after) {
            (None, _) => out.line(&format!("+ {name}")),
            (_, None) => out.line(&format!("- {name}")),
            (Some(before), Some(after)) => {
                let lines = changes(&document(&before)?, &document(&after)?);
                // A write that changed nothing, or made anew what was there.
                if !lines.is_empty() {
                    out.line(&format!("~ {name}"));
                    lines.iter().for_each(|line| out.line(&format!("    {line}")));
                }
            }
        }
    }
    Ok(())
}

fn document(object: &Object) -> Result<Value, CoxError> {
    serde_json::from_slice(&object.payload)
        .map_err(|error| CoxError::Failed(format!("an object is not JSON: {error}")))
}
