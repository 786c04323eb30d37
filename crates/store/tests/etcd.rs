//! Stores over a real etcd cluster: that of the behaviour suite, and what is special to etcd.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use store::testing::etcd::EtcdCluster;
use store::testing::{self, delete, must, object, pod, put, put_if, text, ticking_clock, word_terms};
use store::{
    Backend, Bucket, Change, EtcdOptions, EventKind, Options, Precondition, ReadError, Revision, Scope,
    Snapshot, Store, Watch, Write, WriteError,
};

fn pods() -> Bucket {
    Bucket::from("pods")
}

fn options(etcd: EtcdOptions) -> Options {
    Options { clock: ticking_clock(), ..Options::new(Backend::Etcd(etcd), word_terms()) }
}

fn open(cluster: &EtcdCluster) -> Store {
    open_with(EtcdOptions::new(cluster.endpoints()))
}

fn open_with(etcd: EtcdOptions) -> Store {
    Store::open(options(etcd)).unwrap_or_else(|error| panic!("{error:?}"))
}

fn contents(snapshot: &Snapshot) -> BTreeMap<String, (u64, String)> {
    let entries = snapshot.list(&pods(), Scope::All, None);
    entries.map(|entry| (entry.key.to_string(), (entry.revision.0, text(entry).to_owned()))).collect()
}

/// Reads until the event of a revision has come. Gives all of them.
async fn read_to(watch: &mut Watch, revision: Revision) -> Vec<(u64, EventKind, String)> {
    let mut events: Vec<(u64, EventKind, String)> = Vec::new();
    while events.last().is_none_or(|(last, ..)| *last < revision.0) {
        let event = watch.next().await.expect("the watch goes on");
        assert!(event.entry.value.ends_with(format!("\"{}\"}}", event.revision()).as_bytes()));
        events.push((event.revision().0, event.kind, text(&event.entry).to_owned()));
    }
    events
}

#[tokio::test]
async fn the_etcd_backend_behaves() {
    let directory = tempfile::tempdir().expect("a directory");
    let number = std::sync::atomic::AtomicUsize::new(0);
    // A store of its own for each behaviour, and the cluster that is its until the next one.
    let clusters = parking_lot::Mutex::new(Vec::new());
    let Some(cluster) = EtcdCluster::start(&directory.path().join("first"), 1, &[]) else { return };
    drop(cluster);
    testing::run_all(|| async {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = directory.path().join(number.to_string());
        let cluster = EtcdCluster::start(&path, 1, &[]).expect("it did start before");
        let store = open(&cluster);
        let mut clusters = clusters.lock();
        clusters.clear();
        clusters.push(cluster);
        store
    })
    .await;
}

#[tokio::test]
async fn stores_over_one_cluster_see_each_others_writes_and_overwrite_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(cluster) = EtcdCluster::start(directory.path(), 1, &[]) else { return };
    let (one, two) = (open(&cluster), open(&cluster));
    let start = two.snapshot().revision();
    let mut watch = two.watch(&pods(), start, Scope::All).expect("a watch");
    let first = must(&one, put(&pod("a/x"), "app=one")).await;
    assert_eq!(read_to(&mut watch, first).await, [(first.0, EventKind::Put, "app=one".to_owned())]);
    let signed = Write { author: Some("me".into()), ..put(&pod("a/x"), "app=one") };
    let first = must(&one, signed).await;
    let event = watch.next().await.expect("the watch goes on");
    assert_eq!((event.revision(), event.entry.author.as_deref()), (first, Some("me")));
    // Both from the same revision: one of them must fail.
    let write = |text| put_if(&pod("a/x"), text, Precondition::Revision(first));
    let (left, right) = tokio::join!(one.write(write("app=left")), two.write(write("app=right")));
    match (left, right) {
        (Ok(won), Err(WriteError::PreconditionFailed { current: Some(current) }))
        | (Err(WriteError::PreconditionFailed { current: Some(current) }), Ok(won)) => {
            assert_eq!((current.revision, text(&current)), (won.revision, text(&won)));
        }
        other => panic!("{other:?}"),
    }
    // Two writers that count together, each with what it has read.
    must(&one, put(&pod("a/count"), "0")).await;
    let add = async |store: &Store| {
        for _ in 0..50 {
            loop {
                let snapshot = store.snapshot();
                let Some(entry) = snapshot.get(&pod("a/count")) else {
                    // It has not been told of it yet: what it tries fails, and after that it has.
                    let absent = put_if(&pod("a/count"), "0", Precondition::Absent);
                    assert!(store.write(absent).await.is_err());
                    continue;
                };
                let next = text(entry).parse::<u64>().expect("a number") + 1;
                let precondition = Precondition::Revision(entry.revision);
                match store.write(put_if(&pod("a/count"), &next.to_string(), precondition)).await {
                    Ok(_) => break,
                    Err(WriteError::PreconditionFailed { current: Some(_) }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    tokio::join!(add(&one), add(&two));
    let end = must(&one, put(&pod("a/end"), "end")).await;
    let count = one.snapshot().get(&pod("a/count")).map(|entry| text(entry).to_owned());
    assert_eq!(count.as_deref(), Some("100"));
    // What was deleted through one is told by the other as the one said it, and is gone there for whoever asks.
    let gone = must(&one, delete(&pod("a/x"), "last words")).await;
    assert!(matches!(
        two.write(put_if(&pod("a/x"), "again", Precondition::Revision(first))).await,
        Err(WriteError::PreconditionFailed { current: None })
    ));
    assert!(two.snapshot().get(&pod("a/x")).is_none());
    let mut watch = two.watch(&pods(), end, Scope::All).expect("a watch");
    assert_eq!(read_to(&mut watch, gone).await, [(gone.0, EventKind::Delete, "last words".to_owned())]);
    assert_eq!(contents(&one.snapshot()), contents(&two.snapshot()));
    one.close().await;
    must(&two, put(&pod("a/y"), "alone")).await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_watches_go_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(cluster) = EtcdCluster::start(directory.path(), 1, &[]) else { return };
    let store = open(&cluster);
    let mut told = Vec::new();
    for number in 0..1200_u64 {
        let key = pod(&format!("n{}/p{}", number % 3, number % 700));
        let there = store.snapshot().get(&key).is_some();
        let write = match there && number % 7 == 0 {
            true => delete(&key, &format!("gone={number}")),
            false => put(&key, &format!("n=v{number}")),
        };
        let kind =
            if matches!(write.change, Change::Delete { .. }) { EventKind::Delete } else { EventKind::Put };
        let entry = store.write(write).await.expect("written");
        told.push((entry.revision, kind, text(&entry).to_owned()));
    }
    let before = store.snapshot();
    store.close().await;
    let store = open(&cluster);
    assert_eq!(contents(&store.snapshot()), contents(&before));
    assert_eq!(store.snapshot().live_bytes(), before.live_bytes());
    for at in [0, 1, 600, 1199] {
        let (after, ..) = told[at];
        let mut watch = store.watch(&pods(), after, Scope::All).expect("etcd has it still");
        for (revision, kind, words) in &told[at + 1..] {
            let event = watch.try_next().expect("it goes on").expect("an event");
            assert_eq!(
                (event.revision(), event.kind, text(&event.entry)),
                (*revision, *kind, words.as_str())
            );
        }
        assert!(watch.try_next().expect("it goes on").is_none());
    }
    // A store that is behind what etcd has compacted begins there.
    let mut compacting = EtcdOptions::new(cluster.endpoints());
    compacting.compaction_interval = Duration::from_millis(20);
    let compactor = open_with(compacting);
    while open(&cluster).oldest() <= Revision(2) {}
    compactor.close().await;
    let fresh = open(&cluster);
    assert!(fresh.oldest() > Revision(2));
    assert_eq!(contents(&fresh.snapshot()), contents(&before));
    let old = fresh.watch(&pods(), Revision(2), Scope::All).map(|_| ());
    assert!(matches!(old, Err(ReadError::Compacted { .. })));
}

/// Writes to keys of its own until it is told to stop. Gives what was acknowledged, by key.
async fn write_on(
    store: Store,
    writer: usize,
    mut stop: tokio::sync::watch::Receiver<bool>,
    progress: Arc<tokio::sync::Semaphore>,
) -> BTreeMap<String, (Option<u64>, bool)> {
    // The revision that was acknowledged last (none: deleted), and whether a later write may have been done.
    let mut known: BTreeMap<String, (Option<u64>, bool)> = BTreeMap::new();
    let mut number = 0;
    while !*stop.borrow_and_update() {
        number += 1;
        let key = pod(&format!("w{writer}/{}", number % 40));
        let state = known.entry(key.to_string()).or_insert((None, false));
        if state.1 {
            continue;
        }
        let write = match state.0 {
            None => put_if(&key, &format!("n={number}"), Precondition::Absent),
            Some(revision) if number % 5 == 0 => {
                let change = Change::Delete { last: object(&format!("gone={number}")) };
                Write { change, ..put_if(&key, "", Precondition::Revision(Revision(revision))) }
            }
            Some(revision) => {
                put_if(&key, &format!("n={number}"), Precondition::Revision(Revision(revision)))
            }
        };
        let deletes = matches!(write.change, Change::Delete { .. });
        match store.write(write).await {
            Ok(entry) => {
                state.0 = (!deletes).then_some(entry.revision.0);
                progress.add_permits(1);
            }
            Err(WriteError::Unknown { .. }) => state.1 = true,
            Err(WriteError::Unavailable { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_killed_under_load_costs_no_acknowledged_write_and_no_event() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(mut cluster) = EtcdCluster::start(directory.path(), 3, &[]) else { return };
    let store = open(&cluster);
    let other = open(&cluster);
    let begin = store.snapshot().revision();
    let mut watches: Vec<_> = [&store, &other]
        .iter()
        .map(|store| store.watch(&pods(), begin, Scope::All).expect("watch"))
        .collect();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let progress = Arc::new(tokio::sync::Semaphore::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let store = if writer % 2 == 0 { store.clone() } else { other.clone() };
        writers.spawn(write_on(store, writer, stopped.clone(), progress.clone()));
    }
    let some_writes = || async { progress.acquire_many(300).await.expect("open").forget() };
    some_writes().await;
    for at in 0..3 {
        cluster.kill(at);
        some_writes().await;
        cluster.restart(at);
        some_writes().await;
    }
    stop.send(true).expect("writers listen");
    let mut known = BTreeMap::new();
    for of_one in writers.join_all().await {
        known.extend(of_one);
    }
    let end = must(&store, put(&pod("end/end"), "end")).await;
    let sure = known.iter().filter(|(_, (_, unsure))| !unsure).count();
    assert!(sure > 0, "every write is in doubt");
    // A third one, that has seen nothing of it, tells what etcd has.
    let fresh = open(&cluster);
    let found = contents(&fresh.snapshot());
    for (key, (revision, unsure)) in &known {
        let there = found.get(key).map(|(revision, _)| *revision);
        assert!(*unsure || there == *revision, "{key}: acknowledged {revision:?}, found {there:?}");
    }
    // Both watches told the same, in order, each change of each key on top of the one before.
    let mut all = Vec::new();
    for watch in &mut watches {
        let mut events = Vec::new();
        let mut last = begin;
        let mut current = BTreeMap::new();
        while last < end {
            let event = watch.next().await.expect("the watch goes on");
            assert!(event.revision() > last);
            last = event.revision();
            let key = event.entry.key.to_string();
            let previous = event.previous.as_ref().map(|entry| entry.revision);
            assert_eq!(current.get(&key).copied(), previous, "{key}");
            match event.kind {
                EventKind::Put => current.insert(key, event.revision()),
                EventKind::Delete => current.remove(&key),
            };
            events.push((event.revision(), event.kind, event.entry.key.clone()));
        }
        let current: BTreeMap<_, _> = current.into_iter().map(|(key, revision)| (key, revision.0)).collect();
        let found: BTreeMap<_, _> =
            found.iter().map(|(key, (revision, _))| (key.clone(), *revision)).collect();
        assert_eq!(current, found);
        all.push(events);
    }
    assert_eq!(all[0], all[1]);
}

#[tokio::test]
async fn a_member_that_says_nothing_any_more_is_left_for_another_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(cluster) = EtcdCluster::start(directory.path(), 3, &[]) else { return };
    let mut etcd = EtcdOptions::new(cluster.endpoints());
    etcd.timeout = Duration::from_secs(4);
    let store = open_with(etcd);
    let begin = must(&store, put(&pod("a/x"), "begin")).await;
    let mut watch = store.watch(&pods(), begin, Scope::All).expect("a watch");
    let mut last = begin;
    for at in 0..3 {
        cluster.pause(at);
        let mut written = 0;
        while written < 20 {
            match store.write(put(&pod("a/x"), &format!("n=v{written}"))).await {
                Ok(entry) => {
                    written += 1;
                    last = entry.revision;
                }
                Err(WriteError::Unknown { .. } | WriteError::Unavailable { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        cluster.resume(at);
    }
    assert!(read_to(&mut watch, last).await.len() >= 60);
}

#[tokio::test]
async fn when_etcd_has_no_room_writes_are_refused_and_deletes_go_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let quota = ["--quota-backend-bytes", "1000000"];
    let Some(cluster) = EtcdCluster::start(directory.path(), 1, &quota) else { return };
    let (store, other) = (open(&cluster), open(&cluster));
    let large = "x".repeat(50_000);
    let mut revision = Revision::FIRST;
    let mut names = Vec::new();
    loop {
        let name = pod(&format!("a/{}", names.len()));
        match store.write(put(&name, &large)).await {
            Ok(entry) => {
                revision = entry.revision;
                names.push(name);
            }
            Err(WriteError::Full) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    let mut watch = store.watch(&pods(), revision, Scope::All).expect("a watch");
    let gone = must(&store, delete(&names[0], &large)).await;
    assert!(gone > revision);
    assert!(store.snapshot().get(&names[0]).is_none());
    // There was no room to tell of it.
    assert!(matches!(watch.next().await, Err(ReadError::Compacted { .. })));
    assert!(matches!(
        other.write(put_if(&names[0], "again", Precondition::Revision(revision))).await,
        Err(WriteError::PreconditionFailed { current: None } | WriteError::Full)
    ));
    assert!(matches!(store.write(put(&names[0], &large)).await, Err(WriteError::Full)));
}

#[tokio::test]
async fn when_etcd_is_away_writes_fail_clearly_and_all_goes_on_when_it_is_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(mut cluster) = EtcdCluster::start(directory.path(), 1, &[]) else { return };
    let mut etcd = EtcdOptions::new(cluster.endpoints());
    etcd.timeout = Duration::from_millis(1500);
    let store = open_with(etcd);
    let first = must(&store, put(&pod("a/x"), "one")).await;
    let mut watch = store.watch(&pods(), first, Scope::All).expect("a watch");
    assert!(store.reachable().is_ok());
    cluster.kill(0);
    // The very first may have met the connection as it broke.
    let _ = store.write(put_if(&pod("a/x"), "lost", Precondition::Absent)).await;
    match store.write(put(&pod("a/x"), "two")).await {
        Err(error @ WriteError::Unavailable { .. }) => {
            assert!(error.to_string().starts_with("etcd cannot be used ("), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(store.reachable().is_err());
    assert_eq!(store.snapshot().get(&pod("a/x")).map(|entry| text(entry)), Some("one"), "reads go on");
    cluster.restart(0);
    let three = loop {
        match store.write(put(&pod("a/x"), "three")).await {
            Ok(entry) => break entry.revision,
            Err(WriteError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(read_to(&mut watch, three).await, [(three.0, EventKind::Put, "three".to_owned())]);
    assert!(store.reachable().is_ok());
    store.close().await;
    cluster.kill(0);
    let mut etcd = EtcdOptions::new(cluster.endpoints());
    etcd.timeout = Duration::from_millis(300);
    let error = Store::open(options(etcd)).map(|_| ()).expect_err("there is nobody");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.starts_with("etcd cannot be reached ("), "{cause}");
}

/// A certificate authority, and a certificate of it for both ends.
struct Pki {
    authority: String,
    certificate: String,
    key: String,
}

fn pki() -> Pki {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate =
        CertificateParams::new(names).expect("parameters").signed_by(&key, &authority).expect("signed");
    Pki { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}

fn write_file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[tokio::test]
async fn tls_is_spoken_with_members_that_ask_for_a_certificate() {
    let directory = tempfile::tempdir().expect("a directory");
    let pki = pki();
    let authority = write_file(directory.path(), "ca.pem", &pki.authority);
    let certificate = write_file(directory.path(), "cert.pem", &pki.certificate);
    let key = write_file(directory.path(), "key.pem", &pki.key);
    let more = [
        "--cert-file",
        &certificate,
        "--key-file",
        &key,
        "--trusted-ca-file",
        &authority,
        "--client-cert-auth",
    ];
    let Some(cluster) = EtcdCluster::start(directory.path(), 1, &more) else { return };
    let identity = Some((pki.certificate.into(), pki.key.into()));
    let mut etcd = EtcdOptions::new(cluster.endpoints());
    etcd.timeout = Duration::from_secs(2);
    etcd.tls = Some(store::EtcdTls { authority: pki.authority.clone().into(), identity });
    let store = open_with(etcd.clone());
    must(&store, put(&pod("a/x"), "safe")).await;
    store.close().await;
    let strangers = [
        store::EtcdTls { authority: pki.authority.into(), identity: None },
        store::EtcdTls { authority: self::pki().authority.into(), identity: None },
    ];
    for tls in strangers {
        let etcd = EtcdOptions { tls: Some(tls), timeout: Duration::from_millis(300), ..etcd.clone() };
        assert!(Store::open(options(etcd)).is_err());
    }
}

/// Asks etcd's HTTP gateway for something that no store ever does.
fn administer(endpoint: &str, path: &str, body: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(endpoint).expect("connected");
    let length = body.len();
    write!(stream, "POST /v3/{path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    answer
}

#[tokio::test]
async fn a_user_with_a_password_is_let_in_and_nobody_else() {
    let directory = tempfile::tempdir().expect("a directory");
    // Tokens that are too old after a second.
    let Some(cluster) = EtcdCluster::start(directory.path(), 1, &["--auth-token-ttl", "1"]) else { return };
    let endpoint = &cluster.endpoints()[0];
    administer(endpoint, "auth/user/add", r#"{"name":"root","password":"secret"}"#);
    administer(endpoint, "auth/role/add", r#"{"name":"root"}"#);
    administer(endpoint, "auth/user/grant", r#"{"user":"root","role":"root"}"#);
    administer(endpoint, "auth/enable", "{}");
    let with = |user: Option<(&str, &str)>| {
        let mut etcd = EtcdOptions::new(cluster.endpoints());
        etcd.timeout = Duration::from_secs(3);
        etcd.user = user.map(|(name, password)| (name.to_owned(), password.to_owned()));
        Store::open(options(etcd))
    };
    let store = with(Some(("root", "secret"))).unwrap_or_else(|error| panic!("{error:?}"));
    let first = must(&store, put(&pod("a/x"), "one")).await;
    let mut watch = store.watch(&pods(), first, Scope::All).expect("a watch");
    // Nobody writes for so long that etcd forgets the token, for which it looks each second.
    assert!(tokio::time::timeout(Duration::from_millis(2500), watch.next()).await.is_err());
    let second = must(&store, put(&pod("a/x"), "two")).await;
    assert_eq!(watch.next().await.expect("the watch goes on").revision(), second);
    for stranger in [None, Some(("root", "guess"))] {
        let error = with(stranger).map(|_| ()).expect_err("not let in");
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(cause.starts_with("etcd refuses ("), "{cause}");
    }
}

#[tokio::test]
async fn what_is_changed_by_hand_ends_watches_and_is_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(cluster) = EtcdCluster::start(directory.path(), 1, &[]) else { return };
    let endpoint = &cluster.endpoints()[0];
    let store = open(&cluster);
    let mut revision = Revision::FIRST;
    for name in ["x", "y", "z"] {
        revision = must(&store, put(&pod(&format!("a/{name}")), name)).await;
    }
    let mut watch = store.watch(&pods(), revision, Scope::All).expect("a watch");
    // "/coxswain/objects/pods/a/x" up to "/coxswain/objects/pods/a/z"
    let range = r#"{"key":"L2NveHN3YWluL29iamVjdHMvcG9kcy9hL3g=","range_end":"L2NveHN3YWluL29iamVjdHMvcG9kcy9hL3o="}"#;
    administer(endpoint, "kv/deleterange", range);
    assert!(matches!(watch.next().await, Err(ReadError::Compacted { .. })));
    let names: Vec<_> = contents(&store.snapshot()).into_keys().collect();
    assert_eq!(names, ["pods/a/z"]);
    must(&store, put_if(&pod("a/x"), "again", Precondition::Absent)).await;
    // That is in the past of one that opens now.
    assert_eq!(contents(&open(&cluster).snapshot()), contents(&store.snapshot()));
    // "/coxswain/objects/pods/a/w" gets "nonsense", which no store has written.
    let mut watch = store.watch(&pods(), store.snapshot().revision(), Scope::All).expect("a watch");
    administer(
        endpoint,
        "kv/put",
        r#"{"key":"L2NveHN3YWluL29iamVjdHMvcG9kcy9hL3c=","value":"bm9uc2Vuc2U="}"#,
    );
    assert!(matches!(watch.next().await, Err(ReadError::Closed)));
    let error = Store::open(options(EtcdOptions::new(cluster.endpoints()))).map(|_| ()).expect_err("refused");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert_eq!(cause, "pods/a/w in etcd is not an object");
}

#[tokio::test]
async fn secrets_are_sealed_in_etcd() {
    use store::disk::real::RealDisk;
    use store::seal::keys::Keys;
    let directory = tempfile::tempdir().expect("a directory");
    let Some(cluster) = EtcdCluster::start(&directory.path().join("etcd"), 1, &[]) else { return };
    let keys = Keys::open(&RealDisk, &directory.path().join("keys"), [pods()]).expect("keys");
    let mut etcd = EtcdOptions::new(cluster.endpoints());
    etcd.seal = Some(Arc::new(keys));
    let store = open_with(etcd.clone());
    must(&store, put(&pod("a/x"), "password")).await;
    must(&store, put(&pod("a/y"), "password")).await;
    must(&store, delete(&pod("a/y"), "password")).await;
    must(&store, put(&store::Key::new(&Bucket::from("nodes"), "", "n"), "password")).await;
    store.close().await;
    // "/coxswain/" up to "/coxswain0"
    let all = r#"{"key":"L2NveHN3YWluLw==","range_end":"L2NveHN3YWluMA=="}"#;
    let answer = administer(&cluster.endpoints()[0], "kv/range", all);
    let values = answer.split("\"value\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let plain = values.map(decode).filter(|value| value.windows(8).any(|part| part == b"password"));
    assert_eq!(plain.count(), 1, "only that of the bucket that is not sealed");
    let store = open_with(etcd.clone());
    assert_eq!(store.snapshot().get(&pod("a/x")).map(|entry| text(entry)), Some("password"));
    store.close().await;
    etcd.seal = None;
    let error = Store::open(options(etcd)).map(|_| ()).expect_err("sealed");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert_eq!(cause, "pods/a/x cannot be encrypted or decrypted");
}

/// The bytes of base64.
fn decode(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<_> = text.bytes().filter(|byte| *byte != b'=').map(digit).collect();
    let whole = |chunk: &[u8]| {
        let number = chunk.iter().fold(0_u32, |number, digit| number << 6 | u32::from(*digit));
        (number << (6 * (4 - chunk.len()))).to_be_bytes()[1..chunk.len()].to_vec()
    };
    digits.chunks(4).flat_map(whole).collect()
}
