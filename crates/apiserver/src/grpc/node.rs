//! The service `Node` for those who do not reach kubelets themselves: each call is passed on to the pod's node.

use std::sync::Arc;

use component::{SharedClock, Shutdown};
use futures_util::StreamExt as _;
use rpc::status::to_grpc;
use rpc::v1::LogsRequest;
use rpc::v1::node_server::Node;
use tonic::{Request, Response, Status};

use super::context;
use super::convert::{self, Place};
use crate::logs::{self, Chunks, Kubelets};
use crate::pipeline::Pipeline;

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

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Chunks>, Status> {
        let context = context(&request, &self.clock);
        let request = request.into_inner();
        let pods = Some(rpc::v1::GroupVersionResource {
            group: String::new(),
            version: "v1".to_owned(),
            resource: "pods".to_owned(),
        });
        let place =
            Place { resource: &pods, namespace: &request.namespace, name: &request.pod, subresource: "log" };
        let target = convert::named(&self.pipeline, &place).map_err(to_grpc)?;
        let chunks = logs::open(&self.pipeline, &self.kubelets, &context, &target, request).await;
        let shutdown = self.shutdown.clone();
        let stopping = Box::pin(async move { shutdown.triggered().await });
        Ok(Response::new(match chunks.map_err(to_grpc)? {
            Some(chunks) => Box::pin(chunks.take_until(stopping)),
            None => Box::pin(futures_util::stream::empty()),
        }))
    }
}
