//! What containers print: asked of the kubelet of their node, for `pods/log`.

use api::status::Status;
use component::kubeconfig::Identity;
use http::Response;

use crate::pipeline::{RequestContext, Target};
use crate::serve::{App, Body};

/// How kubelets are reached.
pub(crate) struct Kubelets {
    ca: Vec<u8>,
    identity: Identity,
}

impl Kubelets {
    /// Comes to kubelets of the cluster of `ca` with `identity`.
    pub(crate) fn new(ca: &[u8], identity: &Identity) -> Self {
        Self { ca: ca.to_owned(), identity: identity.clone() }
    }
}

/// Answers with the log of a container.
pub(crate) async fn log(
    app: &App,
    context: &RequestContext,
    target: &Target,
    _query: &[(String, String)],
) -> Result<Response<Body>, Status> {
    let _ = app.pipeline.pod_host(context, "get", target)?;
    let _ = (&app.kubelets.ca, &app.kubelets.identity);
    Err(Status::internal("logs are not served yet"))
}
