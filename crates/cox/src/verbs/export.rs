//! `cox export` and `cox import`: what people and tools have made, as plain YAML, without what a cluster adds to it.
//!
//! An export is for reading, for version control and for another cluster; what a cluster had exactly, uids and status
//! included, is in a backup. Read on: [`portable`] for what is left out.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use api::registry::{ResourceDef, creation_rank, registry};
use client::{ListParams, PatchOptions, WriteOptions};
use serde_json::{Map, Value};

use super::target::dynamic;
use super::{Session, apply, manifest};
use crate::cli::{ExportArgs, Global, ImportArgs};
use crate::error::CoxError;
use crate::output::Out;

/// Resources that the cluster fills by itself.
const OWN: [&str; 8] = [
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "nodes",
    "csinodes.storage.k8s.io",
    "controllerrevisions.apps",
];

pub(crate) async fn export(global: &Global, args: &ExportArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let mut defs: Vec<_> = registry().all().iter().filter(|def| is_exported(def)).collect();
    defs.sort_by_key(|def| creation_rank(&def.bucket));
    let mut text = String::new();
    for def in defs {
        let only = global.namespace.as_deref().unwrap_or_default();
        let mut params = ListParams::default();
        if !only.is_empty() && !def.namespaced {
            if &*def.bucket != "namespaces" {
                continue;
            }
            params.fields = format!("metadata.name={only}");
        }
        let namespace = if def.namespaced { only } else { "" };
        for object in dynamic(&session.client, def).list(namespace, &params).await?.items {
            let mut document: Value = object.decode()?;
            // The items of a list do not say what they are.
            let mut whole = Map::new();
            whole.insert("apiVersion".to_owned(), def.api_version().into());
            whole.insert("kind".to_owned(), (*def.kind).into());
            if let Value::Object(fields) = document.take() {
                whole.extend(fields);
            }
            if let Some(document) = portable(&def.bucket, Value::Object(whole)) {
                let yaml = serde_saphyr::to_string(&document).expect("JSON can be written as YAML");
                text += &format!("---\n{yaml}");
            }
        }
    }
    let Some(path) = &args.filename else {
        out.bytes(text.as_bytes());
        return Ok(());
    };
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(CoxError::file("write", path))
}

pub(crate) async fn import(global: &Global, args: &ImportArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let mut documents = manifest::read(&args.filename, &session.namespace)?;
    documents.sort_by_key(|document| creation_rank(&document.def.bucket));
    let write = WriteOptions { field_validation: "Strict".to_owned(), ..WriteOptions::default() };
    apply::documents(&session, documents, &PatchOptions { write, force: true }, out).await
}

fn is_exported(def: &ResourceDef) -> bool {
    def.is_stored() && def.has_verb("list") && def.has_verb("create") && !OWN.contains(&&*def.bucket)
}

/// The object without what the cluster has added to it; nothing where the cluster has made all of it. Pure.
fn portable(bucket: &str, mut object: Value) -> Option<Value> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let is_controlled = owners.into_iter().flatten().any(|owner| owner["controller"] == true);
    let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
    let is_default = match (bucket, namespace, name) {
        ("namespaces", _, name) => name == "default" || name.starts_with("kube-"),
        ("configmaps", _, "kube-root-ca.crt")
        | ("configmaps", "kube-system", "extension-apiserver-authentication")
        | ("serviceaccounts", _, "default")
        | ("services", "default", "kubernetes")
        | ("servicecidrs.networking.k8s.io", _, "kubernetes") => true,
        ("priorityclasses.scheduling.k8s.io", _, name) => name.starts_with("system-"),
        _ => {
            text("/metadata/labels/kubernetes.io~1bootstrapping") == "rbac-defaults"
                || text("/metadata/annotations/apf.kubernetes.io~1autoupdate-spec") == "true"
        }
    };
    if is_controlled || is_default || !text("/metadata/deletionTimestamp").is_empty() {
        return None;
    }
    remove(&mut object, "", &["status"]);
    let added = ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"];
    remove(&mut object, "/metadata", &added);
    remove(&mut object, "/metadata", &["ownerReferences"]);
    remove(&mut object, "/metadata/annotations", &["deployment.kubernetes.io/revision"]);
    match bucket {
        "namespaces" => {
            remove(&mut object, "/metadata/labels", &["kubernetes.io/metadata.name"]);
            remove(&mut object, "", &["spec"]);
        }
        "pods" => remove(&mut object, "/spec", &["nodeName"]),
        // The other cluster has addresses of its own; "None" is a wish.
        "services" if object.pointer("/spec/clusterIP").is_some_and(|ip| ip != "None") => {
            remove(&mut object, "/spec", &["clusterIP", "clusterIPs", "ipFamilies"]);
        }
        "persistentvolumeclaims" => {
            remove(&mut object, "/spec", &["volumeName"]);
            let bound = ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"];
            remove(&mut object, "/metadata/annotations", &bound);
        }
        "persistentvolumes" => remove(&mut object, "/spec/claimRef", &["uid", "resourceVersion"]),
        "jobs.batch" if object.pointer("/spec/manualSelector").is_none_or(|manual| manual != true) => {
            let own = ["controller-uid", "batch.kubernetes.io/controller-uid"];
            remove(&mut object, "/spec", &["selector"]);
            remove(&mut object, "/metadata/labels", &own);
            remove(&mut object, "/spec/template/metadata/labels", &own);
        }
        _ => {}
    }
    Some(object)
}

/// Removes fields, and the map that held them where nothing is left in it.
fn remove(object: &mut Value, place: &str, fields: &[&str]) {
    let Some(map) = object.pointer_mut(place).and_then(Value::as_object_mut) else { return };
    for field in fields {
        map.shift_remove(*field);
    }
    if map.is_empty()
        && let Some((parent, own)) = place.rsplit_once('/')
        && let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        parent.shift_remove(own);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_cluster_added_is_left_out() {
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "a", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"},
                "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": [{"port": 80}]},
            "status": {"loadBalancer": {}},
        });
        let expected = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "a", "labels": {"a": "b"}},
            "spec": {"ports": [{"port": 80}]},
        });
        assert_eq!(portable("services", service), Some(expected.clone()));
        assert_eq!(portable("services", expected.clone()), Some(expected), "what is portable stays as it is");
        let headless = json!({"metadata": {"name": "x"}, "spec": {"clusterIP": "None"}});
        assert_eq!(portable("services", headless.clone()), Some(headless));
    }

    #[test]
    fn what_the_cluster_made_is_no_part_of_an_export() {
        let owned = json!({"metadata": {"name": "p", "ownerReferences": [{"controller": true, "uid": "u"}]}});
        let defaults = json!({"metadata": {"name": "admin",
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}});
        for (bucket, object) in [
            ("pods", owned),
            ("namespaces", json!({"metadata": {"name": "kube-system"}})),
            ("configmaps", json!({"metadata": {"name": "kube-root-ca.crt", "namespace": "a"}})),
            ("services", json!({"metadata": {"name": "kubernetes", "namespace": "default"}})),
            ("clusterroles.rbac.authorization.k8s.io", defaults),
            ("pods", json!({"metadata": {"name": "p", "deletionTimestamp": "2026-11-24T12:00:00Z"}})),
        ] {
            assert_eq!(portable(bucket, object.clone()), None, "{bucket} {object}");
        }
    }

    #[test]
    fn what_others_refer_to_comes_first() {
        let mut buckets = ["deployments.apps", "services", "namespaces", "secrets"];
        buckets.sort_by_key(|bucket| creation_rank(bucket));
        assert_eq!(buckets, ["namespaces", "secrets", "services", "deployments.apps"]);
    }
}
