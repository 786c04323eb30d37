//! EndpointSlice.

use serde_json::Value;

use super::access::{fill, list_mut};
use super::{PLAIN, Rules, checks};

pub(super) const RULES: Rules = Rules {
    default,
    generation: &["endpoints", "ports", "addressType", "metadata.labels"],
    validate: checks::network::endpoint_slice,
    validate_update: checks::network::endpoint_slice_update,
    ..PLAIN
};

fn default(slice: &mut Value) {
    for port in list_mut(slice, "ports") {
        fill(port, "name", "");
        fill(port, "protocol", "TCP");
    }
}
