//! Services, and where their traffic goes.

use serde_json::Value;

use super::cell::{self, NONE, UNSET, list, text, text_or};
use super::{AGE, NAME, Printer, text as column, wide};

/// How many endpoints are shown.
const MOST: usize = 3;

pub(super) static SERVICE: Printer = Printer {
    columns: &[
        NAME,
        column("Type"),
        column("Cluster-IP"),
        column("External-IP"),
        column("Port(s)"),
        AGE,
        wide("Selector"),
    ],
    cells: |object, now| {
        let spec = &object["spec"];
        let address = list(&spec["clusterIPs"]).first().unwrap_or(&spec["clusterIP"]);
        vec![
            cell::name(object),
            text(&spec["type"]).into(),
            text_or(address, NONE).into(),
            external(object).into(),
            ports(&spec["ports"]).into(),
            cell::age(object, now),
            cell::labels(&spec["selector"]).into(),
        ]
    },
};

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let given = cell::texts(&spec["externalIPs"]);
    match text(&spec["type"]) {
        "ExternalName" => text(&spec["externalName"]).to_owned(),
        "LoadBalancer" => {
            let found = cell::load_balancer(&service["status"]);
            match (found.is_empty(), given.is_empty()) {
                (true, true) => "<pending>".to_owned(),
                (false, true) => found,
                (true, false) => given,
                (false, false) => format!("{found},{given}"),
            }
        }
        _ if given.is_empty() => NONE.to_owned(),
        _ => given,
    }
}

fn ports(ports: &Value) -> String {
    let shown: Vec<String> = list(ports)
        .iter()
        .map(|port| {
            let number = cell::integer(&port["port"]);
            let protocol = text(&port["protocol"]);
            match cell::integer(&port["nodePort"]) {
                0 => format!("{number}/{protocol}"),
                node => format!("{number}:{node}/{protocol}"),
            }
        })
        .collect();
    if shown.is_empty() { NONE.to_owned() } else { shown.join(",") }
}

pub(super) static ENDPOINTS: Printer = Printer {
    columns: &[NAME, column("Endpoints"), AGE],
    cells: |object, now| {
        let subsets = list(&object["subsets"]);
        let all: Vec<String> = subsets.iter().flat_map(addresses).collect();
        let shown = if subsets.is_empty() { NONE.to_owned() } else { cell::some_of(&all, MOST) };
        vec![cell::name(object), shown.into(), cell::age(object, now)]
    },
};

fn addresses(subset: &Value) -> Vec<String> {
    let addresses = || list(&subset["addresses"]).iter().map(|address| text(&address["ip"]));
    let ports = list(&subset["ports"]);
    if ports.is_empty() {
        return addresses().map(str::to_owned).collect();
    }
    let at = |port: i64| {
        move |ip: &str| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
    };
    ports.iter().flat_map(|port| addresses().map(at(cell::integer(&port["port"])))).collect()
}

pub(super) static ENDPOINT_SLICE: Printer = Printer {
    columns: &[NAME, column("AddressType"), column("Ports"), column("Endpoints"), AGE],
    cells: |object, now| {
        let ports: Vec<String> = list(&object["ports"])
            .iter()
            .map(|port| cell::scalar(&port["port"]).unwrap_or_else(|| "*".to_owned()))
            .collect();
        let endpoints: Vec<String> = list(&object["endpoints"])
            .iter()
            .flat_map(|endpoint| list(&endpoint["addresses"]))
            .map(|address| text(address).to_owned())
            .collect();
        let or_unset = |all: &[String]| {
            if all.is_empty() { UNSET.to_owned() } else { cell::some_of(all, MOST) }
        };
        vec![
            cell::name(object),
            text(&object["addressType"]).into(),
            or_unset(&ports).into(),
            or_unset(&endpoints).into(),
            cell::age(object, now),
        ]
    },
};
