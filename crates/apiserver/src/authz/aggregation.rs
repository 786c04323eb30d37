//! ClusterRoles that are made of others: their rules are those of every role that their `aggregationRule` selects.
//!
//! [`plan`] says which roles have other rules than they should; a task watches the roles and writes what it says.

use api::selector::{LabelSelector, Selector};
use api::status::Status;
use component::{Context, SharedClock};
use serde_json::{Value, json};
use store::Bucket;
use tracing::info;

use crate::follow::{self, Failure};
use crate::pipeline::{Body, PatchType, Pipeline, RequestContext, Target, WriteOptions, object_of};

const BUCKET: &str = "clusterroles.rbac.authorization.k8s.io";

/// Who writes the rules, as the owners of fields have it.
const MANAGER: &str = "clusterrole-aggregation-controller";

/// The roles whose rules are not those of the roles that they select: names, and what their rules should be.
pub fn plan(roles: &[Value]) -> Vec<(String, Value)> {
    let changed = roles.iter().filter_map(|role| {
        let name = role["metadata"]["name"].as_str()?;
        let rules = Value::Array(collected(role, name, roles)?);
        (role["rules"] != rules && !(role["rules"].is_null() && rules == json!([])))
            .then(|| (name.to_owned(), rules))
    });
    changed.collect()
}

/// The rules that a role should have; `None` where it is not made of others.
fn collected(role: &Value, name: &str, roles: &[Value]) -> Option<Vec<Value>> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array()?;
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors.iter().filter_map(selector) {
        let mut selected: Vec<(&str, &Value)> = roles
            .iter()
            .filter(|other| selector.matches_with(|label| other["metadata"]["labels"][label].as_str()))
            .filter_map(|other| Some((other["metadata"]["name"].as_str()?, other)))
            .filter(|(other, _)| *other != name)
            .collect();
        selected.sort_by_key(|(name, _)| *name);
        for rule in
            selected.into_iter().flat_map(|(_, other)| other["rules"].as_array().into_iter().flatten())
        {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Some(rules)
}

/// A selector that is not well-formed selects nothing.
fn selector(value: &Value) -> Option<Selector> {
    let selector: LabelSelector = serde_json::from_value(value.clone()).ok()?;
    selector.to_selector().ok()
}

/// Keeps the roles current until shutdown.
pub(crate) fn start(pipeline: &Pipeline, context: &Context) {
    let (pipeline, clock) = (pipeline.clone(), context.clock.clone());
    follow::keep(context, "clusterrole-aggregation", "aggregate a ClusterRole", move || {
        let (pipeline, clock) = (pipeline.clone(), clock.clone());
        async move { follow_roles(&pipeline, &clock).await }
    });
}

async fn follow_roles(pipeline: &Pipeline, clock: &SharedClock) -> Result<(), Failure> {
    let bucket = Bucket::from(BUCKET);
    loop {
        let snapshot = pipeline.store().snapshot();
        let mut watch = pipeline.store().watch(&bucket, snapshot.revision(), None).map_err(Failure::Read)?;
        let roles: Vec<Value> =
            snapshot.list(&bucket, None, None).filter_map(|entry| object_of(entry).ok()).collect();
        for (name, rules) in plan(&roles) {
            write(pipeline, clock, &name, &rules).await.map_err(Failure::Write)?;
            info!(role = %name, "aggregated the rules of a ClusterRole");
        }
        // What was written just now is looked at once more, and found good.
        watch.next().await.map_err(Failure::Read)?;
    }
}

async fn write(pipeline: &Pipeline, clock: &SharedClock, name: &str, rules: &Value) -> Result<(), Status> {
    let Some(def) = pipeline.registry().resource("rbac.authorization.k8s.io", "v1", "clusterroles") else {
        return Ok(());
    };
    let context = RequestContext::of_server(MANAGER, clock.now());
    let body = Body::json(json!({"rules": rules}).to_string());
    let options = WriteOptions { field_manager: MANAGER.to_owned(), ..WriteOptions::default() };
    let target = Target::object(def, None, name);
    match pipeline.patch(&context, &target, PatchType::Merge, body, &options).await {
        Err(status) if !status.is_not_found() => Err(status),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, labels: Value, rules: Value) -> Value {
        json!({"metadata": {"name": name, "labels": labels}, "rules": rules})
    }

    #[test]
    fn a_role_gets_the_rules_of_what_it_selects_and_then_nothing_more() {
        let (get, list) = (json!({"verbs": ["get"]}), json!({"verbs": ["list"]}));
        let mut all = role("all", json!({"a": "1"}), json!([{"verbs": ["old"]}]));
        all["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "1"}}]});
        let mut roles = vec![
            all,
            role("z", json!({"a": "1"}), json!([list, get])),
            role("b", json!({"a": "1"}), json!([get])),
            role("c", json!({"a": "2"}), json!([{"verbs": ["no"]}])),
        ];
        let planned = plan(&roles);
        assert_eq!(planned, [("all".to_owned(), json!([get, list]))]);
        roles[0]["rules"] = planned[0].1.clone();
        assert_eq!(plan(&roles), []);
    }

    #[test]
    fn the_first_roles_need_nothing() {
        let roles: Vec<Value> = crate::bootstrap::cluster_roles();
        assert!(roles.iter().any(|role| role["aggregationRule"].is_object()));
        assert_eq!(plan(&roles), []);
    }
}
