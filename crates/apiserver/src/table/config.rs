//! Small kinds: configuration, namespaces, quotas, leases, classes.

use api::quantity::Quantity;
use serde_json::Value;

use super::cell::{self, text};
use super::{AGE, NAME, Printer, boolean, integer, text as column};

pub(super) static NAMESPACE: Printer = Printer {
    columns: &[NAME, column("Status"), AGE],
    cells: |object, now| {
        vec![cell::name(object), text(&object["status"]["phase"]).into(), cell::age(object, now)]
    },
};

pub(super) static CONFIG_MAP: Printer = Printer {
    columns: &[NAME, column("Data"), AGE],
    cells: |object, now| {
        let count = cell::count(&object["data"]) + cell::count(&object["binaryData"]);
        vec![cell::name(object), count.into(), cell::age(object, now)]
    },
};

pub(super) static SECRET: Printer = Printer {
    columns: &[NAME, column("Type"), column("Data"), AGE],
    cells: |object, now| {
        let count = cell::count(&object["data"]);
        vec![cell::name(object), text(&object["type"]).into(), count.into(), cell::age(object, now)]
    },
};

pub(super) static RESOURCE_QUOTA: Printer = Printer {
    columns: &[NAME, column("Request"), column("Limit"), AGE],
    cells: |object, now| {
        let (limits, requests) = quota(&object["status"]);
        vec![cell::name(object), requests.into(), limits.into(), cell::age(object, now)]
    },
};

/// What is used of what there is: limits, and everything else.
fn quota(status: &Value) -> (String, String) {
    let mut hard: Vec<(&String, &Value)> = status["hard"].as_object().into_iter().flatten().collect();
    hard.sort_by_key(|(name, _)| *name);
    let shown = |(name, hard): &(&String, &Value)| {
        let used = cell::scalar(&status["used"][name.as_str()]).unwrap_or_else(|| "0".to_owned());
        format!("{name}: {used}/{}", cell::scalar(hard).unwrap_or_default())
    };
    let (limits, requests): (Vec<_>, Vec<_>) = hard.iter().partition(|(name, _)| name.starts_with("limits."));
    let joined = |all: Vec<&(&String, &Value)>| all.into_iter().map(shown).collect::<Vec<_>>().join(", ");
    (joined(limits), joined(requests))
}

pub(super) static COMPONENT_STATUS: Printer = Printer {
    columns: &[NAME, column("Status"), column("Message"), column("Error")],
    cells: |object, _| {
        let healthy = cell::list(&object["conditions"]).iter().find(|one| one["type"] == "Healthy");
        let status = match healthy.map(|one| text(&one["status"])) {
            Some("True") => "Healthy",
            Some("False") => "Unhealthy",
            _ => "Unknown",
        };
        let part = |name: &str| healthy.map_or("", |one| text(&one[name])).to_owned();
        vec![cell::name(object), status.into(), part("message").into(), part("error").into()]
    },
};

pub(super) static LEASE: Printer = Printer {
    columns: &[NAME, column("Holder"), AGE],
    cells: |object, now| {
        vec![cell::name(object), text(&object["spec"]["holderIdentity"]).into(), cell::age(object, now)]
    },
};

/// What nodes and pods use: those of a pod's containers together.
pub(super) static USAGE: Printer = Printer {
    columns: &[NAME, column("cpu"), column("memory"), column("Window")],
    cells: |object, _| {
        let containers = cell::list(&object["containers"]);
        let total = |name: &str| {
            let one = |usage: &Value| Quantity::parse(text(&usage[name])).ok();
            let mut sum = one(&object["usage"]);
            for own in containers.iter().filter_map(|container| one(&container["usage"])) {
                sum = Some(sum.and_then(|sum| sum.checked_add(&own)).unwrap_or(own));
            }
            sum.map(|sum| sum.to_string()).unwrap_or_default()
        };
        vec![cell::name(object), total("cpu").into(), total("memory").into(), text(&object["window"]).into()]
    },
};

pub(super) static PRIORITY_CLASS: Printer = Printer {
    columns: &[NAME, integer("Value"), boolean("Global-Default"), AGE, column("PreemptionPolicy")],
    cells: |object, now| {
        vec![
            cell::name(object),
            cell::integer(&object["value"]).into(),
            (object["globalDefault"] == true).into(),
            cell::age(object, now),
            text(&object["preemptionPolicy"]).into(),
        ]
    },
};

pub(super) static RUNTIME_CLASS: Printer = Printer {
    columns: &[NAME, column("Handler"), AGE],
    cells: |object, now| vec![cell::name(object), text(&object["handler"]).into(), cell::age(object, now)],
};

pub(super) static API_SERVICE: Printer = Printer {
    columns: &[NAME, column("Service"), column("Available"), AGE],
    cells: |object, now| {
        let service = &object["spec"]["service"];
        let place = if service.is_object() {
            format!("{}/{}", text(&service["namespace"]), text(&service["name"]))
        } else {
            "Local".to_owned()
        };
        let available = match cell::condition(object, "Available") {
            Some(one) if one["status"] == "True" => "True".to_owned(),
            Some(one) => format!("{} ({})", text(&one["status"]), text(&one["reason"])),
            None => "Unknown".to_owned(),
        };
        vec![cell::name(object), place.into(), available.into(), cell::age(object, now)]
    },
};
