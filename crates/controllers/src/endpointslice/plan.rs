//! Which slices a Service needs, changing as few of those that are there as possible. Pure.
//!
//! Pods that have the same ports share slices, at most [`MAX_ENDPOINTS`] in each. An endpoint stays in the slice that
//! it is in; new ones go where there is room. The name of a new slice is a hash of what it is for, so that a slice
//! that the cache does not show yet is not made twice.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use api::meta::ObjectMeta;

use crate::objects::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Pod, Service};
use crate::ownership::controller_reference;
use crate::service_endpoints::{self, has_endpoint};
use crate::template::short_hash;

use super::{CONTROLLER, MANAGED_BY, SERVICE_NAME};

/// The most endpoints in a slice: what a change of one of them costs every node.
const MAX_ENDPOINTS: usize = 100;

/// What is known when a Service is looked at.
pub struct Observed<'a> {
    /// The Service; it has a selector.
    pub service: &'a Service,
    /// The pods that it selects.
    pub pods: &'a [Arc<Pod>],
    /// The slices that this controller has made for it.
    pub slices: &'a [Arc<EndpointSlice>],
    /// The zone of a node, if known.
    pub zone: &'a dyn Fn(&str) -> Option<String>,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make a slice.
    Create(Box<EndpointSlice>),
    /// Bring a slice to this state; its resource version must not have changed.
    Update {
        /// The slice as it shall be.
        slice: Box<EndpointSlice>,
        /// Labels that it shall no longer have.
        drop_labels: Vec<String>,
    },
    /// Delete a slice.
    Delete {
        /// Its name.
        name: String,
        /// It must still be this one.
        uid: String,
    },
}

/// Decides which slices to make, change and delete. Pure: no clock, client or randomness.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let service = observed.service;
    let families = families(service);
    let mut actions = Vec::new();
    let taken: HashSet<&str> = observed.slices.iter().map(|slice| slice.metadata.name.as_str()).collect();
    let (known, strange): (Vec<_>, Vec<_>) =
        observed.slices.iter().partition(|slice| families.contains(&slice.address_type));
    actions.extend(strange.into_iter().map(delete));
    let mut names = Vec::new();
    for family in &families {
        let mut groups = groups(observed, family);
        if groups.is_empty() {
            // A slice without endpoints says "none", where no slice would say "not known".
            groups.insert(Vec::new(), BTreeMap::new());
        }
        let mut there: BTreeMap<Vec<EndpointPort>, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
        for slice in known.iter().filter(|slice| slice.address_type == *family) {
            there.entry(sorted(slice.ports.clone())).or_default().push(slice);
        }
        for (ports, endpoints) in groups {
            let slices = there.remove(&ports).unwrap_or_default();
            let filled = fill(&slices, endpoints);
            for (slice, endpoints) in slices.iter().zip(filled.kept) {
                actions.extend(change(service, slice, endpoints));
            }
            for endpoints in filled.new {
                let slice = new_slice(service, family, &ports, endpoints, |name| {
                    !taken.contains(name) && !names.iter().any(|other| other == name)
                });
                names.push(slice.metadata.name.clone());
                actions.push(Action::Create(Box::new(slice)));
            }
        }
        actions.extend(there.into_values().flatten().map(delete));
    }
    // Deletions last: what they told is told by others by then.
    actions.sort_by_key(|action| matches!(action, Action::Delete { .. }));
    actions
}

fn delete(slice: &Arc<EndpointSlice>) -> Action {
    Action::Delete { name: slice.metadata.name.clone(), uid: slice.metadata.uid.clone() }
}

fn families(service: &Service) -> Vec<String> {
    if !service.spec.ip_families.is_empty() {
        return service.spec.ip_families.clone();
    }
    let family = if service.spec.cluster_ip.contains(':') { "IPv6" } else { "IPv4" };
    vec![family.to_owned()]
}

/// The endpoints by their ports, each by the uid of its pod.
fn groups(observed: &Observed<'_>, family: &str) -> BTreeMap<Vec<EndpointPort>, BTreeMap<String, Endpoint>> {
    let mut groups: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for pod in observed.pods.iter().filter(|pod| has_endpoint(pod)) {
        let addresses: Vec<_> = service_endpoints::addresses(pod, family).map(str::to_owned).collect();
        if addresses.is_empty() {
            continue;
        }
        let endpoint = endpoint(observed, pod, addresses);
        let ports = sorted(service_endpoints::ports(observed.service, pod));
        groups.entry(ports).or_default().insert(pod.metadata.uid.clone(), endpoint);
    }
    groups
}

fn endpoint(observed: &Observed<'_>, pod: &Pod, addresses: Vec<String>) -> Endpoint {
    let serving = pod.is_ready();
    let terminating = pod.metadata.is_being_deleted();
    let always = observed.service.spec.publish_not_ready_addresses;
    Endpoint {
        addresses,
        conditions: EndpointConditions {
            ready: Some(always || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        },
        hostname: service_endpoints::hostname(observed.service, pod),
        node_name: service_endpoints::node_name(pod),
        target_ref: Some(service_endpoints::target_ref(pod)),
        zone: service_endpoints::node_name(pod).and_then(|node| (observed.zone)(&node)),
    }
}

/// Ports in one order, to be compared.
fn sorted(mut ports: Vec<EndpointPort>) -> Vec<EndpointPort> {
    for port in &mut ports {
        port.name.get_or_insert_default();
    }
    ports.sort();
    ports
}

struct Filled {
    /// The endpoints of each slice that is there; none in those that are to go.
    kept: Vec<Option<Vec<Endpoint>>>,
    /// The endpoints of each slice to be made.
    new: Vec<Vec<Endpoint>>,
}

/// Spreads endpoints over the slices that are there, and over new ones where those are full.
fn fill(slices: &[&Arc<EndpointSlice>], mut endpoints: BTreeMap<String, Endpoint>) -> Filled {
    let mut kept: Vec<Vec<Endpoint>> = Vec::with_capacity(slices.len());
    for slice in slices {
        let uids = slice.endpoints.iter().filter_map(|endpoint| endpoint.target_ref.as_ref());
        let stay = uids.filter_map(|target| endpoints.remove(&target.uid));
        kept.push(stay.take(MAX_ENDPOINTS).collect());
    }
    let mut rest = endpoints.into_values();
    // The fullest that have room first, so that slices fill up instead of all being half empty.
    let mut by_size: Vec<usize> = (0..kept.len()).collect();
    by_size.sort_by_key(|index| std::cmp::Reverse(kept[*index].len()));
    for index in by_size {
        let room = MAX_ENDPOINTS - kept[index].len();
        kept[index].extend(rest.by_ref().take(room));
    }
    let rest: Vec<_> = rest.collect();
    let new: Vec<Vec<Endpoint>> = rest.chunks(MAX_ENDPOINTS).map(<[Endpoint]>::to_vec).collect();
    let nothing = new.is_empty() && kept.iter().all(Vec::is_empty);
    let new = if nothing && kept.is_empty() { vec![Vec::new()] } else { new };
    let kept = kept.into_iter().enumerate().map(|(index, endpoints)| {
        // One empty slice stays where there is nothing at all.
        (!endpoints.is_empty() || (nothing && index == 0)).then_some(endpoints)
    });
    Filled { kept: kept.collect(), new }
}

/// What has to change in a slice so that it has these endpoints; it goes where it has none.
fn change(service: &Service, slice: &Arc<EndpointSlice>, endpoints: Option<Vec<Endpoint>>) -> Option<Action> {
    let Some(endpoints) = endpoints else { return Some(delete(slice)) };
    let mut wanted = (**slice).clone();
    let meta = metadata(service);
    let drop_labels: Vec<_> =
        slice.metadata.labels.keys().filter(|label| !meta.labels.contains_key(*label)).cloned().collect();
    wanted.endpoints = endpoints;
    wanted.metadata.labels = meta.labels;
    wanted.metadata.owner_references = meta.owner_references;
    (wanted != **slice).then(|| Action::Update { slice: Box::new(wanted), drop_labels })
}

fn metadata(service: &Service) -> ObjectMeta {
    let name = service.metadata.name.as_str();
    ObjectMeta {
        namespace: service.metadata.namespace.clone(),
        labels: service_endpoints::labels(service, &[(SERVICE_NAME, name), (MANAGED_BY, CONTROLLER)]),
        owner_references: vec![controller_reference::<Service>(&service.metadata)],
        ..ObjectMeta::default()
    }
}

fn new_slice(
    service: &Service,
    family: &str,
    ports: &[EndpointPort],
    endpoints: Vec<Endpoint>,
    is_free: impl Fn(&str) -> bool,
) -> EndpointSlice {
    let base = format!("{}-", service.metadata.name);
    let ports_text = format!("{ports:?}");
    let names = (0u32..).map(|ordinal| {
        let hash = short_hash([&*service.metadata.uid, family, &ports_text, &ordinal.to_string()]);
        format!("{base}{hash}")
    });
    let name = names.into_iter().find(|name| is_free(name)).unwrap_or_default();
    let metadata = ObjectMeta { name, generate_name: base, ..metadata(service) };
    EndpointSlice { metadata, address_type: family.to_owned(), endpoints, ports: ports.to_vec() }
}
