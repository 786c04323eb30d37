//! The client against a scripted apiserver over real TLS on loopback: errors come whole, large answers pass,
//! and a server that went away and came back is found again.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::meta::ObjectMeta;
use api::status::{Cause, Details, Reason, Status};
use client::{Client, ClientError, EventRecorder, Informer, ListParams, ObjectReference, Resource as _};
use component::kubeconfig::Identity;
use component::{Kubeconfig, Shutdown, TestClock, spawn};
use futures_util::{Stream, StreamExt as _};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rpc::v1::resources_server::{Resources, ResourcesServer};
use rpc::v1::{self, WatchEventType, list_chunk};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Server, ServerTlsConfig};
use tonic::{Request, Response};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct ConfigMap {
    metadata: ObjectMeta,
}

client::resource!(ConfigMap, "", "v1", "configmaps", "ConfigMap", namespaced);

const LISTED: usize = 300;

#[derive(Clone, Default)]
struct Scripted {
    watches: Arc<Mutex<Vec<String>>>,
    writes: Option<mpsc::UnboundedSender<(&'static str, String, Value)>>,
    /// Names that have been forgotten, as Events are after an hour.
    forgotten: Arc<Mutex<Vec<String>>>,
}

type Stream_<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;

fn object(name: &str, version: u64, filler: usize) -> v1::Object {
    let payload = serde_json::json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": version.to_string()},
        "data": {"filler": "x".repeat(filler)},
    });
    v1::Object {
        metadata: Some(v1::ObjectMeta {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: "default".into(),
            name: name.into(),
            uid: name.into(),
            resource_version: version,
        }),
        payload: payload.to_string().into(),
        ..v1::Object::default()
    }
}

fn event(r#type: WatchEventType, object: v1::Object, end: bool) -> Result<v1::WatchEvent, tonic::Status> {
    Ok(v1::WatchEvent { r#type: r#type.into(), object: Some(object), initial_events_end: end })
}

impl Scripted {
    fn wrote(&self, verb: &'static str, name: &str, body: Value) {
        if let Some(writes) = &self.writes {
            writes.send((verb, name.to_owned(), body)).expect("the test listens");
        }
    }
}

fn unimplemented<T>() -> Result<Response<T>, tonic::Status> {
    Err(tonic::Status::unimplemented("not scripted"))
}

#[tonic::async_trait]
impl Resources for Scripted {
    type ListStream = Stream_<v1::ListChunk>;
    type WatchStream = Stream_<v1::WatchEvent>;

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Object>, tonic::Status> {
        let token = request.metadata().get("authorization").cloned();
        let name = request.into_inner().name;
        match name.as_str() {
            "token" => {
                let version = if token.is_some_and(|token| token == "Bearer s3cret") { 7 } else { 0 };
                Ok(Response::new(object("token", version, 0)))
            }
            "there" => Ok(Response::new(object("there", 3, 10))),
            "bad" => {
                let causes = vec![Cause { message: "y".repeat(200), ..Cause::default() }; 100];
                let details = Details { causes, ..Details::default() };
                Err(rpc::status::to_grpc(Status::failure(Reason::Invalid, "very bad").with_details(details)))
            }
            _ => Err(rpc::status::to_grpc(Status::not_found("", "configmaps", &name))),
        }
    }

    async fn list(
        &self,
        _request: Request<v1::ListRequest>,
    ) -> Result<Response<Self::ListStream>, tonic::Status> {
        let header =
            v1::ListHeader { resource_version: 42, api_version: "v1".into(), kind: "ConfigMapList".into() };
        let objects = (0..LISTED).map(|n| object(&format!("c{n}"), 1, 30_000)).collect();
        let parts = [
            list_chunk::Part::Header(header),
            list_chunk::Part::Items(v1::ListItems { objects }),
            list_chunk::Part::Trailer(v1::ListTrailer::default()),
        ];
        let chunks = parts.map(|part| Ok(v1::ListChunk { part: Some(part) }));
        Ok(Response::new(Box::pin(futures_util::stream::iter(chunks))))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, tonic::Status> {
        let from = request.into_inner().resource_version;
        self.watches.lock().push(from.clone());
        let events = match from.as_str() {
            "" => vec![
                event(WatchEventType::Added, object("a", 3, 10), false),
                event(WatchEventType::Bookmark, object("", 5, 0), true),
            ],
            _ => vec![event(WatchEventType::Modified, object("a", 8, 10), false)],
        };
        let events = futures_util::stream::iter(events).chain(futures_util::stream::pending());
        Ok(Response::new(Box::pin(events)))
    }

    async fn bind(
        &self,
        request: Request<v1::BindRequest>,
    ) -> Result<Response<v1::BindResponse>, tonic::Status> {
        let results = request.into_inner().bindings.into_iter().map(|binding| v1::BindResult {
            status: match binding.pod.as_str() {
                "free" => Vec::new().into(),
                _ => {
                    let status = Status::conflict("", "pods", &binding.pod, "it is bound already");
                    serde_json::to_vec(&status).expect("a Status encodes").into()
                }
            },
        });
        Ok(Response::new(v1::BindResponse { results: results.collect() }))
    }

    async fn create(
        &self,
        request: Request<v1::CreateRequest>,
    ) -> Result<Response<v1::Object>, tonic::Status> {
        let document: Value = serde_json::from_slice(&request.into_inner().payload).expect("JSON");
        let name = document["metadata"]["name"].as_str().expect("a name").to_owned();
        self.wrote("create", &name, document);
        Ok(Response::new(object(&name, 1, 0)))
    }

    async fn update(&self, _: Request<v1::UpdateRequest>) -> Result<Response<v1::Object>, tonic::Status> {
        unimplemented()
    }

    async fn patch(&self, request: Request<v1::PatchRequest>) -> Result<Response<v1::Object>, tonic::Status> {
        let request = request.into_inner();
        if self.forgotten.lock().contains(&request.name) {
            return Err(rpc::status::to_grpc(Status::not_found("", "events", &request.name)));
        }
        self.wrote("patch", &request.name, serde_json::from_slice(&request.patch).expect("JSON"));
        Ok(Response::new(object(&request.name, 2, 0)))
    }

    async fn delete(
        &self,
        _: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, tonic::Status> {
        unimplemented()
    }

    async fn delete_collection(
        &self,
        _: Request<v1::DeleteCollectionRequest>,
    ) -> Result<Response<v1::DeleteCollectionResponse>, tonic::Status> {
        unimplemented()
    }
}

struct Pki {
    authority: Vec<u8>,
    server: Identity,
    client: Identity,
}

fn pki() -> Pki {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a certificate"))
        .expect("a certificate");
    let issue = |common_name: &str, names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("a certificate");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a certificate");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        Identity { certificate: certificate.pem().into(), key: key.serialize_pem().into() }
    };
    Pki {
        server: issue("kube-apiserver", &["127.0.0.1"]),
        client: issue("kubernetes-admin", &[]),
        authority: issuer.pem().into(),
    }
}

/// A server with a runtime of its own: dropping that breaks every connection, as the end of a process does.
struct Serving {
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not allowed on a thread that runs tasks, and a test does.
            let ending = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5)));
            ending.join().expect("the server ends");
        }
    }
}

fn serve(pki: &Pki, service: Scripted, address: SocketAddr) -> Serving {
    let listener = std::net::TcpListener::bind(address).expect("a port");
    listener.set_nonblocking(true).expect("not blocking");
    let address = listener.local_addr().expect("an address");
    let identity = tonic::transport::Identity::from_pem(&pki.server.certificate, &pki.server.key);
    let tls = ServerTlsConfig::new().identity(identity).client_ca_root(Certificate::from_pem(&pki.authority));
    let resources = ResourcesServer::new(service);
    let mut server = Server::builder().tls_config(tls).expect("TLS");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let guard = runtime.enter();
    let listener = TcpListenerStream::new(TcpListener::from_std(listener).expect("a listener"));
    spawn(&Shutdown::new(), "server", async move {
        server.add_service(resources).serve_with_incoming(listener).await.expect("served");
    });
    drop(guard);
    Serving { address, runtime: Some(runtime) }
}

fn config(pki: &Pki, address: SocketAddr) -> Kubeconfig {
    let server = format!("https://{address}");
    Kubeconfig::new(server, pki.authority.clone(), "kubernetes-admin", pki.client.clone())
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

#[tokio::test]
async fn answers_and_errors_come_whole_over_mutual_tls() {
    let pki = pki();
    let server = serve(&pki, Scripted::default(), anywhere());
    let address = server.address;
    let client = Client::connect(&config(&pki, address)).expect("a client");
    let api = client.api::<ConfigMap>();

    let there = api.get("default", "there").await.expect("an object");
    assert_eq!(there.metadata().resource_version, "3");
    assert_eq!(api.get_opt("default", "none").await.expect("an answer"), None);
    let missing = api.get("default", "none").await.unwrap_err();
    assert_eq!(missing.status(), Some(&Status::not_found("", "configmaps", "none")));
    let invalid = api.get("default", "bad").await.unwrap_err();
    let details = invalid.status().and_then(|status| status.details.clone()).expect("details");
    assert_eq!(details.causes.len(), 100);

    let list = api.list("", &ListParams::default()).await.expect("a list of ten megabytes");
    assert_eq!((list.items.len(), list.resource_version), (LISTED, 42));

    let binding = |pod: &str| client::Binding { pod: pod.into(), ..client::Binding::default() };
    let bound = client.bind(vec![binding("free"), binding("taken")]).await.expect("results");
    assert!(bound[0].is_ok() && bound[1].as_ref().is_err_and(ClientError::is_conflict));

    let robot = Kubeconfig { token: Some("s3cret".to_owned()), ..config(&pki, address) };
    let shown = Client::connect(&robot).expect("a client").api::<ConfigMap>().get("", "token").await;
    assert_eq!(shown.expect("an object").metadata.resource_version, "7");
    let garbled = Kubeconfig { token: Some("two\nlines".to_owned()), ..config(&pki, address) };
    assert!(matches!(Client::connect(&garbled), Err(ClientError::Config(_))));

    let anonymous = Kubeconfig { identity: None, ..config(&pki, address) };
    let refused = Client::connect(&anonymous).expect("a client").api::<ConfigMap>().get("", "there").await;
    assert!(matches!(refused, Err(ClientError::Transport(_))), "{refused:?}");
}

#[tokio::test]
async fn an_informer_survives_a_restart_of_the_server_and_resumes() {
    let pki = pki();
    let service = Scripted::default();
    let first = serve(&pki, service.clone(), anywhere());
    let address = first.address;
    let client = Client::connect(&config(&pki, address)).expect("a client");
    let (sender, mut told) = mpsc::unbounded_channel();
    let informers = Shutdown::new();
    let store = Informer::<ConfigMap>::new()
        .on_change(move |_, new| {
            let _nobody_listens = sender.send(new.map(|new| new.metadata.resource_version.clone()));
        })
        .spawn(&client.api(), &informers);
    store.wait_synced().await;
    assert_eq!(told.recv().await.flatten().as_deref(), Some("3"));

    drop(first);
    let _second = serve(&pki, service.clone(), address);
    let change = tokio::time::timeout(Duration::from_secs(20), told.recv()).await.expect("in time");
    assert_eq!(change.flatten().as_deref(), Some("8"));
    assert_eq!(*service.watches.lock(), ["", "5"]);
    informers.trigger();
    assert!(informers.drain(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn events_are_counted_written_anew_when_forgotten_and_wait_for_a_server_that_is_away() {
    let pki = pki();
    let (sender, mut writes) = mpsc::unbounded_channel();
    let service = Scripted { writes: Some(sender), ..Scripted::default() };
    // An address where nobody listens yet.
    let address = std::net::TcpListener::bind(anywhere()).expect("a port").local_addr().expect("an address");
    let client = Client::connect(&config(&pki, address)).expect("a client");
    let shutdown = Shutdown::new();
    let clock = TestClock::at("2026-11-24T08:00:00Z".parse().expect("a time"));
    let recorder = EventRecorder::start(&client, "default-scheduler", "", clock.clone(), &shutdown);
    let pod = ObjectReference {
        kind: "Pod".into(),
        name: "web".into(),
        namespace: "work".into(),
        ..Default::default()
    };
    for _ in 0..2 {
        recorder.warning(&pod, "FailedScheduling", "0/1 nodes are available");
        clock.advance(Duration::from_secs(30));
    }
    for _ in 0..5000 {
        recorder.normal(&pod, "Flood", "never blocks");
    }

    let _server = serve(&pki, service.clone(), address);
    let mut next = async || tokio::time::timeout(Duration::from_secs(20), writes.recv()).await.ok().flatten();
    let (verb, name, document) = next().await.expect("a write");
    assert_eq!((verb, &document["involvedObject"]["name"]), ("create", &Value::from("web")));
    assert_eq!((&document["type"], &document["count"]), (&Value::from("Warning"), &Value::from(1)));
    let (verb, patched, patch) = next().await.expect("a write");
    assert_eq!((verb, &patched, &patch["count"]), ("patch", &name, &Value::from(2)));
    assert_eq!(patch["lastTimestamp"], "2026-11-24T08:00:30Z");
    // Of the flood as many as one object may have at once: each a raised count but the first.
    let mut flood = 0;
    while let Ok(write) = tokio::time::timeout(Duration::from_millis(500), writes.recv()).await {
        write.expect("a write");
        flood += 1;
    }
    assert_eq!(flood, 23);

    service.forgotten.lock().push(name.clone());
    clock.advance(Duration::from_secs(3600));
    recorder.warning(&pod, "FailedScheduling", "0/1 nodes are available");
    let (verb, again, document) = tokio::time::timeout(Duration::from_secs(20), writes.recv())
        .await
        .expect("in time")
        .expect("a write");
    assert_eq!((verb, &document["count"]), ("create", &Value::from(1)));
    assert_ne!(again, name);
    shutdown.trigger();
    assert!(shutdown.drain(Duration::from_secs(5)).await);
}
