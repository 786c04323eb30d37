//! Whether the server of an APIService is there: the condition `Available`, with the reasons of Kubernetes. Pure.

use api::time::Time;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Bucket, Key, Snapshot};

use super::{OF_SERVICE, SERVICES, SLICES, Spec};
use crate::pipeline::header;

const AVAILABLE: &str = "Available";

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) is_available: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    /// It is there.
    pub(super) fn passed() -> Self {
        Self { is_available: true, reason: "Passed", message: "all checks passed".to_owned() }
    }

    /// It does not say what it serves.
    pub(super) fn failed(why: String) -> Self {
        Self::no("FailedDiscoveryCheck", why)
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self { is_available: false, reason, message }
    }
}

/// Whether a stored APIService is available.
pub(super) fn is_available(service: &Value) -> bool {
    let conditions = service["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|own| own["type"] == AVAILABLE && own["status"] == "True")
}

/// Whether the Service is there, has the port, and has somebody behind it.
pub(super) fn endpoints(spec: &Spec, snapshot: &Snapshot) -> Result<(), Verdict> {
    let (namespace, name) = (&spec.service.namespace, &spec.service.name);
    let wanted = i64::from(spec.service.port.unwrap_or(443));
    let key = Key::new(&Bucket::from(SERVICES), namespace, name);
    let Some(entry) = snapshot.get(&key) else {
        let why = format!("service/{name} in {namespace:?} is not present");
        return Err(Verdict::no("ServiceNotFound", why));
    };
    let service: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let Some(port) = ports.find(|port| port["port"].as_i64() == Some(wanted)) else {
        let why = format!("service/{name} in {namespace:?} is not listening on port {wanted}");
        return Err(Verdict::no("ServicePortError", why));
    };
    let port_name = port["name"].as_str().unwrap_or_default();
    let slices = snapshot.list(&Bucket::from(SLICES), Some(namespace.as_str()), None);
    let mut own = slices.filter(|slice| header(slice).labels.get(OF_SERVICE) == Some(name)).peekable();
    if own.peek().is_none() {
        let why = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return Err(Verdict::no("EndpointsNotFound", why));
    }
    let serves = |slice: Value| {
        let has = |field: &str, is: &dyn Fn(&Value) -> bool| {
            slice[field].as_array().is_some_and(|all| all.iter().any(is))
        };
        has("ports", &|port| port["name"].as_str().unwrap_or_default() == port_name)
            && has("endpoints", &|endpoint| {
                endpoint["conditions"]["ready"] != false
                    && endpoint["addresses"].as_array().is_some_and(|all| !all.is_empty())
            })
    };
    if own.any(|slice| serves(serde_json::from_slice(&slice.value).unwrap_or_default())) {
        return Ok(());
    }
    let why = format!(
        "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
    );
    Err(Verdict::no("MissingEndpoints", why))
}

/// Sets the condition; says whether that changed anything. The time changes with its status only.
pub(super) fn set(service: &mut Value, verdict: &Verdict, now: Timestamp) -> bool {
    let status = if verdict.is_available { "True" } else { "False" };
    if !service["status"].is_object() {
        service["status"] = json!({});
    }
    let conditions = &mut service["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else { return false };
    let mut condition = json!({
        "type": AVAILABLE,
        "status": status,
        "lastTransitionTime": Time(now).to_string(),
        "reason": verdict.reason,
        "message": verdict.message,
    });
    let Some(own) = list.iter_mut().find(|own| own["type"] == AVAILABLE) else {
        list.push(condition);
        return true;
    };
    if own["status"] == status {
        condition["lastTransitionTime"] = own["lastTransitionTime"].clone();
    }
    let is_changed = *own != condition;
    *own = condition;
    is_changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_keeps_its_time_while_its_status_is_the_same() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let (first, later) = (time("2026-11-24T12:00:00Z"), time("2026-11-24T13:00:00Z"));
        let mut service = json!({"spec": {}});
        assert!(set(&mut service, &Verdict::failed("no".to_owned()), first));
        assert!(!is_available(&service));
        assert!(!set(&mut service, &Verdict::failed("no".to_owned()), later), "nothing has changed");
        assert!(set(&mut service, &Verdict::failed("still no".to_owned()), later));
        let condition = &service["status"]["conditions"][0];
        assert_eq!(condition["lastTransitionTime"], "2026-11-24T12:00:00Z");
        assert!(set(&mut service, &Verdict::passed(), later));
        assert!(is_available(&service));
        assert_eq!(service["status"]["conditions"][0]["lastTransitionTime"], "2026-11-24T13:00:00Z");
        assert_eq!(service["status"]["conditions"].as_array().map(Vec::len), Some(1));
    }
}
