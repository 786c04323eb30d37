//! The informer against a scripted source, on paused time.

use std::collections::VecDeque;

use api::meta::ObjectMeta;
use api::status::{Cause, Details, Status};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::*;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
}

crate::resource!(Pod, "", "v1", "pods", "Pod", namespaced);

fn raw(name: &str, version: u64, node: &str) -> RawObject {
    let document = json!({
        "metadata": {"namespace": "default", "name": name, "uid": name, "resourceVersion": version.to_string()},
        "spec": {"nodeName": node, "containers": [{"unknown": "fields are fine"}]},
    });
    RawObject {
        namespace: "default".into(),
        name: name.into(),
        uid: name.into(),
        resource_version: version,
        payload: document.to_string().into(),
        warnings: Vec::new(),
    }
}

fn applied(name: &str, version: u64, node: &str) -> Result<SourceItem, ClientError> {
    Ok(SourceItem::Applied(raw(name, version, node)))
}

fn complete(version: u64) -> Result<SourceItem, ClientError> {
    Ok(SourceItem::Complete { version, watching: true })
}

/// How a scripted stream goes on after its items.
#[derive(Clone, Copy)]
enum Then {
    Waits,
    Ends,
}

type Script = (Vec<Result<SourceItem, ClientError>>, Then);

/// Opens the scripted streams one after another, and says where each was opened from.
struct Scripted {
    scripts: Mutex<VecDeque<Result<Script, ClientError>>>,
    opened: mpsc::UnboundedSender<(From, Instant)>,
}

impl Source for Scripted {
    async fn open(&self, from: From) -> Result<ItemStream, ClientError> {
        let _nobody_listens = self.opened.send((from, Instant::now()));
        let script = self.scripts.lock().pop_front();
        let (items, then) = script.unwrap_or_else(|| Ok((Vec::new(), Then::Waits)))?;
        let items = futures_util::stream::iter(items);
        Ok(match then {
            Then::Waits => Box::pin(items.chain(futures_util::stream::pending())),
            Then::Ends => Box::pin(items),
        })
    }
}

struct Harness {
    store: Store<Pod>,
    told: mpsc::UnboundedReceiver<String>,
    opened: mpsc::UnboundedReceiver<(From, Instant)>,
    shutdown: Shutdown,
}

fn start(scripts: impl IntoIterator<Item = Result<Script, ClientError>>) -> Harness {
    let (opened_sender, opened) = mpsc::unbounded_channel();
    let (told_sender, told) = mpsc::unbounded_channel();
    let source = Scripted { scripts: Mutex::new(scripts.into_iter().collect()), opened: opened_sender };
    let shutdown = Shutdown::new();
    let version = |pod: Option<&Arc<Pod>>| pod.map(|pod| pod.metadata.resource_version.clone());
    let store = Informer::<Pod>::new()
        .rng(StdRng::seed_from_u64(7))
        .index("node", |pod| vec![pod.spec.node_name.clone()])
        .on_change(move |old, new| {
            let name = &new.or(old).expect("one of both").metadata.name;
            let line =
                format!("{name} {}->{}", version(old).unwrap_or_default(), version(new).unwrap_or_default());
            let _nobody_listens = told_sender.send(line);
        })
        .spawn_from(source, &shutdown);
    Harness { store, told, opened, shutdown }
}

impl Harness {
    /// What handlers were told until nothing more happens.
    async fn told(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(Some(line)) = timeout(Duration::from_secs(60), self.told.recv()).await {
            lines.push(line);
        }
        lines
    }

    fn opened(&mut self) -> Vec<From> {
        std::iter::from_fn(|| self.opened.try_recv().ok()).map(|(from, _)| from).collect()
    }

    fn names_on(&self, node: &str) -> Vec<String> {
        self.store.by_index("node", node).iter().map(|pod| pod.metadata.name.clone()).collect()
    }

    async fn end(self) {
        self.shutdown.trigger();
        assert!(self.shutdown.drain(Duration::from_secs(5)).await);
        assert_eq!(self.shutdown.failure(), None);
    }
}

fn broken() -> ClientError {
    ClientError::from(tonic::Status::unavailable("connection reset"))
}

fn expired() -> ClientError {
    Status::failure(Reason::Expired, "too old resource version: 5 (9)").into()
}

#[tokio::test(start_paused = true)]
async fn present_objects_come_first_and_then_each_change_is_told_with_both_states() {
    let mut harness = start([Ok((
        vec![
            applied("a", 1, "n1"),
            applied("b", 2, "n1"),
            complete(4),
            applied("b", 5, "n2"),
            Ok(SourceItem::Deleted(raw("a", 6, "n1"))),
        ],
        Then::Waits,
    ))]);
    harness.store.wait_synced().await;
    assert_eq!(harness.told().await, ["a ->1", "b ->2", "b 2->5", "a 6->"]);
    assert_eq!(harness.opened(), [From::Beginning]);
    assert_eq!((harness.names_on("n1"), harness.names_on("n2")), (vec![], vec!["b".to_owned()]));
    assert_eq!(harness.store.len(), 1);
    assert_eq!(harness.store.list_namespace("default").len(), 1);
    assert!(harness.store.list_namespace("other").is_empty());
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_resumes_from_the_last_version_it_has_seen() {
    let mut harness = start([
        Ok((vec![applied("a", 1, "n1"), complete(4), applied("a", 7, "n1"), Err(broken())], Then::Ends)),
        Err(broken()),
        Ok((vec![Ok(SourceItem::Bookmark(30))], Then::Ends)),
        Ok((vec![applied("a", 31, "n2")], Then::Waits)),
    ]);
    assert_eq!(harness.told().await, ["a ->1", "a 1->7", "a 7->31"]);
    assert_eq!(harness.opened(), [From::Beginning, From::Version(7), From::Version(7), From::Version(30)]);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn starting_over_tells_differences_only() {
    let mut harness = start([
        Ok((
            vec![
                applied("gone", 1, "n1"),
                applied("same", 2, "n1"),
                applied("changed", 3, "n1"),
                complete(5),
                Err(expired()),
            ],
            Then::Ends,
        )),
        Ok((
            vec![applied("changed", 8, "n2"), applied("new", 7, "n1"), applied("same", 2, "n1"), complete(9)],
            Then::Waits,
        )),
    ]);
    assert_eq!(
        harness.told().await,
        ["gone ->1", "same ->2", "changed ->3", "changed 3->8", "new ->7", "gone 1->"]
    );
    assert_eq!(harness.opened(), [From::Beginning, From::Beginning]);
    assert_eq!(harness.names_on("n1"), ["new", "same"]);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_refused_when_the_watch_opens_starts_over_too() {
    let mut harness = start([
        Ok((vec![applied("a", 1, "n1"), complete(5)], Then::Ends)),
        Err(expired()),
        Ok((vec![complete(9)], Then::Waits)),
    ]);
    assert_eq!(harness.told().await, ["a ->1", "a 1->"]);
    assert_eq!(harness.opened(), [From::Beginning, From::Version(5), From::Beginning]);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lost_its_newest_versions_is_listed_again() {
    let details = Details {
        causes: vec![Cause { reason: "ResourceVersionTooLarge".into(), ..Cause::default() }],
        ..Details::default()
    };
    let too_large = Status::failure(Reason::Timeout, "Too large resource version: 5, current: 3");
    let mut harness = start([
        Ok((vec![applied("a", 1, "n1"), complete(5)], Then::Ends)),
        Ok((vec![Err(too_large.with_details(details).into())], Then::Ends)),
        Ok((vec![applied("b", 2, "n1"), complete(3)], Then::Waits)),
    ]);
    assert_eq!(harness.told().await, ["a ->1", "b ->2", "a 1->"]);
    assert_eq!(harness.opened(), [From::Beginning, From::Version(5), From::Beginning]);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_does_not_decode_is_left_out_and_stops_nothing() {
    let malformed = RawObject { payload: b"{\"spec\": 7}".as_slice().into(), ..raw("bad", 3, "n1") };
    let mut harness = start([Ok((
        vec![
            applied("bad", 1, "n1"),
            complete(2),
            Ok(SourceItem::Applied(malformed.clone())),
            applied("good", 4, "n1"),
            Ok(SourceItem::Deleted(malformed)),
        ],
        Then::Waits,
    ))]);
    assert_eq!(harness.told().await, ["bad ->1", "good ->4", "bad 1->"]);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_without_initial_events_is_asked_for_a_list() {
    let listed = SourceItem::Complete { version: 6, watching: false };
    let mut harness = start([
        Err(Status::bad_request("sendInitialEvents is forbidden").into()),
        Ok((vec![applied("a", 1, "n1"), Ok(listed)], Then::Ends)),
        Ok((vec![applied("a", 7, "n1")], Then::Waits)),
    ]);
    harness.store.wait_synced().await;
    assert_eq!(harness.told().await, ["a ->1", "a 1->7"]);
    assert_eq!(harness.opened(), [From::Beginning, From::List, From::Version(6)]);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_apiserver_that_stays_away_is_asked_less_and_less_often() {
    let start_of_test = Instant::now();
    let failures = (0..1000).map(|_| Err(broken()));
    let mut harness = start(failures);
    assert!(timeout(Duration::from_secs(60), harness.store.wait_synced()).await.is_err());
    let times: Vec<Instant> =
        std::iter::from_fn(|| harness.opened.try_recv().ok()).map(|(_, at)| at).collect();
    assert!((30..90).contains(&times.len()), "{} tries in a minute", times.len());
    assert!(times[4] - start_of_test < Duration::from_secs(1), "the first tries come fast");
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_do_not_spin() {
    let ends = (0..10_000).map(|_| Ok((Vec::new(), Then::Ends)));
    let mut harness = start(std::iter::once(Ok((vec![complete(1)], Then::Ends))).chain(ends));
    tokio::time::timeout(Duration::from_secs(60), std::future::pending::<()>()).await.unwrap_err();
    let opened = harness.opened().len();
    assert!((5..90).contains(&opened), "{opened} watches in a minute");
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_made_anew_under_its_name_is_told_as_a_deletion_and_an_addition() {
    let mut anew = raw("a", 9, "n2");
    anew.payload = json!({
        "metadata": {"namespace": "default", "name": "a", "uid": "other", "resourceVersion": "9"},
    })
    .to_string()
    .into();
    let mut harness =
        start([Ok((vec![applied("a", 1, "n1"), complete(2), Ok(SourceItem::Applied(anew))], Then::Waits))]);
    assert_eq!(harness.told().await, ["a ->1", "a 1->", "a ->9"]);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_who_subscribes_late_is_told_of_all_that_is_there() {
    let mut harness =
        start([Ok((vec![applied("a", 1, "n1"), applied("b", 2, "n1"), complete(2)], Then::Waits))]);
    assert_eq!(harness.told().await.len(), 2);
    let (sender, mut receiver) = mpsc::unbounded_channel();
    harness.store.subscribe(move |old, new| {
        let _nobody_listens = sender.send((old.is_some(), new.map(|pod| pod.metadata.name.clone())));
    });
    assert_eq!(receiver.try_recv().ok(), Some((false, Some("a".to_owned()))));
    assert_eq!(receiver.try_recv().ok(), Some((false, Some("b".to_owned()))));
    harness.end().await;
}
