//! What a kind does beside being stored: what the server fills in, allocates and gives back.
//!
//! One file for each kind that does something. The pipeline calls the hooks in this order: `admit_*` before the
//! object is validated (fields that others would have to fill in), `allocate_*` once it is valid (addresses and
//! ports, kept only if the write succeeds), `release` when it is gone.

mod allocator;
mod job;
mod namespace;
pub(crate) mod pod;
mod service;

use std::sync::Arc;

use api::registry::ResourceDef;
use api::status::Status;
use serde_json::Value;
use store::Snapshot;

use self::service::{Reservation, Services};

/// The hooks of all kinds, and what they remember.
pub(crate) struct Kinds {
    services: Arc<Services>,
}

/// What an object took: given back unless the write that needs it begins.
pub(crate) struct Allocated(Option<Reservation>);

impl Allocated {
    /// The write begins: from now on it may happen even if nobody waits for it.
    pub(crate) fn begin(&mut self) {
        if let Some(reservation) = &mut self.0 {
            reservation.begin();
        }
    }

    /// The write has succeeded.
    pub(crate) fn keep(self) {
        if let Some(reservation) = self.0 {
            reservation.keep();
        }
    }

    /// The write has failed.
    pub(crate) fn undo(self) {
        if let Some(reservation) = self.0 {
            reservation.undo();
        }
    }
}

impl Kinds {
    /// Learns from the stored objects what is taken.
    pub(crate) fn rebuild(snapshot: &Snapshot) -> Self {
        Self { services: Arc::new(Services::rebuild(snapshot)) }
    }

    /// Whether a new object may come with its status: a kubelet registers its node together with its addresses.
    pub(crate) fn keeps_status(&self, def: &ResourceDef) -> bool {
        &*def.bucket == "nodes"
    }

    /// Fills in a new object before it is validated.
    pub(crate) fn admit_create(&self, def: &ResourceDef, object: &mut Value) {
        if &*def.bucket == "services" {
            service::admit_create(object);
        }
    }

    /// Fills in a changed object before it is validated.
    pub(crate) fn admit_update(&self, def: &ResourceDef, new: &mut Value, old: &Value) {
        match &*def.bucket {
            "services" => service::admit_update(new, old),
            "pods" => pod::admit_update(new, old),
            _ => {}
        }
    }

    /// Fills in what depends on the name of a new object, once it has one.
    pub(crate) fn named(&self, def: &ResourceDef, object: &mut Value) {
        match &*def.bucket {
            "jobs.batch" => job::select_by_uid(object),
            "namespaces" => namespace::label(object),
            _ => {}
        }
    }

    /// Takes what a new, valid object needs.
    pub(crate) fn allocate_create(&self, def: &ResourceDef, object: &mut Value) -> Result<Allocated, Status> {
        match &*def.bucket {
            "services" => self.services.allocate_create(object).map(|taken| Allocated(Some(taken))),
            _ => Ok(Allocated(None)),
        }
    }

    /// Takes what a changed, valid object needs; once kept, gives back what it needs no more.
    pub(crate) fn allocate_update(
        &self,
        def: &ResourceDef,
        new: &mut Value,
        old: &Value,
    ) -> Result<Allocated, Status> {
        match &*def.bucket {
            "services" => self.services.allocate_update(new, old).map(|taken| Allocated(Some(taken))),
            _ => Ok(Allocated(None)),
        }
    }

    /// Gives back what an object had that is gone now.
    pub(crate) fn release(&self, def: &ResourceDef, last: &Value) {
        if &*def.bucket == "services" {
            self.services.release(last);
        }
    }

    /// Gives back what was left over; to be called every minute.
    pub(crate) fn reconcile(&self, snapshot: &Snapshot) {
        self.services.reconcile(snapshot);
    }
}
