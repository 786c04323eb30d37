//! Node: what it can hand out is what it has, unless it says otherwise.

use serde_json::Value;

use super::access::{at, at_mut, fill, has};
use super::resources::round_list;
use super::{PLAIN, Rules, checks};

pub(super) const RULES: Rules = Rules {
    default,
    validate: checks::cluster::node,
    validate_update: checks::cluster::node_update,
    validate_status: checks::status::node,
    ..PLAIN
};

fn default(node: &mut Value) {
    let Some(status) = at_mut(node, "status") else { return };
    if has(status, "capacity") {
        let capacity = at(status, "capacity").clone();
        fill(status, "allocatable", capacity);
    }
    round_list(status, "capacity");
    round_list(status, "allocatable");
}
