//! Backup of any backend, and restore into any backend.

use std::io::Cursor;

use store::testing::etcd::EtcdCluster;
use store::testing::{delete, must, pod, put, word_terms};
use store::{
    Backend, Bucket, EtcdOptions, Key, LogOptions, Options, ReadError, RestoreError, Revision, Scope,
    Snapshot, Store, Template, restore, restore_into, was_interrupted,
};

async fn filled(backend: Backend) -> Store {
    let store = Store::open(Options::new(backend, word_terms())).expect("opens");
    for number in 0..900_u64 {
        let key = Key::new(
            &Bucket::from(if number % 5 == 0 { "nodes" } else { "pods" }),
            "",
            &format!("o{}", number % 300),
        );
        must(&store, put(&key, &format!("n=v{number} {}", "x".repeat((number * 7 % 2000) as usize)))).await;
    }
    must(&store, put(&pod("a/gone"), "x")).await;
    must(&store, delete(&pod("a/gone"), "x")).await;
    store
}

fn contents(snapshot: &Snapshot) -> Vec<(String, u64, Vec<u8>)> {
    let buckets: Vec<_> = snapshot.buckets().cloned().collect();
    let entries = buckets.iter().flat_map(|bucket| snapshot.list(bucket, Scope::All, None));
    entries.map(|entry| (entry.key.to_string(), entry.revision.0, entry.value.to_vec())).collect()
}

fn bytes_of(snapshot: &Snapshot) -> Vec<u8> {
    snapshot.backup().flat_map(|piece| piece.to_vec()).collect()
}

#[tokio::test]
async fn a_backup_of_each_backend_is_restored_with_all_revisions() {
    let dir = tempfile::tempdir().expect("a directory");
    let backends = [Backend::Memory, Backend::Log(LogOptions::new(dir.path().join("from")))];
    let mut streams = Vec::new();
    for (number, backend) in backends.into_iter().enumerate() {
        let store = filled(backend).await;
        let snapshot = store.snapshot();
        // What is written while the backup runs is not in it.
        let mut backup = snapshot.backup();
        let mut bytes = backup.next().expect("a header").to_vec();
        must(&store, put(&pod("a/later"), "x")).await;
        bytes.extend(backup.flat_map(|piece| piece.to_vec()));
        streams.push(bytes.len());
        let log = LogOptions::new(dir.path().join(format!("to-{number}")));
        let restored = restore(&log, &mut &bytes[..], 1000).expect("restores");
        assert_eq!((restored.objects, restored.revision), (300, Revision(snapshot.revision().0 + 1000)));
        assert!(matches!(restore(&log, &mut &bytes[..], 0), Err(RestoreError::NotEmpty { .. })));
        for _ in 0..2 {
            let copy = Store::open(Options::new(Backend::Log(log.clone()), word_terms())).expect("opens");
            assert_eq!(contents(&copy.snapshot()), contents(&snapshot));
            assert_eq!(copy.oldest(), restored.revision);
            assert!(matches!(copy.snapshot_at(snapshot.revision()).await, Err(ReadError::Compacted { .. })));
            copy.close().await;
        }
        let copy = Store::open(Options::new(Backend::Log(log), word_terms())).expect("opens");
        let entry = copy.write(put(&pod("a/new"), "x")).await.expect("written");
        assert_eq!(entry.revision, restored.revision.next());
        let old = Key::new(&Bucket::from("pods"), "", "o1");
        must(&copy, put(&old, "newer")).await;
        assert_eq!(
            copy.history(&old).await.expect("history").len(),
            2,
            "the restored version and the new one"
        );
    }
    assert_eq!(streams[0], streams[1], "backups do not depend on the backend");
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused_and_leaves_no_store() {
    let store = filled(Backend::Memory).await;
    let whole = bytes_of(&store.snapshot());
    let dir = tempfile::tempdir().expect("a directory");
    let log = LogOptions::new(dir.path());
    let mut bad = Vec::new();
    for cut in [0, 100, 512, 600, whole.len() / 2, whole.len() - 8, whole.len() - 56] {
        bad.push(whole[..cut].to_vec());
    }
    bad.push([&whole[..], &[0]].concat());
    for at in (0..whole.len()).step_by(whole.len() / 300) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        bad.push(flipped);
    }
    for bytes in bad {
        match restore(&log, &mut &bytes[..], 0) {
            Err(RestoreError::Damaged { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    let restored =
        restore(&log, &mut &whole[..], 0).expect("the whole one restores where the others were refused");
    assert_eq!(restored.revision, store.snapshot().revision());
}

#[tokio::test]
async fn a_backup_of_an_empty_store_is_an_empty_store() {
    let store = Store::open(Options::memory()).expect("opens");
    let dir = tempfile::tempdir().expect("a directory");
    let log = LogOptions::new(dir.path());
    let restored = restore(&log, &mut &bytes_of(&store.snapshot())[..], 0).expect("restores");
    assert_eq!((restored.objects, restored.revision), (0, Revision::FIRST));
    let copy = Store::open(Options::new(Backend::Log(log), word_terms())).expect("opens");
    assert!(copy.snapshot().is_empty());
}

/// Before the revision in a value of these tests.
const BEFORE: &str = "\"resourceVersion\":\"";

/// Finds the hole for the revision in a value of these tests.
fn hole(_: &Key, value: &[u8]) -> Option<Template> {
    let (head, rest) = std::str::from_utf8(value).ok()?.split_once(BEFORE)?;
    let tail = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    Some(Template::new(format!("{head}{BEFORE}"), tail.to_owned()))
}

/// Keys, authors, and values without their revisions.
fn texts(snapshot: &Snapshot) -> Vec<(String, Option<String>, String)> {
    let buckets: Vec<_> = snapshot.buckets().cloned().collect();
    let entries = buckets.iter().flat_map(|bucket| snapshot.list(bucket, Scope::All, None));
    let text =
        |value: &[u8]| String::from_utf8_lossy(value).split(BEFORE).next().unwrap_or_default().to_owned();
    entries
        .map(|entry| (entry.key.to_string(), entry.author.as_deref().map(str::to_owned), text(&entry.value)))
        .collect()
}

/// Opens stores of every backend there is, each empty.
fn empty_stores(dir: &std::path::Path, etcd: Option<&EtcdCluster>) -> Vec<Store> {
    let mut backends = vec![Backend::Memory, Backend::Log(LogOptions::new(dir.join("log")))];
    backends.extend(etcd.map(|cluster| Backend::Etcd(EtcdOptions::new(cluster.endpoints()))));
    let open = |backend| Store::open(Options::new(backend, word_terms())).expect("opens");
    backends.into_iter().map(open).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_into_every_backend_and_only_into_an_empty_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let etcd = EtcdCluster::start(dir.path(), 1, &[]);
    let from = filled(Backend::Memory).await;
    let mut authored = put(&pod("a/mine"), "x");
    authored.author = Some("me".into());
    must(&from, authored).await;
    let bytes = bytes_of(&from.snapshot());
    for store in empty_stores(dir.path(), etcd.as_ref()) {
        for cut in [100, bytes.len() - 8] {
            let cut = restore_into(&store, &mut Cursor::new(&bytes[..cut]), hole).await;
            assert!(matches!(cut, Err(RestoreError::Damaged { .. })), "{cut:?}");
        }
        assert!(store.snapshot().is_empty(), "nothing is there of a backup that is not whole");
        let restored = restore_into(&store, &mut Cursor::new(&bytes), hole).await.expect("restores");
        let snapshot = store.snapshot();
        assert_eq!((restored.objects, restored.revision), (301, snapshot.revision()));
        assert!(!was_interrupted(&snapshot));
        assert_eq!(texts(&snapshot), texts(&from.snapshot()));
        // And a backup of what was restored restores into a log.
        let log = LogOptions::new(tempfile::tempdir_in(dir.path()).expect("a directory").keep());
        restore(&log, &mut &bytes_of(&snapshot)[..], 0).expect("restores");
        let copy = Store::open(Options::new(Backend::Log(log), word_terms())).expect("opens");
        assert_eq!(texts(&copy.snapshot()), texts(&from.snapshot()));
        let again = restore_into(&store, &mut Cursor::new(&bytes), hole).await;
        assert!(matches!(again, Err(RestoreError::InUse)), "{again:?}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_restore_that_was_interrupted_is_seen_and_done_again() {
    let from = filled(Backend::Memory).await;
    let bytes = bytes_of(&from.snapshot());
    let store = Store::open(Options::new(Backend::Memory, word_terms())).expect("opens");
    {
        // Ended at the first write that it waits for.
        let mut backup = Cursor::new(&bytes);
        let unfinished = restore_into(&store, &mut backup, hole);
        let mut unfinished = std::pin::pin!(unfinished);
        let some_are_there = async {
            while store.snapshot().buckets().count() < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            done = unfinished.as_mut() => panic!("it is not to be done yet: {done:?}"),
            () = some_are_there => {}
        }
    }
    assert!(was_interrupted(&store.snapshot()));
    let restored = restore_into(&store, &mut Cursor::new(&bytes), hole).await.expect("restores");
    assert_eq!(restored.objects, 300);
    assert!(!was_interrupted(&store.snapshot()));
    assert_eq!(texts(&store.snapshot()), texts(&from.snapshot()));
}
