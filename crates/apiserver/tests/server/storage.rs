//! What is on the disk: Secrets encrypted, keys for their owner only, backups that are whole.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use apiserver::StartError;
use apiserver::config::{EtcdStore, StoreKind};
use apiserver::serve::restore;
use apiserver::testing::config;
use component::Context;
use futures_util::StreamExt as _;
use rpc::v1::backup_chunk::Part;
use rpc::v1::cluster_client::ClusterClient;
use rpc::v1::{BackupRequest, InfoRequest, RotateKeysRequest};
use serde_json::json;
use store::testing::etcd::EtcdCluster;
use tonic::Code;

use super::*;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

async fn start_in(dir: &Path) -> Asker {
    Asker { server: TestServer::start_in(dir).await.expect("a server"), tasks: Shutdown::new() }
}

fn secret(name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"k": text}})
}

/// Whether the text, as it is or as base64, stands in any file below the directory.
fn on_disk(dir: &Path, text: &str) -> bool {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    let wanted = [text.as_bytes(), encoded.trim_end_matches('=').as_bytes()];
    std::fs::read_dir(dir).expect("a directory").flatten().any(|entry| {
        if entry.path().is_dir() {
            return on_disk(&entry.path(), text);
        }
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        wanted.iter().any(|wanted| bytes.windows(wanted.len()).any(|part| part == *wanted))
    })
}

async fn backup(asker: &Asker) -> Vec<u8> {
    let mut client = ClusterClient::new(asker.channel(asker.admin()).await);
    let mut chunks = client.backup(BackupRequest {}).await.expect("a backup").into_inner();
    let (mut bytes, mut header, mut trailer) = (Vec::new(), None, None);
    while let Some(chunk) = chunks.next().await {
        match chunk.expect("a chunk").part.expect("a part") {
            Part::Header(found) => header = Some(found),
            Part::Data(data) => bytes.extend_from_slice(&data),
            Part::Trailer(found) => trailer = Some(found),
        }
    }
    let info = client.info(InfoRequest {}).await.expect("an answer").into_inner();
    assert_eq!(header.expect("a header").cluster_id, info.cluster_id);
    assert_eq!(trailer.expect("a trailer").bytes, bytes.len() as u64);
    bytes
}

#[tokio::test]
async fn no_secret_is_on_the_disk_and_a_rotated_key_seals_all_of_them_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let keys = dir.path().join("store.keys");
    let asker = start_in(dir.path()).await;
    assert_eq!(std::fs::metadata(&keys).expect("keys").permissions().mode() & 0o777, 0o600);
    for name in ["a", "b"] {
        assert_eq!(asker.post(SECRETS, &secret(name, "correct-horse-battery")).await.code, 201);
    }
    let maps = "/api/v1/namespaces/default/configmaps";
    assert_eq!(asker.post(maps, &config_map("m", "in-the-open-staple")).await.code, 201);
    let mut client = ClusterClient::new(asker.channel(asker.admin()).await);
    let rotated = client.rotate_keys(RotateKeysRequest {}).await.expect("rotated").into_inner();
    assert_eq!(rotated.objects, 2);
    assert_eq!(std::fs::read_to_string(&keys).expect("keys").lines().count(), 2);
    drop(client);
    asker.stop().await;
    assert!(on_disk(dir.path(), "in-the-open-staple"));
    assert!(!on_disk(dir.path(), "correct-horse-battery"));

    // What is live is sealed with the new key alone.
    let text = std::fs::read_to_string(&keys).expect("keys");
    let newest = text.lines().next().expect("a key");
    std::fs::write(&keys, format!("{newest}\n")).expect("written");
    let asker = start_in(dir.path()).await;
    let found = asker.get(&format!("{SECRETS}/a")).await;
    assert_eq!(found.json()["data"]["k"], "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5");
    asker.stop().await;
}

#[tokio::test]
async fn keys_that_others_can_read_or_that_are_gone_keep_the_server_from_starting() {
    let dir = tempfile::tempdir().expect("a directory");
    let keys = dir.path().join("store.keys");
    let asker = start_in(dir.path()).await;
    assert_eq!(asker.post(SECRETS, &secret("a", "x")).await.code, 201);
    asker.stop().await;
    std::fs::set_permissions(&keys, PermissionsExt::from_mode(0o644)).expect("set");
    let refused = TestServer::start_in(dir.path()).await.err().expect("it is refused");
    assert!(component::ErrorChain(&refused).to_string().contains("mode 644"), "{refused:?}");
    std::fs::remove_file(&keys).expect("removed");
    assert!(matches!(TestServer::start_in(dir.path()).await, Err(StartError::Store(_))));
}

#[tokio::test]
async fn a_backup_comes_back_as_it_was_in_another_directory() {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let asker = start_in(from.path()).await;
    assert_eq!(asker.post(SECRETS, &secret("a", "correct-horse-battery")).await.code, 201);
    let saved = asker.get(&format!("{SECRETS}/a")).await.json();
    let bytes = backup(&asker).await;
    assert_eq!(asker.post(SECRETS, &secret("later", "x")).await.code, 201);
    let newest = asker.get(SECRETS).await.json()["metadata"]["resourceVersion"].clone();
    asker.stop().await;

    let file = to.path().join("backup");
    std::fs::write(&file, &bytes[..bytes.len() - 60]).expect("written");
    let config = config(StoreKind::Local(to.path().join("store")), Some(to.path()));
    let context = Context::for_tests();
    assert!(restore(&config, &file, &context).await.is_err(), "what is not whole is refused");
    std::fs::write(&file, &bytes).expect("written");
    restore(&config, &file, &context).await.expect("restored");
    assert!(restore(&config, &file, &context).await.is_err(), "there is a store now");
    std::fs::remove_file(&file).expect("removed");
    assert!(!on_disk(to.path(), "correct-horse-battery"));

    let asker = start_in(to.path()).await;
    assert_eq!(asker.get(&format!("{SECRETS}/a")).await.json(), saved, "uid and version too");
    assert_eq!(asker.get(&format!("{SECRETS}/later")).await.code, 404);
    // Who saw more of the old cluster than the backup has is told to list anew.
    let path = format!("{SECRETS}?watch=1&resourceVersion={}", newest.as_str().expect("a version"));
    assert!(asker.get(&path).await.text().contains("\"code\":410"));
    asker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_log_comes_back_in_etcd() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(cluster) = EtcdCluster::start(dir.path(), 1, &[]) else { return };
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let asker = start_in(&from).await;
    assert_eq!(asker.post(SECRETS, &secret("a", "correct-horse-battery")).await.code, 201);
    let saved = asker.get(&format!("{SECRETS}/a")).await.json();
    let file = dir.path().join("backup");
    std::fs::write(&file, backup(&asker).await).expect("written");
    asker.stop().await;

    let etcd = EtcdStore::new(cluster.endpoints(), to.join("store"));
    let config = config(StoreKind::Etcd(etcd), Some(&to));
    let context = Context::for_tests();
    let restored = restore(&config, &file, &context).await.expect("restored");
    assert!(restored.objects > 100, "the first objects and the secret: {restored:?}");
    assert!(restore(&config, &file, &context).await.is_err(), "there are objects now");
    let server = TestServer::start_with(config, context).await.expect("starts");
    let asker = Asker { server, tasks: Shutdown::new() };
    let mut found = asker.get(&format!("{SECRETS}/a")).await.json();
    assert_ne!(found["metadata"]["resourceVersion"], saved["metadata"]["resourceVersion"]);
    found["metadata"]["resourceVersion"] = saved["metadata"]["resourceVersion"].clone();
    assert_eq!(found, saved, "all but the revision");
    asker.stop().await;
}

#[tokio::test]
async fn backups_and_keys_are_for_administrators() {
    let asker = Asker::start().await;
    let scheduler = asker.server.kubeconfigs().scheduler.identity.clone();
    let mut client = ClusterClient::new(asker.channel(scheduler.as_ref()).await);
    let refused = client.backup(BackupRequest {}).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = client.rotate_keys(RotateKeysRequest {}).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut client = ClusterClient::new(asker.channel(asker.admin()).await);
    let refused = client.rotate_keys(RotateKeysRequest {}).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument, "nothing is encrypted in memory");
    drop(client);
    asker.stop().await;
}
