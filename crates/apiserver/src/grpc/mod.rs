//! The gRPC contract of /proto as a second shell over the pipeline, with standard health checking and reflection.
//!
//! Read on: [`resources`] for objects, [`cluster`] for the cluster as a whole, [`history`] for
//! what was, [`convert`] for what messages mean.

mod cluster;
mod convert;
mod history;
mod node;
mod resources;

use std::convert::Infallible;
use std::sync::Arc;

use component::{Context, SharedClock};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rpc::v1::cluster_server::ClusterServer;
use rpc::v1::history_server::HistoryServer;
use rpc::v1::node_server::NodeServer;
use rpc::v1::resources_server::ResourcesServer;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};

use crate::audit::{self, Outcome, Record};
use crate::authn;
use crate::logs::Kubelets;
use crate::pipeline::{Past, Pipeline, RequestContext, UserInfo};
use crate::pki::Authority;
use crate::serve::{App, Body, Encryption, Peer};

/// The most bytes of a request's message: the body that REST takes, and some room around it.
const MAX_REQUEST: usize = 4 * 1024 * 1024;

/// The header of a request about the past: a moment, as REST has it in the path.
const PAST: &str = "coxswain-at";

type Boxed = BoxCloneSyncService<Request<Incoming>, Response<tonic::body::Body>, Infallible>;

/// The gRPC services.
pub(crate) struct Services {
    resources: Boxed,
    cluster: Boxed,
    history: Boxed,
    node: Boxed,
    health: Boxed,
    reflection: Option<Boxed>,
}

fn boxed<S>(service: S) -> Boxed
where
    S: Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(service)
}

impl Services {
    pub(crate) fn new(
        pipeline: &Pipeline,
        authority: Arc<Authority>,
        encryption: Option<Encryption>,
        kubelets: &Arc<Kubelets>,
        context: &Context,
    ) -> Self {
        let resources = resources::Service::new(
            pipeline.clone(),
            kubelets.clone(),
            context.clock.clone(),
            context.shutdown.clone(),
        );
        let cluster = cluster::Service::new(pipeline.clone(), authority, encryption, context.clock.clone());
        let history = history::Service { pipeline: pipeline.clone(), clock: context.clock.clone() };
        let node = node::Service {
            pipeline: pipeline.clone(),
            kubelets: kubelets.clone(),
            clock: context.clock.clone(),
            shutdown: context.shutdown.clone(),
        };
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(rpc::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1();
        Self {
            resources: boxed(ResourcesServer::new(resources).max_decoding_message_size(MAX_REQUEST)),
            cluster: boxed(ClusterServer::new(cluster)),
            history: boxed(HistoryServer::new(history)),
            node: boxed(NodeServer::new(node)),
            // Whoever is answered at all is answered by a server that serves.
            health: boxed(HealthServer::new(HealthService::from_health_reporter(HealthReporter::new()))),
            // Our own descriptors are well-formed; without reflection only grpcurl is worse off.
            reflection: reflection.ok().map(boxed),
        }
    }
}

/// Answers a gRPC request. Anyone may ask for health; everything else is for those who are known.
pub(crate) async fn handle(app: &App, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
    let Some(audit) = &app.audit else { return answer(app, peer, request).await };
    let agent = request.headers().get(http::header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned();
    let (id, uri) = (uuid::Uuid::new_v4().to_string(), request.uri().path().to_owned());
    let record = Arc::new(Record::new(id, uri, "post", peer.address, agent, app.clock.now()));
    let response = audit::scope(Some(record.clone()), answer(app, peer, request)).await;
    let mut outcome = Outcome { code: 200, ..Outcome::default() };
    let Some(failed) = tonic::Status::from_header_map(response.headers()) else {
        // The answer, or its failure, is still to come.
        let ended = audit.ending(record, outcome);
        return response.map(|body| {
            body.map_frame(move |frame| {
                let _until_then = &ended;
                frame
            })
            .boxed_unsync()
        });
    };
    if failed.code() != tonic::Code::Ok {
        let status = rpc::status::from_grpc(&failed);
        outcome = Outcome { code: status.code, status: Some(status), answer: None };
    }
    audit.complete(&record, &outcome);
    response
}

async fn answer(app: &App, peer: &Peer, mut request: Request<Incoming>) -> Response<Body> {
    let service = request.uri().path().split('/').nth(1).unwrap_or_default();
    let services = &app.services;
    let (service, public) = match service {
        "coxswain.v1.Resources" => (Some(&services.resources), false),
        "coxswain.v1.Node" => (Some(&services.node), false),
        "coxswain.v1.History" => (Some(&services.history), false),
        "coxswain.v1.Cluster" => (Some(&services.cluster), false),
        "grpc.reflection.v1.ServerReflection" => (services.reflection.as_ref(), false),
        "grpc.health.v1.Health" => (Some(&services.health), true),
        _ => (None, true),
    };
    let Some(service) = service.cloned() else {
        return failed(tonic::Status::unimplemented("there is no such service"));
    };
    let known = app.pipeline.authenticator().sender(peer.came.as_ref(), request.headers(), app.clock.now());
    let acting = known.and_then(|sender| match sender {
        Some(sender) => {
            authn::acting(sender, request.headers(), |asked| app.pipeline.require(asked)).map(Some)
        }
        None if public => Ok(None),
        None => Err(authn::unauthorized()),
    });
    match acting {
        Ok(Some(user)) => drop(request.extensions_mut().insert(user)),
        Ok(None) => {}
        Err(status) => return failed(rpc::status::to_grpc(status)),
    }
    if let Some(moment) = request.headers().get(PAST) {
        let moment = moment.to_str().unwrap_or_default();
        match app.pipeline.past(moment, app.clock.now()).await {
            Ok(past) => drop(request.extensions_mut().insert(past)),
            Err(status) => return failed(rpc::status::to_grpc(status)),
        }
    }
    let answered = service.oneshot(request).await;
    let response = answered.unwrap_or_else(|never| match never {});
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

fn failed(status: tonic::Status) -> Response<Body> {
    status.into_http::<tonic::body::Body>().map(|body| body.map_err(Into::into).boxed_unsync())
}

/// What surrounds a request.
fn context<T>(request: &tonic::Request<T>, clock: &SharedClock) -> RequestContext {
    let user = request.extensions().get::<UserInfo>().cloned().unwrap_or_else(authn::anonymous);
    let agent = request.metadata().get("user-agent").and_then(|agent| agent.to_str().ok());
    let past = request.extensions().get::<Past>();
    RequestContext {
        user,
        now: past.map_or_else(|| clock.now(), |past| past.time),
        at: past.map(|past| past.revision),
        user_agent: agent.unwrap_or_default().to_owned(),
    }
}
