//! The gRPC services on the same port.

use futures_util::StreamExt as _;
use rpc::v1::cluster_client::ClusterClient;
use rpc::v1::list_chunk::Part;
use rpc::v1::resources_client::ResourcesClient;
use rpc::v1::{self, GroupVersionResource};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;

fn maps() -> Option<GroupVersionResource> {
    Some(GroupVersionResource { group: String::new(), version: "v1".into(), resource: "configmaps".into() })
}

fn create(name: &str) -> v1::CreateRequest {
    v1::CreateRequest {
        resource: maps(),
        namespace: "default".into(),
        payload: config_map(name, "v").to_string().into(),
        ..v1::CreateRequest::default()
    }
}

#[tokio::test]
async fn objects_travel_as_the_same_bytes_that_rest_serves() {
    let asker = Asker::start().await;
    let mut client = ResourcesClient::new(asker.channel(asker.admin()).await);
    let created = client.create(create("a")).await.expect("created").into_inner();
    let meta = created.metadata.expect("metadata");
    assert_eq!((meta.kind.as_str(), meta.name.as_str(), meta.uid.len()), ("ConfigMap", "a", 36));
    let rest = asker.get("/api/v1/namespaces/default/configmaps/a").await;
    assert_eq!(rest.bytes, created.payload);
    let again = client.create(create("a")).await.expect_err("it is there");
    assert_eq!(again.code(), Code::AlreadyExists);
    let status = rpc::status::carried(&again).expect("a Status");
    assert_eq!(status.message, "configmaps \"a\" already exists");
    asker.stop().await;
}

#[tokio::test]
async fn lists_and_watches_stream() {
    let asker = Asker::start().await;
    let mut client = ResourcesClient::new(asker.channel(asker.admin()).await);
    for number in 0..3 {
        client.create(create(&format!("m{number}"))).await.expect("created");
    }
    let request = v1::ListRequest { resource: maps(), namespace: "default".into(), ..Default::default() };
    let chunks: Vec<_> = client.list(request.clone()).await.expect("a list").into_inner().collect().await;
    let mut parts = chunks.into_iter().map(|chunk| chunk.expect("a chunk").part.expect("a part"));
    let Some(Part::Header(header)) = parts.next() else { panic!("a header is first") };
    assert_eq!(header.kind, "ConfigMapList");
    let Some(Part::Items(items)) = parts.next() else { panic!("items follow") };
    assert_eq!(items.objects.len(), 3);
    assert!(matches!(parts.next(), Some(Part::Trailer(_))));

    let table = v1::ListRequest { encoding: v1::Encoding::Table.into(), ..request };
    let chunks: Vec<_> = client.list(table).await.expect("a list").into_inner().collect().await;
    let Some(Part::Items(items)) = chunks[1].as_ref().expect("a chunk").part.clone() else { panic!("items") };
    let table: Value = serde_json::from_slice(&items.objects[0].payload).expect("a table");
    assert_eq!(table["rows"].as_array().map(Vec::len), Some(3));

    let request = v1::WatchRequest {
        resource: maps(),
        namespace: "default".into(),
        send_initial_events: true,
        ..Default::default()
    };
    let mut events = client.watch(request).await.expect("a watch").into_inner();
    for _ in 0..3 {
        let event = events.next().await.expect("an event").expect("an event");
        assert_eq!(event.r#type(), v1::WatchEventType::Added);
    }
    let mark = events.next().await.expect("an event").expect("an event");
    assert_eq!((mark.r#type(), mark.initial_events_end), (v1::WatchEventType::Bookmark, true));
    client
        .delete(v1::DeleteRequest {
            resource: maps(),
            namespace: "default".into(),
            name: "m1".into(),
            options: None,
        })
        .await
        .expect("deleted");
    let gone = events.next().await.expect("an event").expect("an event");
    let object = gone.object.clone().and_then(|object| object.metadata).expect("metadata");
    assert_eq!((gone.r#type(), object.name.as_str()), (v1::WatchEventType::Deleted, "m1"));
    assert!(object.resource_version > header.resource_version);
    asker.stop().await;
}

#[tokio::test]
async fn only_administrators_add_nodes() {
    let asker = Asker::start().await;
    let key = rcgen::KeyPair::generate().expect("a key");
    let csr = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
    let request = v1::JoinRequest {
        node_name: "node-1".into(),
        addresses: vec!["127.0.0.1".into()],
        kubelet_client_csr: csr.pem().expect("PEM"),
        ..Default::default()
    };
    let mut client = ClusterClient::new(asker.channel(asker.admin()).await);
    let joined = client.join(request.clone()).await.expect("joined").into_inner();
    assert!(joined.kubelet_serving_certificate.is_empty());
    let kubelet = Identity {
        certificate: joined.kubelet_client_certificate.into_bytes(),
        key: key.serialize_pem().into_bytes(),
    };
    let mut node = ClusterClient::new(asker.channel(Some(&kubelet)).await);
    let info = node.info(v1::InfoRequest {}).await.expect("known here").into_inner();
    assert_eq!((info.kubernetes_version.as_str(), info.cluster_id.len()), ("v1.36.0", 36));
    assert_eq!(node.join(request.clone()).await.expect_err("not a node").code(), Code::PermissionDenied);
    let bad = v1::JoinRequest { node_name: "Node_1".into(), ..request };
    assert_eq!(client.join(bad).await.expect_err("no name").code(), Code::InvalidArgument);
    asker.stop().await;
}

#[tokio::test]
async fn strangers_may_ask_for_health_only() {
    let asker = Asker::start().await;
    let channel = asker.channel(None).await;
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    assert_eq!(health.expect("an answer").into_inner().status, 1);
    let refused = ResourcesClient::new(channel).create(create("a")).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(rpc::status::carried(&refused).expect("a Status").message, "Unauthorized");
    asker.stop().await;
}
