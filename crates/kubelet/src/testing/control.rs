//! An apiserver that knows pods only.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::gvk::NamespacedName;
use client::informer::{From, ItemStream, Source, SourceItem};
use client::{ClientError, EventType, RawObject};
use component::Clock as _;
use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::TokioClock;
use crate::control_plane::{ControlPlane, Reply, Service, Values};
use crate::pod::Pod;
use crate::volumes::Token;
use crate::volumes::claim::{PersistentVolume, PersistentVolumeClaim};

/// Keeps pods, events and nothing else. Clones share everything.
#[derive(Clone)]
pub struct FakeControlPlane {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<NamespacedName, Value>,
    watchers: Vec<mpsc::UnboundedSender<SourceItem>>,
    events: Vec<String>,
    config_maps: BTreeMap<String, Values>,
    /// Claims and their volumes, by the name of the claim.
    storage: BTreeMap<String, (PersistentVolumeClaim, Option<PersistentVolume>)>,
    secrets: BTreeMap<String, Values>,
    /// The handlers of RuntimeClasses.
    runtime_classes: BTreeMap<String, String>,
    /// The requests for tokens so far.
    tokens: Vec<Value>,
    clock: Option<TokioClock>,
}

impl State {
    fn now(&self) -> Timestamp {
        self.clock.map_or(Timestamp::UNIX_EPOCH, |clock| clock.now())
    }
}

impl Default for FakeControlPlane {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), version: watch::Sender::new(1) }) }
    }
}

impl FakeControlPlane {
    /// Creates a pod, or puts another state in its place.
    pub fn put(&self, mut pod: Value) {
        let version = *self.shared.version.borrow() + 1;
        let mut state = self.shared.state.lock();
        pod["metadata"]["resourceVersion"] = version.to_string().into();
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
        let name = NamespacedName::new(text("namespace"), text("name"));
        let item = SourceItem::Applied(raw(&name, &pod, version));
        state.pods.insert(name, pod);
        state.watchers.retain(|watcher| watcher.send(item.clone()).is_ok());
        drop(state);
        self.shared.version.send_replace(version);
    }

    /// Asks for the deletion of a pod of the namespace `default`, as a client does.
    pub fn delete(&self, name: &str, now: Timestamp, grace_seconds: i64) {
        if let Some(mut pod) = self.object(name) {
            pod["metadata"]["deletionTimestamp"] =
                serde_json::to_value(api::time::Time(now)).unwrap_or_default();
            pod["metadata"]["deletionGracePeriodSeconds"] = grace_seconds.into();
            self.put(pod);
        }
    }

    /// Takes a pod of the namespace `default` out, as a forced deletion does.
    pub fn remove(&self, name: &str) {
        let version = *self.shared.version.borrow() + 1;
        let name = NamespacedName::new("default", name);
        let mut state = self.shared.state.lock();
        let Some(pod) = state.pods.remove(&name) else { return };
        let item = SourceItem::Deleted(raw(&name, &pod, version));
        state.watchers.retain(|watcher| watcher.send(item.clone()).is_ok());
        drop(state);
        self.shared.version.send_replace(version);
    }

    /// A pod of the namespace `default`, whole.
    pub fn object(&self, name: &str) -> Option<Value> {
        self.shared.state.lock().pods.get(&NamespacedName::new("default", name)).cloned()
    }

    /// A pod of the namespace `default`, as the kubelet sees it.
    pub fn pod(&self, name: &str) -> Option<Pod> {
        self.object(name).map(|pod| serde_json::from_value(pod).expect("what the kubelet wrote is a pod"))
    }

    /// Creates or changes a ConfigMap, of every namespace.
    pub fn put_config_map(&self, name: &str, values: &[(&str, &str)]) {
        let values = values.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec()));
        self.shared.state.lock().config_maps.insert(name.to_owned(), values.collect());
    }

    /// Creates or changes a Secret, of every namespace.
    pub fn put_secret(&self, name: &str, values: &[(&str, &str)]) {
        let values = values.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec()));
        self.shared.state.lock().secrets.insert(name.to_owned(), values.collect());
    }

    /// Creates a RuntimeClass.
    pub fn put_runtime_class(&self, name: &str, handler: &str) {
        self.shared.state.lock().runtime_classes.insert(name.to_owned(), handler.to_owned());
    }

    /// Creates or changes a claim, of every namespace, with the volume that it is bound to.
    pub fn put_claim(&self, claim: Value, volume: Option<Value>) {
        let claim: PersistentVolumeClaim = serde_json::from_value(claim).expect("tests write claims");
        let volume = volume.map(|volume| serde_json::from_value(volume).expect("tests write volumes"));
        self.shared.state.lock().storage.insert(claim.metadata.name.clone(), (claim, volume));
    }

    /// Takes a claim out, and its volume.
    pub fn remove_claim(&self, name: &str) {
        self.shared.state.lock().storage.remove(name);
    }

    /// What has been asked for as tokens so far. The first one's text is `<account>-1`.
    pub fn token_requests(&self) -> Vec<Value> {
        self.shared.state.lock().tokens.clone()
    }

    /// Says by which clock tokens live.
    pub fn set_clock(&self, clock: TokioClock) {
        self.shared.state.lock().clock = Some(clock);
    }

    /// Counts the changes: each wakes whoever waits on it.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Takes out the events so far, as `Reason: message`.
    pub fn take_events(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state.lock().events)
    }

    /// What an informer follows instead of an apiserver.
    pub fn source(&self) -> impl Source {
        Watched(self.clone())
    }
}

fn raw(name: &NamespacedName, pod: &Value, version: u64) -> RawObject {
    RawObject {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        uid: pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
        resource_version: version,
        payload: pod.to_string().into_bytes().into(),
        warnings: Vec::new(),
    }
}

struct Watched(FakeControlPlane);

impl Source for Watched {
    async fn open(&self, _: From) -> Result<ItemStream, ClientError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let version = *self.0.shared.version.borrow();
        let mut state = self.0.shared.state.lock();
        for (name, pod) in &state.pods {
            let _the_receiver_is_here = sender.send(SourceItem::Applied(raw(name, pod, version)));
        }
        let _the_receiver_is_here = sender.send(SourceItem::Complete { version, watching: true });
        state.watchers.push(sender);
        let items = stream::unfold(receiver, |mut receiver| async move {
            let item = receiver.recv().await?;
            Some((Ok(item), receiver))
        });
        Ok(items.boxed())
    }
}

/// Merges as a merge patch does.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            if let Some(object) = target.as_object_mut() {
                object.remove(key);
            }
        } else {
            merge(&mut target[key], value);
        }
    }
}

impl ControlPlane for FakeControlPlane {
    fn config_map<'a>(&'a self, _: &'a str, name: &'a str) -> Reply<'a, Option<Values>> {
        let values = self.shared.state.lock().config_maps.get(name).cloned();
        Box::pin(async { Ok(values) })
    }

    fn claim<'a>(&'a self, _: &'a str, name: &'a str) -> Reply<'a, Option<PersistentVolumeClaim>> {
        let claim = self.shared.state.lock().storage.get(name).map(|(claim, _)| claim.clone());
        Box::pin(async { Ok(claim) })
    }

    fn persistent_volume<'a>(&'a self, name: &'a str) -> Reply<'a, Option<PersistentVolume>> {
        let state = self.shared.state.lock();
        let mut volumes = state.storage.values().filter_map(|(_, volume)| volume.clone());
        let volume = volumes.find(|volume| volume.metadata.name == name);
        Box::pin(async { Ok(volume) })
    }

    fn token<'a>(&'a self, _: &'a str, account: &'a str, request: &'a Value) -> Reply<'a, Token> {
        let mut state = self.shared.state.lock();
        state.tokens.push(request.clone());
        let text = format!("{account}-{}", state.tokens.len());
        let lifetime = request["spec"]["expirationSeconds"].as_i64().and_then(|s| u64::try_from(s).ok());
        let dies = state.now().checked_add(std::time::Duration::from_secs(lifetime.unwrap_or(3600)));
        let dies = api::time::Time(dies.unwrap_or(Timestamp::MAX));
        Box::pin(async move { Ok(Token { token: text, expiration_timestamp: dies }) })
    }

    fn secret<'a>(&'a self, _: &'a str, name: &'a str) -> Reply<'a, Option<Values>> {
        let values = self.shared.state.lock().secrets.get(name).cloned();
        Box::pin(async { Ok(values) })
    }

    fn runtime_class<'a>(&'a self, name: &'a str) -> Reply<'a, Option<String>> {
        let handler = self.shared.state.lock().runtime_classes.get(name).cloned();
        Box::pin(async { Ok(handler) })
    }

    fn services(&self, _: &str) -> Vec<Service> {
        Vec::new()
    }

    fn patch_status<'a>(&'a self, _: &'a str, name: &'a str, patch: &'a Value) -> Reply<'a, ()> {
        Box::pin(async move {
            // Of another pod of that name nothing is written: the uid in the patch is a precondition.
            let same = |pod: &Value| pod["metadata"]["uid"] == patch["metadata"]["uid"];
            if let Some(mut pod) = self.object(name).filter(same) {
                merge(&mut pod, patch);
                self.put(pod);
            }
            Ok(())
        })
    }

    fn create_pod<'a>(&'a self, _: &'a str, pod: &'a Value) -> Reply<'a, ()> {
        let mut pod = pod.clone();
        pod["metadata"]["uid"] = format!("mirror-{}", self.shared.version.borrow().to_owned()).into();
        self.put(pod);
        Box::pin(async { Ok(()) })
    }

    fn delete_pod<'a>(&'a self, _: &'a str, name: &'a str, uid: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            if self.object(name).is_some_and(|pod| pod["metadata"]["uid"] == uid) {
                self.remove(name);
            }
            Ok(())
        })
    }

    fn event(&self, _: &Pod, _: &str, _: EventType, reason: &str, message: String) {
        self.shared.state.lock().events.push(format!("{reason}: {message}"));
    }
}
