//! EndpointSlices: where the traffic to a Service goes. kube-proxy and DNS read them.
//!
//! Keys are names of Services; the controller is woken by Services, by their pods, by the slices, and by nodes that
//! change their zone. What to do is decided in [`plan`].

mod plan;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use api::gvk::NamespacedName;
use client::{ClientError, DeleteOptions, PatchType, Store, WorkQueue};

use crate::context::{BY_SERVICE, Context};
use crate::objects::{EndpointSlice, Node, Pod, Service};
use crate::service_endpoints;
use plan::{Action, Observed};

/// The label that names the Service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that says who writes a slice.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// What stands in it for this controller.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// The label of the zone of a node.
const ZONE: &str = "topology.kubernetes.io/zone";

const WORKERS: usize = 5;

struct Controller {
    context: Context,
    services: Store<Service>,
    pods: Store<Pod>,
    slices: Store<EndpointSlice>,
    nodes: Store<Node>,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        services: context.store(),
        pods: context.store(),
        slices: context.store(),
        nodes: context.store(),
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
    controller.slices.subscribe(move |old, new| {
        let Some(slice) = new.or(old).filter(|slice| is_ours(slice)) else { return };
        if let Some(service) = slice.metadata.labels.get(SERVICE_NAME) {
            woken.add(NamespacedName::new(&*slice.metadata.namespace, &**service));
        }
    });
    let (woken, services) = (queue.clone(), controller.services.clone());
    controller.nodes.subscribe(move |old, new| {
        let zone = |node: Option<&Arc<Node>>| node.and_then(|node| node.metadata.labels.get(ZONE).cloned());
        if zone(old) != zone(new) {
            services.list().iter().for_each(|service| woken.add(service.metadata.namespaced_name()));
        }
    });
    context.run("endpointslice", queue, WORKERS, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

fn is_ours(slice: &EndpointSlice) -> bool {
    slice.metadata.labels.get(MANAGED_BY).is_some_and(|manager| manager == CONTROLLER)
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        // Slices of a Service that is gone go with it: it owns them.
        let Some(service) = self.services.get(key) else { return Ok(None) };
        if !service_endpoints::is_managed(&service) || service.metadata.is_being_deleted() {
            return Ok(None);
        }
        let mut pods = self.pods.list_namespace(&key.namespace);
        pods.retain(|pod| service_endpoints::selects(&service, &pod.metadata));
        let mut slices = self.slices.by_index(BY_SERVICE, &key.to_string());
        slices.retain(|slice| is_ours(slice));
        for action in self.plan(&service, &pods, &slices) {
            self.execute(&key.namespace, action).await?;
        }
        Ok(None)
    }

    fn plan(&self, service: &Service, pods: &[Arc<Pod>], slices: &[Arc<EndpointSlice>]) -> Vec<Action> {
        let zone = |node: &str| {
            let node = self.nodes.get(&NamespacedName::cluster(node))?;
            node.metadata.labels.get(ZONE).cloned()
        };
        plan::plan(&Observed { service, pods, slices, zone: &zone })
    }

    async fn execute(&self, namespace: &str, action: Action) -> Result<(), ClientError> {
        let api = self.context.api::<EndpointSlice>();
        match action {
            Action::Create(slice) => {
                let mut document = json!({
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                });
                merge(&mut document, json!(slice));
                match api.create(namespace, &document).await {
                    Err(error) if crate::writes::namespace_is_terminating(&error) => Ok(()),
                    result => result.map(drop),
                }
            }
            Action::Update { slice, drop_labels } => {
                let mut labels: Map<String, Value> =
                    drop_labels.into_iter().map(|label| (label, Value::Null)).collect();
                labels.extend(slice.metadata.labels.iter().map(|(key, value)| (key.clone(), json!(value))));
                let patch = json!({
                    "metadata": {
                        "resourceVersion": slice.metadata.resource_version,
                        "labels": labels,
                        "ownerReferences": slice.metadata.owner_references,
                    },
                    "endpoints": slice.endpoints,
                    "ports": slice.ports,
                });
                api.patch(namespace, &slice.metadata.name, PatchType::Merge, &patch).await.map(drop)
            }
            Action::Delete { name, uid } => {
                match api.delete(namespace, &name, &DeleteOptions::uid(uid)).await {
                    Err(error) if error.is_not_found() => Ok(()),
                    result => result.map(drop),
                }
            }
        }
    }
}

/// Adds the fields of `more` after those of `document`.
fn merge(document: &mut Value, more: Value) {
    if let (Value::Object(document), Value::Object(more)) = (document, more) {
        document.extend(more);
    }
}
