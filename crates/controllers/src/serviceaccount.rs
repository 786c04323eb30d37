//! Gives every namespace the ServiceAccount `default`, which pods run as that name none.

use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use client::{ClientError, Store, WorkQueue};
use serde_json::json;

use crate::context::Context;
use crate::objects::{Namespace, ServiceAccount};
use crate::writes;

/// Its name.
pub const DEFAULT: &str = "default";

struct Controller {
    context: Context,
    namespaces: Store<Namespace>,
    accounts: Store<ServiceAccount>,
}

/// Starts the controller. Its keys are names of namespaces.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        namespaces: context.store(),
        accounts: context.store(),
    });
    let woken = queue.clone();
    controller.namespaces.subscribe(move |_, new| {
        if let Some(namespace) = new {
            woken.add(namespace.metadata.namespaced_name());
        }
    });
    let woken = queue.clone();
    controller.accounts.subscribe(move |old, new| {
        if let (Some(old), None) = (old, new)
            && old.metadata.name == DEFAULT
        {
            woken.add(NamespacedName::cluster(&*old.metadata.namespace));
        }
    });
    context.run("serviceaccount", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key.name).await }
    });
}

impl Controller {
    async fn reconcile(&self, namespace: &str) -> Result<Option<Duration>, ClientError> {
        let there = self.namespaces.get(&NamespacedName::cluster(namespace));
        let is_missing = self.accounts.get(&NamespacedName::new(namespace, DEFAULT)).is_none();
        if !there.is_some_and(|namespace| namespace.is_active()) || !is_missing {
            return Ok(None);
        }
        let document = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": DEFAULT, "namespace": namespace},
        });
        match self.context.api::<ServiceAccount>().create(namespace, &document).await {
            Err(error) if error.is_already_exists() || error.is_not_found() => {}
            Err(error) if writes::namespace_is_terminating(&error) => {}
            result => result.map(drop)?,
        }
        Ok(None)
    }
}
