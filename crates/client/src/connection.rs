//! The connection to the apiserver: one HTTP/2 channel with mutual TLS that is opened when it is first needed
//! and opened anew whenever it has failed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::Kubeconfig;
use futures_util::{Stream, StreamExt as _};
use rpc::v1::node_client::NodeClient;
use rpc::v1::resources_client::ResourcesClient;
use rpc::v1::{self, BindRequest, Binding};
use tokio::sync::Notify;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::{Api, ClientError, DynamicApi, GroupVersionResource, Resource, WriteOptions};

/// Who writes, in managedFields, unless the daemon says so itself.
const FIELD_MANAGER: &str = "coxswain";

/// How long a connection may take to be made: beyond it the apiserver is as good as away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take to begin. (A list or a watch goes on for as long as it likes once it has begun.)
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a silent connection is asked whether it still lives, and how long the answer may take. A watch on a
/// dead connection would otherwise hear nothing for ever.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest message that is accepted. Objects are at most 1.5 MB or so; a chunk of a list holds several.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// A Status with many causes travels in a header.
const MAX_HEADER_LIST: u32 = 128 * 1024;

/// What one watch may have in flight, and one connection. Lists of megabytes stop at the 64 KB of the standard
/// otherwise.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Where a server's URL goes into the past, as `https://10.0.0.1:6443/at/2026-11-23T03:12:00Z`.
const PAST: &str = "/at/";

/// The header that says so over gRPC, where paths are fixed.
const PAST_HEADER: &str = "coxswain-at";

/// The channel, with what each request shows.
pub(crate) type Connection = InterceptedService<Channel, Always>;

/// A client of the apiserver. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Connection,
    field_manager: Arc<str>,
    /// Wakes those who wait for the apiserver to come back.
    recovered: Arc<Notify>,
}

impl Client {
    /// A client that connects when it is first used. Must be called within a runtime.
    pub fn connect(config: &Kubeconfig) -> Result<Self, ClientError> {
        let (server, moment) = match config.server.split_once(PAST) {
            Some((server, moment)) => (server, Some(moment.trim_end_matches('/'))),
            None => (config.server.as_str(), None),
        };
        let mut endpoint = tune(Endpoint::from_shared(server.to_owned()).map_err(config_error)?);
        if config.server.starts_with("https://") {
            let mut tls = ClientTlsConfig::new();
            if !config.certificate_authority.is_empty() {
                tls = tls.ca_certificate(Certificate::from_pem(&config.certificate_authority));
            }
            if let Some(name) = &config.tls_server_name {
                tls = tls.domain_name(name.clone());
            }
            if let Some(identity) = &config.identity {
                tls = tls.identity(Identity::from_pem(&identity.certificate, &identity.key));
            }
            endpoint = endpoint.tls_config(tls).map_err(config_error)?;
        }
        let always = Always::new(config.token.as_deref(), moment)?;
        let connection = InterceptedService::new(endpoint.connect_lazy(), always);
        Ok(Self::new(connection))
    }

    /// A client over a channel made elsewhere (a duplex stream in tests).
    pub fn from_channel(channel: Channel) -> Self {
        let connection = InterceptedService::new(channel, Always::default());
        Self::new(connection)
    }

    fn new(connection: Connection) -> Self {
        Self { connection, field_manager: Arc::from(FIELD_MANAGER), recovered: Arc::default() }
    }

    /// The same client, whose writes are those of `name` in managedFields.
    #[must_use]
    pub fn with_field_manager(mut self, name: &str) -> Self {
        self.field_manager = Arc::from(name);
        self
    }

    /// Objects of a kind through its projection.
    pub fn api<K: Resource>(&self) -> Api<K> {
        Api::new(self.dynamic(GroupVersionResource::of::<K>()))
    }

    /// Objects of any resource as bytes.
    pub fn dynamic(&self, resource: GroupVersionResource) -> DynamicApi {
        DynamicApi::new(self.clone(), resource)
    }

    /// Binds many pods in one call: a result for each, in order.
    pub async fn bind(&self, bindings: Vec<Binding>) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        let count = bindings.len();
        let results = self.resources().bind(BindRequest { bindings }).await?.into_inner().results;
        if results.len() != count {
            return Err(ClientError::Protocol("as many results as bindings"));
        }
        let decode = |result: v1::BindResult| {
            if result.status.is_empty() {
                return Ok(());
            }
            let status = serde_json::from_slice(&result.status);
            Err(status.map_or(ClientError::Protocol("a binding's status is a Status"), ClientError::Status))
        };
        Ok(results.into_iter().map(decode).collect())
    }

    /// The log of a container, in pieces.
    pub async fn logs(
        &self,
        request: v1::LogsRequest,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Unpin + use<>, ClientError> {
        let chunks = self.node().logs(request).await?.into_inner();
        Ok(chunks.map(|chunk| Ok(chunk?.data)))
    }

    pub(crate) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    pub(crate) fn node(&self) -> NodeClient<Connection> {
        NodeClient::new(self.connection.clone())
    }

    pub(crate) fn resources(&self) -> ResourcesClient<Connection> {
        ResourcesClient::new(self.connection.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Says that the apiserver has answered.
    pub(crate) fn tell_recovered(&self) {
        self.recovered.notify_waiters();
    }

    /// Waits until it has.
    pub(crate) async fn recovered(&self) {
        self.recovered.notified().await;
    }

    pub(crate) fn write_options(&self, options: &WriteOptions) -> Option<v1::WriteOptions> {
        let manager = if options.field_manager.is_empty() {
            self.field_manager.to_string()
        } else {
            options.field_manager.clone()
        };
        Some(v1::WriteOptions {
            dry_run: options.dry_run,
            field_manager: manager,
            field_validation: options.field_validation.clone(),
        })
    }
}

/// What each request shows: a bearer token and the moment of the past that it is about, where there are such.
#[derive(Clone, Default)]
pub(crate) struct Always {
    bearer: Option<AsciiMetadataValue>,
    moment: Option<AsciiMetadataValue>,
}

impl Always {
    fn new(token: Option<&str>, moment: Option<&str>) -> Result<Self, ClientError> {
        let moment = moment.map(|moment| moment.parse().map_err(config_error)).transpose()?;
        let Some(token) = token else { return Ok(Self { bearer: None, moment }) };
        let mut value: AsciiMetadataValue = format!("Bearer {token}").parse().map_err(config_error)?;
        // Kept out of logs, and out of the table of headers that both ends remember.
        value.set_sensitive(true);
        Ok(Self { bearer: Some(value), moment })
    }
}

impl std::fmt::Debug for Always {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Always { .. }")
    }
}

impl Interceptor for Always {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        if let Some(value) = &self.bearer {
            request.metadata_mut().insert("authorization", value.clone());
        }
        if let Some(value) = &self.moment {
            request.metadata_mut().insert(PAST_HEADER, value.clone());
        }
        Ok(request)
    }
}

fn tune(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(false)
        .http2_max_header_list_size(MAX_HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

fn config_error(error: impl std::error::Error + Send + Sync + 'static) -> ClientError {
    ClientError::Config(Box::new(error))
}
