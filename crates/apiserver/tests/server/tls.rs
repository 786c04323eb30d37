//! Restarts, and clients that misbehave.

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
