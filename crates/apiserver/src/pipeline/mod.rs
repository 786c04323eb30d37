//! What happens to a request between the wire and the store, whatever the wire is.
//!
//! ```text
//! REST, gRPC ──> Pipeline: authorize ─> decode ─> convert, default ─> admit: mutate ─> kinds: fill in ─> validate
//!                          │                  ─> admit: validate ─> encode ─> Store
//!                          └─ get, list, watch: the stored bytes as they are, converted only for older versions
//! ```
//!
//! The verbs are methods of [`Pipeline`], one file each; the words they speak are in [`types`]. Every verb gives
//! its answer or the Status that Kubernetes gives, and a verb that fails has stored nothing. What a kind does
//! beside being stored is in [`crate::kinds`].
//!
//! Invariants: no verb knows HTTP or gRPC; nothing here spawns, sleeps or reads the clock (`RequestContext::now`
//! is the time) except the watch stream's timers; the
//! [`Authorizer`] is asked in [`authorize`] and by reviews, and nowhere else.

mod admit;
mod anew;
mod author;
mod authorize;
mod bind;
mod collection;
mod continue_token;
mod convert;
mod create;
mod definitions;
mod delete;
mod events;
mod evict;
mod extract;
mod fields;
mod history;
mod list;
mod metadata;
mod names;
mod object;
mod options;
mod parts;
mod past;
mod patch;
mod review;
mod rules;
mod scale;
mod selection;
mod token;
mod types;
mod undelete;
mod update;
mod watch;

use std::sync::Arc;

use api::registry::ResourceDef;
use api::status::Status;
use store::{Bucket, Entry, Snapshot, Store};

pub use authorize::{Attributes, Authorizer, Decision, Granted, RoleWrite};
pub use events::EXPIRE_EVERY;
pub use extract::extract;
pub(crate) use extract::node_term;
pub use history::{Difference, Version};
pub(crate) use names::suffix;
pub use names::{Names, RandomNames};
pub(crate) use object::header;
pub(crate) use object::of_value as object_of_value;
pub(crate) use object::stored as object_of;
pub(crate) use object::template;
pub use object::{deprecation, render};
pub use options::{dry_run, field_validation};
pub use past::Past;
pub(crate) use past::read_only;
pub use types::*;
pub use undelete::{Outcome, Undeleted};
pub use watch::WatchStream;

use crate::admission::{Policies, Quotas, Webhooks};
use crate::authn::Authenticator;
use crate::crd::Definitions;
use crate::kinds::Kinds;
use crate::webhook::{Allowed, Client};

/// What a pipeline is given.
pub struct Parts {
    /// Where the objects are.
    pub store: Store,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Who signs tokens and knows them.
    pub authn: Arc<Authenticator>,
    /// Where uids and the suffixes of generated names come from.
    pub names: Arc<dyn Names>,
}

/// All verbs on all resources. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    authorizer: Arc<dyn Authorizer>,
    authn: Arc<Authenticator>,
    names: Arc<dyn Names>,
    kinds: Kinds,
    definitions: Definitions,
    pods: Arc<ResourceDef>,
    buckets: Buckets,
    authors: author::Authors,
    policies: Policies,
    webhooks: Webhooks,
    client: Arc<Client>,
    converted: convert::Converted,
    quotas: Quotas,
}

/// The buckets that verbs look into beside the one that they are about.
struct Buckets {
    pods: Bucket,
    events: Bucket,
    budgets: Bucket,
}

impl Pipeline {
    /// Learns from the store what is allocated (Service addresses, node ports) and is ready.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, authorizer, authn, names } = parts;
        let kinds = Kinds::rebuild(&store.snapshot());
        let definitions = Definitions::rebuild(&store);
        let client = Arc::new(Client::default());
        let pods = api::registry::registry().resource("", "v1", "pods").expect("pods are built in");
        let buckets = Buckets {
            pods: Bucket::from("pods"),
            events: Bucket::from("events"),
            budgets: Bucket::from("poddisruptionbudgets.policy"),
        };
        Self {
            inner: Arc::new(Inner {
                store,
                authorizer,
                authn,
                names,
                kinds,
                definitions,
                pods,
                buckets,
                authors: Default::default(),
                policies: Policies::default(),
                webhooks: Webhooks::new(client.clone()),
                client,
                converted: Default::default(),
                quotas: Quotas::default(),
            }),
        }
    }

    /// Lets webhooks be at more addresses than those of ordinary hosts.
    pub fn allow_webhooks(&self, allowed: Allowed) {
        self.inner.client.allow(allowed);
    }

    /// The store underneath.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Who signs tokens and knows them.
    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.inner.authn
    }

    /// Returns an object, or its scale.
    pub async fn get(
        &self,
        context: &RequestContext,
        target: &Target,
        options: &GetOptions,
    ) -> Answer<Object> {
        self.allowed(context, "get", target)?;
        let snapshot = self.snapshot_for(context, &options.resource_version).await?;
        let entry = self.shown(&target.def, self.existing(&snapshot, target)?).await?;
        match target.subresource {
            Some(Subresource::Scale) => scale::of_entry(&target.def, &entry),
            _ => object::of_entry(&target.def, entry),
        }
    }

    /// Whether the resource has the verb and the user may use it; the Status that says no otherwise.
    pub fn allowed(&self, context: &RequestContext, verb: &str, target: &Target) -> Answer<()> {
        if context.at.is_some() && !matches!(verb, "get" | "list") {
            return Err(read_only());
        }
        object::check_verb(target, verb)?;
        authorize::check(&*self.inner.authorizer, &Attributes::of(context, verb, target))
    }

    /// Whether the user may `verb` (as `get`) a path that is no resource, as `/metrics`.
    pub fn allowed_path(&self, context: &RequestContext, verb: &str, path: &str) -> Answer<()> {
        let attributes = Attributes { path, verb, ..Attributes::nothing(&context.user) };
        authorize::check(&*self.inner.authorizer, &attributes)
    }

    /// Where the kubelet of a pod listens, for logs, exec and the like; `verb` is `get` or `create`.
    pub fn pod_host(&self, context: &RequestContext, verb: &str, target: &Target) -> Answer<PodHost> {
        self.allowed(context, verb, target)?;
        if context.at.is_some() {
            return Err(read_only());
        }
        let snapshot = self.inner.store.snapshot();
        let pod = self.existing(&snapshot, target)?;
        crate::kinds::pod::host(&snapshot, &pod)
    }

    /// Where the kubelet of a node listens, for whoever may get that part of a node, as `stats`.
    pub fn node_host(&self, context: &RequestContext, part: &str, name: &str) -> Answer<PodHost> {
        let asked = Attributes {
            verb: "get",
            version: "v1",
            resource: "nodes",
            subresource: part,
            name,
            ..Attributes::nothing(&context.user)
        };
        self.require(&asked)?;
        if context.at.is_some() {
            return Err(read_only());
        }
        let snapshot = self.inner.store.snapshot();
        let node = snapshot.get(&store::Key::new(&Bucket::from("nodes"), "", name));
        crate::kinds::pod::node_host(name, node.ok_or_else(|| Status::not_found("", "nodes", name))?)
    }

    fn existing(&self, snapshot: &Snapshot, target: &Target) -> Answer<Arc<Entry>> {
        let key = object::key(target);
        snapshot.get(&key).cloned().ok_or_else(|| object::not_found(&target.def, key.name()))
    }
}
