//! Ingresses, network policies and addresses.

use serde_json::Value;

use super::cell::{self, NONE, list, text, text_or};
use super::{AGE, NAME, Printer, text as column};

/// How many hosts are shown.
const MOST: usize = 3;

pub(super) static INGRESS: Printer = Printer {
    columns: &[NAME, column("Class"), column("Hosts"), column("Address"), column("Ports"), AGE],
    cells: |object, now| {
        let spec = &object["spec"];
        let ports = if list(&spec["tls"]).is_empty() { "80" } else { "80, 443" };
        vec![
            cell::name(object),
            text_or(&spec["ingressClassName"], NONE).into(),
            hosts(&spec["rules"]).into(),
            cell::load_balancer(&object["status"]).into(),
            ports.into(),
            cell::age(object, now),
        ]
    },
};

fn hosts(rules: &Value) -> String {
    let all: Vec<String> = list(rules)
        .iter()
        .map(|rule| text(&rule["host"]).to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    if all.is_empty() { "*".to_owned() } else { cell::some_of(&all, MOST) }
}

pub(super) static INGRESS_CLASS: Printer = Printer {
    columns: &[NAME, column("Controller"), column("Parameters"), AGE],
    cells: |object, now| {
        let parameters = &object["spec"]["parameters"];
        let parameters = if parameters.is_object() {
            let kind = api::status::qualified(text(&parameters["apiGroup"]), text(&parameters["kind"]));
            format!("{kind}/{}", text(&parameters["name"]))
        } else {
            NONE.to_owned()
        };
        vec![
            cell::name(object),
            text(&object["spec"]["controller"]).into(),
            parameters.into(),
            cell::age(object, now),
        ]
    },
};

pub(super) static NETWORK_POLICY: Printer = Printer {
    columns: &[NAME, column("Pod-Selector"), AGE],
    cells: |object, now| {
        let selector = cell::selector(&object["spec"]["podSelector"]);
        vec![cell::name(object), selector.into(), cell::age(object, now)]
    },
};

pub(super) static IP_ADDRESS: Printer = Printer {
    columns: &[NAME, column("ParentRef")],
    cells: |object, _| {
        let parent = &object["spec"]["parentRef"];
        let resource = api::status::qualified(text(&parent["group"]), text(&parent["resource"]));
        let shown = match text(&parent["namespace"]) {
            "" => format!("{resource}/{}", text(&parent["name"])),
            namespace => format!("{resource}/{namespace}/{}", text(&parent["name"])),
        };
        vec![cell::name(object), if parent.is_object() { shown } else { NONE.to_owned() }.into()]
    },
};

pub(super) static SERVICE_CIDR: Printer = Printer {
    columns: &[NAME, column("CIDRs"), AGE],
    cells: |object, now| {
        vec![cell::name(object), cell::texts(&object["spec"]["cidrs"]).into(), cell::age(object, now)]
    },
};
