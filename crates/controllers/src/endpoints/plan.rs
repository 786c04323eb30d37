//! The Endpoints object of a Service. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::meta::ObjectMeta;

use crate::objects::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use crate::service_endpoints::{self, has_endpoint};

use super::{CONTROLLER, MANAGED_BY};

/// The one write that brings an Endpoints object to where it should be.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make it.
    Create(Endpoints),
    /// Change it; its resource version must not have changed.
    Update {
        /// As it shall be.
        endpoints: Endpoints,
        /// Labels that it shall no longer have.
        drop_labels: Vec<String>,
    },
}

/// Decides whether the object must be written. Pure: no clock, client or randomness.
pub fn plan(service: &Service, pods: &[Arc<Pod>], observed: Option<&Endpoints>) -> Option<Action> {
    let subsets = subsets(service, pods);
    let labels = service_endpoints::labels(service, &[(MANAGED_BY, CONTROLLER)]);
    let Some(observed) = observed else {
        let metadata = ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels,
            ..ObjectMeta::default()
        };
        return Some(Action::Create(Endpoints { metadata, subsets }));
    };
    if observed.subsets == subsets && observed.metadata.labels == labels {
        return None;
    }
    let gone = observed.metadata.labels.keys().filter(|label| !labels.contains_key(*label));
    let drop_labels = gone.cloned().collect();
    let mut endpoints = observed.clone();
    endpoints.subsets = subsets;
    endpoints.metadata.labels = labels;
    Some(Action::Update { endpoints, drop_labels })
}

/// Pods with the same ports share a subset. Pods on their way out are in none.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let always = service.spec.publish_not_ready_addresses;
    let family = service.spec.ip_families.first().map_or("IPv4", String::as_str);
    let mut by_ports: BTreeMap<Vec<EndpointPort>, EndpointSubset> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| has_endpoint(pod) && (always || !pod.metadata.is_being_deleted())) {
        let mut ports = service_endpoints::ports(service, pod);
        // A port without a name has none here, where slices have an empty one.
        ports.iter_mut().for_each(|port| port.name = port.name.take().filter(|name| !name.is_empty()));
        if ports.is_empty() && !service.spec.ports.is_empty() {
            continue;
        }
        let Some(ip) = service_endpoints::addresses(pod, family).next() else { continue };
        let address = EndpointAddress {
            ip: ip.to_owned(),
            hostname: service_endpoints::hostname(service, pod),
            node_name: service_endpoints::node_name(pod),
            target_ref: Some(service_endpoints::target_ref(pod)),
        };
        let subset = by_ports.entry(ports).or_default();
        if always || pod.is_ready() { &mut subset.addresses } else { &mut subset.not_ready_addresses }
            .push(address);
    }
    by_ports
        .into_iter()
        .map(|(ports, mut subset)| {
            subset.addresses.sort_by(|a, b| a.ip.cmp(&b.ip));
            subset.not_ready_addresses.sort_by(|a, b| a.ip.cmp(&b.ip));
            EndpointSubset { ports, ..subset }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use api::meta::Condition;

    use super::*;
    use crate::objects::ServicePort;

    fn pod(name: &str, ready: bool) -> Arc<Pod> {
        let mut pod = Pod::default();
        pod.metadata.name = name.into();
        pod.status.pod_ip = format!("10.244.0.{}", name.len());
        let status = if ready { "True" } else { "False" };
        pod.status.conditions.push(Condition {
            r#type: "Ready".into(),
            status: status.into(),
            ..Condition::default()
        });
        Arc::new(pod)
    }

    #[test]
    fn ready_and_unready_pods_are_told_apart_and_the_second_plan_is_empty() {
        let mut service = Service::default();
        service.metadata.name = "web".into();
        service.spec.ports.push(ServicePort { port: 80, ..ServicePort::default() });
        let pods = [pod("a", true), pod("bb", false)];
        let Some(Action::Create(endpoints)) = plan(&service, &pods, None) else { panic!("it is made") };
        let subset = &endpoints.subsets[0];
        assert_eq!(subset.addresses[0].ip, "10.244.0.1");
        assert_eq!(subset.not_ready_addresses[0].ip, "10.244.0.2");
        assert_eq!(
            subset.ports[0],
            EndpointPort { name: None, port: Some(80), protocol: Some("TCP".into()), app_protocol: None }
        );
        assert_eq!(plan(&service, &pods, Some(&endpoints)), None);
        let Some(Action::Update { endpoints, .. }) = plan(&service, &[], Some(&endpoints)) else {
            panic!("it changes")
        };
        assert!(endpoints.subsets.is_empty());
        assert_eq!(plan(&service, &[], Some(&endpoints)), None);
    }
}
