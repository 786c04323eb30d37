//! What an object of the Kubernetes API is: group, version and kind; metadata; Status. No I/O, no async.
//!
//! Read on: [`meta`] for what every object has, [`status`] for how an error is told, [`gvk`] for names, [`selector`]
//! for which objects are meant, [`quantity`] for amounts.

pub mod gvk;
pub mod intstr;
pub mod meta;
pub mod quantity;
pub mod selector;
pub mod status;
pub mod time;
