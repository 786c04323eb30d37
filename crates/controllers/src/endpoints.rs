//! Endpoints: the older form of EndpointSlices, one object for each Service, for clients that still read it.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use api::gvk::NamespacedName;
use client::{ClientError, DeleteOptions, PatchType, Store, WorkQueue};

use crate::context::Context;
use crate::objects::{Endpoints, Pod, Service};
use crate::service_endpoints;
use plan::Action;

/// The label that says who writes an Endpoints object.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// What stands in it for this controller.
const CONTROLLER: &str = "endpoint-controller";

const WORKERS: usize = 5;

struct Controller {
    context: Context,
    services: Store<Service>,
    pods: Store<Pod>,
    endpoints: Store<Endpoints>,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        services: context.store(),
        pods: context.store(),
        endpoints: context.store(),
    });
    let woken = queue.clone();
    controller.services.subscribe(move |old, new| {
        if let Some(service) = new.or(old) {
            woken.add(service.metadata.namespaced_name());
        }
    });
    let (woken, services) = (queue.clone(), controller.services.clone());
    controller.pods.subscribe(move |old, new| {
        for key in service_endpoints::concerned(&services, old, new) {
            woken.add(key);
        }
    });
    let woken = queue.clone();
    controller.endpoints.subscribe(move |old, new| {
        if let Some(endpoints) = new.or(old).filter(|endpoints| is_ours(endpoints)) {
            woken.add(endpoints.metadata.namespaced_name());
        }
    });
    context.run("endpoints", queue, WORKERS, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints.metadata.labels.get(MANAGED_BY).is_some_and(|manager| manager == CONTROLLER)
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let endpoints = self.endpoints.get(key);
        let api = self.context.api::<Endpoints>();
        let Some(service) = self.services.get(key) else {
            // They are not owned by the Service, so they are taken away here.
            if let Some(left) = endpoints.filter(|endpoints| is_ours(endpoints)) {
                match api.delete(&key.namespace, &key.name, &DeleteOptions::uid(&*left.metadata.uid)).await {
                    Err(error) if error.is_not_found() => {}
                    result => result.map(drop)?,
                }
            }
            return Ok(None);
        };
        if !service_endpoints::is_managed(&service) || service.metadata.is_being_deleted() {
            return Ok(None);
        }
        let mut pods = self.pods.list_namespace(&key.namespace);
        pods.retain(|pod| service_endpoints::selects(&service, &pod.metadata));
        match plan::plan(&service, &pods, endpoints.as_deref()) {
            None => {}
            Some(Action::Create(endpoints)) => {
                let document = json!({
                    "apiVersion": "v1",
                    "kind": "Endpoints",
                    "metadata": endpoints.metadata,
                    "subsets": endpoints.subsets,
                });
                match api.create(&key.namespace, &document).await {
                    Err(error) if crate::writes::namespace_is_terminating(&error) => {}
                    result => result.map(drop)?,
                }
            }
            Some(Action::Update { endpoints, drop_labels }) => {
                let mut labels: Map<String, Value> =
                    drop_labels.into_iter().map(|label| (label, Value::Null)).collect();
                let wanted = &endpoints.metadata.labels;
                labels.extend(wanted.iter().map(|(key, value)| (key.clone(), json!(value))));
                let subsets = (!endpoints.subsets.is_empty()).then_some(&endpoints.subsets);
                let patch = json!({
                    "metadata": {"resourceVersion": endpoints.metadata.resource_version, "labels": labels},
                    "subsets": subsets,
                });
                api.patch(&key.namespace, &key.name, PatchType::Merge, &patch).await?;
            }
        }
        Ok(None)
    }
}
