//! The service `History`: versions, differences, undelete. The pipeline does all of it.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use api::registry::ResourceDef;
use component::SharedClock;
use futures_util::stream::{self, Stream};
use rpc::status::to_grpc;
use rpc::v1;
use rpc::v1::history_server::History;
use tonic::{Request, Response, Status};

use super::context;
use super::convert::{self, Place};
use crate::pipeline::{Difference, Outcome, Pipeline, WatchEventType};

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves what was.
pub(super) struct Service {
    pub(super) pipeline: Pipeline,
    pub(super) clock: SharedClock,
}

fn resource(def: &ResourceDef) -> Option<v1::GroupVersionResource> {
    Some(v1::GroupVersionResource {
        group: def.group.to_string(),
        version: def.version.to_string(),
        resource: def.plural.to_string(),
    })
}

fn time(written: store::Timestamp) -> String {
    jiff::Timestamp::from_microsecond(written.0).unwrap_or_default().to_string()
}

#[tonic::async_trait]
impl History for Service {
    type VersionsStream = Streamed<v1::Version>;
    type DifferencesStream = Streamed<v1::Difference>;

    async fn versions(
        &self,
        request: Request<v1::VersionsRequest>,
    ) -> Result<Response<Self::VersionsStream>, Status> {
        let context = context(&request, &self.clock);
        let v1::VersionsRequest { resource, namespace, name } = request.get_ref();
        let place = Place { resource, namespace, name, subresource: "" };
        let target = convert::named(&self.pipeline, &place).map_err(to_grpc)?;
        let versions = self.pipeline.versions(&context, &target).await.map_err(to_grpc)?;
        let (def, api_version) = (target.def.clone(), target.def.api_version());
        let told = versions.into_iter().map(move |version| {
            let kind = match version.kind {
                WatchEventType::Added => v1::WatchEventType::Added,
                WatchEventType::Modified | WatchEventType::Bookmark => v1::WatchEventType::Modified,
                WatchEventType::Deleted => v1::WatchEventType::Deleted,
            };
            Ok(v1::Version {
                revision: version.entry.revision.0,
                time: time(version.entry.written),
                r#type: kind.into(),
                object: Some(convert::entry(&def, &api_version, &version.entry)),
                user: version.user,
                manager: version.manager,
            })
        });
        Ok(Response::new(Box::pin(stream::iter(told))))
    }

    async fn differences(
        &self,
        request: Request<v1::DifferencesRequest>,
    ) -> Result<Response<Self::DifferencesStream>, Status> {
        let context = context(&request, &self.clock);
        let v1::DifferencesRequest { since, until, namespace, resources } = request.into_inner();
        let mut buckets: BTreeSet<Arc<str>> = BTreeSet::new();
        for resource in resources {
            let place = Place { resource: &Some(resource), namespace: "", name: "", subresource: "" };
            buckets.insert(convert::target(&self.pipeline, &place).map_err(to_grpc)?.def.bucket.clone());
        }
        let found = self.pipeline.differences(&context, &since, &until, &namespace, &buckets).await;
        let told = found.map_err(to_grpc)?.into_iter().map(|Difference { def, before, after }| {
            let api_version = def.api_version();
            Ok(v1::Difference {
                resource: resource(&def),
                before: before.map(|entry| convert::entry(&def, &api_version, &entry)),
                after: after.map(|entry| convert::entry(&def, &api_version, &entry)),
            })
        });
        Ok(Response::new(Box::pin(stream::iter(told))))
    }

    async fn undelete(
        &self,
        request: Request<v1::UndeleteRequest>,
    ) -> Result<Response<v1::UndeleteResponse>, Status> {
        let context = context(&request, &self.clock);
        let v1::UndeleteRequest { resource: wanted, namespace, name, dry_run } = request.get_ref();
        let place = Place { resource: wanted, namespace, name, subresource: "" };
        let target = convert::named(&self.pipeline, &place).map_err(to_grpc)?;
        let all = self.pipeline.undelete(&context, &target, *dry_run).await.map_err(to_grpc)?;
        let registry = self.pipeline.registry();
        let told = all.into_iter().map(|one| {
            let key = &one.entry.key;
            let def = registry.all().iter().find(|def| *def.bucket == *key.bucket().as_str());
            let (outcome, message) = match one.outcome {
                Outcome::Restored => (v1::UndeleteOutcome::Restored, String::new()),
                Outcome::Exists => (v1::UndeleteOutcome::Exists, String::new()),
                Outcome::Failed(why) => (v1::UndeleteOutcome::Failed, why),
            };
            v1::UndeletedObject {
                resource: def.and_then(|def| resource(&registry.storage(def))),
                namespace: key.namespace().to_owned(),
                name: key.name().to_owned(),
                outcome: outcome.into(),
                message,
            }
        });
        Ok(Response::new(v1::UndeleteResponse { objects: told.collect() }))
    }
}
