//! One Service asking for its address and its ports. All or nothing: what was got before a refusal goes back.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use api::field::{FieldError, invalid_kind};
use api::status::Status;
use serde_json::{Value, json};

use super::taken::{FIRST_PORT, Item, NETWORK, PORTS, Taken, address_number, port_number};
use super::{has_node_ports, is_external_name, needs_health_check, text};

/// One Service asking.
pub(super) struct Claim<'a> {
    pub(super) taken: &'a mut Taken,
    /// What it has already.
    pub(super) own: &'a BTreeSet<Item>,
    /// What it got so far.
    pub(super) got: &'a mut Vec<Item>,
}

impl Claim<'_> {
    pub(super) fn address(&mut self, service: &mut Value) -> Result<(), Status> {
        if is_external_name(service) {
            return Ok(());
        }
        let wanted = text(&service["spec"]["clusterIP"]).to_owned();
        match wanted.as_str() {
            "None" => {
                service["spec"]["clusterIPs"] = json!(["None"]);
            }
            "" => {
                let number = self.taken.addresses.next().ok_or_else(|| full("serviceIP"))?;
                self.got.push(Item::Address(number));
                let address = Ipv4Addr::from(u32::from(NETWORK) + number).to_string();
                service["spec"]["clusterIP"] = address.as_str().into();
                service["spec"]["clusterIPs"] = json!([address]);
            }
            asked => {
                let refuse = |why: &str| {
                    let value = json!([asked]);
                    let detail = format!("failed to allocate IP {asked}: {why}");
                    Err(invalid(service, &[FieldError::invalid("spec.clusterIPs", value, detail)]))
                };
                let Some(number) = address_number(asked) else {
                    return refuse("the provided network does not match the current range");
                };
                if !self.own.contains(&Item::Address(number)) {
                    if !self.taken.addresses.take(number) {
                        return refuse("provided IP is already allocated");
                    }
                    self.got.push(Item::Address(number));
                }
                service["spec"]["clusterIPs"] = json!([asked]);
            }
        }
        Ok(())
    }

    pub(super) fn ports(&mut self, service: &mut Value) -> Result<(), Status> {
        if !has_node_ports(service) {
            return Ok(());
        }
        let mut errors = Vec::new();
        let count = service["spec"]["ports"].as_array().map_or(0, Vec::len);
        // Those asked for first, so that none of them is handed out to another port of the same Service.
        for index in 0..count {
            let port = &service["spec"]["ports"][index]["nodePort"];
            let Some(asked) = port.as_i64().filter(|port| *port != 0) else { continue };
            if let Err(why) = self.port(asked) {
                errors.push(FieldError::invalid(format_args!("spec.ports[{index}].nodePort"), asked, why));
            }
        }
        let health = service["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0);
        if needs_health_check(service)
            && health != 0
            && let Err(why) = self.port(health)
        {
            errors.push(FieldError::invalid("spec.healthCheckNodePort", health, why));
        }
        if !errors.is_empty() {
            return Err(invalid(service, &errors));
        }
        for index in 0..count {
            if service["spec"]["ports"][index]["nodePort"].as_i64().unwrap_or(0) == 0 {
                let port = self.next_port(service, index)?;
                service["spec"]["ports"][index]["nodePort"] = port.into();
            }
        }
        if needs_health_check(service) && health == 0 {
            let number = self.taken.ports.next().ok_or_else(|| full("nodePort"))?;
            self.got.push(Item::Port(number));
            service["spec"]["healthCheckNodePort"] = (u32::from(FIRST_PORT) + number).into();
        }
        Ok(())
    }

    /// The same port under another protocol shares its node port; else the next free one.
    fn next_port(&mut self, service: &Value, index: usize) -> Result<u32, Status> {
        let ports = service["spec"]["ports"].as_array();
        let this = &service["spec"]["ports"][index];
        let shared = ports.into_iter().flatten().find_map(|other| {
            let node_port = other["nodePort"].as_i64().filter(|port| *port != 0)?;
            (other["port"] == this["port"] && other["protocol"] != this["protocol"]).then_some(node_port)
        });
        if let Some(port) = shared.and_then(|port| u32::try_from(port).ok()) {
            return Ok(port);
        }
        let number = self.taken.ports.next().ok_or_else(|| full("nodePort"))?;
        self.got.push(Item::Port(number));
        Ok(u32::from(FIRST_PORT) + number)
    }

    fn port(&mut self, asked: i64) -> Result<(), String> {
        let Some(number) = port_number(asked) else {
            let last = u32::from(FIRST_PORT) + PORTS - 1;
            return Err(format!(
                "provided port is not in the valid range. The range of valid ports is {FIRST_PORT}-{last}"
            ));
        };
        let item = Item::Port(number);
        if self.own.contains(&item) || self.got.contains(&item) {
            return Ok(());
        }
        if !self.taken.ports.take(number) {
            return Err("provided port is already allocated".to_owned());
        }
        self.got.push(item);
        Ok(())
    }
}
fn invalid(service: &Value, errors: &[FieldError]) -> Status {
    invalid_kind("", "Service", text(&service["metadata"]["name"]), errors)
}

fn full(what: &str) -> Status {
    Status::internal(format!("failed to allocate a {what}: range is full"))
}
