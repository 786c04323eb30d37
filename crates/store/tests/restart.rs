//! The log on the real disk: what is there after a restart, a kill, and damage to the index.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use store::testing::{delete, must, pod, put, text, word_terms};
use store::{
    Backend, Bucket, EventKind, LogOptions, OpenError, Options, ReadError, Revision, Scope, Snapshot, Store,
    Term, Timestamp, Window,
};

fn options(dir: &Path) -> Options {
    let mut log = LogOptions::new(dir);
    log.segment_bytes = 64 << 10;
    let window = Window { events: 16, bytes: 1 << 20 };
    Options { window, ..Options::new(Backend::Log(log), word_terms()) }
}

fn open(dir: &Path) -> Store {
    Store::open(options(dir)).unwrap_or_else(|error| panic!("{error}"))
}

fn pods() -> Bucket {
    Bucket::from("pods")
}

fn contents(snapshot: &Snapshot) -> BTreeMap<String, (u64, String)> {
    let entries = snapshot.list(&pods(), Scope::All, None);
    entries.map(|entry| (entry.key.to_string(), (entry.revision.0, text(entry).to_owned()))).collect()
}

/// Some thousand writes to some hundred keys. Gives the state after each.
async fn fill(store: &Store, count: u64) -> Vec<Snapshot> {
    let mut states = vec![store.snapshot()];
    for number in 0..count {
        let key = pod(&format!("n{}/p{}", number % 3, (number * number) % 101));
        let there = store.snapshot().get(&key).is_some();
        let write = if there && number % 7 == 0 {
            delete(&key, "gone")
        } else {
            put(&key, &format!("app=a{} n=v{number} {}", number % 4, "x".repeat((number % 300) as usize)))
        };
        must(store, write).await;
        states.push(store.snapshot());
    }
    states
}

#[tokio::test]
async fn everything_is_there_after_a_restart_with_and_without_the_index() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let states = fill(&store, 3000).await;
    store.close().await;
    drop(store);
    let newest = states.last().expect("states");
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("none", |_| {}),
        ("none again", |_| {}),
        ("no index", |index| std::fs::remove_dir_all(index).expect("remove")),
        ("garbage", |index| std::fs::write(index.join("db"), vec![0x5a; 300_000]).expect("write")),
        ("cut off", |index| {
            let file = std::fs::OpenOptions::new().write(true).open(index.join("db")).expect("open");
            file.set_len(file.metadata().expect("metadata").len() / 2).expect("cut");
        }),
    ];
    for (name, damage) in damages {
        damage(&dir.path().join("index"));
        let store = open(dir.path());
        assert_eq!(store.snapshot().revision(), newest.revision(), "{name}");
        assert_eq!(contents(&store.snapshot()), contents(newest), "{name}");
        for state in states.iter().step_by(397) {
            let then = store.snapshot_at(state.revision()).await.expect("kept");
            assert_eq!(contents(&then), contents(state), "{name}");
            assert_eq!(then.written(), state.written(), "{name}");
        }
        store.close().await;
    }
}

#[tokio::test]
async fn a_watch_goes_on_from_any_revision_after_a_restart_and_while_writes_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    fill(&store, 1000).await;
    store.close().await;
    drop(store);
    let store = open(dir.path());
    for after in [1, 2, 500, 990, 1001] {
        let mut watch = store.watch(&pods(), Revision(after), Scope::All).expect("kept");
        let mut expected = after;
        while let Some(event) = watch.try_next().expect("kept") {
            expected += 1;
            assert_eq!(event.revision().0, expected);
        }
        assert_eq!(Revision(expected), store.snapshot().revision());
        assert_eq!(watch.progress(), store.snapshot().revision());
    }
    // One that is much slower than the window of 16 events, on a scope of its own.
    let term = Term::new("label", "app", "a1");
    let mut slow = store.watch(&pods(), Revision(1), Scope::Term(term, Some("n1"))).expect("kept");
    let mut all = store.watch(&pods(), Revision(1), Scope::All).expect("kept");
    fill(&store, 1000).await;
    let newest = store.snapshot().revision();
    let (mut seen, mut expected) = (Vec::new(), Vec::new());
    while let Some(event) = slow.try_next().expect("kept") {
        seen.push(event.revision());
    }
    let mut last = Revision(1);
    while last < newest {
        let event = all.next().await.expect("kept");
        assert_eq!(event.revision(), last.next());
        last = event.revision();
        let before = event.previous.as_ref().is_some_and(|entry| entry.terms().contains(&term));
        if event.entry.key.namespace() == "n1" && (event.entry.terms().contains(&term) || before) {
            expected.push(last);
        }
    }
    assert!(expected.len() > 50);
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn history_is_trimmed_oldest_first_under_the_budget() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut options = options(dir.path());
    let Backend::Log(log) = &mut options.backend else { panic!("log") };
    log.segment_bytes = 32 << 10;
    log.history_bytes = 256 << 10;
    let store = Store::open(options.clone()).unwrap_or_else(|error| panic!("{error}"));
    let states = fill(&store, 20_000).await;
    let newest = store.snapshot().revision();
    store.close().await;
    drop(store);
    let size = |dir: &Path| -> u64 {
        let files = std::fs::read_dir(dir).expect("read").flatten();
        files
            .filter_map(|file| file.metadata().ok())
            .filter(|data| data.is_file())
            .map(|data| data.len())
            .sum()
    };
    let live = states.last().expect("states").live_bytes();
    let bound = (256 << 10) + 2 * (32 << 10) + 2 * live + 2 * (32 << 10);
    assert!(size(dir.path()) <= bound, "{} is more than {bound}", size(dir.path()));
    for round in 0..2 {
        let store = Store::open(options.clone()).unwrap_or_else(|error| panic!("{error}"));
        let oldest = store.oldest();
        assert!(oldest > Revision(10_000) && oldest < newest, "{oldest}");
        assert_eq!(contents(&store.snapshot()), contents(states.last().expect("states")));
        for state in states.iter().step_by(13) {
            match store.snapshot_at(state.revision()).await {
                Ok(then) => assert_eq!(contents(&then), contents(state)),
                Err(ReadError::Compacted { .. }) => assert!(state.revision() < oldest),
                Err(error) => panic!("{error}"),
            }
        }
        let before = Revision(oldest.0 - 1);
        assert!(matches!(store.watch(&pods(), before, Scope::All), Err(ReadError::Compacted { .. })));
        let mut watch = store.watch(&pods(), oldest, Scope::All).expect("kept");
        assert_eq!(watch.next().await.expect("kept").revision(), oldest.next());
        store.close().await;
        drop(store);
        if round == 0 {
            std::fs::remove_dir_all(dir.path().join("index")).expect("remove");
        }
    }
}

#[tokio::test]
async fn times_never_go_back_and_name_revisions() {
    let dir = tempfile::tempdir().expect("a directory");
    let times = [100, 200, 150, 300, 300, 50, 400];
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let clock = {
        let next = next.clone();
        move || -> SystemTime {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            UNIX_EPOCH + Duration::from_secs(times[at.min(times.len() - 1)])
        }
    };
    let options = Options { clock: Arc::new(clock), ..options(dir.path()) };
    let store = Store::open(options).unwrap_or_else(|error| panic!("{error}"));
    for number in 0..times.len() {
        must(&store, put(&pod("a/x"), &format!("n=v{number}"))).await;
    }
    let check = async |store: &Store| {
        for (seconds, revision) in
            [(100, 2), (199, 2), (200, 4), (299, 4), (300, 7), (399, 7), (400, 8), (999, 8)]
        {
            let at = store.revision_at(Timestamp(seconds * 1_000_000)).await.expect("known");
            assert_eq!(at, Revision(revision), "at {seconds} s");
        }
    };
    check(&store).await;
    store.close().await;
    drop(store);
    let store = open(dir.path());
    check(&store).await;
    let entry = store.write(put(&pod("a/x"), "later")).await.expect("written");
    assert!(entry.written >= Timestamp(400_000_000));
    let history = store.history(&pod("a/x")).await.expect("history");
    assert_eq!(history.len(), 8);
    assert!(history.windows(2).all(|pair| pair[0].entry.written >= pair[1].entry.written));
    assert!(history.iter().all(|event| event.kind == EventKind::Put));
}

#[tokio::test]
async fn a_directory_that_is_open_does_not_open_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    assert!(matches!(Store::open(options(dir.path())), Err(OpenError::InUse { .. })));
    store.close().await;
    assert!(Store::open(options(dir.path())).is_ok(), "closed is as good as gone");
}

#[tokio::test]
async fn many_writers_at_once_share_groups_and_all_of_them_are_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..64 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut revisions = Vec::new();
            for number in 0..50 {
                let entry =
                    store.write(put(&pod(&format!("w{writer}/p{number}")), "x")).await.expect("written");
                let seen = store.snapshot();
                assert!(seen.revision() >= entry.revision);
                assert!(seen.get(&entry.key).is_some(), "a write is seen once it is acknowledged");
                revisions.push(entry.revision.0);
            }
            assert!(revisions.is_sorted());
            revisions
        });
    }
    let mut all: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (2..2 + 64 * 50).collect::<Vec<_>>(), "one revision for each write, none twice");
    store.close().await;
    drop(store);
    assert_eq!(open(dir.path()).snapshot().len(&pods()), 64 * 50);
}

const CHILD_DIR: &str = "COXSWAIN_STORE_CHILD_DIR";

/// Not a test by itself: what the test below starts, to be killed while it writes.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async {
        let store = open(Path::new(&dir));
        let start = store.snapshot().revision().0;
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..16_u64 {
            let store = store.clone();
            tasks.spawn(async move {
                for number in 0.. {
                    let key = pod(&format!("w{writer}/p{}", number % 23));
                    let text = format!("n=s{start}n{number} {}", "x".repeat((number % 700) as usize));
                    let gone = number % 5 == 4 && store.snapshot().get(&key).is_some();
                    let write = if gone { delete(&key, &text) } else { put(&key, &text) };
                    let entry = store.write(write).await.expect("written");
                    let kind = if gone { "delete" } else { "put" };
                    let line =
                        format!("ack {writer} {} {} {kind} {}\n", number % 23, entry.revision, text.len());
                    std::io::stdout().write_all(line.as_bytes()).expect("the parent reads");
                }
            });
        }
        tasks.join_all().await;
    });
}

#[test]
fn nothing_that_was_acknowledged_is_lost_by_kill_9() {
    let rounds = std::env::var("COXSWAIN_STORE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let dir = tempfile::tempdir().expect("a directory");
    // The newest acknowledged write of each key.
    let mut newest: BTreeMap<(u64, u64), (u64, bool, usize)> = BTreeMap::new();
    let mut last_revision = 0;
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let enough = 50 + (round * 7919) % 1500;
        let mut count = 0;
        let mut take = |line: String| {
            let words: Vec<_> = line.split(' ').collect();
            if let ["ack", writer, key, revision, kind, length] = words[..] {
                let number = |text: &str| text.parse::<u64>().expect("a number");
                let write = (number(revision), kind == "put", number(length) as usize);
                last_revision = last_revision.max(write.0);
                let known = newest.entry((number(writer), number(key))).or_default();
                *known = (*known).max(write);
                count += 1;
            }
            count
        };
        for line in lines.by_ref() {
            if take(line.expect("text")) >= enough {
                break;
            }
        }
        child.kill().expect("kill");
        // What it acknowledged before it died counts too, but for a line that was cut off.
        for line in lines
            .map_while(Result::ok)
            .filter(|line| line.starts_with("ack ") && line.split(' ').count() == 6)
        {
            take(line);
        }
        child.wait().expect("dead");
        let store = open(dir.path());
        let snapshot = store.snapshot();
        assert!(snapshot.revision().0 >= last_revision, "round {round}");
        for ((writer, key), (revision, put, length)) in &newest {
            let entry = snapshot.get(&pod(&format!("w{writer}/p{key}")));
            match entry {
                Some(entry) if entry.revision.0 == *revision => {
                    assert!(put, "round {round}");
                    assert_eq!(text(entry).len(), *length, "round {round}");
                }
                Some(entry) => {
                    assert!(entry.revision.0 > *revision, "round {round}: {entry} is older than {revision}")
                }
                // Deleted by that write, or by one that was on its way.
                None => {
                    let history = runtime.block_on(store.history(&pod(&format!("w{writer}/p{key}"))));
                    let newest = history.expect("history").into_iter().next().expect("a deletion");
                    assert_eq!(newest.kind, EventKind::Delete, "round {round}: {key} is lost");
                    assert!(newest.revision().0 >= *revision, "round {round}");
                }
            }
        }
    }
}
