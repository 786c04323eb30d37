//! Aggregated APIs: groups and versions that other servers serve, behind this one.
//!
//! ```text
//! APIService ─┬─ local: written for every group and version that is served here (register)
//!             └─ names a Service: Remote ─┬─ is it there? condition Available (check)
//!                                         ├─ what does it serve? discovery, OpenAPI (documents)
//!                                         └─ requests are passed on to it (proxy, connector)
//! ```
//! Requests are authenticated and authorized here; the other server is told who asks in headers, which it believes
//! because of the client certificate that this server shows ([`crate::authn::front_proxy`]). The other server is one of
//! the ready endpoints of its Service, and may not be where no webhook may be either ([`crate::webhook::networks`]).
//!
//! Tasks: one that follows APIServices, Services and their endpoints, and one for each Remote, which looks whether it
//! is there when one of these has changed, and now and then.

mod asked;
mod check;
mod connector;
mod documents;
mod proxy;
mod register;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::status::Status;
use arc_swap::ArcSwap;
use component::kubeconfig::Identity;
use component::{Backoff, Context, ErrorChain, SharedClock, Shutdown, spawn};
use parking_lot::Mutex;
use serde_json::Value;
use store::{Bucket, Event, Snapshot};
use tokio::sync::watch;
use tracing::{info, warn};

pub(crate) use self::asked::Asked;
use self::check::Verdict;
use self::connector::Outlet;
pub(crate) use self::documents::{Documents, add_to_v2};
pub(crate) use self::proxy::{Passed, pass};
pub(crate) use self::register::priority;
use crate::follow::{self, Failure};
use crate::pipeline::{Body, Pipeline, RequestContext, Subresource, Target, WriteOptions, header};
use crate::webhook::{Allowed, ServiceReference};

const BUCKET: &str = "apiservices.apiregistration.k8s.io";
const SERVICES: &str = "services";
const SLICES: &str = "endpointslices.discovery.k8s.io";
const OF_SERVICE: &str = "kubernetes.io/service-name";

/// How often a server that is there is looked at again.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// How soon one that is not there is looked at again at first.
const RETRY_FROM: Duration = Duration::from_millis(200);

/// An APIService that names a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// As `v1beta1.metrics.k8s.io`.
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) group_priority: i64,
    pub(crate) version_priority: i64,
    service: ServiceReference,
    /// Base64 of PEM.
    trust: Option<String>,
    trusts_anybody: bool,
}

impl Spec {
    /// Nothing for a local one.
    fn of(service: &Value) -> Option<Self> {
        let spec = &service["spec"];
        let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
        let place = spec.get("service").filter(|service| service.is_object())?;
        Some(Self {
            name: text(&service["metadata"], "name"),
            group: text(spec, "group"),
            version: text(spec, "version"),
            group_priority: spec["groupPriorityMinimum"].as_i64().unwrap_or_default(),
            version_priority: spec["versionPriority"].as_i64().unwrap_or_default(),
            service: ServiceReference {
                namespace: text(place, "namespace"),
                name: text(place, "name"),
                path: None,
                port: place["port"].as_u64().and_then(|port| u16::try_from(port).ok()),
            },
            trust: Some(text(spec, "caBundle")).filter(|bundle| !bundle.is_empty()),
            trusts_anybody: spec["insecureSkipTLSVerify"] == true,
        })
    }

    /// As in paths.
    fn path(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }
}

/// Another server.
pub(crate) struct Remote {
    pub(crate) spec: Spec,
    outlet: Outlet,
    known: Mutex<Known>,
    /// Wakes its task; ends it when it is dropped.
    poke: watch::Sender<()>,
}

/// What is known of a server.
#[derive(Clone, Default)]
struct Known {
    is_available: bool,
    documents: Arc<Documents>,
}

impl Remote {
    fn is_available(&self) -> bool {
        self.known.lock().is_available
    }

    /// What it serves, as far as that is known.
    pub(crate) fn documents(&self) -> Arc<Documents> {
        self.known.lock().documents.clone()
    }
}

/// The other servers.
#[derive(Default)]
pub(crate) struct Remotes {
    generation: u64,
    all: Vec<Arc<Remote>>,
}

impl Remotes {
    /// Another one where what they serve has changed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Those of the highest priority first.
    pub(crate) fn all(&self) -> &[Arc<Remote>] {
        &self.all
    }

    fn find(&self, group: &str, version: &str) -> Option<&Arc<Remote>> {
        self.all.iter().find(|remote| remote.spec.group == group && remote.spec.version == version)
    }
}

/// Knows the other servers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Aggregator(Arc<Inner>);

struct Inner {
    pipeline: Pipeline,
    clock: SharedClock,
    shutdown: Shutdown,
    allowed: Allowed,
    identity: Mutex<Arc<Identity>>,
    remotes: ArcSwap<Remotes>,
}

impl Aggregator {
    /// Knows nobody yet. Servers are shown `identity`, and may be where they are `allowed` to be.
    pub(crate) fn new(pipeline: &Pipeline, identity: Identity, allowed: Allowed, context: &Context) -> Self {
        Self(Arc::new(Inner {
            pipeline: pipeline.clone(),
            clock: context.clock.clone(),
            shutdown: context.shutdown.clone(),
            allowed,
            identity: Mutex::new(Arc::new(identity)),
            remotes: ArcSwap::default(),
        }))
    }

    /// The other servers.
    pub(crate) fn remotes(&self) -> Arc<Remotes> {
        self.0.remotes.load_full()
    }

    /// Whether there are none.
    pub(crate) fn is_alone(&self) -> bool {
        self.0.remotes.load().all.is_empty()
    }

    /// Who serves a group and version, where it is another server.
    pub(crate) fn remote(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        self.0.remotes.load().find(group, version).cloned()
    }

    /// Shows servers this from now on.
    pub(crate) fn renew(&self, identity: Identity) {
        *self.0.identity.lock() = Arc::new(identity);
    }

    /// Follows the APIServices until shutdown.
    pub(crate) fn start(&self, context: &Context) {
        let own = self.clone();
        follow::keep(context, "apiservices", "write an APIService", move || {
            let own = own.clone();
            async move { own.follow().await }
        });
    }

    async fn follow(&self) -> Result<(), Failure> {
        let Inner { pipeline, .. } = &*self.0;
        let store = pipeline.store();
        let mut served = pipeline.registry_changes();
        loop {
            let snapshot = store.snapshot();
            served.mark_unchanged();
            let watch =
                |bucket| store.watch(&Bucket::from(bucket), snapshot.revision(), None).map_err(Failure::Read);
            let (mut own, mut services, mut slices) = (watch(BUCKET)?, watch(SERVICES)?, watch(SLICES)?);
            register::settle(pipeline, &snapshot, self.0.clock.now()).await.map_err(Failure::Write)?;
            self.take_in(&snapshot);
            loop {
                tokio::select! {
                    changed = own.next() => {
                        changed.map_err(Failure::Read)?;
                        break;
                    }
                    changed = services.next() => {
                        let event = changed.map_err(Failure::Read)?;
                        self.poke(&event, event.entry.key.name());
                    }
                    changed = slices.next() => {
                        let event = changed.map_err(Failure::Read)?;
                        if let Some(name) = header(&event.entry).labels.get(OF_SERVICE) {
                            self.poke(&event, name);
                        }
                    }
                    changed = served.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return Ok(()),
                    },
                }
            }
        }
    }

    /// A Service, or where it is, has changed.
    fn poke(&self, event: &Event, service: &str) {
        for remote in self.0.remotes.load().all() {
            let own = &remote.spec.service;
            if own.name == service && own.namespace == event.entry.key.namespace() {
                remote.poke.send_replace(());
            }
        }
    }

    /// Serves what the APIServices say now.
    fn take_in(&self, snapshot: &Snapshot) {
        let mut before: HashMap<String, Arc<Remote>> =
            self.remotes().all().iter().map(|remote| (remote.spec.name.clone(), remote.clone())).collect();
        let (mut all, mut is_changed) = (Vec::new(), false);
        for entry in snapshot.list(&Bucket::from(BUCKET), None, None) {
            let service: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
            let Some(spec) = Spec::of(&service) else { continue };
            match before.remove(&spec.name) {
                Some(known) if known.spec == spec => all.push(known),
                _ => {
                    is_changed = true;
                    info!(name = spec.name, "another server is to serve an API");
                    all.push(self.begin(spec, check::is_available(&service)));
                }
            }
        }
        if !is_changed && before.is_empty() {
            return;
        }
        all.sort_by(|left, right| {
            let (left, right) = (&left.spec, &right.spec);
            let by_group = right.group_priority.cmp(&left.group_priority);
            let by_version = || right.version_priority.cmp(&left.version_priority);
            by_group.then_with(|| left.group.cmp(&right.group)).then_with(by_version)
        });
        let generation = self.remotes().generation + 1;
        self.0.remotes.store(Arc::new(Remotes { generation, all }));
    }

    /// What the servers serve has changed.
    fn publish(&self) {
        self.0
            .remotes
            .rcu(|remotes| Remotes { generation: remotes.generation + 1, all: remotes.all.clone() });
    }

    fn begin(&self, spec: Spec, is_available: bool) -> Arc<Remote> {
        let Inner { pipeline, shutdown, allowed, identity, .. } = &*self.0;
        let outlet = Outlet::new(&spec, pipeline.store(), allowed, &identity.lock(), shutdown);
        let (poke, mut pokes) = watch::channel(());
        let known = Mutex::new(Known { is_available, documents: Arc::default() });
        let remote = Arc::new(Remote { spec, outlet, known, poke });
        let (own, weak, stopping) = (self.clone(), Arc::downgrade(&remote), shutdown.clone());
        spawn(shutdown, "apiservice", async move {
            let mut backoff = Backoff::new(RETRY_FROM, CHECK_EVERY);
            while let Some(remote) = weak.upgrade() {
                pokes.mark_unchanged();
                let is_there = tokio::select! {
                    () = stopping.triggered() => return,
                    is_there = own.look(&remote) => is_there,
                };
                drop(remote);
                let pause = match is_there {
                    true => {
                        backoff.reset();
                        CHECK_EVERY
                    }
                    false => backoff.next(&mut rand::rng()),
                };
                tokio::select! {
                    () = stopping.triggered() => return,
                    poked = pokes.changed() => if poked.is_err() { return },
                    () = tokio::time::sleep(pause) => {}
                }
            }
        });
        remote
    }

    /// Looks whether a server is there and what it serves; says whether it is.
    async fn look(&self, remote: &Arc<Remote>) -> bool {
        let Inner { pipeline, .. } = &*self.0;
        let before = remote.known.lock().clone();
        let (verdict, documents) = match check::endpoints(&remote.spec, &pipeline.store().snapshot()) {
            Err(verdict) => (verdict, None),
            Ok(()) => match documents::fetch(&remote.spec, &remote.outlet, &before.documents).await {
                Ok(documents) => (Verdict::passed(), Some(documents)),
                Err(why) => (Verdict::failed(why), None),
            },
        };
        let is_available = verdict.is_available;
        // What it served before is shown as it was, marked as stale.
        let documents = documents.unwrap_or_else(|| before.documents.stale());
        let is_changed = before.is_available != is_available || documents != *before.documents;
        *remote.known.lock() = Known { is_available, documents: Arc::new(documents) };
        if is_changed {
            self.publish();
        }
        if let Err(status) = self.report(&remote.spec, &verdict).await {
            warn!(name = remote.spec.name, error = %ErrorChain(&status), "report on an APIService");
            return false;
        }
        is_available
    }

    /// Writes the condition, where it is another one.
    async fn report(&self, spec: &Spec, verdict: &Verdict) -> Result<(), Status> {
        let Inner { pipeline, clock, .. } = &*self.0;
        let context = context(clock.now());
        let Some(def) = pipeline.registry().resource("apiregistration.k8s.io", "v1", "apiservices") else {
            return Ok(());
        };
        let target = Target::object(def, None, &spec.name);
        let found = match pipeline.get(&context, &target, &Default::default()).await {
            Err(status) if status.is_not_found() => return Ok(()),
            found => found?,
        };
        let mut service: Value = serde_json::from_slice(&found.bytes).map_err(Status::internal)?;
        if Spec::of(&service).as_ref() != Some(spec) || !check::set(&mut service, verdict, context.now) {
            return Ok(());
        }
        let body = Body::json(service.to_string());
        let part = target.part(Subresource::Status);
        match pipeline.update(&context, &part, body, &WriteOptions::default()).await {
            // Somebody has changed it meanwhile: it is looked at again for that.
            Err(status) if !status.is_conflict() && !status.is_not_found() => Err(status),
            _ => Ok(()),
        }
    }
}

/// In which APIServices are written.
fn context(now: jiff::Timestamp) -> RequestContext {
    RequestContext::of_server("kube-aggregator", now)
}
