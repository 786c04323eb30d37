//! What an object of the Kubernetes API is: group, version and kind; metadata; Status. No I/O, no async.
//!
//! Read on: [`meta`] for what every object has, [`status`] for how an error is told, [`gvk`] for names.

pub mod gvk;
pub mod meta;
pub mod status;
pub mod time;
