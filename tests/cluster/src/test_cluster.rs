//! The daemons of a cluster, each of which can be stopped and started again by itself.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apiserver::config::StoreKind;
use apiserver::testing::TestServer;
use client::{
    Client, ClientError, DeleteOptions, GroupVersionResource, PatchOptions, PatchType, WriteOptions,
};
use component::{Context, Kubeconfig, Shutdown, SystemClock, TestClock};
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::logs::Logs;
use crate::{FakeNode, Observer};

/// How long the tasks of a daemon may take to end.
const GRACE: Duration = Duration::from_secs(20);

/// Which wall time the daemons see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// The machine's.
    Real,
    /// One that stands still until the test moves it. (Delays are real all the same.)
    Test,
}

/// How a cluster begins.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many nodes.
    pub nodes: usize,
    /// How much CPU each of them has.
    pub cpu: &'static str,
    /// Whether the apiserver keeps its objects on disk.
    pub on_disk: bool,
    /// Which wall time the daemons see.
    pub time: Time,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 2, cpu: "8", on_disk: false, time: Time::Real }
    }
}

/// A whole cluster in the test's process. Call [`TestCluster::stop`] at the end.
pub struct TestCluster {
    /// What the watches show.
    pub observer: Observer,
    /// An administrator's client.
    pub client: Client,
    /// The nodes.
    pub nodes: Vec<FakeNode>,
    /// What was logged so far.
    pub logs: Logs,
    /// The clock, where the test moves it.
    pub clock: Option<Arc<TestClock>>,
    cpu: &'static str,
    server: Option<TestServer>,
    address: SocketAddr,
    scheduler: Option<Context>,
    controllers: Option<Context>,
    watching: Shutdown,
    directory: Option<TempDir>,
}

impl TestCluster {
    /// Two nodes, in memory.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// A cluster that begins like this.
    ///
    /// # Panics
    /// When a daemon does not start.
    pub async fn start_with(options: Options) -> Self {
        let logs = Logs::listen();
        let clock = (options.time == Time::Test).then(|| TestClock::at(Timestamp::now()));
        let directory = options.on_disk.then(|| TempDir::new().expect("make a directory"));
        let config =
            apiserver::testing::config(store_kind(directory.as_ref()), directory.as_ref().map(TempDir::path));
        let server =
            TestServer::start_with(config, context(clock.as_ref())).await.expect("start the apiserver");
        let client = Client::connect(server.admin()).expect("an administrator's client");
        let watching = Shutdown::new();
        let observer = Observer::start(&client, &watching).await;
        let address = server.address();
        let mut cluster = Self {
            observer,
            client,
            nodes: Vec::new(),
            logs,
            clock,
            cpu: options.cpu,
            server: Some(server),
            address,
            scheduler: None,
            controllers: None,
            watching,
            directory,
        };
        cluster.start_controllers().await;
        cluster.start_scheduler().await;
        for _ in 0..options.nodes {
            cluster.add_node().await;
        }
        cluster
    }

    /// One more node like the others, once it takes pods.
    pub async fn add_node(&mut self) -> String {
        self.add_node_of(self.cpu).await
    }

    /// One more node of so much CPU, once it takes pods.
    pub async fn add_node_of(&mut self, cpu: &str) -> String {
        let index = u32::try_from(self.nodes.len()).expect("few nodes") * 8;
        let name = format!("node-{}", self.nodes.len() + 1);
        let clock = context(self.clock.as_ref()).clock;
        self.nodes.push(FakeNode::start(&self.client, &name, index, cpu, clock).await);
        let waiting = self.observer.wait_for("a new node without taints", |observer| {
            observer.node(&name).filter(|node| node.is_ready() && node.taints().is_empty())
        });
        waiting.await;
        name
    }

    /// Starts the scheduler.
    pub async fn start_scheduler(&mut self) {
        let context = context(self.clock.as_ref());
        let config = scheduler::Config { kubeconfig: self.kubeconfig(|all| &all.scheduler) };
        scheduler::run(config, context.clone()).await.expect("start the scheduler");
        self.scheduler = Some(context);
    }

    /// Ends the scheduler.
    pub async fn stop_scheduler(&mut self) {
        end("scheduler", self.scheduler.take()).await;
    }

    /// Starts the controllers.
    pub async fn start_controllers(&mut self) {
        let context = context(self.clock.as_ref());
        let config = controllers::Config::new(self.kubeconfig(|all| &all.controllers));
        controllers::run(config, context.clone()).await.expect("start the controllers");
        self.controllers = Some(context);
    }

    /// Ends the controllers.
    pub async fn stop_controllers(&mut self) {
        end("controllers", self.controllers.take()).await;
    }

    /// Ends the apiserver.
    pub async fn stop_server(&mut self) {
        let server = self.server.take().expect("the apiserver runs");
        assert!(server.stop().await, "tasks of the apiserver do not end");
    }

    /// Starts the apiserver again, on what it left behind and where it was.
    pub async fn start_server(&mut self) {
        let directory = self.directory.as_ref();
        let mut config = apiserver::testing::config(store_kind(directory), directory.map(TempDir::path));
        config.bind = self.address;
        let server = TestServer::start_with(config, context(self.clock.as_ref())).await;
        self.server = Some(server.expect("start the apiserver again"));
    }

    /// Where the apiserver keeps its objects.
    pub fn directory(&self) -> &Path {
        self.directory.as_ref().expect("a cluster on disk").path()
    }

    /// Creates what a manifest says, in a namespace.
    pub async fn create(&self, namespace: &str, manifest: &Value) -> Result<Value, ClientError> {
        let api = self.client.dynamic(resource_of(manifest));
        api.create(namespace, manifest, &WriteOptions::default()).await?.decode()
    }

    /// Creates what a manifest says, in the default namespace, and has no doubts.
    ///
    /// # Panics
    /// When the apiserver refuses.
    pub async fn apply(&self, manifest: &Value) -> Value {
        self.create(crate::manifests::NAMESPACE, manifest).await.expect("create an object")
    }

    /// Changes a Deployment of the default namespace, or a subresource of it.
    ///
    /// # Panics
    /// When the apiserver refuses.
    pub async fn patch_deployment(&self, name: &str, subresource: &str, patch: &Value) {
        let api = self.client.dynamic(GroupVersionResource::new("apps", "v1", "deployments"));
        let kind = if subresource.is_empty() { PatchType::Strategic } else { PatchType::Merge };
        let body = (kind, patch.to_string().into());
        let options = PatchOptions::default();
        api.patch(crate::manifests::NAMESPACE, name, subresource, body, &options)
            .await
            .expect("patch a Deployment");
    }

    /// Scales a Deployment as `kubectl scale` does.
    pub async fn scale(&self, name: &str, replicas: i64) {
        self.patch_deployment(name, "scale", &serde_json::json!({"spec": {"replicas": replicas}})).await;
    }

    /// Deletes a Deployment of the default namespace; what it owned follows by `policy`.
    ///
    /// # Panics
    /// When the apiserver refuses.
    pub async fn delete_deployment(&self, name: &str, policy: &str) {
        let api = self.client.dynamic(GroupVersionResource::new("apps", "v1", "deployments"));
        let options = DeleteOptions { propagation_policy: policy.to_owned(), ..DeleteOptions::default() };
        api.delete(crate::manifests::NAMESPACE, name, &options).await.expect("delete a Deployment");
    }

    /// Waits until a Deployment has brought `replicas` pods of its newest template to be available, and no others.
    pub async fn settled(&self, name: &str, replicas: i64) {
        let waiting = self.observer.wait_for("a Deployment to settle", |observer| {
            let deployment = observer.deployment(name)?;
            let status = &deployment.status;
            (status.observed_generation >= deployment.metadata.generation
                && deployment.spec.replicas == replicas
                && status.replicas == replicas
                && status.updated_replicas == replicas
                && status.available_replicas == replicas)
                .then_some(())
        });
        waiting.await;
    }

    /// Ends all daemons in turn, and looks whether anything went wrong quietly.
    ///
    /// # Panics
    /// When tasks do not end, or the log holds warnings that nobody expects.
    pub async fn stop(mut self) {
        for node in &mut self.nodes {
            node.silence().await;
        }
        self.stop_scheduler().await;
        self.stop_controllers().await;
        self.watching.trigger();
        assert!(self.watching.drain(GRACE).await, "watches do not end");
        self.stop_server().await;
        let unexpected = self.logs.unexpected();
        assert!(unexpected.is_empty(), "the log warns:\n{}", unexpected.join("\n"));
    }

    fn kubeconfig(&self, of: impl FnOnce(&apiserver::pki::Kubeconfigs) -> &Kubeconfig) -> Kubeconfig {
        of(self.server.as_ref().expect("the apiserver runs").kubeconfigs()).clone()
    }
}

async fn end(daemon: &str, context: Option<Context>) {
    let Some(context) = context else { return };
    context.shutdown.trigger();
    assert!(context.shutdown.drain(GRACE).await, "tasks of {daemon} do not end");
}

fn context(clock: Option<&Arc<TestClock>>) -> Context {
    let mut context = Context::for_tests();
    context.clock = match clock {
        Some(clock) => Arc::clone(clock) as _,
        None => SystemClock::shared(),
    };
    context
}

fn store_kind(directory: Option<&TempDir>) -> StoreKind {
    directory.map_or(StoreKind::Memory, |directory| StoreKind::Local(directory.path().join("store")))
}

/// The resource of a manifest's kind: of the few kinds that the tests write.
fn resource_of(manifest: &Value) -> GroupVersionResource {
    let text = |field: &str| manifest[field].as_str().unwrap_or_default();
    let gv = api::gvk::GroupVersion::parse(text("apiVersion"));
    GroupVersionResource::new(gv.group, gv.version, format!("{}s", text("kind").to_lowercase()))
}
