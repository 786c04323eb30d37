//! What exists from the first second: namespaces, priority classes, roles, and the Service by which pods find the API.
//!
//! Everything goes through the [`Pipeline`], as any client's objects do, and is made where it is missing. What is there is
//! left as it is, but for the addresses of the API, and for roles, bindings and flows that lack something ([`reconcile`]).

mod rbac;
mod reconcile;

use std::net::IpAddr;

use api::status::Status;
use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::info;

use self::reconcile::Change;
use crate::pipeline::{
    Body, DeleteOptions, GetOptions, PatchType, Pipeline, RequestContext, Target, WriteOptions,
};

/// The namespaces of every cluster.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// The Service address of the API, the first of its network.
const API_ADDRESS: &str = "10.96.0.1";

/// What a start has to know.
#[derive(Debug, Clone, Copy)]
pub struct Bootstrap {
    /// Where pods and nodes reach this server. A loopback address means nothing to them and is not announced.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// The time of the start.
    pub now: Timestamp,
}

impl Bootstrap {
    /// Makes what is missing.
    pub async fn run(&self, pipeline: &Pipeline) -> Result<(), Status> {
        // Together, so that they share the store's syncs; what is in a namespace comes after it.
        let namespaces = NAMESPACES.map(|name| {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            ("namespaces", object)
        });
        let addresses = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": "kubernetes", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
            "spec": {"cidrs": ["10.96.0.0/16"]},
        });
        let is_inside = |object: &Value| object["metadata"]["namespace"].is_string();
        let (inside, outside): (Vec<_>, Vec<_>) =
            rbac::objects().into_iter().partition(|(_, object)| is_inside(object));
        let mut first = outside;
        first.extend(namespaces);
        first.push(("servicecidrs", addresses));
        first.extend(crate::flow::first_objects());
        first.extend(priorities());
        self.ensure_all(pipeline, &first).await?;
        let mut second = inside;
        second.extend(NAMESPACES.map(|namespace| {
            // A controller makes those of all other namespaces, but the first pods need not wait for it.
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": namespace}});
            ("serviceaccounts", account)
        }));
        self.ensure_all(pipeline, &second).await?;
        self.announce(pipeline).await
    }

    async fn ensure_all(&self, pipeline: &Pipeline, objects: &[(&str, Value)]) -> Result<(), Status> {
        let made = objects.iter().map(|(plural, object)| {
            let namespace = object["metadata"]["namespace"].as_str();
            self.ensure(pipeline, namespace, plural, object)
        });
        futures_util::future::try_join_all(made).await.map(drop)
    }

    /// The Service `default/kubernetes`, its Endpoints and its EndpointSlice: made again where somebody has deleted
    /// them, since pods find the API by them. To be called now and then.
    pub async fn announce(&self, pipeline: &Pipeline) -> Result<(), Status> {
        self.ensure(
            pipeline,
            Some("default"),
            "services",
            &json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {
                    "name": "kubernetes",
                    "namespace": "default",
                    "labels": {"component": "apiserver", "provider": "kubernetes"},
                },
                "spec": {
                    "clusterIP": API_ADDRESS,
                    "type": "ClusterIP",
                    "sessionAffinity": "None",
                    "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": self.port}],
                },
            }),
        )
        .await?;
        if self.address.is_loopback() || self.address.is_unspecified() {
            return Ok(());
        }
        let address = self.address.to_string();
        let port = json!({"name": "https", "port": self.port, "protocol": "TCP"});
        self.replace(
            pipeline,
            "endpoints",
            "subsets",
            json!({
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": {
                    "name": "kubernetes",
                    "namespace": "default",
                    "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
                },
                "subsets": [{"addresses": [{"ip": address}], "ports": [port]}],
            }),
        )
        .await?;
        let kind = if self.address.is_ipv4() { "IPv4" } else { "IPv6" };
        self.replace(
            pipeline,
            "endpointslices",
            "endpoints",
            json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": "kubernetes",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": "kubernetes"},
                },
                "addressType": kind,
                "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
                "ports": [port],
            }),
        )
        .await
    }

    /// The ConfigMap by which servers of aggregated APIs know whom to believe.
    pub async fn front_proxies(&self, pipeline: &Pipeline, data: Value) -> Result<(), Status> {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
            "data": data,
        });
        self.ensure(pipeline, Some("kube-system"), "configmaps", &map).await?;
        let target = target(pipeline, "configmaps", Some("kube-system"), &map)?;
        let patch = body(&json!({"data": map["data"]}));
        let options = WriteOptions::default();
        pipeline.patch(&self.context(), &target, PatchType::Merge, patch, &options).await.map(drop)
    }

    /// Makes the object where there is none.
    async fn ensure(
        &self,
        pipeline: &Pipeline,
        namespace: Option<&str>,
        plural: &str,
        object: &Value,
    ) -> Result<(), Status> {
        let target = target(pipeline, plural, namespace, object)?;
        match pipeline.get(&self.context(), &target, &GetOptions::default()).await {
            Ok(found) => return self.reconcile(pipeline, &target, plural, object, &found.bytes).await,
            Err(status) if status.is_not_found() => {}
            Err(status) => return Err(status),
        }
        let collection = Target { name: None, ..target };
        match pipeline.create(&self.context(), &collection, body(object), &WriteOptions::default()).await {
            Err(status) if !status.is_already_exists() => Err(status),
            _ => Ok(()),
        }
    }

    /// Adds what an object that is there lacks.
    async fn reconcile(
        &self,
        pipeline: &Pipeline,
        target: &Target,
        plural: &str,
        wanted: &Value,
        found: &[u8],
    ) -> Result<(), Status> {
        let existing: Value = serde_json::from_slice(found).map_err(Status::internal)?;
        let (context, options) = (self.context(), WriteOptions::default());
        let written = match reconcile::plan(plural, &existing, wanted) {
            Change::None => return Ok(()),
            Change::Update(object) => {
                info!(plural, name = target.name, "bring up to date what a cluster begins with");
                pipeline.update(&context, target, body(&object), &options).await.map(drop)
            }
            Change::Replace => {
                info!(plural, name = target.name, "bind anew what a cluster begins with");
                pipeline.delete(&context, target, &DeleteOptions::default()).await?;
                let collection = Target { name: None, ..target.clone() };
                pipeline.create(&context, &collection, body(wanted), &options).await.map(drop)
            }
        };
        match written {
            // Another server does the same at this moment.
            Err(status) if !status.is_conflict() && !status.is_already_exists() => Err(status),
            _ => Ok(()),
        }
    }

    /// Makes the object, or brings one of its fields up to date.
    async fn replace(
        &self,
        pipeline: &Pipeline,
        plural: &str,
        field: &str,
        object: Value,
    ) -> Result<(), Status> {
        self.ensure(pipeline, Some("default"), plural, &object).await?;
        let target = target(pipeline, plural, Some("default"), &object)?;
        let stored = pipeline.get(&self.context(), &target, &GetOptions::default()).await?;
        let mut stored: Value = serde_json::from_slice(&stored.bytes).map_err(Status::internal)?;
        stored[field] = object[field].clone();
        if let Some(ports) = object.get("ports") {
            stored["ports"] = ports.clone();
        }
        pipeline.update(&self.context(), &target, body(&stored), &WriteOptions::default()).await?;
        Ok(())
    }

    fn context(&self) -> RequestContext {
        RequestContext::of_server("apiserver", self.now)
    }
}

/// The priorities of what a node, and the cluster, cannot do without.
fn priorities() -> [(&'static str, Value); 2] {
    [
        (
            "system-node-critical",
            2_000_001_000,
            "For pods that their node cannot do without: they are neither moved nor preempted.",
        ),
        (
            "system-cluster-critical",
            2_000_000_000,
            "For pods that the cluster cannot do without, but that may run on another node.",
        ),
    ]
    .map(|(name, value, description)| {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "preemptionPolicy": "PreemptLowerPriority",
            "description": description,
        });
        ("priorityclasses", class)
    })
}

/// The rules of the role `system:node`, which the node authorizer goes by.
pub(crate) fn node_rules() -> Vec<Value> {
    rbac::rules_of("system:node")
}

/// The ClusterRoles of a new cluster.
#[cfg(test)]
pub(crate) fn cluster_roles() -> Vec<Value> {
    rbac::objects()
        .into_iter()
        .filter(|(plural, _)| *plural == "clusterroles")
        .map(|(_, role)| role)
        .collect()
}

fn body(object: &Value) -> Body {
    Body::json(api::encode::to_bytes(object))
}

fn target(
    pipeline: &Pipeline,
    plural: &str,
    namespace: Option<&str>,
    object: &Value,
) -> Result<Target, Status> {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let def = pipeline
        .registry()
        .resource(group, version, plural)
        .ok_or_else(|| Status::internal(format!("{plural} is not a built-in resource")))?;
    Ok(Target::object(def, namespace, object["metadata"]["name"].as_str().unwrap_or_default()))
}
