//! Empties namespaces that are being deleted, and lets them go when nothing is left in them.
//!
//! Keys are names of namespaces. What a round has found is told in the namespace's conditions, so that a user sees what
//! a namespace that does not go away waits for. What to tell, and whether it may go, is decided in [`plan`].

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use api::gvk::NamespacedName;
use api::registry::ResourceDef;
use client::{ClientError, DeleteOptions, ListParams, PartialObject, Store, WorkQueue, WriteOptions};

use crate::context::Context;
use crate::objects::{CustomResourceDefinition, Namespace, Pod};
use crate::{resources, writes};
use plan::{Action, FINALIZER, Found, Observed};

/// When a namespace that is not empty yet is looked at again, unless its last pod goes earlier.
const RETRY: Duration = Duration::from_secs(5);
const WORKERS: usize = 4;

struct Controller {
    context: Context,
    namespaces: Store<Namespace>,
    definitions: Store<CustomResourceDefinition>,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        namespaces: context.store(),
        definitions: context.store(),
    });
    let woken = queue.clone();
    controller.namespaces.subscribe(move |_, new| {
        if let Some(namespace) = new.filter(|namespace| namespace.metadata.is_being_deleted()) {
            woken.add(namespace.metadata.namespaced_name());
        }
    });
    let (woken, namespaces) = (queue.clone(), controller.namespaces.clone());
    context.store::<Pod>().subscribe(move |old, new| {
        if let (Some(old), None) = (old, new) {
            let key = NamespacedName::cluster(&*old.metadata.namespace);
            if namespaces.get(&key).is_some_and(|namespace| namespace.metadata.is_being_deleted()) {
                woken.add(key);
            }
        }
    });
    context.run("namespace", queue, WORKERS, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(namespace) = self.namespaces.get(key) else { return Ok(None) };
        let finalizes = namespace.spec.finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        if !namespace.metadata.is_being_deleted() || !finalizes {
            return Ok(None);
        }
        let mut all = resources::stored(true);
        all.extend(self.definitions.list().iter().filter_map(|definition| resources::custom(definition)));
        let namespaced = all.iter().filter(|def| def.namespaced);
        let found = join_all(namespaced.map(|def| self.empty(def, &key.name))).await;
        let mut observed = Observed {
            namespace: &namespace,
            remaining: BTreeMap::new(),
            failures: Vec::new(),
            now: self.context.now(),
        };
        for (resource, result) in found {
            match result {
                Ok(found) if found.count > 0 => {
                    observed.remaining.insert(resource, found);
                }
                Ok(_) => {}
                Err(error) => observed.failures.push(error.to_status().to_string()),
            }
        }
        let plan = plan::plan(&observed);
        let waits = !plan.iter().any(|action| matches!(action, Action::Finalize(_)));
        for action in plan {
            self.execute(&namespace, action).await?;
        }
        Ok(waits.then_some(RETRY))
    }

    /// Deletes all objects of a resource in the namespace; says what is left.
    async fn empty(&self, def: &ResourceDef, namespace: &str) -> (String, Result<Found, ClientError>) {
        (def.qualified(), self.try_empty(def, namespace).await)
    }

    async fn try_empty(&self, def: &ResourceDef, namespace: &str) -> Result<Found, ClientError> {
        let api = self.context.client.dynamic(resources::name(def));
        let everything = ListParams::default();
        let first = ListParams { limit: 1, ..ListParams::default() };
        if api.list(namespace, &first).await?.items.is_empty() {
            return Ok(Found::default());
        }
        if def.has_verb("deletecollection") {
            let options =
                DeleteOptions { propagation_policy: "Background".to_owned(), ..DeleteOptions::default() };
            api.delete_collection(namespace, &everything, &options).await?;
        } else {
            for object in api.list(namespace, &everything).await?.items {
                match api.delete(namespace, &object.name, &DeleteOptions::uid(object.uid)).await {
                    Err(error) if error.is_not_found() => {}
                    result => result.map(drop)?,
                }
            }
        }
        let mut found = Found::default();
        for object in api.list(namespace, &everything).await?.items {
            found.count += 1;
            for finalizer in object.decode::<PartialObject>()?.metadata.finalizers {
                *found.finalizers.entry(finalizer).or_default() += 1;
            }
        }
        Ok(found)
    }

    async fn execute(&self, namespace: &Namespace, action: Action) -> Result<(), ClientError> {
        let api = self.context.api::<Namespace>();
        let name = &namespace.metadata.name;
        let result = match action {
            Action::SetConditions(conditions) => {
                writes::patch_status(&api, &namespace.metadata, json!({"conditions": conditions})).await
            }
            Action::Finalize(rest) => {
                let document = json!({
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": name, "uid": namespace.metadata.uid},
                    "spec": {"finalizers": rest},
                });
                let options = WriteOptions::default();
                api.dynamic().update("", name, "finalize", &document, &options).await.map(drop)
            }
        };
        match result {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }
}
