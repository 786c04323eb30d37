//! Service: its cluster address and its node ports are taken when it is stored and given back when it is gone.
//!
//! What is taken is remembered in memory only ([`Allocator`]) and learnt anew from the stored Services at start:
//! the Services themselves are the truth, so nothing can disagree with them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use api::field::{FieldError, invalid_kind};
use api::status::Status;
use parking_lot::Mutex;
use serde_json::{Value, json};
use store::{Bucket, Snapshot};

use super::allocator::Allocator;

/// The network of Service addresses.
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 0);

/// How many addresses it has.
const ADDRESSES: u32 = 1 << 16;

/// So many low addresses are left to those who ask for one (the cluster's DNS among them).
const STATIC_ADDRESSES: u32 = 256;

/// The first node port.
const FIRST_PORT: u16 = 30000;

/// How many node ports there are.
const PORTS: u32 = 2768;

/// So many low node ports are left to those who ask for one.
const STATIC_PORTS: u32 = 86;

/// What Services have taken.
pub(super) struct Services {
    taken: Mutex<Taken>,
}

struct Taken {
    addresses: Allocator,
    ports: Allocator,
    /// What no Service had when [`Services::reconcile`] looked last.
    unowned: BTreeSet<Item>,
}

impl Taken {
    fn release(&mut self, item: Item) {
        match item {
            Item::Address(number) => self.addresses.release(number),
            Item::Port(number) => self.ports.release(number),
        }
    }
}

/// Something that a Service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Address(u32),
    Port(u32),
}

/// What a write took, and what it gives back once it has succeeded.
///
/// A write whose caller goes away may still happen. What it took is then neither kept nor given back until
/// [`Services::reconcile`] has seen which of both it was.
pub(super) struct Reservation {
    services: Arc<Services>,
    taken: Vec<Item>,
    freed: Vec<Item>,
    state: ReservationState,
}

/// How far the write is that a reservation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReservationState {
    /// It has not begun, or it has failed.
    Unwritten,
    /// It may have happened.
    Writing,
    /// It has happened.
    Written,
}

impl Reservation {
    pub(super) fn begin(&mut self) {
        self.state = ReservationState::Writing;
    }

    pub(super) fn keep(mut self) {
        self.state = ReservationState::Written;
    }

    pub(super) fn undo(mut self) {
        self.state = ReservationState::Unwritten;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        match self.state {
            ReservationState::Unwritten => self.services.give_back(&self.taken),
            ReservationState::Writing => {}
            ReservationState::Written => self.services.give_back(&self.freed),
        }
    }
}

impl Services {
    /// Learns what the stored Services have.
    pub(super) fn rebuild(snapshot: &Snapshot) -> Self {
        let mut addresses = Allocator::new(ADDRESSES, STATIC_ADDRESSES);
        // The network's own address and its last are nobody's.
        addresses.take(0);
        addresses.take(ADDRESSES - 1);
        let mut ports = Allocator::new(PORTS, STATIC_PORTS);
        for entry in snapshot.list(&Bucket::from("services"), None, None) {
            let Ok(service) = serde_json::from_slice::<Value>(&entry.value) else { continue };
            for item in items(&service) {
                let (allocator, number) = match item {
                    Item::Address(number) => (&mut addresses, number),
                    Item::Port(number) => (&mut ports, number),
                };
                allocator.take(number);
                allocator.start_after(number);
            }
        }
        Self { taken: Mutex::new(Taken { addresses, ports, unowned: BTreeSet::new() }) }
    }

    /// Gives back what no Service has had for two looks in a row: left over from writes whose callers went away.
    /// To be called every minute, which is far longer than a write takes.
    pub(super) fn reconcile(&self, snapshot: &Snapshot) {
        let owned: BTreeSet<Item> = snapshot
            .list(&Bucket::from("services"), None, None)
            .filter_map(|entry| serde_json::from_slice::<Value>(&entry.value).ok())
            .flat_map(|service| items(&service))
            .collect();
        let mut taken = self.taken.lock();
        let addresses = (1..ADDRESSES - 1).filter(|number| taken.addresses.has(*number)).map(Item::Address);
        let ports = (0..PORTS).filter(|number| taken.ports.has(*number)).map(Item::Port);
        let unowned: BTreeSet<Item> = addresses.chain(ports).filter(|item| !owned.contains(item)).collect();
        let (leaked, fresh): (Vec<Item>, Vec<Item>) =
            unowned.into_iter().partition(|item| taken.unowned.contains(item));
        for item in leaked {
            taken.release(item);
        }
        taken.unowned = fresh.into_iter().collect();
    }

    pub(super) fn allocate_create(self: &Arc<Self>, service: &mut Value) -> Result<Reservation, Status> {
        self.allocate(service, &BTreeSet::new())
    }

    pub(super) fn allocate_update(
        self: &Arc<Self>,
        new: &mut Value,
        old: &Value,
    ) -> Result<Reservation, Status> {
        let before = items(old);
        let mut reservation = self.allocate(new, &before)?;
        let now = items(new);
        reservation.freed = before.difference(&now).copied().collect();
        Ok(reservation)
    }

    /// Gives back everything that the Service has.
    pub(super) fn release(&self, service: &Value) {
        self.give_back(&items(service).into_iter().collect::<Vec<_>>());
    }

    fn give_back(&self, items: &[Item]) {
        let mut taken = self.taken.lock();
        items.iter().for_each(|item| taken.release(*item));
    }

    /// Takes what the Service asks for, and fills in what it leaves to us. `own` is what it has already.
    fn allocate(self: &Arc<Self>, service: &mut Value, own: &BTreeSet<Item>) -> Result<Reservation, Status> {
        let mut reservation = Reservation {
            services: self.clone(),
            taken: Vec::new(),
            freed: Vec::new(),
            state: ReservationState::Unwritten,
        };
        let result = {
            let mut taken = self.taken.lock();
            let mut claim = Claim { taken: &mut taken, own, got: &mut reservation.taken };
            claim.address(service).and_then(|()| claim.ports(service))
        };
        // The lock is free again: dropping the reservation gives back what was taken before the failure.
        result.map(|()| reservation)
    }
}

/// One Service asking.
struct Claim<'a> {
    taken: &'a mut Taken,
    own: &'a BTreeSet<Item>,
    got: &'a mut Vec<Item>,
}

impl Claim<'_> {
    fn address(&mut self, service: &mut Value) -> Result<(), Status> {
        if is_external_name(service) {
            return Ok(());
        }
        let wanted = text(&service["spec"]["clusterIP"]).to_owned();
        match wanted.as_str() {
            "None" => {
                service["spec"]["clusterIPs"] = json!(["None"]);
            }
            "" => {
                let number = self.taken.addresses.next().ok_or_else(|| full("serviceIP"))?;
                self.got.push(Item::Address(number));
                let address = Ipv4Addr::from(u32::from(NETWORK) + number).to_string();
                service["spec"]["clusterIP"] = address.as_str().into();
                service["spec"]["clusterIPs"] = json!([address]);
            }
            asked => {
                let refuse = |why: &str| {
                    let value = json!([asked]);
                    let detail = format!("failed to allocate IP {asked}: {why}");
                    Err(invalid(service, &[FieldError::invalid("spec.clusterIPs", value, detail)]))
                };
                let Some(number) = address_number(asked) else {
                    return refuse("the provided network does not match the current range");
                };
                if !self.own.contains(&Item::Address(number)) {
                    if !self.taken.addresses.take(number) {
                        return refuse("provided IP is already allocated");
                    }
                    self.got.push(Item::Address(number));
                }
                service["spec"]["clusterIPs"] = json!([asked]);
            }
        }
        Ok(())
    }

    fn ports(&mut self, service: &mut Value) -> Result<(), Status> {
        if !has_node_ports(service) {
            return Ok(());
        }
        let mut errors = Vec::new();
        let count = service["spec"]["ports"].as_array().map_or(0, Vec::len);
        // Those asked for first, so that none of them is handed out to another port of the same Service.
        for index in 0..count {
            let port = &service["spec"]["ports"][index]["nodePort"];
            let Some(asked) = port.as_i64().filter(|port| *port != 0) else { continue };
            if let Err(why) = self.port(asked) {
                errors.push(FieldError::invalid(format_args!("spec.ports[{index}].nodePort"), asked, why));
            }
        }
        let health = service["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0);
        if needs_health_check(service)
            && health != 0
            && let Err(why) = self.port(health)
        {
            errors.push(FieldError::invalid("spec.healthCheckNodePort", health, why));
        }
        if !errors.is_empty() {
            return Err(invalid(service, &errors));
        }
        for index in 0..count {
            if service["spec"]["ports"][index]["nodePort"].as_i64().unwrap_or(0) == 0 {
                let port = self.next_port(service, index)?;
                service["spec"]["ports"][index]["nodePort"] = port.into();
            }
        }
        if needs_health_check(service) && health == 0 {
            let number = self.taken.ports.next().ok_or_else(|| full("nodePort"))?;
            self.got.push(Item::Port(number));
            service["spec"]["healthCheckNodePort"] = (u32::from(FIRST_PORT) + number).into();
        }
        Ok(())
    }

    /// The same port under another protocol shares its node port; else the next free one.
    fn next_port(&mut self, service: &Value, index: usize) -> Result<u32, Status> {
        let ports = service["spec"]["ports"].as_array();
        let this = &service["spec"]["ports"][index];
        let shared = ports.into_iter().flatten().find_map(|other| {
            let node_port = other["nodePort"].as_i64().filter(|port| *port != 0)?;
            (other["port"] == this["port"] && other["protocol"] != this["protocol"]).then_some(node_port)
        });
        if let Some(port) = shared.and_then(|port| u32::try_from(port).ok()) {
            return Ok(port);
        }
        let number = self.taken.ports.next().ok_or_else(|| full("nodePort"))?;
        self.got.push(Item::Port(number));
        Ok(u32::from(FIRST_PORT) + number)
    }

    fn port(&mut self, asked: i64) -> Result<(), String> {
        let Some(number) = port_number(asked) else {
            let last = u32::from(FIRST_PORT) + PORTS - 1;
            return Err(format!(
                "provided port is not in the valid range. The range of valid ports is {FIRST_PORT}-{last}"
            ));
        };
        let item = Item::Port(number);
        if self.own.contains(&item) || self.got.contains(&item) {
            return Ok(());
        }
        if !self.taken.ports.take(number) {
            return Err("provided port is already allocated".to_owned());
        }
        self.got.push(item);
        Ok(())
    }
}

/// Fills in what follows from the type, before validation.
pub(super) fn admit_create(service: &mut Value) {
    if !service["spec"].is_object() {
        return;
    }
    sync_addresses(service);
    families(service);
    if !service["status"].is_object() {
        service["status"] = json!({"loadBalancer": {}});
    }
}

/// Carries over what the server gave the Service and the client left out, and drops what its new type has not.
pub(super) fn admit_update(new: &mut Value, old: &Value) {
    if !new["spec"].is_object() {
        return;
    }
    let (was_external, is_external) = (is_external_name(old), is_external_name(new));
    if !was_external && !is_external && text(&new["spec"]["clusterIP"]).is_empty() {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = old["spec"].get(field) {
                new["spec"][field] = value.clone();
            }
        }
    }
    if !was_external && is_external {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            drop_unchanged(&mut new["spec"], &old["spec"], field);
        }
    }
    carry_ports(new, old);
    if has_health_check(old) && !needs_health_check(new) {
        drop_unchanged(&mut new["spec"], &old["spec"], "healthCheckNodePort");
    } else if has_health_check(old) && new["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0) == 0 {
        new["spec"]["healthCheckNodePort"] = old["spec"]["healthCheckNodePort"].clone();
    }
    if text(&old["spec"]["type"]) == "LoadBalancer" && text(&new["spec"]["type"]) != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            drop_unchanged(&mut new["spec"], &old["spec"], field);
        }
    }
    if is_external_or_internal(new) && !is_external_or_internal(old) {
        drop_unchanged(&mut new["spec"], &old["spec"], "externalTrafficPolicy");
    }
    sync_addresses(new);
    families(new);
}

fn carry_ports(new: &mut Value, old: &Value) {
    let (had, has) = (has_node_ports(old), has_node_ports(new));
    let before: Vec<Value> = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let mut used: BTreeSet<i64> = new["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|port| port["nodePort"].as_i64().filter(|port| *port != 0))
        .collect();
    for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let same = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        let kept = before.iter().find(same).and_then(|other| other["nodePort"].as_i64());
        let now = port["nodePort"].as_i64().unwrap_or(0);
        if had && has && now == 0 {
            if let Some(kept) = kept.filter(|kept| used.insert(*kept)) {
                port["nodePort"] = kept.into();
            }
        } else if had
            && !has
            && now != 0
            && before.iter().any(|other| other["nodePort"].as_i64() == Some(now))
            && let Some(fields) = port.as_object_mut()
        {
            fields.shift_remove("nodePort");
        }
    }
}

fn drop_unchanged(new: &mut Value, old: &Value, field: &str) {
    if new.get(field) == old.get(field)
        && let Some(fields) = new.as_object_mut()
    {
        fields.shift_remove(field);
    }
}

/// `clusterIP` is the first of `clusterIPs`; a client of old sets only the one.
fn sync_addresses(service: &mut Value) {
    let spec = &mut service["spec"];
    let first = text(&spec["clusterIPs"][0]).to_owned();
    let single = text(&spec["clusterIP"]).to_owned();
    if single.is_empty() && !first.is_empty() {
        spec["clusterIP"] = first.into();
    } else if !single.is_empty() && first.is_empty() {
        spec["clusterIPs"] = json!([single]);
    }
}

/// This cluster has one address family; a headless Service without a selector is promised both.
fn families(service: &mut Value) {
    if is_external_name(service) {
        return;
    }
    let selectors = service["spec"]["selector"].as_object().is_some_and(|selector| !selector.is_empty());
    let bare = text(&service["spec"]["clusterIP"]) == "None" && !selectors;
    let spec = &mut service["spec"];
    if text(&spec["ipFamilyPolicy"]).is_empty() {
        spec["ipFamilyPolicy"] = if bare { "RequireDualStack" } else { "SingleStack" }.into();
    }
    if spec["ipFamilies"].as_array().is_none_or(Vec::is_empty) {
        spec["ipFamilies"] = if bare { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) };
    }
}

fn items(service: &Value) -> BTreeSet<Item> {
    let mut items = BTreeSet::new();
    if is_external_name(service) {
        return items;
    }
    items.extend(address_number(text(&service["spec"]["clusterIP"])).map(Item::Address));
    if has_node_ports(service) {
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        items
            .extend(ports.filter_map(|port| port["nodePort"].as_i64().and_then(port_number)).map(Item::Port));
        items.extend(service["spec"]["healthCheckNodePort"].as_i64().and_then(port_number).map(Item::Port));
    }
    items
}

fn address_number(address: &str) -> Option<u32> {
    let number = u32::from(address.parse::<Ipv4Addr>().ok()?).checked_sub(u32::from(NETWORK))?;
    (number > 0 && number < ADDRESSES - 1).then_some(number)
}

fn port_number(port: i64) -> Option<u32> {
    u32::try_from(port.checked_sub(i64::from(FIRST_PORT))?).ok().filter(|number| *number < PORTS)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_external_name(service: &Value) -> bool {
    text(&service["spec"]["type"]) == "ExternalName"
}

fn is_external_or_internal(service: &Value) -> bool {
    matches!(text(&service["spec"]["type"]), "ClusterIP" | "ExternalName" | "")
}

fn has_node_ports(service: &Value) -> bool {
    match text(&service["spec"]["type"]) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"].as_bool().unwrap_or(true),
        _ => false,
    }
}

fn needs_health_check(service: &Value) -> bool {
    text(&service["spec"]["type"]) == "LoadBalancer"
        && text(&service["spec"]["externalTrafficPolicy"]) == "Local"
}

fn has_health_check(service: &Value) -> bool {
    needs_health_check(service) && service["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0) != 0
}

fn invalid(service: &Value, errors: &[FieldError]) -> Status {
    invalid_kind("", "Service", text(&service["metadata"]["name"]), errors)
}

fn full(what: &str) -> Status {
    Status::internal(format!("failed to allocate a {what}: range is full"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_abandoned_write_took_is_given_back_after_two_looks() {
        let store = store::Store::open(store::Options::memory()).expect("a store in memory opens");
        let services = Arc::new(Services::rebuild(&store.snapshot()));
        let mut service =
            json!({"spec": {"type": "NodePort", "clusterIP": "10.96.7.7", "ports": [{"port": 80}]}});
        let mut abandoned =
            services.allocate_create(&mut service).unwrap_or_else(|status| panic!("{status}"));
        abandoned.begin();
        drop(abandoned);
        let taken = |services: &Services| services.taken.lock().addresses.has(7 * 256 + 7);
        services.reconcile(&store.snapshot());
        assert!(taken(&services), "the write may still be on its way");
        services.reconcile(&store.snapshot());
        assert!(!taken(&services));
    }
}
