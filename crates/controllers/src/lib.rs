//! Every reconcile loop of the cluster.
//!
//! ```text
//! apiserver -> informers (one per kind, shared: context) -> handlers -> queue of names, one per controller
//! queue -> reconcile(name) = plan(what the caches show) -> actions -> writes
//! ```
//! A controller is a module with a pure `plan` (what to do, decided from what was observed, with the time and random
//! names as inputs) and an `execute` (the writes, without a choice of its own). Everything is level-triggered: a key
//! says what to look at, never what has happened. What several of them share: [`ownership`] (who owns what),
//! [`template`] (pods from templates), [`expectations`] (own writes that the cache does not show yet).

mod config;
mod context;
mod cronjob;
mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod endpointslice;
mod ephemeral_volume;
mod expectations;
mod gc;
mod job;
mod metrics;
mod namespace;
mod node_fit;
mod nodeipam;
mod nodelifecycle;
mod objects;
mod ownership;
mod persistentvolume;
mod pod_writes;
mod podgc;
mod replicaset;
mod resourcequota;
mod resources;
mod revisions;
mod root_ca;
mod service_endpoints;
mod serviceaccount;
mod statefulset;
mod template;
mod volume_protection;
mod writes;

use std::sync::Arc;

use client::{Client, ClientError, EventRecorder};

pub use component::Context as Daemon;
pub use config::{Args, Cidr, Config, ConfigError};
use context::Context;

/// The names of all controllers.
const NAMES: [&str; 22] = [
    "cronjob",
    "daemonset",
    "deployment",
    "disruption",
    "endpoints",
    "endpointslice",
    "ephemeral-volume",
    "garbagecollector",
    "job",
    "namespace",
    "nodeipam",
    "nodelifecycle",
    "persistentvolume-binder",
    "persistentvolume-protection",
    "persistentvolumeclaim-protection",
    "podgc",
    "replicaset",
    "replicationcontroller",
    "resourcequota",
    "root-ca-certificate-publisher",
    "serviceaccount",
    "statefulset",
];

/// Starts the controllers. Returns once all of them work; they end with the daemon's shutdown.
pub async fn run(config: Config, daemon: Daemon) -> Result<(), ClientError> {
    let ready = daemon.health.register("informers");
    let client = Client::connect(&config.kubeconfig)?.with_field_manager("kube-controller-manager");
    let events =
        EventRecorder::start(&client, "controllermanager", "", daemon.clock.clone(), &daemon.shutdown);
    let names = config.controllers.clone();
    let metrics = metrics::Metrics::register(&daemon.metrics);
    let context = Context::new(client, Arc::new(config), events, metrics, (daemon.clock, daemon.shutdown));
    for name in names {
        start(name, &context.telling_as(source(name)));
    }
    if context.start().await {
        ready.ok();
        tracing::info!("controllers work");
    }
    Ok(())
}

/// Under which name a controller tells of events, where Kubernetes has one of its own for it.
fn source(name: &str) -> &'static str {
    match name {
        "cronjob" => "cronjob-controller",
        "daemonset" => "daemonset-controller",
        "deployment" => "deployment-controller",
        "ephemeral-volume" => "ephemeral_volume",
        "job" => "job-controller",
        "nodeipam" => "cidrAllocator",
        "nodelifecycle" => "node-controller",
        "persistentvolume-binder" => "persistentvolume-controller",
        "replicaset" => "replicaset-controller",
        "replicationcontroller" => "replication-controller",
        "statefulset" => "statefulset-controller",
        _ => "controllermanager",
    }
}

fn start(name: &str, context: &Context) {
    match name {
        "cronjob" => cronjob::start(context),
        "daemonset" => daemonset::start(context),
        "deployment" => deployment::start(context),
        "replicaset" => replicaset::start_replica_sets(context),
        "replicationcontroller" => replicaset::start_replication_controllers(context),
        "disruption" => disruption::start(context),
        "endpoints" => endpoints::start(context),
        "endpointslice" => endpointslice::start(context),
        "garbagecollector" => gc::start(context),
        "job" => job::start(context),
        "namespace" => namespace::start(context),
        "nodeipam" => nodeipam::start(context),
        "nodelifecycle" => nodelifecycle::start(context),
        "ephemeral-volume" => ephemeral_volume::start(context),
        "persistentvolume-binder" => persistentvolume::start(context),
        "persistentvolume-protection" => volume_protection::start_volumes(context),
        "persistentvolumeclaim-protection" => volume_protection::start_claims(context),
        "podgc" => podgc::start(context),
        "resourcequota" => resourcequota::start(context),
        "root-ca-certificate-publisher" => root_ca::start(context),
        "serviceaccount" => serviceaccount::start(context),
        "statefulset" => statefulset::start(context),
        other => tracing::error!(controller = other, "there is no such controller"),
    }
}
