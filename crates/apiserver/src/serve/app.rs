//! What all handlers share.

use std::net::SocketAddr;
use std::sync::Arc;

use component::kubeconfig::Identity;
use component::{Context, Endpoints, SharedClock, Shutdown};

use crate::aggregate::Aggregator;
use crate::audit::Audit;
use crate::discovery::Documents;
use crate::flow::Flow;
use crate::grpc::Services;
use crate::logs::Kubelets;
use crate::metrics::Requests;
use crate::openapi::OpenApi;
use crate::pipeline::{Pipeline, RequestContext, UserInfo};
use crate::pki::Authority;
use crate::serve::Encryption;
use crate::webhook::Allowed;

/// What an [`App`] is made of.
pub(crate) struct Inputs {
    pub(crate) pipeline: Pipeline,
    pub(crate) context: Context,
    pub(crate) authority: Arc<Authority>,
    /// What servers of aggregated APIs are shown, and where they may be.
    pub(crate) proxy_client: Identity,
    pub(crate) allowed: Allowed,
    /// Of the Secrets of a store on the disk.
    pub(crate) encryption: Option<Encryption>,
    pub(crate) kubelets: Kubelets,
    /// Where requests are recorded, if anywhere.
    pub(crate) audit: Option<Arc<Audit>>,
    /// Where clients outside find the server, for discovery.
    pub(crate) address: SocketAddr,
}

/// What all handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) pipeline: Pipeline,
    pub(crate) clock: SharedClock,
    pub(crate) shutdown: Shutdown,
    pub(crate) endpoints: Endpoints,
    pub(crate) requests: Requests,
    pub(crate) flow: Flow,
    pub(crate) discovery: Documents,
    pub(crate) openapi: OpenApi,
    pub(crate) aggregator: Aggregator,
    pub(crate) kubelets: Arc<Kubelets>,
    pub(crate) services: Services,
    /// Where requests are recorded, if anywhere.
    pub(crate) audit: Option<Arc<Audit>>,
    /// Where clients outside find the server.
    pub(crate) address: SocketAddr,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(crate) fn new(inputs: Inputs) -> Self {
        let Inputs { pipeline, context, authority, encryption, kubelets, audit, address, .. } = inputs;
        let aggregator = Aggregator::new(&pipeline, inputs.proxy_client, inputs.allowed, &context);
        let kubelets = Arc::new(kubelets);
        let services = Services::new(&pipeline, authority, encryption, &kubelets, &context);
        Self(Arc::new(Shared {
            discovery: Documents::new(&pipeline.registry(), &aggregator.remotes(), address),
            openapi: OpenApi::default(),
            aggregator,
            flow: Flow::start(pipeline.store(), &context.shutdown),
            requests: context.metrics.register(|registry| Requests::register(registry, pipeline.store())),
            endpoints: Endpoints { health: context.health, metrics: context.metrics },
            clock: context.clock,
            address,
            audit,
            shutdown: context.shutdown,
            pipeline,
            kubelets,
            services,
        }))
    }

    /// The context of a request that begins now.
    pub(crate) fn context(&self, user: UserInfo, user_agent: &str) -> RequestContext {
        RequestContext { user, now: self.clock.now(), at: None, user_agent: user_agent.to_owned() }
    }
}
