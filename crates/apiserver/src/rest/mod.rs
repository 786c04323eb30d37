//! The Kubernetes REST API as a shell over the pipeline: paths, query parameters, encodings, codes.
//!
//! ```text
//! handle: health? ─ who ─ route ─┬─ documents (discovery, OpenAPI, version, metrics)
//!                                └─ resource ─ verb ─┬─ read  (get, list)      ─┐
//!                                                    ├─ watch                   ├─ answer
//!                                                    └─ write (create … delete) ─┘
//! ```
//! Read on: [`route`] for paths, [`negotiate`] for encodings, [`answer`] for responses.

mod answer;
mod audited;
mod body;
mod documents;
mod list;
mod negotiate;
mod openapi;
mod past;
mod protobuf;
mod query;
mod read;
mod route;
mod watch;
mod write;

use std::sync::Arc;
use std::time::Instant;

use api::registry::ResourceDef;
use api::status::{Details, Reason, Status};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tracing::debug;

use self::body::Unread;
use self::query::Query;
pub(crate) use self::query::decode as unescaped;
use self::route::{ResourcePath, Route};
use crate::aggregate::{Asked, Passed, Remote};
use crate::flow::{Refused, Seat, Sorted};
use crate::metrics::Labels;
use crate::pipeline::{Attributes, RequestContext, Subresource, Target, deprecation, read_only};
use crate::serve::{App, Body, Peer};
use crate::streams::Proxied;
use crate::{aggregate, audit, authn};

/// Names a request in logs; sent back, so that a user can be found in them.
const AUDIT_ID: &str = "audit-id";

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// With a Status, as everywhere below a group and version that exists.
    Status(Box<Status>),
    /// There is nothing at all at this path.
    NoSuchPath,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// What a handler gives.
type Answered = Result<Response<Body>, Refusal>;

/// A request whose sender is known.
pub(super) struct Call<'a> {
    app: &'a App,
    head: &'a Parts,
    query: Query,
    context: RequestContext,
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Answers a request. What goes wrong is an answer too.
pub(crate) async fn handle(app: &App, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let (mut head, body) = request.into_parts();
    let audit_id = audit_id(&head.headers);
    let record = audited::begin(app, peer, &mut head, &audit_id);
    let moment = past::split(&mut head);
    let mut seen = Seen::default();
    let mut body = Some(body);
    let answer = dispatch(app, peer, &head, moment.as_deref(), &mut body, &mut seen);
    let answered = audit::scope(record.clone(), answer).await;
    body::drain(&head, body).await;
    let mut response = match answered {
        Ok(response) => response,
        Err(Refusal::Status(status)) => answer::status(&head, &status),
        Err(Refusal::NoSuchPath) => answer::plain(StatusCode::NOT_FOUND, "404 page not found\n"),
    };
    let headers = response.headers_mut();
    headers.insert(AUDIT_ID, audit_id);
    seen.tell(headers);
    let Seen { mut labels, streams, .. } = seen;
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    let took = started.elapsed();
    debug!(method = %head.method, path = head.uri.path(), code = response.status().as_u16(), ?took, "request");
    if labels.verb.is_empty() {
        labels.verb = verb_of(&head.method);
    }
    let code = response.status().as_u16();
    app.requests.answered(labels, code, (!streams).then_some(took));
    if let (Some(audit), Some(record)) = (&app.audit, record) {
        response = audited::end(audit, record, response, streams).await;
    }
    if head.method == Method::HEAD {
        response = response.map(|_| crate::serve::empty());
    }
    response
}

/// What is known of a request once it is answered.
#[derive(Default)]
struct Seen {
    labels: Labels,
    /// Whether it goes on after its answer has begun.
    streams: bool,
    /// How priority and fairness sorted it.
    sorted: Option<Sorted>,
}

impl Seen {
    /// Tells the client how its request was sorted, so that a person can find out why it waits.
    fn tell(&self, headers: &mut HeaderMap) {
        let Some(Sorted { schema, level }) = &self.sorted else { return };
        for (name, uid) in
            [("x-kubernetes-pf-flowschema-uid", schema), ("x-kubernetes-pf-prioritylevel-uid", level)]
        {
            if let Ok(uid) = HeaderValue::try_from(uid) {
                headers.insert(name, uid);
            }
        }
    }

    /// Waits until there is room for the request.
    async fn admit(&mut self, app: &App, request: &Attributes<'_>) -> Result<Option<Seat>, Status> {
        let admission = app.flow.admit(request).await;
        self.sorted = admission.sorted;
        admission.seat.map_err(|Refused| too_many_requests())
    }
}

fn audit_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(AUDIT_ID).filter(|id| !id.is_empty() && id.len() <= 64);
    given.cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static(""))
    })
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

async fn dispatch(
    app: &App,
    peer: &Peer,
    head: &Parts,
    moment: Option<&str>,
    body: &mut Unread,
    seen: &mut Seen,
) -> Answered {
    let route = route::parse(head.uri.path());
    let sender = app.pipeline.authenticator().sender(peer.came.as_ref(), &head.headers, app.clock.now())?;
    if matches!(head.method, Method::GET | Method::HEAD) {
        match route {
            Route::Health => return documents::health(app, head),
            Route::Version => return Ok(documents::version(head)),
            _ => {}
        }
    }
    let sender = sender.ok_or_else(authn::unauthorized)?;
    audit::known(&sender, None);
    let user = authn::acting(sender.clone(), &head.headers, |asked| app.pipeline.require(asked))?;
    audit::known(&sender, Some(&user));
    let mut context = app.context(user, text(&head.headers, &header::USER_AGENT));
    if let Some(moment) = moment {
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(read_only().into());
        }
        let past = app.pipeline.past(moment, context.now).await?;
        (context.at, context.now) = (Some(past.revision), past.time);
    }
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let call = Call { app, head, query, context };
    if let Some((remote, asked)) = elsewhere(&call) {
        return aggregated(&call, &remote, &asked, body, seen).await;
    }
    match route {
        Route::Resource(path) => resource(call, path, body, seen).await,
        document => {
            if !matches!(head.method, Method::GET | Method::HEAD) {
                return Err(method_not_allowed().into());
            }
            let path = head.uri.path();
            let asked = Attributes { verb: "get", path, ..Attributes::nothing(&call.context.user) };
            let _seat = seen.admit(call.app, &asked).await?;
            call.app.pipeline.allowed_path(&call.context, "get", path)?;
            documents::answer(&call, &document).await
        }
    }
}

/// The other server that a request is for, where it is for another one.
fn elsewhere(call: &Call<'_>) -> Option<(Arc<Remote>, Asked)> {
    // Nearly all requests are for this server: nothing is made of them here.
    if call.app.aggregator.is_alone() {
        return None;
    }
    let uri = &call.head.uri;
    if let Some(part) = uri.path().strip_prefix("/openapi/v3/apis/") {
        // What another server serves it describes itself; who may see the other documents may see these.
        let (group, version) = part.trim_end_matches('/').split_once('/')?;
        return Some((call.app.aggregator.remote(group, version)?, Asked::document(uri.path())));
    }
    let mut segments = uri.path().strip_prefix("/apis/")?.splitn(3, '/');
    let remote = call.app.aggregator.remote(&unescaped(segments.next()?), &unescaped(segments.next()?))?;
    Some((remote, Asked::of(&call.head.method, uri.path(), uri.query().unwrap_or_default())?))
}

/// Passes a request on to another server.
async fn aggregated(
    call: &Call<'_>,
    remote: &Remote,
    asked: &Asked,
    body: &mut Unread,
    seen: &mut Seen,
) -> Answered {
    if call.context.at.is_some() {
        return Err(read_only().into());
    }
    let attributes = asked.attributes(&call.context.user);
    let _seat = seen.admit(call.app, &attributes).await?;
    call.app.pipeline.require(&attributes)?;
    seen.labels = Labels {
        verb: verb_of(&call.head.method),
        group: asked.group.clone(),
        version: asked.version.clone(),
        resource: asked.resource.clone(),
        subresource: asked.subresource.clone(),
        ..Labels::default()
    };
    seen.streams = true;
    let body = body.take().ok_or_else(|| Status::internal("a body is read once"))?;
    let passed = Passed { user: &call.context.user, head: call.head, body };
    Ok(aggregate::pass(call.app, remote, passed).await?)
}

/// What the request asks of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
    /// A log, or another stream of a pod.
    Connect,
}

impl Verb {
    /// In the metrics, as Kubernetes has them.
    fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::List => "LIST",
            Self::Watch => "WATCH",
            Self::Create => "POST",
            Self::Update => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::DeleteCollection => "DELETECOLLECTION",
            Self::Connect => "CONNECT",
        }
    }

    fn mutates(self) -> bool {
        match self {
            Self::Get | Self::List | Self::Watch | Self::Connect => false,
            Self::Create | Self::Update | Self::Patch | Self::Delete | Self::DeleteCollection => true,
        }
    }

    /// As the registry names it.
    fn name(self) -> &'static str {
        match self {
            Self::Get | Self::Connect => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

async fn resource(call: Call<'_>, path: ResourcePath, body: &mut Unread, seen: &mut Seen) -> Answered {
    let registry = call.app.pipeline.registry();
    let Some(def) = registry.resource(&path.group, &path.version, &path.resource) else {
        // Of a group of custom resources only, what is no resource is no path either.
        return Err(match registry.serves(&path.group, &path.version) {
            Some(true) => not_found().into(),
            Some(false) | None => Refusal::NoSuchPath,
        });
    };
    let target = target(&def, &path)?;
    let verb = verb(&call, &def, &path, &target)?;
    seen.labels = Labels {
        verb: verb.label(),
        group: path.group.clone(),
        version: path.version.clone(),
        resource: path.resource.clone(),
        subresource: path.subresource.clone().unwrap_or_default(),
        scope: match (&path.name, &path.namespace) {
            (Some(_), _) => "resource",
            (None, Some(_)) => "namespace",
            (None, None) => "cluster",
        },
    };
    // What a pod says and does now is not what it did then.
    if call.context.at.is_some() && verb == Verb::Connect {
        return Err(read_only().into());
    }
    // The pipeline warns of what it writes.
    let deprecated = match verb {
        Verb::Create | Verb::Update | Verb::Patch => None,
        _ => deprecation(&def),
    };
    // A watch has its place only until it has begun.
    let _seat = seen.admit(call.app, &Attributes::of(&call.context, verb.name(), &target)).await?;
    let answered = match verb {
        Verb::Watch => {
            seen.streams = true;
            watch::watch(&call, &target)
        }
        Verb::Connect => {
            seen.streams = true;
            let (app, context, query) = (call.app, &call.context, call.query.pairs());
            let connected = match target.subresource {
                Some(Subresource::Log) => crate::logs::log(app, context, &target, query).await,
                Some(Subresource::Proxy) => {
                    let (head, path) = (call.head, path.rest.as_str());
                    let body = body.take().ok_or_else(|| Status::internal("a body is read once"))?;
                    crate::streams::proxy(app, Proxied { context, target: &target, head, path, body }).await
                }
                _ => crate::streams::connect(app, context, &target, call.head, query).await,
            };
            connected.map_err(Refusal::from)
        }
        other => {
            let _going = call.app.requests.begin(other.mutates()).ok_or_else(too_many_requests)?;
            match other {
                Verb::Get => read::get(&call, &target).await,
                Verb::List => read::list(&call, &target).await,
                _ => write::write(&call, other, &target, body).await,
            }
        }
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(Refusal::Status(status)) => answer::status(call.head, &status),
        Err(refusal) => return Err(refusal),
    };
    if let Some(warning) = deprecated {
        answer::warn(response.headers_mut(), &[warning]);
    }
    Ok(response)
}

fn target(def: &Arc<ResourceDef>, path: &ResourcePath) -> Result<Target, Status> {
    // Every path but "all of them" says where a namespaced object is, and no other path does.
    let fits = if def.namespaced {
        path.namespace.is_some() || path.name.is_none()
    } else {
        path.namespace.is_none()
    };
    if !fits {
        return Err(not_found());
    }
    let subresource = match &path.subresource {
        None => None,
        Some(name) => {
            def.subresource(name).ok_or_else(not_found)?;
            let part = Subresource::parse(name).ok_or_else(not_found)?;
            // A kubelet speaks gRPC with the apiserver only: there is nothing to pass requests on to.
            if part == Subresource::Proxy && def.plural == "nodes" {
                let why = format!("{} of {} is not served", part.as_str(), def.plural);
                return Err(Status::failure(Reason::MethodNotAllowed, why).with_details(Details::default()));
            }
            Some(part)
        }
    };
    Ok(Target { def: def.clone(), namespace: path.namespace.clone(), name: path.name.clone(), subresource })
}

fn verb(call: &Call<'_>, def: &ResourceDef, path: &ResourcePath, target: &Target) -> Result<Verb, Status> {
    let method = &call.head.method;
    let verb = match (method, &target.name, target.subresource) {
        (&Method::GET, Some(_), Some(Subresource::Log)) => Verb::Connect,
        (_, Some(_), Some(Subresource::Proxy)) => Verb::Connect,
        (
            &Method::GET | &Method::POST,
            Some(_),
            Some(Subresource::Exec | Subresource::Attach | Subresource::PortForward),
        ) => Verb::Connect,
        (&Method::GET | &Method::HEAD, Some(_), Some(_)) => Verb::Get,
        (&Method::GET | &Method::HEAD, Some(_), None) if path.watch => Verb::Watch,
        (&Method::GET | &Method::HEAD, Some(_), None) => Verb::Get,
        (&Method::GET | &Method::HEAD, None, _) if path.watch || call.query.flag("watch") => Verb::Watch,
        (&Method::GET | &Method::HEAD, None, _) => Verb::List,
        (&Method::POST, None, _) if def.namespaced && target.namespace.is_none() => {
            return Err(method_not_allowed());
        }
        (&Method::POST, None, _) | (&Method::POST, Some(_), Some(_)) => Verb::Create,
        (&Method::PUT, Some(_), _) => Verb::Update,
        (&Method::PATCH, Some(_), _) => Verb::Patch,
        (&Method::DELETE, Some(_), _) => Verb::Delete,
        (&Method::DELETE, None, _) if !def.namespaced || target.namespace.is_some() => Verb::DeleteCollection,
        _ => return Err(method_not_allowed()),
    };
    let known = match target.subresource.and_then(|own| def.subresource(own.as_str())) {
        Some(part) => part.verbs.iter().any(|own| own == verb.name()),
        // The pipeline says why a custom resource lacks a verb: its definition is on its way out.
        None => def.has_verb(verb.name()) || def.custom.is_some(),
    };
    if known { Ok(verb) } else { Err(method_not_allowed()) }
}

/// There is a group and version, but no such resource in it.
pub(super) fn not_found() -> Status {
    Status::failure(Reason::NotFound, "the server could not find the requested resource")
        .with_details(Details::default())
}

fn method_not_allowed() -> Status {
    Status::failure(
        Reason::MethodNotAllowed,
        "the server does not allow this method on the requested resource",
    )
    .with_details(Details::default())
}

fn too_many_requests() -> Status {
    Status::failure(Reason::TooManyRequests, "too many requests, please try again later.")
        .with_details(Details { retry_after_seconds: 1, ..Details::default() })
}
