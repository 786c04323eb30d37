//! The service `Node` for those who do not reach kubelets themselves: each call is passed on to the pod's node.

use std::sync::Arc;

use component::{SharedClock, Shutdown};
use futures_util::{Stream, StreamExt as _, stream};
use rpc::status::to_grpc;
use rpc::v1::container_input::Message as In;
use rpc::v1::node_server::Node;
use rpc::v1::port_forward_request::Message as Sent;
use rpc::v1::{
    ContainerInput, ContainerOutput, LogsRequest, PortForwardData, PortForwardRequest, StatsRequest,
    StatsResponse,
};
use tonic::{Request, Response, Status, Streaming};

use super::context;
use super::convert::{self, Place};
use crate::logs::{self, Chunks, Kubelets};
use crate::pipeline::{Pipeline, RequestContext, Target};
use crate::streams::{self, Answers, Verb};

/// Passes calls on.
pub(super) struct Service {
    pub(super) pipeline: Pipeline,
    pub(super) kubelets: Arc<Kubelets>,
    pub(super) clock: SharedClock,
    pub(super) shutdown: Shutdown,
}

#[tonic::async_trait]
impl Node for Service {
    type LogsStream = Chunks;
    type ExecStream = Answers<ContainerOutput>;
    type AttachStream = Answers<ContainerOutput>;
    type PortForwardStream = Answers<PortForwardData>;

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Chunks>, Status> {
        let context = context(&request, &self.clock);
        let request = request.into_inner();
        let target = self.pod(&request.namespace, &request.pod, "log")?;
        let chunks = logs::open(&self.pipeline, &self.kubelets, &context, &target, request).await;
        Ok(Response::new(match chunks.map_err(to_grpc)? {
            Some(chunks) => self.until_shutdown(chunks),
            None => Box::pin(stream::empty()),
        }))
    }

    async fn exec(
        &self,
        request: Request<Streaming<ContainerInput>>,
    ) -> Result<Response<Answers<ContainerOutput>>, Status> {
        let context = context(&request, &self.clock);
        self.process(&context, Verb::Exec, request.into_inner()).await
    }

    async fn attach(
        &self,
        request: Request<Streaming<ContainerInput>>,
    ) -> Result<Response<Answers<ContainerOutput>>, Status> {
        let context = context(&request, &self.clock);
        self.process(&context, Verb::Attach, request.into_inner()).await
    }

    async fn port_forward(
        &self,
        request: Request<Streaming<PortForwardRequest>>,
    ) -> Result<Response<Answers<PortForwardData>>, Status> {
        let context = context(&request, &self.clock);
        let mut requests = request.into_inner();
        let Some(PortForwardRequest { message: Some(Sent::Open(open)) }) = requests.message().await? else {
            return Err(to_grpc(api::status::Status::bad_request("the first message must say which port")));
        };
        let target = self.pod(&open.namespace, &open.pod, "portforward")?;
        let (host, open) = streams::locate_port(&self.pipeline, &context, &target, open).map_err(to_grpc)?;
        let options = serde_json::json!({"ports": [open.port]});
        self.pipeline.connect(&context, &target, options).await.map_err(to_grpc)?;
        let first = stream::iter([PortForwardRequest { message: Some(Sent::Open(open)) }]);
        let answers = self.kubelets.port(&host, first.chain(good(requests))).await.map_err(to_grpc)?;
        Ok(Response::new(self.until_shutdown(answers)))
    }

    async fn stats(&self, request: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        let context = context(&request, &self.clock);
        let request = request.into_inner();
        let host = self.pipeline.node_host(&context, "stats", &request.node).map_err(to_grpc)?;
        self.kubelets.stats(&host, request).await.map(Response::new).map_err(to_grpc)
    }
}

/// What a client sends, until it ends or breaks off: the end of the answers tells the kubelet of the latter.
fn good<T: Send + 'static>(requests: Streaming<T>) -> impl Stream<Item = T> + Send + 'static {
    requests
        .take_while(|request| std::future::ready(request.is_ok()))
        .filter_map(|request| async { request.ok() })
}

impl Service {
    fn pod(&self, namespace: &str, name: &str, subresource: &str) -> Result<Target, Status> {
        let pods = Some(rpc::v1::GroupVersionResource {
            group: String::new(),
            version: "v1".to_owned(),
            resource: "pods".to_owned(),
        });
        let place = Place { resource: &pods, namespace, name, subresource };
        convert::named(&self.pipeline, &place).map_err(to_grpc)
    }

    async fn process(
        &self,
        context: &RequestContext,
        verb: Verb,
        mut requests: Streaming<ContainerInput>,
    ) -> Result<Response<Answers<ContainerOutput>>, Status> {
        let Some(ContainerInput { message: Some(In::Open(open)) }) = requests.message().await? else {
            let why = "the first message must say which container";
            return Err(to_grpc(api::status::Status::bad_request(why)));
        };
        let subresource = match verb {
            Verb::Exec => "exec",
            Verb::Attach => "attach",
        };
        let target = self.pod(&open.namespace, &open.pod, subresource)?;
        let found = streams::locate(&self.pipeline, context, &target, verb, open).await;
        let (host, open) = found.map_err(to_grpc)?;
        let first = stream::iter([ContainerInput { message: Some(In::Open(open)) }]);
        let answers =
            self.kubelets.process(&host, verb, first.chain(good(requests))).await.map_err(to_grpc)?;
        Ok(Response::new(self.until_shutdown(answers)))
    }

    /// The same answers, which end when the server does.
    fn until_shutdown<T>(
        &self,
        answers: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Answers<T> {
        let shutdown = self.shutdown.clone();
        Box::pin(answers.take_until(Box::pin(async move { shutdown.triggered().await })))
    }
}
