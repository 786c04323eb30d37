//! Encryption at rest: what is on the disk, and what becomes of it with the right keys, rotated ones, and none.

use std::path::Path;
use std::sync::Arc;

use store::disk::real::RealDisk;
use store::seal::keys::Keys;
use store::testing::{must, pod, put, text, word_terms};
use store::{Backend, Bucket, Key, LogOptions, OpenError, Options, Revision, Scope, Store};

fn log(dir: &Path, keys: &Path) -> LogOptions {
    let keys = Keys::open(&RealDisk, keys, [Bucket::from("secrets")]).expect("keys");
    LogOptions { seal: Some(Arc::new(keys)), segment_bytes: 8 << 10, ..LogOptions::new(dir.join("store")) }
}

fn open(log: &LogOptions) -> Result<Store, OpenError> {
    Store::open(Options {
        window: store::Window { events: 1, bytes: 1 },
        ..Options::new(Backend::Log(log.clone()), word_terms())
    })
}

fn secret(name: &str) -> Key {
    Key::new(&Bucket::from("secrets"), "a", name)
}

/// Whether a text stands in any file of the store.
fn on_disk(dir: &Path, wanted: &str) -> bool {
    let files = std::fs::read_dir(dir.join("store")).expect("read").flatten();
    files
        .filter_map(|file| std::fs::read(file.path()).ok())
        .any(|bytes| bytes.windows(wanted.len()).any(|part| part == wanted.as_bytes()))
}

#[tokio::test]
async fn secrets_are_not_on_the_disk_and_come_back_with_their_keys() {
    let dir = tempfile::tempdir().expect("a directory");
    let keys = dir.path().join("keys");
    for round in 0..3 {
        let store = open(&log(dir.path(), &keys)).unwrap_or_else(|error| panic!("{error}"));
        must(&store, put(&secret("x"), &format!("hush{round}"))).await;
        must(&store, put(&secret(&format!("y{round}")), "quiet")).await;
        must(&store, put(&pod("a/x"), "loud")).await;
        store.close().await;
        drop(store);
        Keys::rotate(&RealDisk, &keys).expect("rotated");
        if round == 1 {
            std::fs::remove_dir_all(dir.path().join("store/index")).expect("remove");
        }
    }
    assert!(on_disk(dir.path(), "loud"));
    assert!(!on_disk(dir.path(), "hush") && !on_disk(dir.path(), "quiet"));

    let store = open(&log(dir.path(), &keys)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(store.snapshot().get(&secret("x")).map(|entry| text(entry)), Some("hush2"));
    let history = store.history(&secret("x")).await.expect("history");
    let texts: Vec<_> = history.iter().map(|event| text(&event.entry)).collect();
    assert_eq!(texts, ["hush2", "hush1", "hush0"], "sealed with three keys");
    let mut watch = store.watch(&Bucket::from("secrets"), Revision::FIRST, Scope::All).expect("kept");
    assert_eq!(text(&watch.next().await.expect("kept").entry), "hush0");
    store.close().await;
    drop(store);

    std::fs::remove_file(&keys).expect("remove");
    match open(&log(dir.path(), &keys)) {
        Err(OpenError::Sealed { key, .. }) => assert_eq!(key.bucket().as_str(), "secrets"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("opened without the keys"),
    }
}

#[tokio::test]
async fn a_log_from_before_the_keys_opens_and_seals_what_is_written_from_then_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let keys = dir.path().join("keys");
    let sealed = log(dir.path(), &keys);
    let plain = open(&LogOptions { seal: None, ..sealed.clone() }).unwrap_or_else(|error| panic!("{error}"));
    must(&plain, put(&secret("old"), "bare")).await;
    plain.close().await;
    drop(plain);
    let store = open(&sealed).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(store.snapshot().get(&secret("old")).map(|entry| text(entry)), Some("bare"));
    must(&store, put(&secret("new"), "hush")).await;
    store.close().await;
    drop(store);
    assert!(on_disk(dir.path(), "bare") && !on_disk(dir.path(), "hush"));
    let store = open(&sealed).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(store.snapshot().get(&secret("new")).map(|entry| text(entry)), Some("hush"));
    store.close().await;
}

#[tokio::test]
async fn a_backup_is_plain_and_what_is_restored_from_it_is_sealed() {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let store = open(&log(from.path(), &from.path().join("keys"))).unwrap_or_else(|error| panic!("{error}"));
    must(&store, put(&secret("x"), "hush")).await;
    must(&store, put(&pod("a/x"), "loud")).await;
    let backup: Vec<u8> = store.snapshot().backup().flatten().collect();
    store.close().await;
    assert!(backup.windows(4).any(|part| part == b"hush"));

    let options = log(to.path(), &to.path().join("keys"));
    store::restore(&options, &mut &backup[..], 0).expect("restored");
    assert!(on_disk(to.path(), "loud") && !on_disk(to.path(), "hush"));
    let copy = open(&options).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(copy.snapshot().get(&secret("x")).map(|entry| text(entry)), Some("hush"));
    copy.close().await;
}

#[tokio::test]
async fn who_wrote_a_version_is_known_after_a_restart_and_a_restore() {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let options = log(from.path(), &from.path().join("keys"));
    let by = |key: &Key, who: &str| store::Write { author: Some(who.into()), ..put(key, who) };
    let keys = [secret("x"), pod("a/x")];
    let store = open(&options).unwrap_or_else(|error| panic!("{error}"));
    for who in ["alice", "bob"] {
        for key in &keys {
            must(&store, by(key, who)).await;
        }
    }
    for key in &keys {
        must(&store, put(key, "nobody")).await;
        must(&store, by(key, "carol")).await;
    }
    let backup: Vec<u8> = store.snapshot().backup().flatten().collect();
    store.close().await;
    drop(store);
    for whole in [true, false] {
        if !whole {
            std::fs::remove_dir_all(from.path().join("store/index")).expect("remove");
        }
        let store = open(&options).unwrap_or_else(|error| panic!("{error}"));
        for key in &keys {
            assert_eq!(store.snapshot().get(key).and_then(|entry| entry.author.as_deref()), Some("carol"));
            let history = store.history(key).await.expect("history");
            let who: Vec<_> = history.iter().map(|event| event.entry.author.as_deref()).collect();
            assert_eq!(who, [Some("carol"), None, Some("bob"), Some("alice")]);
        }
        store.close().await;
    }
    let options = log(to.path(), &to.path().join("keys"));
    store::restore(&options, &mut &backup[..], 0).expect("restored");
    let copy = open(&options).unwrap_or_else(|error| panic!("{error}"));
    for key in &keys {
        let entry = copy.snapshot().get(key).cloned().expect("restored");
        assert_eq!((entry.author.as_deref(), text(&entry)), (Some("carol"), "carol"));
    }
    copy.close().await;
}
