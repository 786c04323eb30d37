//! gRPC probes against a real health service: see `kubelet::probe::grpc`.

use std::net::{IpAddr, Ipv4Addr};

use component::{Shutdown, spawn};
use kubelet::pod::GrpcAction;
use kubelet::probe::grpc::grpc;
use kubelet::probe::run::Verdict;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::ServingStatus;

fn action(port: u16, service: &str) -> GrpcAction {
    GrpcAction { port: port.into(), service: Some(service.to_owned()) }
}

const HERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

#[tokio::test]
async fn a_service_is_as_well_as_it_says() {
    let (health, service) = tonic_health::server::health_reporter();
    health.set_service_status("well", ServingStatus::Serving).await;
    health.set_service_status("ill", ServingStatus::NotServing).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let shutdown = Shutdown::new();
    let server = tonic::transport::Server::builder().add_service(service);
    let stop = shutdown.clone();
    spawn(&shutdown, "server", async move {
        tokio::select! {
            served = server.serve_with_incoming(TcpListenerStream::new(listener)) => served.expect("it serves"),
            () = stop.triggered() => {}
        }
    });
    let ask = async |service: &str| grpc(HERE, &action(port, service)).await;
    assert_eq!(ask("well").await, Verdict::Success);
    assert_eq!(ask("").await, Verdict::Success, "the server as a whole");
    let ill = "service unhealthy (responded with \"NOT_SERVING\")";
    assert_eq!(ask("ill").await, Verdict::Failure(ill.to_owned()));
    let Verdict::Failure(unknown) = ask("unknown").await else { panic!("nobody knows it") };
    assert!(unknown.starts_with("error: health rpc probe failed: code 5"), "{unknown}");
    shutdown.trigger();
}

#[tokio::test]
async fn a_server_without_the_protocol_or_without_a_listener_fails() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let Verdict::Failure(message) = grpc(HERE, &action(port, "")).await else { panic!("nobody listens") };
    let start = format!("error: failed to connect service at \"127.0.0.1:{port}\": ");
    assert!(message.starts_with(&start), "{message}");
}
