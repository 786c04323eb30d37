//! Restarts, and clients that misbehave.

use std::time::Duration;

use apiserver::config::StoreKind;
use component::{Context, TestClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[tokio::test]
async fn objects_and_identities_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let tasks = Shutdown::new();
    let server = TestServer::start_in(dir.path()).await.expect("a server");
    let admin = server.admin().identity.clone();
    let asker = Asker { server, tasks };
    let path = "/api/v1/namespaces/default/configmaps";
    let created = asker.post(path, &config_map("a", "v")).await;
    assert_eq!(created.code.as_u16(), 201, "{}", created.text());
    asker.stop().await;
    let server = TestServer::start_in(dir.path()).await.expect("a server");
    let asker = Asker { server, tasks: Shutdown::new() };
    let found = asker.send(admin.as_ref(), request(Method::GET, &format!("{path}/a"), &[], "")).await;
    assert_eq!((found.code.as_u16(), found.bytes), (200, created.bytes));
    asker.stop().await;
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_cut_off_and_others_go_on() {
    let asker = Asker::start().await;
    let mut silent = TcpStream::connect(asker.server.address()).await.expect("a connection");
    let mut rude = TcpStream::connect(asker.server.address()).await.expect("a connection");
    rude.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    let mut rest = Vec::new();
    let _reset_is_fine_too = rude.read_to_end(&mut rest).await;
    assert_eq!(asker.get("/readyz").await.text(), "ok");
    silent.write_all(b"x").await.expect("it is still open");
    drop(silent);
    asker.stop().await;
}

/// The certificate that the server shows.
async fn shown(asker: &Asker) -> Vec<u8> {
    let config = component::tls::client_config(&asker.server.admin().certificate_authority, asker.admin());
    let connector = TlsConnector::from(std::sync::Arc::new(config.expect("a configuration")));
    let stream = TcpStream::connect(asker.server.address()).await.expect("a connection");
    let name = "localhost".try_into().expect("a name");
    let stream = connector.connect(name, stream).await.expect("TLS");
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

#[tokio::test]
async fn a_server_that_runs_for_long_renews_its_certificate() {
    let dir = tempfile::tempdir().expect("a directory");
    let half_a_year = Duration::from_secs(200 * 24 * 3600);
    let clock = TestClock::at(jiff::Timestamp::now() - half_a_year);
    let context = Context { clock: clock.clone(), ..Context::for_tests() };
    let config = apiserver::testing::config(StoreKind::Memory, Some(dir.path()));
    let server = TestServer::start_with(config, context).await.expect("a server");
    let asker = Asker { server, tasks: Shutdown::new() };
    let first = shown(&asker).await;
    assert_eq!(shown(&asker).await, first);
    clock.advance(half_a_year);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(13 * 3600)).await;
    tokio::time::resume();
    let renewed = async { while shown(&asker).await == first {} };
    tokio::time::timeout(Duration::from_secs(10), renewed).await.expect("another certificate");
    asker.stop().await;
}
