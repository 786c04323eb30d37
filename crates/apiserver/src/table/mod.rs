//! How people see objects: the columns of each kind and the cells of its rows, as `kubectl get` shows them.
//!
//! One [`Printer`] for each kind, found by the bucket of its objects; kinds without one show their name and when they
//! were made. A printer reads a document in the storage version and knows nothing else but the time. What several
//! printers share is in [`cell`].

mod access;
mod admission;
mod age;
mod apps;
mod autoscaling;
mod batch;
mod cell;
mod config;
mod custom;
mod devices;
mod event;
mod flow;
mod network;
mod node;
mod pod;
mod service;
mod storage;

use api::registry::ResourceDef;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Column {
    name: &'static str,
    r#type: &'static str,
    format: &'static str,
    description: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    priority: u8,
}

/// A row.
pub(crate) struct Row {
    pub(crate) cells: Vec<Value>,
    /// Tells a client that the object is done.
    pub(crate) conditions: Option<Value>,
}

/// How a kind is shown.
struct Printer {
    columns: &'static [Column],
    /// One for each column.
    cells: fn(&Value, Timestamp) -> Vec<Value>,
}

const NAME: Column = Column { format: "name", ..text("Name") };
const AGE: Column = text("Age");
const CREATED_AT: Column = Column { r#type: "date", ..text("Created At") };

const fn text(name: &'static str) -> Column {
    Column { name, r#type: "string", format: "", description: "", priority: 0 }
}

const fn integer(name: &'static str) -> Column {
    Column { r#type: "integer", ..text(name) }
}

const fn boolean(name: &'static str) -> Column {
    Column { r#type: "boolean", ..text(name) }
}

const fn wide(name: &'static str) -> Column {
    Column { priority: 1, ..text(name) }
}

/// For kinds of which only the name and the time say something.
static CREATED: Printer = Printer {
    columns: &[NAME, CREATED_AT],
    cells: |object, _| vec![cell::name(object), object["metadata"]["creationTimestamp"].clone()],
};

static NAME_AND_AGE: Printer =
    Printer { columns: &[NAME, AGE], cells: |object, now| vec![cell::name(object), cell::age(object, now)] };

fn printer(def: &ResourceDef) -> &'static Printer {
    match &*def.bucket {
        "pods" => &pod::POD,
        "podtemplates" => &apps::POD_TEMPLATE,
        "replicationcontrollers" => &apps::REPLICATION_CONTROLLER,
        "deployments.apps" => &apps::DEPLOYMENT,
        "replicasets.apps" => &apps::REPLICA_SET,
        "statefulsets.apps" => &apps::STATEFUL_SET,
        "daemonsets.apps" => &apps::DAEMON_SET,
        "controllerrevisions.apps" => &apps::CONTROLLER_REVISION,
        "jobs.batch" => &batch::JOB,
        "cronjobs.batch" => &batch::CRON_JOB,
        "services" => &service::SERVICE,
        "endpoints" => &service::ENDPOINTS,
        "endpointslices.discovery.k8s.io" => &service::ENDPOINT_SLICE,
        "nodes" => &node::NODE,
        "events" => &event::EVENT,
        "namespaces" => &config::NAMESPACE,
        "configmaps" => &config::CONFIG_MAP,
        "secrets" => &config::SECRET,
        "resourcequotas" => &config::RESOURCE_QUOTA,
        "componentstatuses" => &config::COMPONENT_STATUS,
        "leases.coordination.k8s.io" => &config::LEASE,
        "nodes.metrics.k8s.io" | "pods.metrics.k8s.io" => &config::USAGE,
        "priorityclasses.scheduling.k8s.io" => &config::PRIORITY_CLASS,
        "runtimeclasses.node.k8s.io" => &config::RUNTIME_CLASS,
        "apiservices.apiregistration.k8s.io" => &config::API_SERVICE,
        "persistentvolumes" => &storage::PERSISTENT_VOLUME,
        "persistentvolumeclaims" => &storage::PERSISTENT_VOLUME_CLAIM,
        "storageclasses.storage.k8s.io" => &storage::STORAGE_CLASS,
        "csidrivers.storage.k8s.io" => &storage::CSI_DRIVER,
        "csinodes.storage.k8s.io" => &storage::CSI_NODE,
        "volumeattachments.storage.k8s.io" => &storage::VOLUME_ATTACHMENT,
        "volumeattributesclasses.storage.k8s.io" => &storage::VOLUME_ATTRIBUTES_CLASS,
        "ingresses.networking.k8s.io" => &network::INGRESS,
        "ingressclasses.networking.k8s.io" => &network::INGRESS_CLASS,
        "networkpolicies.networking.k8s.io" => &network::NETWORK_POLICY,
        "ipaddresses.networking.k8s.io" => &network::IP_ADDRESS,
        "servicecidrs.networking.k8s.io" => &network::SERVICE_CIDR,
        "poddisruptionbudgets.policy" => &autoscaling::POD_DISRUPTION_BUDGET,
        "horizontalpodautoscalers.autoscaling" => &autoscaling::HORIZONTAL_POD_AUTOSCALER,
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            &access::BINDING
        }
        "certificatesigningrequests.certificates.k8s.io" => &access::CERTIFICATE_SIGNING_REQUEST,
        "mutatingwebhookconfigurations.admissionregistration.k8s.io"
        | "validatingwebhookconfigurations.admissionregistration.k8s.io" => &admission::WEBHOOKS,
        "mutatingadmissionpolicies.admissionregistration.k8s.io" => &admission::MUTATING_POLICY,
        "validatingadmissionpolicies.admissionregistration.k8s.io" => &admission::VALIDATING_POLICY,
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io"
        | "validatingadmissionpolicybindings.admissionregistration.k8s.io" => &admission::POLICY_BINDING,
        "flowschemas.flowcontrol.apiserver.k8s.io" => &flow::FLOW_SCHEMA,
        "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io" => &flow::PRIORITY_LEVEL,
        "resourceclaims.resource.k8s.io" => &devices::RESOURCE_CLAIM,
        "resourceslices.resource.k8s.io" => &devices::RESOURCE_SLICE,
        "serviceaccounts" | "deviceclasses.resource.k8s.io" | "resourceclaimtemplates.resource.k8s.io" => {
            &NAME_AND_AGE
        }
        _ => &CREATED,
    }
}

/// The columns of a built-in resource.
fn columns(def: &ResourceDef) -> &'static [Column] {
    printer(def).columns
}

/// The columns of a resource as a table has them.
pub(crate) fn definitions(def: &ResourceDef) -> String {
    match &def.custom {
        Some(custom) => custom::columns(custom).to_string(),
        None => serde_json::to_string(columns(def)).unwrap_or_default(),
    }
}

/// The row of an object, a document in the storage version.
pub(crate) fn row(def: &ResourceDef, object: &Value, now: Timestamp) -> Row {
    if let Some(own) = &def.custom {
        return Row { cells: custom::cells(own, object, now), conditions: None };
    }
    let conditions = if &*def.bucket == "pods" { pod::conditions(object) } else { None };
    Row { cells: (printer(def).cells)(object, now), conditions }
}

#[cfg(test)]
mod tests;
