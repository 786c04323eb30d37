//! The connection to the etcd cluster: one member at a time, another one when it fails.
//!
//! What went wrong is told by what it means for a write: [`CallError`] says whether it may have happened.
//! Read on: [`super::commit`] for what is made of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};

use super::wire::auth_client::AuthClient;
use super::wire::kv_client::KvClient;
use super::wire::watch_client::WatchClient;
use super::wire::watch_request::RequestUnion;
use super::wire::{
    AuthenticateRequest, CompactionRequest, RangeRequest, RangeResponse, ResponseHeader, TxnRequest,
    TxnResponse, WatchCreateRequest, WatchRequest, WatchResponse,
};
use super::{EtcdError, EtcdOptions};

/// How long a member may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// A member that says nothing for so long is asked whether it is there: etcd takes offence at less than five seconds.
const ALIVE: Duration = Duration::from_secs(10);

/// How long it has to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// After all members were tried in vain, nobody tries again for so long.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    /// No member can be reached, or the one that was asked did nothing. Asking again may help.
    #[error("{0}")]
    NotDone(Arc<str>),
    /// The answer is lost: it may be done, or not.
    #[error("{0}")]
    Lost(Arc<str>),
    /// What was asked for is compacted.
    #[error("etcd has compacted the revision")]
    Compacted,
    /// etcd has no room.
    #[error("etcd has no space left")]
    Full,
    /// The value is more than etcd takes.
    #[error("etcd does not take so large a value")]
    TooLarge,
    /// etcd refuses, and will again.
    #[error("{0}")]
    Refused(Arc<str>),
}

impl CallError {
    fn of(status: &Status) -> CallError {
        let text = status.message();
        let reason = || -> Arc<str> { describe(status).into() };
        match status.code() {
            Code::ResourceExhausted if text.contains("database space exceeded") => CallError::Full,
            Code::ResourceExhausted if text.contains("larger than max") => CallError::TooLarge,
            Code::ResourceExhausted => CallError::NotDone(reason()),
            Code::InvalidArgument if text.contains("request is too large") => CallError::TooLarge,
            // The token is too old: a new connection gets a new one.
            Code::InvalidArgument if text.contains("auth store is old") => CallError::NotDone(reason()),
            Code::Unauthenticated => CallError::NotDone(reason()),
            Code::OutOfRange if text.contains("compacted") => CallError::Compacted,
            Code::InvalidArgument
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented => CallError::Refused(reason()),
            Code::Unavailable if text.contains("no leader") => CallError::NotDone(reason()),
            _ => CallError::Lost(reason()),
        }
    }
}

/// A status and its causes in one line.
fn describe(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Finds a member that answers.
pub(crate) struct Link {
    members: Vec<(Arc<str>, Endpoint)>,
    user: Option<(String, String)>,
    state: Mutex<State>,
    doubt: Notify,
}

struct State {
    /// Which member is asked next.
    next: usize,
    /// Counts connections.
    number: u64,
    connection: Option<Connection>,
    /// No member answered, and until when this is taken for granted.
    failed: Option<(Instant, CallError)>,
}

/// A connection to one member. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connection {
    number: u64,
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
}

impl Link {
    pub(crate) fn new(options: &EtcdOptions) -> Result<Link, EtcdError> {
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let members = options.endpoints.iter().map(|address| {
            let invalid = |source| EtcdError::Endpoint { address: address.clone(), source };
            let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
                .map_err(invalid)?
                .connect_timeout(CONNECT)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(ALIVE)
                .keep_alive_timeout(ANSWER)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(4 << 20)
                .initial_connection_window_size(8 << 20);
            if let Some(tls) = &options.tls {
                let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.authority));
                if let Some((certificate, key)) = &tls.identity {
                    config = config.identity(Identity::from_pem(certificate, key));
                }
                endpoint = endpoint.tls_config(config).map_err(invalid)?;
            }
            Ok((Arc::from(address.as_str()), endpoint))
        });
        let members: Vec<_> = members.collect::<Result<_, _>>()?;
        if members.is_empty() {
            return Err(EtcdError::NoEndpoint);
        }
        let state = State { next: 0, number: 0, connection: None, failed: None };
        Ok(Link { members, user: options.user.clone(), state: Mutex::new(state), doubt: Notify::new() })
    }

    /// The connection; a new one when there is none.
    pub(crate) async fn connection(&self) -> Result<Connection, CallError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok(connection.clone());
        }
        if let Some((until, error)) = &state.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let mut error = CallError::NotDone("no member was asked".into());
        for _ in 0..self.members.len() {
            let at = state.next % self.members.len();
            state.number += 1;
            match self.connect(at, state.number).await {
                Ok(connection) => {
                    tracing::debug!(member = %self.members[at].0, "connected to etcd");
                    state.connection = Some(connection.clone());
                    state.failed = None;
                    return Ok(connection);
                }
                Err(failed) => error = failed,
            }
            state.next = at + 1;
        }
        state.failed = Some((Instant::now() + PAUSE, error.clone()));
        Err(error)
    }

    /// Do not use this connection any more, and try another member.
    pub(crate) async fn broken(&self, connection: &Connection) {
        let mut state = self.state.lock().await;
        if state.connection.as_ref().is_some_and(|current| current.number == connection.number) {
            state.connection = None;
            state.next += 1;
            self.doubt.notify_one();
        }
    }

    /// Waits until somebody finds a connection broken: for the one who holds on to an older one.
    pub(crate) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    async fn connect(&self, at: usize, number: u64) -> Result<Connection, CallError> {
        let (address, endpoint) = &self.members[at];
        let not_done = |reason: String| CallError::NotDone(format!("{address}: {reason}").into());
        let channel = tokio::time::timeout(CONNECT, endpoint.connect()).await;
        let channel = channel
            .map_err(|_| not_done("no answer".to_owned()))?
            .map_err(|error| not_done(crate::log::chain(&error)))?;
        let token = match &self.user {
            None => None,
            Some((name, password)) => {
                let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
                let mut client = AuthClient::new(channel.clone());
                let answer = tokio::time::timeout(CONNECT, client.authenticate(request)).await;
                match answer.map_err(|_| not_done("no answer".to_owned()))? {
                    Ok(answer) => Some(
                        answer
                            .into_inner()
                            .token
                            .parse()
                            .map_err(|_| CallError::Refused("etcd gave a token that is none".into()))?,
                    ),
                    // It does not ask who we are.
                    Err(status) if status.message().contains("authentication is not enabled") => None,
                    Err(status) => {
                        return Err(match CallError::of(&status) {
                            CallError::Refused(reason) => CallError::Refused(reason),
                            _ => not_done(describe(&status)),
                        });
                    }
                }
            }
        };
        Ok(Connection { number, channel, token })
    }
}

impl Connection {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        // A member that has lost the others says so instead of being silent.
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(crate) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, CallError> {
        let answer = self.kv().range(self.request(request)).await;
        answer.map(tonic::Response::into_inner).map_err(|status| CallError::of(&status))
    }

    pub(crate) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, CallError> {
        let answer = self.kv().txn(self.request(request)).await;
        answer.map(tonic::Response::into_inner).map_err(|status| CallError::of(&status))
    }

    pub(crate) async fn compact(&self, revision: i64) -> Result<(), CallError> {
        let answer = self.kv().compact(self.request(CompactionRequest { revision })).await;
        answer.map(|_| ()).map_err(|status| CallError::of(&status))
    }

    /// The header of an answer that all members agree on.
    pub(crate) async fn header(&self, key: Bytes) -> Result<ResponseHeader, CallError> {
        let answer = self.range(RangeRequest { key, limit: 1, ..RangeRequest::default() }).await?;
        answer.header.ok_or_else(|| CallError::Refused("an answer of etcd has no header".into()))
    }

    /// Whether the member answers, and has the others with it.
    pub(crate) async fn answers(&self, key: Bytes) -> Result<(), CallError> {
        let answer = tokio::time::timeout(ANSWER, self.header(key)).await;
        answer.map_err(|_| CallError::Lost("etcd does not answer".into()))?.map(|_| ())
    }

    /// Changes of a range from a revision on.
    pub(crate) async fn watch(
        &self,
        (key, range_end): (Bytes, Bytes),
        start_revision: i64,
    ) -> Result<Streaming<WatchResponse>, CallError> {
        let create = WatchCreateRequest { key, range_end, start_revision };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // The stream of requests stays open: etcd may end the watch with it.
        let requests = tokio_stream::once(request).chain(tokio_stream::pending());
        let mut client = WatchClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let answer = client.watch(self.request(requests)).await;
        answer.map(tonic::Response::into_inner).map_err(|status| CallError::of(&status))
    }
}

/// The next answer of a watch.
pub(crate) async fn next(stream: &mut Streaming<WatchResponse>) -> Result<WatchResponse, CallError> {
    match stream.message().await {
        Ok(Some(response)) => Ok(response),
        Ok(None) => Err(CallError::Lost("etcd ended the watch".into())),
        Err(status) => Err(CallError::of(&status)),
    }
}
