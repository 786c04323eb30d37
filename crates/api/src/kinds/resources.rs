//! Lists of amounts: `limits`, `requests`, `capacity`, `hard`.

use serde_json::Value;

use super::access::map_mut;
use crate::quantity::Quantity;

/// Amounts finer than a thousandth are rounded up.
const MILLI: i32 = -3;

/// Rounds every amount of a field.
pub(super) fn round_list(value: &mut Value, name: &str) {
    for (_, amount) in map_mut(value, name) {
        round(amount);
    }
}

pub(super) fn round(amount: &mut Value) {
    let Some(text) = amount.as_str() else { return };
    // Amounts in whole units or thousandths, nearly all of them, are left alone.
    if !text.ends_with(['n', 'u']) && !text.contains('e') {
        return;
    }
    if let Ok(quantity) = Quantity::parse(text) {
        *amount = quantity.round_up(MILLI).to_string().into();
    }
}

/// Adds the entries of `from` that a list does not have.
pub(super) fn fill_list(value: &mut Value, name: &str, from: &[(String, Value)]) {
    if from.is_empty() {
        return;
    }
    let Some(list) = super::access::object_mut(value, name) else { return };
    for (resource, amount) in from {
        super::access::fill(list, resource, amount.clone());
    }
}

/// The entries of a list, to be copied elsewhere.
pub(super) fn entries(value: &Value, name: &str) -> Vec<(String, Value)> {
    super::access::map(value, name).map(|(resource, amount)| (resource.clone(), amount.clone())).collect()
}
