//! What the kubelet asks of the apiserver about pods. A trait, so that workers can be tested without one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::{
    Client, ClientError, DeleteOptions, EventRecorder, EventType, GroupVersionResource, ObjectReference,
    PatchType, WriteOptions,
};
use futures_util::future::BoxFuture;
use rpc::v1::Encoding;
use serde::Deserialize;
use serde_json::Value;

use api::meta::ObjectMeta;

use crate::pod::Pod;
use crate::volumes::Token;
use crate::volumes::claim::{PersistentVolume, PersistentVolumeClaim};

client::resource!(Pod, "", "v1", "pods", "Pod", namespaced);
client::resource!(ConfigMap, "", "v1", "configmaps", "ConfigMap", namespaced);
client::resource!(Secret, "", "v1", "secrets", "Secret", namespaced);
client::resource!(RuntimeClass, "node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", cluster);
client::resource!(Service, "", "v1", "services", "Service", namespaced);

/// `v1.ConfigMap`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// Its name.
    pub metadata: ObjectMeta,
    /// Texts.
    pub data: BTreeMap<String, String>,
    /// Bytes, in base64.
    pub binary_data: BTreeMap<String, String>,
}

/// `v1.Secret`.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// Its name.
    pub metadata: ObjectMeta,
    /// What it is for.
    pub r#type: String,
    /// Bytes, in base64.
    pub data: BTreeMap<String, String>,
}

/// The part of `node.k8s.io/v1.RuntimeClass` that the kubelet reads.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RuntimeClass {
    /// Its name.
    pub metadata: ObjectMeta,
    /// What the runtime calls it.
    pub handler: String,
}

/// The part of `v1.Service` that becomes environment variables.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// Its name.
    pub metadata: ObjectMeta,
    /// Its address and ports.
    pub spec: ServiceSpec,
}

/// `v1.ServiceSpec`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Empty, `None`, or an address.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// In order.
    pub ports: Vec<ServicePort>,
}

/// `v1.ServicePort`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// May be empty.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// Of the Service.
    pub port: u16,
}

/// `authentication.k8s.io/v1.TokenRequest`, answered.
#[derive(Debug, Deserialize)]
struct TokenRequest {
    status: Token,
}

/// The values of a ConfigMap or Secret, decoded.
pub type Values = BTreeMap<String, Vec<u8>>;

impl ConfigMap {
    /// Texts and bytes together.
    pub fn values(&self) -> Values {
        let texts = self.data.iter().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
        texts.chain(decoded(&self.binary_data)).collect()
    }
}

impl Secret {
    /// The decoded bytes.
    pub fn values(&self) -> Values {
        decoded(&self.data).collect()
    }
}

fn decoded(data: &BTreeMap<String, String>) -> impl Iterator<Item = (String, Vec<u8>)> {
    data.iter().map(|(key, text)| (key.clone(), STANDARD.decode(text).unwrap_or_default()))
}

/// An answer of the apiserver.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, ClientError>>;

/// The apiserver, as far as pods need it.
pub trait ControlPlane: Send + Sync + 'static {
    /// The values of a ConfigMap; `None` where there is none.
    fn config_map<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reply<'a, Option<Values>>;
    /// The values of a Secret; `None` where there is none.
    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reply<'a, Option<Values>>;
    /// A token of a ServiceAccount, as a `TokenRequest` asks for it.
    fn token<'a>(&'a self, namespace: &'a str, account: &'a str, request: &'a Value) -> Reply<'a, Token>;
    /// A claim; `None` where there is none.
    fn claim<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reply<'a, Option<PersistentVolumeClaim>>;
    /// A persistent volume; `None` where there is none.
    fn persistent_volume<'a>(&'a self, name: &'a str) -> Reply<'a, Option<PersistentVolume>>;
    /// The handler of a RuntimeClass; `None` where there is no such class.
    fn runtime_class<'a>(&'a self, name: &'a str) -> Reply<'a, Option<String>>;
    /// The Services that pods of a namespace are told of in their environment.
    fn services(&self, namespace: &str) -> Vec<Service>;
    /// Merges into the status of a pod.
    fn patch_status<'a>(&'a self, namespace: &'a str, name: &'a str, patch: &'a Value) -> Reply<'a, ()>;
    /// Creates a pod: the mirror of a static one.
    fn create_pod<'a>(&'a self, namespace: &'a str, pod: &'a Value) -> Reply<'a, ()>;
    /// Removes a pod that has ended, if it still is the one with this uid.
    fn delete_pod<'a>(&'a self, namespace: &'a str, name: &'a str, uid: &'a str) -> Reply<'a, ()>;
    /// Tells users what happened. `container` is the field path of the container, or empty.
    fn event(&self, pod: &Pod, container: &str, kind: EventType, reason: &str, message: String);
}

/// The real one.
pub struct ApiServer {
    /// The connection.
    pub client: Client,
    /// Where events go.
    pub recorder: EventRecorder,
    /// All Services.
    pub services: client::Store<Service>,
}

impl ControlPlane for ApiServer {
    fn config_map<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reply<'a, Option<Values>> {
        Box::pin(async move {
            let object = self.client.api::<ConfigMap>().get_opt(namespace, name).await?;
            Ok(object.map(|object| object.values()))
        })
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reply<'a, Option<Values>> {
        Box::pin(async move {
            let object = self.client.api::<Secret>().get_opt(namespace, name).await?;
            Ok(object.map(|object| object.values()))
        })
    }

    fn token<'a>(&'a self, namespace: &'a str, account: &'a str, request: &'a Value) -> Reply<'a, Token> {
        Box::pin(async move {
            let accounts = self.client.dynamic(GroupVersionResource::new("", "v1", "serviceaccounts"));
            let request = request.to_string().into();
            let options = WriteOptions::default();
            let answer = accounts
                .create_encoded(namespace, account, "token", Encoding::Json, request, &options)
                .await?;
            Ok(answer.decode::<TokenRequest>()?.status)
        })
    }

    fn claim<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reply<'a, Option<PersistentVolumeClaim>> {
        Box::pin(async move { self.client.api().get_opt(namespace, name).await })
    }

    fn persistent_volume<'a>(&'a self, name: &'a str) -> Reply<'a, Option<PersistentVolume>> {
        Box::pin(async move { self.client.api().get_opt("", name).await })
    }

    fn runtime_class<'a>(&'a self, name: &'a str) -> Reply<'a, Option<String>> {
        Box::pin(async move {
            let class = self.client.api::<RuntimeClass>().get_opt("", name).await?;
            Ok(class.map(|class| class.handler))
        })
    }

    fn services(&self, namespace: &str) -> Vec<Service> {
        let mut services: Vec<Service> =
            self.services.list_namespace(namespace).iter().map(|service| (**service).clone()).collect();
        let kubernetes = api::gvk::NamespacedName::new("default", "kubernetes");
        if namespace != "default" {
            services.extend(self.services.get(&kubernetes).map(|service| (*service).clone()));
        }
        services.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        services
    }

    fn patch_status<'a>(&'a self, namespace: &'a str, name: &'a str, patch: &'a Value) -> Reply<'a, ()> {
        Box::pin(async move {
            self.client.api::<Pod>().patch_status(namespace, name, PatchType::Merge, patch).await.map(|_| ())
        })
    }

    fn create_pod<'a>(&'a self, namespace: &'a str, pod: &'a Value) -> Reply<'a, ()> {
        Box::pin(async move { self.client.api::<Pod>().create(namespace, pod).await.map(|_| ()) })
    }

    fn delete_pod<'a>(&'a self, namespace: &'a str, name: &'a str, uid: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::uid(uid) };
            self.client.api::<Pod>().delete(namespace, name, &options).await.map(|_| ())
        })
    }

    fn event(&self, pod: &Pod, container: &str, kind: EventType, reason: &str, message: String) {
        let mut object = ObjectReference::of(pod);
        if !container.is_empty() {
            object = object.field(container);
        }
        self.recorder.event(&object, kind, reason, message);
    }
}
