//! What an object of the Kubernetes API is: group, version and kind; metadata; Status. No I/O, no async.
//!
//! Read on: [`registry`] for which resources there are, [`schema`] for what their fields are, [`codec`] for how bytes
//! become a document, [`kinds`] for what a kind needs beyond its schema, [`meta`] for what every object has,
//! [`status`] for how an error is told, [`gvk`] for names, [`selector`] for which objects are meant, [`quantity`] for
//! amounts, [`patch`] for how a document is changed, [`protobuf`] for its
//! other encoding.

pub mod codec;
pub mod encode;
pub mod field;
pub mod gvk;
pub mod intstr;
pub mod kinds;
pub mod meta;
pub mod names;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod quota;
#[cfg(test)]
mod reference;
pub mod registry;
pub mod schema;
pub mod selector;
pub mod status;
pub mod structural;
pub mod time;
