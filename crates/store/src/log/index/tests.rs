//! Tests of the index, on memory and on sled.

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::testing::pod;

fn version(revision: u64) -> Version {
    let place =
        Place { kind: RecordKind::Put, file: FileId::main(1), offset: revision as u32 * 8, length: 64 };
    Version { revision: Revision(revision), place }
}

fn position(revision: u64) -> Position {
    Position {
        file: FileId::main(1),
        start: revision * 8 - 8,
        end: revision * 8,
        chain: 7,
        revision: Revision(revision),
    }
}

fn entries(index: &mut Index) -> Vec<(String, u64)> {
    let mut seen = Vec::new();
    index
        .load(|bucket, path, version| seen.push((format!("{bucket}/{path}"), version.revision.0)))
        .expect("load");
    seen
}

fn fill(index: &mut Index) {
    let sets = (1..=5000).map(|number| Update::Set(pod(&format!("a/p{}", number % 700)), version(number)));
    index.apply(&sets.collect::<Vec<_>>(), position(5000)).expect("apply");
    let removes =
        (1..=100).map(|number| Update::Remove(pod(&format!("a/p{}", number % 700)), Revision(number)));
    index.apply(&removes.collect::<Vec<_>>(), position(5001)).expect("apply");
}

#[test]
fn versions_of_a_key_come_back_oldest_first_from_both_trees() {
    let dir = tempfile::tempdir().expect("a directory");
    for mut index in [Index::in_memory(), Index::create(dir.path()).expect("create")] {
        assert_eq!(index.position().expect("read"), None);
        fill(&mut index);
        assert_eq!(index.position().expect("read"), Some(position(5001)));
        assert_eq!(index.len(), 4900);
        assert_eq!(entries(&mut index).len(), 4900);
        let revisions = |name: &str| -> Vec<u64> {
            let versions = index.versions(&pod(name)).expect("versions");
            versions.iter().map(|version| version.revision.0).collect()
        };
        assert_eq!(revisions("a/p1"), [701, 1401, 2101, 2801, 3501, 4201, 4901]);
        assert_eq!(revisions("a/p200"), [200, 900, 1600, 2300, 3000, 3700, 4400]);
        assert_eq!(revisions("a/p"), [0; 0]);
    }
}

#[test]
fn an_index_is_there_after_it_was_closed_and_a_leftover_of_a_snapshot_does_not_matter() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut index = Index::create(dir.path()).expect("create");
    fill(&mut index);
    let before = entries(&mut index);
    index.checkpoint().expect("checkpoint");
    drop(index);
    fs::write(dir.path().join("snap.0000000000000400.generating"), b"half").expect("write");
    let mut index = Index::open(dir.path()).expect("open");
    assert_eq!(index.position().expect("read"), Some(position(5001)));
    assert_eq!(entries(&mut index), before);
}

#[test]
fn an_index_that_its_last_user_has_not_let_go_of_yet_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut index = Index::create(dir.path()).expect("create");
    fill(&mut index);
    index.checkpoint().expect("checkpoint");
    drop(index);
    let file = fs::File::open(dir.path().join("db")).expect("sled's file");
    file.lock().expect("lock");
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(Index::open(dir.path()).map(|index| index.len())));
        let early = receiver.recv_timeout(Duration::from_millis(50));
        assert!(early.is_err(), "opened while another held the lock: {early:?}");
        drop(file);
        assert!(receiver.recv().expect("an answer").is_ok());
    });
}

#[test]
fn an_entry_that_is_missing_is_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut index = Index::create(dir.path()).expect("create");
    fill(&mut index);
    let Tree::Sled { db, .. } = &index.tree else { panic!("sled") };
    db.remove(version_key(&pod("a/p300"), Revision(300))).expect("remove").expect("was there");
    assert!(index.load(|_, _, _| {}).is_err());
}

#[test]
fn a_file_that_is_not_of_sled_is_an_error_and_not_a_panic() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("db"), vec![0xa5; 1 << 20]).expect("write");
    let opened = Index::open(dir.path());
    assert!(
        opened.is_err()
            || opened.is_ok_and(|index| index.position().is_ok_and(|position| position.is_none()))
    );
    let mut index = Index::create(dir.path()).expect("made anew");
    fill(&mut index);
    assert_eq!(entries(&mut index).len(), 4900);
}
