//! Devices and the claims on them.

use serde_json::Value;

use super::cell::{self, UNSET, text, text_or};
use super::{AGE, NAME, Printer, text as column};

pub(super) static RESOURCE_CLAIM: Printer = Printer {
    columns: &[NAME, column("State"), AGE],
    cells: |object, now| vec![cell::name(object), state(object).into(), cell::age(object, now)],
};

fn state(claim: &Value) -> String {
    let status = &claim["status"];
    let mut states = Vec::new();
    if !claim["metadata"]["deletionTimestamp"].is_null() {
        states.push("deleted");
    }
    if status["allocation"].is_object() {
        states.push("allocated");
    } else if claim["metadata"]["deletionTimestamp"].is_null() {
        states.push("pending");
    }
    if cell::count(&status["reservedFor"]) > 0 {
        states.push("reserved");
    }
    states.join(",")
}

pub(super) static RESOURCE_SLICE: Printer = Printer {
    columns: &[NAME, column("Node"), column("Driver"), column("Pool"), AGE],
    cells: |object, now| {
        let spec = &object["spec"];
        vec![
            cell::name(object),
            text_or(&spec["nodeName"], UNSET).into(),
            text(&spec["driver"]).into(),
            text(&spec["pool"]["name"]).into(),
            cell::age(object, now),
        ]
    },
};
