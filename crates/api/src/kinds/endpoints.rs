//! Endpoints, the older form of EndpointSlice.

use serde_json::Value;

use super::access::{fill, list_mut};
use super::{PLAIN, Rules, checks};

pub(super) const RULES: Rules = Rules { default, validate: checks::network::endpoints, ..PLAIN };

fn default(endpoints: &mut Value) {
    for port in list_mut(endpoints, "subsets").flat_map(|subset| list_mut(subset, "ports")) {
        fill(port, "protocol", "TCP");
    }
}
