//! Connections to kubelets: made when first needed, kept, and made again when they break.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use api::status::{Reason, Status};
use component::ErrorChain;
use futures_util::{Stream, StreamExt as _};
use parking_lot::Mutex;
use rpc::v1::node_client::NodeClient;
use rpc::v1::{
    ContainerInput, ContainerOutput, LogsChunk, LogsRequest, PortForwardData, PortForwardRequest,
    StatsRequest, StatsResponse,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::pipeline::PodHost;
use crate::pki::Pki;
use crate::streams::{Answers, Verb};

/// How long connecting to a kubelet may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How often a silent connection is tried, so that a log that is followed ends when its node is gone.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How much of one call may be on its way to us.
const STREAM_WINDOW: u32 = 256 * 1024;

/// How much of all calls of a connection together: so much that a call that nobody reads never holds up the others.
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;

/// How many connections are kept; all are dropped when there are more, and made again as needed.
const MOST: usize = 1024;

/// A log as it comes.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Result<LogsChunk, tonic::Status>> + Send>>;

/// How kubelets are reached.
pub(crate) struct Kubelets(Mutex<State>);

struct State {
    authority: Certificate,
    identity: tonic::transport::Identity,
    shown: Vec<u8>,
    channels: HashMap<(String, String, u16), Channel>,
}

impl State {
    fn new(pki: &Pki) -> Self {
        let identity = &pki.kubelet_client;
        Self {
            authority: Certificate::from_pem(pki.authority.certificate_pem()),
            identity: tonic::transport::Identity::from_pem(&identity.certificate, &identity.key),
            shown: identity.certificate.clone(),
            channels: HashMap::new(),
        }
    }
}

impl Kubelets {
    /// Comes to the kubelets of the cluster with the certificate that is made for it.
    pub(crate) fn new(pki: &Pki) -> Self {
        Self(Mutex::new(State::new(pki)))
    }

    /// Comes with another certificate from now on, if it is another.
    pub(crate) fn renew(&self, pki: &Pki) {
        let mut state = self.0.lock();
        if state.shown != pki.kubelet_client.certificate {
            *state = State::new(pki);
        }
    }

    /// Asks for a log.
    pub(super) async fn logs(&self, host: &PodHost, request: LogsRequest) -> Result<Chunks, Status> {
        let channel = self.channel(host)?;
        match NodeClient::new(channel).logs(request).await {
            Ok(answer) => Ok(answer.into_inner().boxed()),
            Err(status) => Err(told(host, &status)),
        }
    }

    /// Runs a command, or joins a process.
    pub(crate) async fn process(
        &self,
        host: &PodHost,
        verb: Verb,
        requests: impl Stream<Item = ContainerInput> + Send + 'static,
    ) -> Result<Answers<ContainerOutput>, Status> {
        let mut client = NodeClient::new(self.channel(host)?);
        let answer = match verb {
            Verb::Exec => client.exec(requests).await,
            Verb::Attach => client.attach(requests).await,
        };
        answer.map(|answer| answer.into_inner().boxed()).map_err(|status| told(host, &status))
    }

    /// Connects to a port.
    pub(crate) async fn port(
        &self,
        host: &PodHost,
        requests: impl Stream<Item = PortForwardRequest> + Send + 'static,
    ) -> Result<Answers<PortForwardData>, Status> {
        let answer = NodeClient::new(self.channel(host)?).port_forward(requests).await;
        answer.map(|answer| answer.into_inner().boxed()).map_err(|status| told(host, &status))
    }

    /// Asks what a node and its pods use.
    pub(crate) async fn stats(&self, host: &PodHost, request: StatsRequest) -> Result<StatsResponse, Status> {
        let answer = NodeClient::new(self.channel(host)?).stats(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| told(host, &status))
    }

    fn channel(&self, host: &PodHost) -> Result<Channel, Status> {
        let key = (host.node.clone(), host.address.clone(), host.port);
        let mut state = self.0.lock();
        if let Some(channel) = state.channels.get(&key) {
            return Ok(channel.clone());
        }
        let address = match host.address.parse() {
            Ok(std::net::IpAddr::V6(address)) => format!("[{address}]"),
            _ => host.address.clone(),
        };
        // The certificate of a kubelet is made out to its node, whatever its address is today.
        let tls = ClientTlsConfig::new()
            .ca_certificate(state.authority.clone())
            .identity(state.identity.clone())
            .domain_name(host.node.clone());
        let channel = Endpoint::from_shared(format!("https://{address}:{}", host.port))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(|error| Status::internal(ErrorChain(&error)))?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING_EVERY)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_lazy();
        if state.channels.len() >= MOST {
            state.channels.clear();
        }
        state.channels.insert(key, channel.clone());
        Ok(channel)
    }
}

/// What the kubelet said, or that it could not be reached.
fn told(host: &PodHost, status: &tonic::Status) -> Status {
    match rpc::status::carried(status) {
        Some(status) => status,
        None if status.code() == tonic::Code::Unavailable => Status::failure(
            Reason::InternalError,
            format!(
                "the kubelet of node {} at {}:{} cannot be reached: {}",
                host.node,
                host.address,
                host.port,
                status.message()
            ),
        ),
        None => rpc::status::from_grpc(status),
    }
}
