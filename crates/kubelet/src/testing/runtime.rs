//! A container runtime without containers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::{SharedClock, Shutdown, spawn};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::runtime::image::{Reference, RegistryConfig};
use crate::runtime::{
    Answer, ContainerConfig, ContainerRecord, ContainerState, ContainerUsage, ExecOutput, Image, ImagePull,
    LogOptions, NodeImage, Resources, Runtime, RuntimeError, RuntimeEvent, RuntimePod, RuntimeVersion,
    SandboxConfig, SandboxRecord, SandboxState, Signal,
};

/// How a container lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Until it is ended.
    Runs,
    /// It ends by itself.
    Exits {
        /// How long after its start.
        after: Duration,
        /// What it returns.
        code: i32,
    },
    /// It cannot be started.
    FailsToStart(String),
}

/// What happens with the containers of one image.
#[derive(Debug, Clone)]
pub struct Script {
    /// Why pulls fail, one after the other; later ones succeed.
    pub pull_errors: VecDeque<String>,
    /// How long a pull takes.
    pub pull_time: Duration,
    /// How long a start takes.
    pub start_time: Duration,
    /// One life after the other; the last one is repeated.
    pub lives: VecDeque<Life>,
    /// How long after its stop signal a container ends; `None` where it does not listen.
    pub stop_time: Option<Duration>,
    /// What commands in it return.
    pub exec_code: i64,
    /// What it writes to its termination message when it ends.
    pub last_words: Vec<u8>,
    /// What its log says.
    pub log: Bytes,
    /// Bytes of memory that a container uses.
    pub memory: u64,
    /// Bytes of the disk.
    pub disk: u64,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            pull_errors: VecDeque::new(),
            pull_time: Duration::ZERO,
            start_time: Duration::ZERO,
            lives: VecDeque::from([Life::Runs]),
            stop_time: Some(Duration::ZERO),
            exec_code: 0,
            last_words: Vec::new(),
            log: Bytes::new(),
            memory: 0,
            disk: 0,
        }
    }
}

impl Script {
    /// Containers that end by themselves.
    pub fn exits(after: Duration, code: i32) -> Self {
        Self { lives: VecDeque::from([Life::Exits { after, code }]), ..Self::default() }
    }
}

/// The exit code of a process that was killed.
const KILLED: i32 = 137;
/// The exit code of a process that ended at SIGTERM without a handler.
const TERMINATED: i32 = 143;

/// Sandboxes and containers in memory. Clones share everything.
#[derive(Clone)]
pub struct FakeRuntime {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    clock: SharedClock,
    shutdown: Shutdown,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<String, RuntimePod>,
    /// Container id to its image, for its script.
    images: HashMap<String, String>,
    present: HashMap<String, Image>,
    scripts: HashMap<String, Script>,
    listeners: Vec<mpsc::UnboundedSender<String>>,
    calls: Vec<String>,
    next_id: u32,
}

impl State {
    fn id(&mut self, prefix: &str) -> String {
        self.next_id += 1;
        format!("{prefix}{}", self.next_id)
    }

    fn changed(&mut self, uid: &str) {
        self.listeners.retain(|listener| listener.send(uid.to_owned()).is_ok());
    }

    fn script(&mut self, image: &str) -> &mut Script {
        self.scripts.entry(image.to_owned()).or_default()
    }

    fn script_of(&mut self, container: &str) -> Script {
        let image = self.images.get(container).cloned().unwrap_or_default();
        self.script(&image).clone()
    }

    fn container(&mut self, id: &str) -> Result<(String, &mut ContainerRecord), RuntimeError> {
        let found = self.pods.iter_mut().find_map(|(uid, pod)| {
            let record = pod.containers.iter_mut().find(|record| record.id == id)?;
            Some((uid.clone(), record))
        });
        found.ok_or_else(|| RuntimeError::NotFound(id.to_owned()))
    }

    fn removed(&mut self, uid: &str) {
        self.pods.retain(|_, pod| !pod.is_empty());
        self.changed(uid);
    }
}

impl FakeRuntime {
    /// An empty one. Lives of containers are tasks of `shutdown`.
    pub fn new(clock: SharedClock, shutdown: &Shutdown) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), clock, shutdown: shutdown.clone() }) }
    }

    /// Says what happens with an image's containers from now on. The name is as `docker images` shows it.
    pub fn script(&self, image: &str, script: Script) {
        self.shared.state.lock().scripts.insert(image.to_owned(), script);
    }

    /// Changes what happens with an image's containers.
    pub fn change(&self, image: &str, change: impl FnOnce(&mut Script)) {
        change(self.shared.state.lock().script(image));
    }

    /// Takes out what has been asked so far: what changes something, in order.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state.lock().calls)
    }

    /// Every pod of which something is left.
    pub fn pods(&self) -> Vec<RuntimePod> {
        self.shared.state.lock().pods.values().cloned().collect()
    }

    fn call(&self, text: String) {
        self.shared.state.lock().calls.push(text);
    }

    /// A container has ended.
    fn end(&self, id: &str, code: i32) {
        let mut state = self.shared.state.lock();
        let words = state.script_of(id).last_words;
        let now = self.shared.clock.now();
        let Ok((uid, record)) = state.container(id) else { return };
        if record.state != ContainerState::Running {
            return;
        }
        record.state = ContainerState::Exited;
        record.exit_code = code;
        record.finished_at = Some(now);
        if let Some(path) = record.termination_message.as_ref().filter(|_| !words.is_empty()) {
            std::fs::write(path, words).expect("the kubelet has made the file");
        }
        state.changed(&uid);
    }

    /// Ends a container some time from now.
    fn end_later(&self, id: &str, after: Duration, code: i32) {
        let (this, id) = (self.clone(), id.to_owned());
        spawn(&self.shared.shutdown, "fake-container", async move {
            pass(after).await;
            this.end(&id, code);
        });
    }

    fn insert(&self, sandbox_id: &str, config: &ContainerConfig) -> String {
        let now = self.shared.clock.now();
        let mut state = self.shared.state.lock();
        let id = state.id("c");
        state.calls.push(format!("create {}#{}", config.name, config.restart_count));
        state.images.insert(id.clone(), config.image.clone());
        let record = ContainerRecord {
            id: id.clone(),
            name: config.name.clone(),
            sandbox_id: sandbox_id.to_owned(),
            state: ContainerState::Created,
            restart_count: config.restart_count,
            spec_hash: config.spec_hash.clone(),
            backoff: config.backoff,
            image: config.image.clone(),
            image_id: config.image_reference.clone(),
            created_at: now,
            started_at: None,
            finished_at: None,
            exit_code: 0,
            oom_killed: false,
            start_error: None,
            termination_message: config.termination_message.clone(),
            resources: Some(config.resources),
        };
        let pod = state.pods.entry(config.pod_uid.clone()).or_default();
        pod.containers.retain(|old| old.name != config.name || old.restart_count != config.restart_count);
        pod.containers.insert(0, record);
        state.changed(&config.pod_uid);
        id
    }

    async fn begin(&self, id: &str) -> Result<(), RuntimeError> {
        let (time, life) = {
            let mut state = self.shared.state.lock();
            let image = state.images.get(id).cloned().unwrap_or_default();
            let script = state.script(&image);
            let life = if script.lives.len() > 1 { script.lives.pop_front() } else { None };
            let life = life.or_else(|| script.lives.front().cloned()).unwrap_or(Life::Runs);
            (script.start_time, life)
        };
        pass(time).await;
        let now = self.shared.clock.now();
        let mut state = self.shared.state.lock();
        let (uid, record) = state.container(id)?;
        let text = format!("start {}#{}", record.name, record.restart_count);
        let failed = match &life {
            Life::FailsToStart(error) => {
                record.state = ContainerState::Exited;
                record.start_error = Some(error.clone());
                Err(RuntimeError::Failed(error.clone()))
            }
            Life::Runs | Life::Exits { .. } => {
                record.state = ContainerState::Running;
                record.started_at = Some(now);
                Ok(())
            }
        };
        state.calls.push(text);
        state.changed(&uid);
        drop(state);
        if let Life::Exits { after, code } = life {
            self.end_later(id, after, code);
        }
        failed
    }

    fn add_sandbox(&self, config: &SandboxConfig) -> SandboxRecord {
        let now = self.shared.clock.now();
        let mut state = self.shared.state.lock();
        let id = state.id("s");
        state.calls.push(format!("sandbox {}#{}", config.name, config.attempt));
        let [high, low] = u16::try_from(state.next_id).unwrap_or(u16::MAX).to_be_bytes();
        let record = SandboxRecord {
            id,
            attempt: config.attempt,
            state: SandboxState::Ready,
            created_at: now,
            ips: vec![IpAddr::V4(Ipv4Addr::new(10, 244, high, low))],
            holds_network: !config.host_network,
            grace_seconds: config.grace_seconds,
        };
        let pod = state.pods.entry(config.uid.clone()).or_default();
        (pod.uid, pod.namespace, pod.name) =
            (config.uid.clone(), config.namespace.clone(), config.name.clone());
        pod.sandboxes.insert(0, record.clone());
        state.changed(&config.uid);
        record
    }
}

/// An answer that is there at once.
fn now<'a, T: Send + 'a>(result: Result<T, RuntimeError>) -> Answer<'a, T> {
    Box::pin(std::future::ready(result))
}

impl Runtime for FakeRuntime {
    fn version(&self) -> Answer<'_, RuntimeVersion> {
        now(Ok(RuntimeVersion { name: "fake".to_owned(), version: "1".to_owned() }))
    }

    fn list_pods(&self) -> Answer<'_, Vec<RuntimePod>> {
        now(Ok(self.pods()))
    }

    fn pod<'a>(&'a self, uid: &'a str) -> Answer<'a, RuntimePod> {
        now(Ok(self.shared.state.lock().pods.get(uid).cloned().unwrap_or_default()))
    }

    fn run_sandbox<'a>(&'a self, config: &'a SandboxConfig) -> Answer<'a, SandboxRecord> {
        now(Ok(self.add_sandbox(config)))
    }

    fn stop_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let mut state = self.shared.state.lock();
        let mut ended = Vec::new();
        for pod in state.pods.values_mut() {
            for sandbox in pod.sandboxes.iter_mut().filter(|sandbox| sandbox.id == id) {
                (sandbox.state, sandbox.holds_network) = (SandboxState::NotReady, false);
            }
            ended.extend(pod.containers.iter().filter(|c| c.sandbox_id == id).map(|c| c.id.clone()));
        }
        drop(state);
        for container in ended {
            self.end(&container, KILLED);
        }
        now(Ok(()))
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let mut state = self.shared.state.lock();
        let owner = state.pods.iter_mut().find(|(_, pod)| pod.sandboxes.iter().any(|s| s.id == id));
        if let Some((uid, pod)) = owner {
            let uid = uid.clone();
            pod.sandboxes.retain(|sandbox| sandbox.id != id);
            state.removed(&uid);
        }
        now(Ok(()))
    }

    fn create_container<'a>(
        &'a self,
        sandbox_id: &'a str,
        config: &'a ContainerConfig,
    ) -> Answer<'a, String> {
        now(Ok(self.insert(sandbox_id, config)))
    }

    fn start_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.begin(id))
    }

    fn update_container<'a>(&'a self, id: &'a str, resources: Resources) -> Answer<'a, ()> {
        let mut state = self.shared.state.lock();
        let found = state.container(id).map(|(uid, record)| {
            record.resources = Some(resources);
            (uid, record.name.clone())
        });
        now(found.map(|(uid, name)| {
            state.calls.push(format!("update {name}"));
            state.changed(&uid);
        }))
    }

    fn signal_container<'a>(&'a self, id: &'a str, signal: Signal) -> Answer<'a, ()> {
        let (name, stop_time) = {
            let mut state = self.shared.state.lock();
            let stop_time = state.script_of(id).stop_time;
            match state.container(id) {
                Ok((_, record)) => (record.name.clone(), stop_time),
                Err(_) => return now(Ok(())),
            }
        };
        self.call(format!("{signal:?} {name}").to_lowercase());
        match (signal, stop_time) {
            (Signal::Kill, _) => self.end(id, KILLED),
            (Signal::Stop, Some(time)) => self.end_later(id, time, TERMINATED),
            (Signal::Stop, None) => {}
        }
        now(Ok(()))
    }

    fn remove_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let mut state = self.shared.state.lock();
        let owner = state.pods.iter_mut().find(|(_, pod)| pod.containers.iter().any(|c| c.id == id));
        if let Some((uid, pod)) = owner {
            let uid = uid.clone();
            pod.containers.retain(|record| record.id != id);
            state.images.remove(id);
            state.removed(&uid);
        }
        now(Ok(()))
    }

    fn image<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Image>> {
        now(Ok(self.shared.state.lock().present.get(name).cloned()))
    }

    fn pull_image<'a>(&'a self, pull: &'a ImagePull) -> Answer<'a, Image> {
        let name = Reference::parse(&pull.name, &RegistryConfig::default())
            .map_or_else(|_| pull.name.clone(), |reference| reference.familiar());
        let account = pull.credentials.as_ref().map(|account| format!(" as {}", account.username));
        self.call(format!("pull {name}{}", account.unwrap_or_default()));
        Box::pin(async move {
            let (time, error) = {
                let mut state = self.shared.state.lock();
                let script = state.script(&name);
                (script.pull_time, script.pull_errors.pop_front())
            };
            pass(time).await;
            if let Some(error) = error {
                return Err(RuntimeError::Failed(error));
            }
            let reference = format!("fake://{name}");
            let image = Image { id: name.clone(), reference, size: 1 << 20, user: String::new() };
            self.shared.state.lock().present.insert(name, image.clone());
            Ok(image)
        })
    }

    fn images(&self) -> Answer<'_, Vec<NodeImage>> {
        let state = self.shared.state.lock();
        let image = |(name, image): (&String, &Image)| NodeImage {
            id: image.id.clone(),
            names: vec![name.clone()],
            size: image.size,
            in_use: state.images.values().any(|used| used == name),
        };
        now(Ok(state.present.iter().map(image).collect()))
    }

    fn remove_image<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.call(format!("remove image {id}"));
        self.shared.state.lock().present.retain(|_, image| image.id != id);
        now(Ok(()))
    }

    fn usage(&self, disk: bool) -> Answer<'_, Vec<ContainerUsage>> {
        let mut state = self.shared.state.lock();
        let mut usages = Vec::new();
        for pod in state.pods.values() {
            for record in pod.containers.iter().filter(|record| record.state == ContainerState::Running) {
                usages.push(ContainerUsage {
                    id: record.id.clone(),
                    pod_uid: pod.uid.clone(),
                    name: record.name.clone(),
                    started_at: record.started_at,
                    ..ContainerUsage::default()
                });
            }
        }
        for usage in &mut usages {
            let script = state.script_of(&usage.id);
            usage.cgroup.memory = script.memory;
            usage.disk = disk.then_some(script.disk);
        }
        now(Ok(usages))
    }

    fn exec<'a>(&'a self, id: &'a str, _: &'a [String], _: Duration) -> Answer<'a, ExecOutput> {
        let exit_code = self.shared.state.lock().script_of(id).exec_code;
        now(Ok(ExecOutput { exit_code, output: b"said the command".to_vec() }))
    }

    fn logs(&self, id: &str, options: LogOptions) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
        let log = self.shared.state.lock().script_of(id).log;
        let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
        let skipped = options.tail.and_then(|tail| usize::try_from(tail).ok());
        let skipped = skipped.map_or(0, |tail| lines.len().saturating_sub(tail));
        let wanted = Bytes::from(lines[skipped..].concat());
        stream::iter([Ok(wanted)]).boxed()
    }

    fn events(&self) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.shared.state.lock().listeners.push(sender);
        let changes = stream::unfold(receiver, |mut receiver| async move {
            let uid = receiver.recv().await?;
            Some((Ok(RuntimeEvent::PodChanged { uid }), receiver))
        });
        stream::iter([Ok(RuntimeEvent::Connected)]).chain(changes).boxed()
    }

    fn configure_network<'a>(&'a self, _: &'a [String]) -> Answer<'a, ()> {
        now(Ok(()))
    }

    fn collect_garbage(&self) -> Answer<'_, usize> {
        now(Ok(0))
    }
}

/// What a script says takes time takes this long; none where time is paused.
async fn pass(time: Duration) {
    let _over = tokio::time::timeout(time, std::future::pending::<()>()).await;
}
