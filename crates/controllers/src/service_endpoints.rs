//! What a pod contributes to a Service: whether it counts, its addresses, its ports. Shared by EndpointSlices and
//! Endpoints. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::intstr::IntOrString;
use api::meta::{Condition, ObjectMeta};

use client::{Resource as _, Store};

use crate::objects::{EndpointPort, ObjectReference, Pod, Service, ServicePort};

/// The label of what belongs to a Service without a cluster address.
pub const HEADLESS: &str = "service.kubernetes.io/headless";

/// Whether the Service's pods are found by labels. Without a selector someone else fills in the endpoints.
pub fn is_managed(service: &Service) -> bool {
    !service.spec.selector.is_empty() && service.spec.r#type != "ExternalName"
}

/// Whether a Service means a pod.
pub fn selects(service: &Service, pod: &ObjectMeta) -> bool {
    is_managed(service) && service.spec.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

/// Whether the pod can serve at all, now or later: it has an address and has not run to its end.
pub fn has_endpoint(pod: &Pod) -> bool {
    !pod.is_terminal() && !pod.status.pod_ip.is_empty()
}

/// The addresses of the pod in a family.
pub fn addresses<'a>(pod: &'a Pod, family: &str) -> impl Iterator<Item = &'a str> {
    let is_v6 = family == "IPv6";
    let all: Vec<&str> = if pod.status.pod_ips.is_empty() {
        vec![&pod.status.pod_ip]
    } else {
        pod.status.pod_ips.iter().map(|ip| ip.ip.as_str()).collect()
    };
    all.into_iter().filter(move |ip| !ip.is_empty() && ip.contains(':') == is_v6)
}

/// The ports of a Service on a pod. A port by a name that the pod does not have is left out.
pub fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    service
        .spec
        .ports
        .iter()
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone()),
                port: Some(target(port, pod)?),
                protocol: Some(protocol(&port.protocol).to_owned()),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let sidecars = pod
                .spec
                .init_containers
                .iter()
                .filter(|init| init.restart_policy.as_deref() == Some("Always"));
            let mut candidates = pod.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
            let named = |candidate: &&crate::objects::ContainerPort| {
                candidate.name == *name && protocol(&candidate.protocol) == protocol(&port.protocol)
            };
            candidates.find(named).map(|candidate| candidate.container_port)
        }
    }
}

fn protocol(text: &str) -> &str {
    if text.is_empty() { "TCP" } else { text }
}

/// The name by which DNS knows the pod within the Service, if it asks for one.
pub fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let has_one = !pod.spec.hostname.is_empty() && pod.spec.subdomain == service.metadata.name;
    has_one.then(|| pod.spec.hostname.clone())
}

/// The node that the pod runs on.
pub fn node_name(pod: &Pod) -> Option<String> {
    (!pod.spec.node_name.is_empty()).then(|| pod.spec.node_name.clone())
}

/// A reference to the pod.
pub fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Pod::KIND.to_owned(),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        api_version: String::new(),
    }
}

/// The labels of what a controller makes for a Service.
pub fn labels(service: &Service, own: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.remove(HEADLESS);
    if service.spec.cluster_ip == "None" {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.extend(own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    labels
}

/// Whether a change of a pod can change the endpoints of a Service: heartbeats and restarts do not.
pub fn concerns_services(old: Option<&Arc<Pod>>, new: Option<&Arc<Pod>>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return true };
    let said = |pod: &Pod| pod.condition("Ready").map(|ready: &Condition| ready.status.clone());
    old.metadata.labels != new.metadata.labels
        || old.metadata.is_being_deleted() != new.metadata.is_being_deleted()
        || old.metadata.uid != new.metadata.uid
        || old.spec.node_name != new.spec.node_name
        || old.status.pod_ips != new.status.pod_ips
        || old.status.pod_ip != new.status.pod_ip
        || old.is_terminal() != new.is_terminal()
        || said(old) != said(new)
}

/// The Services that mean a pod, before or after a change.
pub fn concerned(
    services: &Store<Service>,
    old: Option<&Arc<Pod>>,
    new: Option<&Arc<Pod>>,
) -> Vec<api::gvk::NamespacedName> {
    if !concerns_services(old, new) {
        return Vec::new();
    }
    let Some(pod) = new.or(old) else { return Vec::new() };
    let means =
        |pod: Option<&Arc<Pod>>, service: &Service| pod.is_some_and(|pod| selects(service, &pod.metadata));
    services
        .list_namespace(&pod.metadata.namespace)
        .into_iter()
        .filter(|service| means(old, service) || means(new, service))
        .map(|service| service.metadata.namespaced_name())
        .collect()
}
