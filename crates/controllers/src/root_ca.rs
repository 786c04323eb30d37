//! Publishes the certificate of the cluster's authority in every namespace (ConfigMap `kube-root-ca.crt`), so that pods
//! can check whom they talk to.

use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use client::{ClientError, PatchType, Store, WorkQueue};
use serde_json::json;

use crate::context::Context;
use crate::objects::{ConfigMap, Namespace};
use crate::writes;

/// Its name.
pub const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "The certificate of this cluster's authority: pods know the apiserver by it.",
);

struct Controller {
    context: Context,
    certificate: String,
    namespaces: Store<Namespace>,
    config_maps: Store<ConfigMap>,
}

/// Starts the controller, if the kubeconfig says which authority it is. Its keys are names of namespaces.
pub fn start(context: &Context) {
    let certificate = String::from_utf8_lossy(&context.config.kubeconfig.certificate_authority).into_owned();
    if certificate.is_empty() {
        return;
    }
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        certificate,
        namespaces: context.store(),
        config_maps: context.store(),
    });
    let woken = queue.clone();
    controller.namespaces.subscribe(move |_, new| {
        if let Some(namespace) = new {
            woken.add(namespace.metadata.namespaced_name());
        }
    });
    let woken = queue.clone();
    controller.config_maps.subscribe(move |old, new| {
        if let Some(map) = new.or(old).filter(|map| map.metadata.name == NAME) {
            woken.add(NamespacedName::cluster(&*map.metadata.namespace));
        }
    });
    context.run("root-ca-certificate-publisher", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key.name).await }
    });
}

impl Controller {
    async fn reconcile(&self, namespace: &str) -> Result<Option<Duration>, ClientError> {
        let there = self.namespaces.get(&NamespacedName::cluster(namespace));
        if !there.is_some_and(|namespace| namespace.is_active()) {
            return Ok(None);
        }
        let api = self.context.api::<ConfigMap>();
        let result = match self.config_maps.get(&NamespacedName::new(namespace, NAME)) {
            Some(map) if map.data.get(KEY) == Some(&self.certificate) && map.data.len() == 1 => {
                return Ok(None);
            }
            Some(map) => {
                let mut data = json!({KEY: self.certificate});
                for stray in map.data.keys().filter(|key| *key != KEY) {
                    data[stray] = serde_json::Value::Null;
                }
                api.patch(namespace, NAME, PatchType::Merge, &json!({"data": data})).await
            }
            None => {
                let (key, text) = DESCRIPTION;
                let document = json!({
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": NAME, "namespace": namespace, "annotations": {key: text}},
                    "data": {KEY: self.certificate},
                });
                api.create(namespace, &document).await
            }
        };
        match result {
            Err(error) if error.is_already_exists() || error.is_not_found() => Ok(None),
            Err(error) if writes::namespace_is_terminating(&error) => Ok(None),
            result => result.map(|_| None),
        }
    }
}
