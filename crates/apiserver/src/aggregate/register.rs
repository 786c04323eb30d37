//! The APIServices of what this server serves itself: one for each group and version, as objects that clients can see.
//!
//! They are written where they are missing or not as they should be, and go when their custom resources go. One that
//! somebody else has made (it lacks the label) is left alone: so another server can take over a group and version.

use api::registry::Registry;
use api::status::Status;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Bucket, Snapshot};

use super::{BUCKET, context};
use crate::pipeline::{Body, DeleteOptions, PatchType, Pipeline, Target, WriteOptions, object_of};

/// Says that an APIService is ours.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// The priority of a built-in group, and of those of its versions whose own is not 15.
type Group = (&'static str, i64, &'static [(&'static str, i64)]);

const GROUPS: [Group; 20] = [
    ("", 18000, &[("v1", 1)]),
    ("apps", 17800, &[]),
    ("events.k8s.io", 17750, &[]),
    ("authentication.k8s.io", 17700, &[]),
    ("authorization.k8s.io", 17600, &[]),
    ("autoscaling", 17500, &[("v2", 30)]),
    ("batch", 17400, &[]),
    ("certificates.k8s.io", 17300, &[]),
    ("networking.k8s.io", 17200, &[]),
    ("policy", 17100, &[]),
    ("rbac.authorization.k8s.io", 17000, &[]),
    ("storage.k8s.io", 16800, &[]),
    ("admissionregistration.k8s.io", 16700, &[]),
    ("apiextensions.k8s.io", 16700, &[]),
    ("scheduling.k8s.io", 16600, &[]),
    ("coordination.k8s.io", 16500, &[]),
    ("node.k8s.io", 16300, &[]),
    ("discovery.k8s.io", 16200, &[]),
    ("resource.k8s.io", 16200, &[("v1", 21)]),
    ("flowcontrol.apiserver.k8s.io", 16100, &[("v1", 21)]),
];

/// The priorities of a group among groups, and of a version among the versions of its group.
pub(crate) fn priority(group: &str, version: &str, is_custom: bool) -> (i64, i64) {
    if is_custom {
        return (1000, 100);
    }
    let found = GROUPS.iter().find(|(name, ..)| *name == group);
    let (_, of_group, versions) = found.copied().unwrap_or((group, 15000, &[]));
    let of_version = versions.iter().find(|(name, _)| *name == version).map(|(_, priority)| *priority);
    // Versions that are on their way out come last.
    let usual = if version.contains("beta") || version.contains("alpha") { 9 } else { 15 };
    (of_group, of_version.unwrap_or(usual))
}

/// What has to be written.
#[derive(Debug, PartialEq)]
enum Action {
    Create(Value),
    Update { name: String, spec: Value },
    Delete(String),
}

/// Compares the APIServices that there are with those that there should be.
fn plan(existing: &[Value], registry: &Registry) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut wanted = Vec::new();
    for own in registry.group_versions() {
        // The group of the APIServices themselves has none, as in Kubernetes.
        if own.group == "apiregistration.k8s.io" {
            continue;
        }
        let is_custom = registry.serves(&own.group, &own.version) == Some(false);
        let name = format!("{}.{}", own.version, own.group);
        let (of_group, of_version) = priority(&own.group, &own.version, is_custom);
        let spec = json!({"group": own.group, "version": own.version, "groupPriorityMinimum": of_group,
            "versionPriority": of_version});
        wanted.push(name.clone());
        let Some(found) = existing.iter().find(|own| own["metadata"]["name"] == *name) else {
            let label = if is_custom { "true" } else { "onstart" };
            actions.push(Action::Create(json!({
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": name, "labels": {MANAGED: label}},
                "spec": spec,
            })));
            continue;
        };
        let differs = |field: &str| {
            let (own, wanted) = (&found["spec"][field], &spec[field]);
            own != wanted && !(own.is_null() && *wanted == "")
        };
        let is_other = !found["spec"]["service"].is_null()
            || ["group", "version", "groupPriorityMinimum", "versionPriority"].into_iter().any(differs);
        if is_managed(found) && is_other {
            actions.push(Action::Update { name, spec });
        }
    }
    let gone =
        existing.iter().filter(|own| is_managed(own) && own["metadata"]["deletionTimestamp"].is_null());
    let names = gone.filter_map(|own| own["metadata"]["name"].as_str());
    actions.extend(
        names
            .filter(|name| !wanted.iter().any(|own| own == name))
            .map(|name| Action::Delete(name.to_owned())),
    );
    actions
}

fn is_managed(service: &Value) -> bool {
    matches!(service["metadata"]["labels"][MANAGED].as_str(), Some("true" | "onstart"))
}

/// Writes what is missing, and removes what has gone.
pub(super) async fn settle(pipeline: &Pipeline, snapshot: &Snapshot, now: Timestamp) -> Result<(), Status> {
    let entries = snapshot.list(&Bucket::from(BUCKET), None, None);
    let existing: Vec<Value> = entries.filter_map(|entry| object_of(entry).ok()).collect();
    let actions = plan(&existing, &pipeline.registry());
    // Together, so that they share the store's syncs.
    let written = actions.iter().map(|action| write(pipeline, action, now));
    futures_util::future::try_join_all(written).await.map(drop)
}

async fn write(pipeline: &Pipeline, action: &Action, now: Timestamp) -> Result<(), Status> {
    let def = pipeline.registry().resource("apiregistration.k8s.io", "v1", "apiservices");
    let Some(def) = def else { return Ok(()) };
    let (context, options) = (context(now), WriteOptions::default());
    match action {
        Action::Create(service) => {
            let target = Target::collection(def, None);
            let body = Body::json(service.to_string());
            match pipeline.create(&context, &target, body, &options).await {
                Err(status) if !status.is_already_exists() => Err(status),
                _ => Ok(()),
            }
        }
        Action::Update { name, spec } => {
            let mut spec = spec.clone();
            for field in ["service", "caBundle", "insecureSkipTLSVerify"] {
                spec[field] = Value::Null;
            }
            let body = Body::json(json!({"spec": spec}).to_string());
            let target = Target::object(def, None, name);
            match pipeline.patch(&context, &target, PatchType::Merge, body, &options).await {
                Err(status) if !status.is_not_found() => Err(status),
                _ => Ok(()),
            }
        }
        Action::Delete(name) => {
            let target = Target::object(def, None, name);
            match pipeline.delete(&context, &target, &DeleteOptions::default()).await {
                Err(status) if !status.is_not_found() => Err(status),
                _ => Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(mut existing: Vec<Value>, actions: Vec<Action>) -> Vec<Value> {
        for action in actions {
            match action {
                Action::Create(service) => existing.push(service),
                Action::Update { name, spec } => {
                    let own = existing.iter_mut().find(|own| own["metadata"]["name"] == *name);
                    own.expect("it is there")["spec"] = spec;
                }
                Action::Delete(name) => existing.retain(|own| own["metadata"]["name"] != *name),
            }
        }
        existing
    }

    #[test]
    fn every_version_has_its_service_and_the_second_plan_is_empty() {
        let registry = Registry::with_custom([], 0);
        let all = applied(Vec::new(), plan(&[], &registry));
        assert!(plan(&all, &registry).is_empty());
        let apps = all.iter().find(|own| own["metadata"]["name"] == "v1.apps").expect("apps/v1");
        assert_eq!(apps["spec"]["groupPriorityMinimum"], 17800);
        assert_eq!(apps["metadata"]["labels"][MANAGED], "onstart");
        assert!(all.iter().any(|own| own["metadata"]["name"] == "v1."));

        let mut changed = all.clone();
        let place = changed.iter().position(|own| own["metadata"]["name"] == "v1.apps").expect("apps/v1");
        changed[place]["spec"]["service"] = json!({"namespace": "d", "name": "s"});
        assert_eq!(plan(&changed, &registry).len(), 1, "it is made what it was");
        changed[place]["metadata"]["labels"] = json!({});
        assert!(plan(&changed, &registry).is_empty(), "it is somebody else's");
        changed.push(json!({"metadata": {"name": "v1.gone", "labels": {MANAGED: "true"}}}));
        assert_eq!(plan(&changed, &registry), [Action::Delete("v1.gone".to_owned())]);
    }

    #[test]
    fn they_are_those_of_the_reference() {
        let root =
            std::env::var_os("COXSWAIN_REFERENCE").unwrap_or_else(|| "../../../shared/reference".into());
        let file = std::path::Path::new(&root).join("bootstrap/apiservices.json");
        let Ok(bytes) = std::fs::read(&file) else {
            return eprintln!("skipped: no reference at {}", file.display());
        };
        let reference: Value = serde_json::from_slice(&bytes).expect("JSON");
        let all = applied(Vec::new(), plan(&[], &Registry::with_custom([], 0)));
        for theirs in reference["items"].as_array().expect("items") {
            let own = all.iter().find(|own| own["metadata"]["name"] == theirs["metadata"]["name"]);
            let own = own.unwrap_or_else(|| panic!("no {}", theirs["metadata"]["name"]));
            assert_eq!(own["metadata"]["labels"], theirs["metadata"]["labels"]);
            for (field, value) in theirs["spec"].as_object().expect("a spec") {
                assert_eq!(own["spec"][field], *value, "{field} of {}", own["metadata"]["name"]);
            }
        }
    }
}
