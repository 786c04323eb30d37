//! What every backend must do, one function for each sentence.
//!
//! Read on: [`super`] for the helpers, [`crate`] for the contract that these check.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{delete, must, object, pod, put, put_if, text};
use crate::{
    Bucket, Change, EventKind, Key, Precondition, ReadError, Revision, Scope, Snapshot, Store, Term, Watch,
    Write, WriteError,
};

fn pods() -> Bucket {
    Bucket::from("pods")
}

fn names(snapshot: &Snapshot, scope: Scope<'_>, after: Option<&Key>) -> Vec<String> {
    snapshot
        .list(&pods(), scope, after)
        .map(|entry| format!("{}/{}", entry.key.namespace(), entry.key.name()))
        .collect()
}

fn drain(watch: &mut Watch) -> Vec<(u64, EventKind, String)> {
    let mut events = Vec::new();
    while let Some(event) = watch.try_next().expect("the watch goes on") {
        events.push((event.revision().0, event.kind, text(&event.entry).to_owned()));
    }
    events
}

/// A put is read back with its revision inside, each write has the next revision.
pub async fn puts_and_gets(store: Store) {
    let first = store.snapshot().revision();
    assert_eq!(first, Revision::FIRST);
    let one = store.write(put(&pod("a/x"), "one")).await.expect("first put");
    assert_eq!(one.revision, first.next());
    assert_eq!(one.value, format!("{{\"data\":\"one\",\"resourceVersion\":\"{}\"}}", one.revision));
    let two = store.write(put(&pod("a/x"), "two")).await.expect("second put");
    assert_eq!(two.revision, one.revision.next());
    assert!(two.written >= one.written);
    let snapshot = store.snapshot();
    assert_eq!(snapshot.revision(), two.revision);
    assert_eq!(snapshot.get(&pod("a/x")).map(|entry| text(entry)), Some("two"));
    assert_eq!(snapshot.get(&pod("a/y")), None);
    assert_eq!(snapshot.live_bytes(), two.value.len() as u64);
    let gone = store.write(delete(&pod("a/x"), "two")).await.expect("delete");
    assert_eq!(gone.revision, two.revision.next());
    assert_eq!(store.snapshot().get(&pod("a/x")), None);
    assert!(store.snapshot().is_empty());
    assert_eq!(store.snapshot().live_bytes(), 0);
}

/// A write whose precondition fails changes nothing and says what stands there.
pub async fn preconditions_hold(store: Store) {
    let key = pod("a/x");
    let absent = Precondition::Absent;
    let one = must(&store, put_if(&key, "one", absent)).await;
    let failing = [
        put_if(&key, "two", absent),
        put_if(&key, "two", Precondition::Revision(Revision(one.0 + 1))),
        Write { precondition: absent, ..delete(&key, "one") },
    ];
    for write in failing {
        match store.write(write).await {
            Err(WriteError::PreconditionFailed { current: Some(current) }) => {
                assert_eq!(current.revision, one)
            }
            other => panic!("{other:?}"),
        }
    }
    for write in [delete(&pod("a/y"), "none"), put_if(&pod("a/y"), "two", Precondition::Revision(one))] {
        match store.write(write).await {
            Err(WriteError::PreconditionFailed { current: None }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.snapshot().revision(), one);
    let two = must(&store, put_if(&key, "two", Precondition::Revision(one))).await;
    assert_eq!(two, one.next(), "failed writes take no revision");
    let change = Change::Delete { last: object("two") };
    must(&store, Write { key, precondition: Precondition::Revision(two), change, author: None }).await;
}

/// Writes of one group see each other in order, and one that fails does not stop the others.
pub async fn a_group_is_each_write_by_itself(store: Store) {
    let (x, y) = (pod("a/x"), pod("a/y"));
    let results = store
        .write_all(vec![
            put_if(&x, "one", Precondition::Absent),
            put_if(&x, "two", Precondition::Absent),
            put(&y, "three"),
            delete(&x, "one"),
            put_if(&x, "four", Precondition::Absent),
        ])
        .await;
    let revisions: Vec<_> =
        results.iter().map(|result| result.as_ref().ok().map(|entry| entry.revision.0)).collect();
    assert_eq!(revisions, [Some(2), None, Some(3), Some(4), Some(5)]);
    assert_eq!(names(&store.snapshot(), Scope::All, None), ["a/x", "a/y"]);
    assert!(store.write_all(Vec::new()).await.is_empty());
}

/// A list is ordered by namespace and name, of one scope, and begins after any key.
pub async fn lists_are_ordered_and_scoped(store: Store) {
    for path in ["b/a", "a/c", "a/a", "a-a/z", "c", "a/b"] {
        must(&store, put(&pod(path), "x")).await;
    }
    must(&store, put(&Key::new(&Bucket::from("nodes"), "", "a"), "x")).await;
    let snapshot = store.snapshot();
    let all = ["/c", "a/a", "a/b", "a/c", "a-a/z", "b/a"];
    assert_eq!(names(&snapshot, Scope::All, None), all);
    assert_eq!(snapshot.len(&pods()), 6);
    for start in 0..all.len() {
        let after = pod(all[start].trim_start_matches('/'));
        assert_eq!(names(&snapshot, Scope::All, Some(&after)), all[start + 1..], "after {after}");
    }
    assert_eq!(names(&snapshot, Scope::Namespace("a"), None), ["a/a", "a/b", "a/c"]);
    assert_eq!(names(&snapshot, Scope::Namespace("a"), Some(&pod("a/b"))), ["a/c"]);
    assert_eq!(names(&snapshot, Scope::Namespace("a"), Some(&pod("a/bb"))), ["a/c"]);
    assert_eq!(names(&snapshot, Scope::Namespace("a"), Some(&pod("c"))), ["a/a", "a/b", "a/c"]);
    assert_eq!(names(&snapshot, Scope::Namespace("a"), Some(&pod("b/a"))), [""; 0]);
    assert_eq!(names(&snapshot, Scope::Namespace("d"), None), [""; 0]);
    assert_eq!(names(&snapshot, Scope::Namespace(""), None), ["/c"]);
    let buckets: Vec<_> = snapshot.buckets().map(Bucket::as_str).collect();
    assert_eq!(buckets, ["nodes", "pods"]);
}

/// A list by term holds exactly what has the term, as objects come, change and go.
pub async fn terms_follow_their_objects(store: Store) {
    let web = Term::new("label", "app", "web");
    let blue = Term::new("label", "color", "blue");
    must(&store, put(&pod("a/x"), "app=web color=blue")).await;
    must(&store, put(&pod("a/y"), "app=web")).await;
    must(&store, put(&pod("b/x"), "app=db color=blue")).await;
    let before = store.snapshot();
    assert_eq!(names(&before, Scope::Term(web, None), None), ["a/x", "a/y"]);
    assert_eq!(names(&before, Scope::Term(blue, None), None), ["a/x", "b/x"]);
    assert_eq!(names(&before, Scope::Term(blue, Some("b")), None), ["b/x"]);
    assert_eq!(names(&before, Scope::Term(web, None), Some(&pod("a/x"))), ["a/y"]);
    must(&store, put(&pod("a/x"), "app=db color=blue")).await;
    must(&store, delete(&pod("b/x"), "app=db color=blue")).await;
    let after = store.snapshot();
    assert_eq!(names(&after, Scope::Term(web, None), None), ["a/y"]);
    assert_eq!(names(&after, Scope::Term(blue, None), None), ["a/x"]);
    assert_eq!(
        names(&before, Scope::Term(web, None), None),
        ["a/x", "a/y"],
        "an old snapshot has its own index"
    );
}

/// A snapshot stays what it was.
pub async fn snapshots_do_not_change(store: Store) {
    must(&store, put(&pod("a/x"), "one")).await;
    let before = store.snapshot();
    must(&store, put(&pod("a/x"), "two")).await;
    must(&store, put(&pod("a/y"), "two")).await;
    assert_eq!(before.get(&pod("a/x")).map(|entry| text(entry)), Some("one"));
    assert_eq!(names(&before, Scope::All, None), ["a/x"]);
}

/// A snapshot of every past revision is what the newest snapshot was then.
pub async fn the_past_can_be_read(store: Store) {
    let mut then = vec![store.snapshot()];
    for round in 0..40 {
        let key = pod(&format!("a/{}", round % 7));
        let there = store.snapshot().get(&key).is_some();
        let write =
            if there && round % 3 == 0 { delete(&key, "gone") } else { put(&key, &format!("n=v{round}")) };
        must(&store, write).await;
        then.push(store.snapshot());
    }
    for before in &then {
        let again = store.snapshot_at(before.revision()).await.expect("the past is kept");
        assert_eq!(again.revision(), before.revision());
        let list =
            |snapshot: &Snapshot| snapshot.list(&pods(), Scope::All, None).cloned().collect::<Vec<_>>();
        assert_eq!(list(&again), list(before));
        assert_eq!(again.live_bytes(), before.live_bytes());
        assert_eq!(again.written(), before.written());
    }
}

/// A watch from any revision gives exactly what came after it.
pub async fn watches_resume_from_any_revision(store: Store) {
    let mut all = Vec::new();
    for round in 0..20 {
        let revision = must(&store, put(&pod(&format!("a/{}", round % 3)), &format!("v{round}"))).await;
        all.push((revision.0, EventKind::Put, format!("v{round}")));
    }
    let revision = must(&store, delete(&pod("a/1"), "v19")).await;
    all.push((revision.0, EventKind::Delete, "v19".to_owned()));
    for start in 0..=all.len() {
        let after = Revision(Revision::FIRST.0 + start as u64);
        let mut watch = store.watch(&pods(), after, Scope::All).expect("the past is kept");
        assert_eq!(drain(&mut watch), all[start..]);
        assert_eq!(drain(&mut watch), []);
    }
    let mut watch = store.watch(&pods(), Revision::FIRST, Scope::All).expect("the past is kept");
    let events = watch.next_batch(1000).await.expect("events");
    let mut last = std::collections::HashMap::new();
    for event in &events {
        let previous = last.insert(event.entry.key.clone(), event.revision());
        assert_eq!(event.previous.as_ref().map(|entry| entry.revision), previous);
    }
}

/// A watch of a scope gives the events of the scope, also when something leaves it.
pub async fn watches_are_scoped(store: Store) {
    let start = store.snapshot().revision();
    let web = Term::new("label", "app", "web");
    let watch = |scope: Scope<'_>| store.watch(&pods(), start, scope).expect("watch");
    let mut early = [
        watch(Scope::All),
        watch(Scope::Namespace("a")),
        watch(Scope::Term(web, None)),
        watch(Scope::Term(web, Some("a"))),
        watch(Scope::Namespace("c")),
        watch(Scope::Term(Term::new("label", "app", "none"), None)),
    ];
    must(&store, put(&pod("a/x"), "app=web")).await;
    must(&store, put(&pod("b/x"), "app=web")).await;
    must(&store, put(&pod("a/y"), "app=db")).await;
    must(&store, put(&pod("a/x"), "app=db")).await;
    must(&store, delete(&pod("b/x"), "app=web")).await;
    must(&store, put(&Key::new(&Bucket::from("nodes"), "a", "x"), "app=web")).await;
    let expected: [&[u64]; 6] = [&[2, 3, 4, 5, 6], &[2, 4, 5], &[2, 3, 5, 6], &[2, 5], &[], &[]];
    let late = [
        watch(Scope::All),
        watch(Scope::Namespace("a")),
        watch(Scope::Term(web, None)),
        watch(Scope::Term(web, Some("a"))),
        watch(Scope::Namespace("c")),
        watch(Scope::Term(Term::new("label", "app", "none"), None)),
    ];
    for (watch, expected) in early.iter_mut().zip(expected) {
        let revisions: Vec<_> = drain(watch).iter().map(|(revision, ..)| *revision).collect();
        assert_eq!(revisions, expected, "{watch:?}");
    }
    drop(early);
    for (mut watch, expected) in late.into_iter().zip(expected) {
        let revisions: Vec<_> = drain(&mut watch).iter().map(|(revision, ..)| *revision).collect();
        assert_eq!(revisions, expected, "{watch:?}");
    }
}

/// A watch that has nothing to give waits, and is woken by the next event of its scope.
pub async fn a_watch_waits_and_is_woken(store: Store) {
    let mut watch = store.watch(&pods(), store.snapshot().revision(), Scope::Namespace("a")).expect("watch");
    let wait = async { watch.next().await.expect("event").revision() };
    let write = async {
        must(&store, put(&pod("b/x"), "other")).await;
        must(&store, put(&pod("a/x"), "mine")).await
    };
    let (seen, written) = tokio::join!(wait, write);
    assert_eq!(seen, written);
}

/// A watch's progress is never ahead of what it gave out, and reaches the newest revision when it gave out all.
pub async fn bookmarks_are_never_ahead(store: Store) {
    let mut watch = store.watch(&pods(), Revision::FIRST, Scope::Namespace("a")).expect("watch");
    must(&store, put(&pod("b/x"), "other")).await;
    must(&store, put(&pod("a/x"), "one")).await;
    must(&store, put(&pod("a/x"), "two")).await;
    must(&store, put(&pod("b/x"), "other")).await;
    assert_eq!(watch.progress(), Revision::FIRST);
    assert_eq!(watch.next().await.expect("event").revision(), Revision(3));
    assert_eq!(watch.progress(), Revision(3));
    assert_eq!(watch.next().await.expect("event").revision(), Revision(4));
    assert_eq!(watch.progress(), Revision(5));
    must(&store, put(&pod("a/x"), "three")).await;
    assert_eq!(watch.progress(), Revision(5));
    assert_eq!(drain(&mut watch).len(), 1);
    assert_eq!(watch.progress(), store.snapshot().revision());
}

/// However many watchers encode an event, the encoding is made once for each kind.
pub async fn an_encoding_is_made_once(store: Store) {
    let made = AtomicUsize::new(0);
    let start = store.snapshot().revision();
    let mut watches: Vec<_> =
        (0..10).map(|_| store.watch(&pods(), start, Scope::All).expect("watch")).collect();
    must(&store, put(&pod("a/x"), "one")).await;
    for watch in &mut watches {
        let event = watch.next().await.expect("event");
        for number in [1, 2] {
            let bytes = event.encoding(number, |event| {
                made.fetch_add(1, Ordering::Relaxed);
                format!("{number} {}", event.entry).into()
            });
            assert_eq!(bytes, format!("{number} pods/a/x@2"));
        }
    }
    assert_eq!(made.load(Ordering::Relaxed), 2);
}

/// Revisions that have not happened cannot be read or watched.
pub async fn the_future_is_refused(store: Store) {
    let newest = must(&store, put(&pod("a/x"), "one")).await;
    let asked = newest.next();
    assert!(matches!(store.snapshot_at(asked).await, Err(ReadError::Future { .. })));
    assert!(matches!(store.watch(&pods(), asked, Scope::All), Err(ReadError::Future { .. })));
    assert!(store.watch(&pods(), newest, Scope::All).is_ok());
}

/// Writes that cannot be are refused and take no revision.
pub async fn invalid_writes_leave_no_trace(store: Store) {
    let before = store.snapshot().revision();
    assert!(matches!(store.write(put(&pod("a/x"), "malformed")).await, Err(WriteError::Malformed { .. })));
    assert!(matches!(store.write(put(&pod("a/"), "x")).await, Err(WriteError::InvalidKey { .. })));
    let huge = "x".repeat(crate::MAX_VALUE);
    assert!(matches!(store.write(put(&pod("a/x"), &huge)).await, Err(WriteError::TooLarge { .. })));
    assert_eq!(store.snapshot().revision(), before);
    assert!(store.snapshot().is_empty());
}

/// The history of a key is its versions, newest first, and of no other key.
pub async fn history_is_newest_first(store: Store) {
    let (x, y) = (pod("a/x"), pod("a/y"));
    for write in [put(&x, "one"), put(&y, "two"), put(&x, "three"), delete(&x, "three"), put(&x, "five")] {
        must(&store, write).await;
    }
    let history = store.history(&x).await.expect("history");
    let told: Vec<_> =
        history.iter().map(|event| (event.revision().0, event.kind, text(&event.entry))).collect();
    use EventKind::{Delete, Put};
    assert_eq!(told, [(6, Put, "five"), (5, Delete, "three"), (4, Put, "three"), (2, Put, "one")]);
}

/// A closed store refuses writes, ends watches, and still answers reads.
pub async fn a_closed_store_takes_no_writes(store: Store) {
    let revision = must(&store, put(&pod("a/x"), "one")).await;
    let mut watch = store.watch(&pods(), revision, Scope::All).expect("watch");
    let mut behind = store.watch(&pods(), Revision::FIRST, Scope::All).expect("watch");
    let wait = async { watch.next().await.err() };
    let (ended, ()) = tokio::join!(wait, store.close());
    assert!(matches!(ended, Some(ReadError::Closed)));
    assert_eq!(behind.next().await.expect("what happened before is still given").revision(), revision);
    assert!(matches!(behind.next().await, Err(ReadError::Closed)));
    assert!(matches!(store.write(put(&pod("a/x"), "two")).await, Err(WriteError::Closed)));
    assert_eq!(store.snapshot().get(&pod("a/x")).map(|entry| text(entry)), Some("one"));
    store.close().await;
    drop(Arc::new(store));
}
