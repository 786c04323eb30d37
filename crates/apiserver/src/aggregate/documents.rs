//! What another server says that it serves: its resources, and its OpenAPI documents, as far as they are about the group
//! and version that it is there for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};

use super::Spec;
use super::connector::Outlet;
use super::proxy::tell_user;
use crate::pipeline::UserInfo;
use crate::serve::empty;

/// How long a server may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// The largest document that is read.
const LARGEST: usize = 16 << 20;

/// What a server serves.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Documents {
    /// The version as in aggregated discovery; nothing before it was heard of.
    pub(crate) discovery: Option<Value>,
    /// Paths and definitions of version 2, those of this group and version.
    pub(crate) openapi_v2: Option<Arc<Value>>,
    /// Version 3: the address of each document.
    pub(crate) openapi_v3: BTreeMap<String, Value>,
}

impl Documents {
    /// The same of a server that is not there any more.
    pub(super) fn stale(&self) -> Self {
        let mut stale = self.clone();
        if let Some(discovery) = &mut stale.discovery {
            discovery["freshness"] = "Stale".into();
        }
        stale
    }
}

/// As in an error message.
fn failing(spec: &Spec, outlet: &Outlet, why: &str) -> String {
    format!("failing or missing response from https://{}{}: {why}", outlet.authority(), spec.path())
}

/// Asks a server for everything; it is there if it says what its resources are.
pub(super) async fn fetch(spec: &Spec, outlet: &Outlet, before: &Documents) -> Result<Documents, String> {
    let list = get(outlet, &spec.path()).await.map_err(|why| failing(spec, outlet, &why))?;
    let list: Value =
        serde_json::from_slice(&list).map_err(|error| failing(spec, outlet, &error.to_string()))?;
    let v2 = get(outlet, "/openapi/v2").await.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let v3 = get(outlet, "/openapi/v3").await.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let v2 = v2.map(|document| Arc::new(own_paths(spec, document)));
    let same = before.openapi_v2.clone().filter(|known| v2.as_ref() == Some(known));
    Ok(Documents {
        discovery: Some(discovery(spec, &list)),
        openapi_v2: same.or(v2),
        openapi_v3: v3.map(|index: Value| addresses(spec, &index)).unwrap_or_default(),
    })
}

async fn get(outlet: &Outlet, path: &str) -> Result<Bytes, String> {
    let mut request = Request::get(path).body(empty()).map_err(|error| error.to_string())?;
    let user = UserInfo {
        name: "system:kube-aggregator".to_owned(),
        groups: vec!["system:masters".to_owned()],
        ..UserInfo::default()
    };
    tell_user(request.headers_mut(), &user);
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let answered = async {
        let answer = outlet.send(request).await?;
        let code = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        if (200..300).contains(&code) { Ok(body) } else { Err(format!("bad status from {path}: {code}")) }
    };
    match tokio::time::timeout(LIMIT, answered).await {
        Ok(answered) => answered,
        Err(_) => Err("context deadline exceeded".to_owned()),
    }
}

/// A list of resources in the legacy form as a version of the aggregated form.
fn discovery(spec: &Spec, list: &Value) -> Value {
    let mut resources: Vec<Value> = Vec::new();
    let all = || list["resources"].as_array().into_iter().flatten();
    let kind = |resource: &Value| {
        let or = |name: &str, default: &str| match resource[name].as_str().unwrap_or_default() {
            "" => default.to_owned(),
            own => own.to_owned(),
        };
        json!({"group": or("group", &spec.group), "version": or("version", &spec.version), "kind": resource["kind"]})
    };
    let name = |resource: &Value| resource["name"].as_str().unwrap_or_default().to_owned();
    for resource in all().filter(|resource| !name(resource).contains('/')) {
        let own = name(resource);
        let mut shown = json!({
            "resource": own,
            "responseKind": kind(resource),
            "scope": if resource["namespaced"] == true { "Namespaced" } else { "Cluster" },
            "singularResource": resource["singularName"].as_str().unwrap_or_default(),
            "verbs": resource["verbs"],
        });
        for field in ["shortNames", "categories"] {
            if let Some(words) = resource.get(field).filter(|words| words.is_array()) {
                shown[field] = words.clone();
            }
        }
        let parts = all().filter_map(|part| {
            let whole = name(part);
            let part_name = whole.strip_prefix(&own)?.strip_prefix('/')?.to_owned();
            Some(json!({"subresource": part_name, "responseKind": kind(part), "verbs": part["verbs"]}))
        });
        let parts: Vec<Value> = parts.collect();
        if !parts.is_empty() {
            shown["subresources"] = parts.into();
        }
        resources.push(shown);
    }
    json!({"version": spec.version, "freshness": "Current", "resources": resources})
}

/// Of a document of version 2 what is about the group and version.
fn own_paths(spec: &Spec, document: Value) -> Value {
    let prefix = format!("{}/", spec.path());
    let mut paths = document["paths"].as_object().cloned().unwrap_or_default();
    paths.retain(|path, _| format!("{path}/").starts_with(&prefix));
    json!({"paths": paths, "definitions": document["definitions"]})
}

/// Of an index of version 3 what is about the group and version.
fn addresses(spec: &Spec, index: &Value) -> BTreeMap<String, Value> {
    let own = spec.path();
    let all = index["paths"].as_object().into_iter().flatten();
    all.filter(|(path, _)| **path == own[1..]).map(|(path, place)| (path.clone(), place.clone())).collect()
}

/// Adds what other servers serve to a document of version 2. Where both have a definition of one name, it is ours.
pub(crate) fn add_to_v2(document: &mut Value, others: &[Arc<Value>]) {
    for other in others {
        for part in ["paths", "definitions"] {
            let (Some(own), Some(more)) = (document[part].as_object_mut(), other[part].as_object()) else {
                continue;
            };
            for (name, value) in more {
                own.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        let service = json!({"metadata": {"name": "v1.g.example"}, "spec": {"group": "g.example", "version": "v1",
            "service": {"namespace": "d", "name": "s"}}});
        Spec::of(&service).expect("it names a service")
    }

    #[test]
    fn a_list_of_resources_becomes_aggregated_discovery() {
        let list = json!({"resources": [
            {"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing",
                "verbs": ["get"], "shortNames": ["th"]},
            {"name": "things/scale", "namespaced": true, "group": "autoscaling", "version": "v1",
                "kind": "Scale", "verbs": ["update"]},
        ]});
        assert_eq!(
            discovery(&spec(), &list),
            json!({"version": "v1", "freshness": "Current", "resources": [{
                "resource": "things",
                "responseKind": {"group": "g.example", "version": "v1", "kind": "Thing"},
                "scope": "Namespaced", "singularResource": "thing", "verbs": ["get"], "shortNames": ["th"],
                "subresources": [{"subresource": "scale", "verbs": ["update"],
                    "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}}],
            }]})
        );
    }

    #[test]
    fn only_what_a_server_is_there_for_is_taken() {
        let theirs = json!({"paths": {"/apis/g.example/v1/things": {}, "/apis/g.example/v1": {}, "/api/v1/pods": {}},
            "definitions": {"Thing": {"a": 1}, "Pod": {"theirs": true}}});
        let mut document = json!({"paths": {"/version": {}}, "definitions": {"Pod": {"ours": true}}});
        add_to_v2(&mut document, &[Arc::new(own_paths(&spec(), theirs))]);
        assert_eq!(
            document,
            json!({"paths": {"/version": {}, "/apis/g.example/v1/things": {}, "/apis/g.example/v1": {}},
                "definitions": {"Pod": {"ours": true}, "Thing": {"a": 1}}})
        );
        let index = json!({"paths": {"apis/g.example/v1": {"serverRelativeURL": "/x"}, "version": {}}});
        assert_eq!(addresses(&spec(), &index).into_keys().collect::<Vec<_>>(), ["apis/g.example/v1"]);
    }
}
