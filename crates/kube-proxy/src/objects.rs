//! The fields of Services and EndpointSlices that are read here.

use api::meta::ObjectMeta;
use serde::Deserialize;

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// What every object has.
    pub metadata: ObjectMeta,
    /// The desired state.
    pub spec: ServiceSpec,
    /// The state as observed.
    pub status: ServiceStatus,
}

/// `v1.ServiceSpec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// An address, empty, or `None` for a headless Service.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// That address and those of other families.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    /// `ClusterIP` (the default), `NodePort`, `LoadBalancer` or `ExternalName`.
    pub r#type: String,
    /// What is served.
    pub ports: Vec<ServicePort>,
    /// Addresses that reach this node from outside, by the user's own doing.
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<String>,
    /// `None` or `ClientIP`.
    pub session_affinity: String,
    /// How long a client stays where it was.
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// `Cluster` or `Local`: which endpoints serve what comes from outside.
    pub external_traffic_policy: String,
    /// `Cluster` or `Local`: which endpoints serve what comes to the cluster address.
    pub internal_traffic_policy: String,
}

/// `v1.ServicePort`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Empty where there is one port only.
    pub name: String,
    /// `TCP` (the default), `UDP` or `SCTP`.
    pub protocol: String,
    /// The port of the Service.
    pub port: u16,
    /// The port of the node; 0 for none.
    pub node_port: u16,
}

/// `v1.SessionAffinityConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionAffinityConfig {
    /// For affinity by the client's address.
    #[serde(rename = "clientIP")]
    pub client_ip: ClientIpConfig,
}

/// `v1.ClientIPConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientIpConfig {
    /// Seconds since the client's last connection.
    pub timeout_seconds: Option<u32>,
}

/// `v1.ServiceStatus`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// What a load balancer gave.
    pub load_balancer: LoadBalancerStatus,
}

/// `v1.LoadBalancerStatus`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerStatus {
    /// Its addresses.
    pub ingress: Vec<LoadBalancerIngress>,
}

/// `v1.LoadBalancerIngress`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerIngress {
    /// An address.
    pub ip: String,
    /// `VIP` (the default) or `Proxy`.
    pub ip_mode: String,
}

/// Some of the endpoints of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// What every object has.
    pub metadata: ObjectMeta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// The endpoints.
    pub endpoints: Option<Vec<Endpoint>>,
    /// The ports that each of them serves.
    pub ports: Option<Vec<EndpointPort>>,
}

/// `discovery.v1.Endpoint`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Of which the first counts.
    pub addresses: Vec<String>,
    /// Whether it can serve.
    pub conditions: EndpointConditions,
    /// Where it is.
    pub node_name: Option<String>,
}

/// `discovery.v1.EndpointConditions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointConditions {
    /// Serving and not terminating; unknown counts as true.
    pub ready: Option<bool>,
    /// Whether it serves, be it terminating or not; unknown counts as `ready`.
    pub serving: Option<bool>,
    /// Whether it is going away.
    pub terminating: Option<bool>,
}

/// `discovery.v1.EndpointPort`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    /// That of the Service's port.
    pub name: Option<String>,
    /// `TCP` (the default), `UDP` or `SCTP`.
    pub protocol: Option<String>,
    /// The port of the endpoint.
    pub port: Option<u16>,
}

/// A Node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Node {
    /// What every object has.
    pub metadata: ObjectMeta,
    /// The desired state.
    pub spec: NodeSpec,
    /// The state as observed.
    pub status: NodeStatus,
}

/// `v1.NodeSpec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// The networks of its pods, one for each family.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<String>,
}

/// `v1.NodeStatus`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Where it is reached.
    pub addresses: Vec<NodeAddress>,
}

/// `v1.NodeAddress`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// As `InternalIP`.
    pub r#type: String,
    /// The address.
    pub address: String,
}

client::resource!(Node, "", "v1", "nodes", "Node", cluster);
client::resource!(Service, "", "v1", "services", "Service", namespaced);
client::resource!(EndpointSlice, "discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", namespaced);
