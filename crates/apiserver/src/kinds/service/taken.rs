//! What Services have taken, and how it is given back.
//!
//! It is remembered in memory only ([`Allocator`]) and learnt anew from the stored Services at start: the Services
//! themselves are the truth, so nothing can disagree with them. Read on: [`super::claim`] for how it is asked for.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use api::status::Status;
use parking_lot::Mutex;
use serde_json::Value;
use store::{Bucket, Snapshot};

use super::claim::Claim;
use super::{has_node_ports, is_external_name, text};
use crate::kinds::allocator::Allocator;

/// The network of Service addresses.
pub(super) const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 0);

/// How many addresses it has.
pub(super) const ADDRESSES: u32 = 1 << 16;

/// So many low addresses are left to those who ask for one (the cluster's DNS among them).
pub(super) const STATIC_ADDRESSES: u32 = 256;

/// The first node port.
pub(super) const FIRST_PORT: u16 = 30000;

/// How many node ports there are.
pub(super) const PORTS: u32 = 2768;

/// So many low node ports are left to those who ask for one.
pub(super) const STATIC_PORTS: u32 = 86;

/// What Services have taken.
pub(in crate::kinds) struct Services {
    taken: Mutex<Taken>,
}

pub(super) struct Taken {
    pub(super) addresses: Allocator,
    pub(super) ports: Allocator,
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
pub(super) enum Item {
    Address(u32),
    Port(u32),
}

/// What a write took, and what it gives back once it has succeeded.
///
/// A write whose caller goes away may still happen. What it took is then neither kept nor given back until
/// [`Services::reconcile`] has seen which of both it was.
pub(in crate::kinds) struct Reservation {
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
    pub(in crate::kinds) fn begin(&mut self) {
        self.state = ReservationState::Writing;
    }

    pub(in crate::kinds) fn keep(mut self) {
        self.state = ReservationState::Written;
    }

    pub(in crate::kinds) fn undo(mut self) {
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
    pub(in crate::kinds) fn rebuild(snapshot: &Snapshot) -> Self {
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
    pub(in crate::kinds) fn reconcile(&self, snapshot: &Snapshot) {
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

    pub(in crate::kinds) fn allocate_create(
        self: &Arc<Self>,
        service: &mut Value,
    ) -> Result<Reservation, Status> {
        self.allocate(service, &BTreeSet::new())
    }

    pub(in crate::kinds) fn allocate_update(
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
    pub(in crate::kinds) fn release(&self, service: &Value) {
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

pub(super) fn address_number(address: &str) -> Option<u32> {
    let number = u32::from(address.parse::<Ipv4Addr>().ok()?).checked_sub(u32::from(NETWORK))?;
    (number > 0 && number < ADDRESSES - 1).then_some(number)
}

pub(super) fn port_number(port: i64) -> Option<u32> {
    u32::try_from(port.checked_sub(i64::from(FIRST_PORT))?).ok().filter(|number| *number < PORTS)
}
#[cfg(test)]
mod tests {
    use serde_json::json;

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
