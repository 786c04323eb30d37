//! Where the endpoints of a Service are, for those in this process that connect to them: proxies, webhooks, APIServices.
//! Only the fields that say so are read.

use serde::Deserialize;

/// A Service.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Service {
    spec: ServiceSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceSpec {
    ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServicePort {
    /// Empty where it is the only one.
    pub(crate) name: String,
    /// Its number.
    pub(crate) port: u16,
}

impl Service {
    /// The ports of the Service.
    pub(crate) fn ports(&self) -> &[ServicePort] {
        &self.spec.ports
    }

    /// The name under which slices have the port of this number.
    pub(crate) fn name_of(&self, number: u16) -> Option<&str> {
        let found = self.spec.ports.iter().find(|port| port.port == number)?;
        Some(&found.name)
    }
}

/// An EndpointSlice.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Slice {
    endpoints: Vec<Endpoint>,
    ports: Vec<EndpointPort>,
}

/// An endpoint of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Endpoint {
    /// Where it is.
    pub(crate) addresses: Vec<String>,
    conditions: Conditions,
    target_ref: TargetRef,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TargetRef {
    kind: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointPort {
    name: Option<String>,
    port: Option<u16>,
}

impl Slice {
    /// The endpoints that are ready, with their port of that name.
    pub(crate) fn ready(&self, port_name: &str) -> impl Iterator<Item = (&Endpoint, u16)> {
        let port = self.ports.iter().find(|port| port.name.as_deref().unwrap_or_default() == port_name);
        let ready = self.endpoints.iter().filter(|endpoint| endpoint.conditions.ready != Some(false));
        let port = port.and_then(|port| port.port);
        ready.filter_map(move |endpoint| Some((endpoint, port?)))
    }
}

impl Endpoint {
    /// The name of the pod that it is, if it is one.
    pub(crate) fn pod(&self) -> Option<&str> {
        (self.target_ref.kind == "Pod").then_some(self.target_ref.name.as_str())
    }
}
