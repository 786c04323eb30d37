//! `cox logs`: of a pod, or of a pod of something that has pods.

use client::{ListParams, LogsRequest};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::Session;
use super::target::{Target, parse, resource};
use crate::cli::{Global, LogsArgs};
use crate::error::CoxError;
use crate::output::Out;

pub(crate) async fn logs(global: &Global, args: &LogsArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let request = LogsRequest {
        namespace: session.namespace.clone(),
        pod: pod(&session, &args.pod).await?,
        container: args.container.clone(),
        follow: args.follow,
        previous: args.previous,
        timestamps: args.timestamps,
        tail_lines: args.tail,
        since_seconds: args.since,
        ..LogsRequest::default()
    };
    let mut chunks = session.client.logs(request).await?;
    while let Some(chunk) = chunks.next().await {
        out.bytes(&chunk?);
    }
    Ok(())
}

/// The pod that the word means: itself, or the first that the selector of `TYPE/NAME` selects.
pub(super) async fn pod(session: &Session, word: &str) -> Result<String, CoxError> {
    let Some((_, name)) = word.split_once('/') else { return Ok(word.to_owned()) };
    let mut targets = parse(&[word.to_owned()])?;
    let Some(target) = targets.pop().filter(|target| *target.def.plural != *"pods") else {
        return Ok(name.to_owned());
    };
    let owner: Value = target.api(&session.client).get(&session.namespace, name).await?.decode()?;
    let selector = selector(&owner)
        .ok_or_else(|| CoxError::Failed(format!("{} selects no pods", target.label(name))))?;
    let pods = Target { def: resource("pods")?, name: None }.api(&session.client);
    let found = pods.list(&session.namespace, &ListParams::labels(selector)).await?.items;
    let first = found.into_iter().map(|pod| pod.name).min();
    first.ok_or_else(|| CoxError::Failed(format!("{} has no pods", target.label(name))))
}

/// The label selector of a workload or a Service, as text.
pub(super) fn selector(owner: &Value) -> Option<String> {
    let selector = owner.pointer("/spec/selector")?;
    let labels = selector.get("matchLabels").unwrap_or(selector).as_object()?;
    let pairs: Vec<_> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn workloads_and_services_select_pods_each_in_its_form() {
        let workload = json!({"spec": {"selector": {"matchLabels": {"app": "web", "tier": "front"}}}});
        assert_eq!(selector(&workload).as_deref(), Some("app=web,tier=front"));
        assert_eq!(selector(&json!({"spec": {"selector": {"app": "web"}}})).as_deref(), Some("app=web"));
        assert_eq!(selector(&json!({"spec": {}})), None);
    }
}
