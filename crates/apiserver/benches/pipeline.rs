//! How much the pipeline costs, on a store in memory: creates, lists, selectors, watch fan-out.
//!
//! `cargo bench -p apiserver --bench pipeline`; compare with `main` on the same machine, not with stored numbers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::codec::{self, FieldValidation, MediaType};
use api::{encode, kinds};
use apiserver::authn::{Authenticator, SigningKey, TokenFile};
use apiserver::authz::Authorization;
use apiserver::bootstrap::Bootstrap;
use apiserver::pipeline::{
    Body, DeleteOptions, GetOptions, ListOptions, Parts, PatchType, Pipeline, RandomNames, RequestContext,
    Target, UserInfo, WatchOptions, WriteOptions, extract, render,
};
use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::json;
use store::{Backend, Options, Store};
use tokio::runtime::Runtime;

/// How many objects a list has.
const OBJECTS: usize = 10_000;

/// How many requests are in flight.
const IN_FLIGHT: usize = 64;

struct Server {
    pipeline: Pipeline,
    context: RequestContext,
    pods: Target,
}

impl Server {
    async fn start() -> Self {
        let store = Store::open(Options::new(Backend::Memory, extract())).expect("a store in memory opens");
        let parts = Parts {
            authorizer: Arc::new(Authorization::new(&store)),
            authn: Arc::new(Authenticator::new(
                &store,
                Arc::new(SigningKey::generate().expect("a key")),
                TokenFile::default(),
            )),
            store,
            names: Arc::new(RandomNames),
        };
        let pipeline = Pipeline::new(parts);
        let now = "2026-11-24T10:00:00Z".parse::<Timestamp>().expect("a time");
        Bootstrap { address: [192, 0, 2, 10].into(), port: 6443, now }
            .run(&pipeline)
            .await
            .expect("bootstrap");
        let user = UserInfo { groups: vec!["system:masters".to_owned()], ..UserInfo::default() };
        let context = RequestContext { user, now, at: None, user_agent: "bench".to_owned() };
        let pods = pipeline.registry().resource("", "v1", "pods").expect("pods");
        Self { pipeline, context, pods: Target::collection(pods, Some("default")) }
    }

    async fn create(&self, bytes: Bytes) {
        self.pipeline
            .create(&self.context, &self.pods, Body::json(bytes), &WriteOptions::default())
            .await
            .expect("created");
    }

    /// Makes a policy about pods, and binds it.
    async fn bound(&self, kind: &str, more: serde_json::Value) {
        let mut spec = json!({"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [{
            "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let mut binding = json!({"policyName": "p"});
        if kind == "Validating" {
            binding["validationActions"] = json!(["Deny"]);
        }
        let group = "admissionregistration.k8s.io";
        let (policies, kind) =
            (format!("{}admissionpolicies", kind.to_lowercase()), format!("{kind}AdmissionPolicy"));
        let bindings = (policies.replace("policies", "policybindings"), format!("{kind}Binding"));
        for ((plural, kind), spec) in [((policies, kind), spec), (bindings, binding)] {
            let def = self.pipeline.registry().resource(group, "v1", &plural).expect("built in");
            let document = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "p"},
                "spec": spec});
            let (target, body) = (Target::collection(def, None), Body::json(document.to_string()));
            let options = WriteOptions::default();
            self.pipeline.create(&self.context, &target, body, &options).await.expect("created");
        }
    }

    async fn fill(self) -> Self {
        for index in 0..OBJECTS {
            self.create(pod(Some(index))).await;
        }
        self
    }
}

/// A pod as a workload controller makes it; about 3.4 KB once it is stored.
fn pod(index: Option<usize>) -> Bytes {
    let env: Vec<_> =
        (0..12).map(|n| json!({"name": format!("SETTING_{n}"), "value": "a value of some length"})).collect();
    let mut document = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "labels": {"app": "web", "tier": "front", "pod-template-hash": "6d4cf56db6"},
            "annotations": {"example.com/note": "x".repeat(300)},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d4cf56db6",
                "uid": "6b9e1a1c-2f3d-4f6a-9a52-1c7d0f5b8e11", "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {
            "containers": [{
                "name": "web", "image": "nginx:1.22", "ports": [{"containerPort": 80}], "env": env,
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
                "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "conf"}}],
        },
    });
    match index {
        Some(index) => document["metadata"]["name"] = format!("web-{index:05}").into(),
        None => document["metadata"]["generateName"] = "web-".into(),
    }
    document.to_string().into()
}

fn writes(criterion: &mut Criterion, runtime: &Runtime) {
    let server = Arc::new(runtime.block_on(Server::start()));
    let mut group = criterion.benchmark_group("write");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3)).sample_size(10);
    group.bench_function("create a pod, 64 in flight", |bencher| {
        bencher.iter_custom(|count| {
            let body = pod(None);
            let start = Instant::now();
            let each = count.div_ceil(IN_FLIGHT as u64);
            let clients = (0..IN_FLIGHT).map(|_| {
                let (server, body) = (server.clone(), body.clone());
                runtime.spawn(async move {
                    for _ in 0..each {
                        server.create(body.clone()).await;
                    }
                })
            });
            runtime.block_on(join_all(clients.collect::<Vec<_>>()));
            start.elapsed().mul_f64(count as f64 / (each * IN_FLIGHT as u64) as f64)
        });
    });
    runtime.block_on(server.create(pod(Some(0))));
    let one = Target { name: Some("web-00000".to_owned()), ..server.pods.clone() };
    group.bench_function("patch a pod's label", |bencher| {
        let mut count = 0_u64;
        bencher.iter(|| {
            count += 1;
            let patch = format!(r#"{{"metadata":{{"labels":{{"count":"{count}"}}}}}}"#);
            let options = WriteOptions::default();
            let patched = server.pipeline.patch(
                &server.context,
                &one,
                PatchType::StrategicMerge,
                Body::json(patch),
                &options,
            );
            runtime.block_on(patched).expect("patched");
        });
    });
    group.bench_function("delete a pod", |bencher| {
        let mut count = 0;
        bencher.iter_batched(
            || {
                count += 1;
                runtime.block_on(server.create(pod(Some(count))));
                Target { name: Some(format!("web-{count:05}")), ..server.pods.clone() }
            },
            |target| {
                let options = DeleteOptions::default();
                let deleted = server.pipeline.delete(&server.context, &target, &options);
                runtime.block_on(deleted).expect("deleted");
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// What one policy and its binding add to a create.
fn policies(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("admission");
    group.measurement_time(Duration::from_secs(3)).sample_size(20);
    for (name, kind, more) in [
        ("create a pod without policies", "", json!({})),
        (
            "create a pod under a validating policy",
            "Validating",
            json!({"validations": [{"expression": "object.spec.containers.all(c, c.image.startsWith('nginx:'))"}]}),
        ),
        (
            "create a pod under a mutating policy",
            "Mutating",
            json!({"reinvocationPolicy": "Never", "mutations": [{"patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression":
                    "Object{metadata: Object.metadata{labels: {'image': object.spec.containers[0].image.split(':')[0]}}}"}}]}),
        ),
    ] {
        let server = runtime.block_on(Server::start());
        if !kind.is_empty() {
            runtime.block_on(server.bound(kind, more));
        }
        group.bench_function(name, |bencher| bencher.iter(|| runtime.block_on(server.create(pod(None)))));
    }
    group.finish();
}

fn reads(criterion: &mut Criterion, runtime: &Runtime) {
    let server = runtime.block_on(async { Server::start().await.fill().await });
    let list = |labels: &str, fields: &str| {
        let options = ListOptions {
            label_selector: labels.to_owned(),
            field_selector: fields.to_owned(),
            ..ListOptions::default()
        };
        runtime.block_on(server.pipeline.list(&server.context, &server.pods, &options)).expect("a list")
    };
    let size: usize = list("", "").entries.iter().map(|entry| entry.value.len()).sum();
    let mut group = criterion.benchmark_group("read");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(size as u64));
    group.bench_function("list 10,000 pods into buffers", |bencher| {
        bencher.iter(|| {
            let page = list("", "");
            let mut sent = 0;
            let mut buffer = BytesMut::with_capacity(64 << 10);
            for entry in &page.entries {
                buffer.extend_from_slice(&render(&page.def, entry));
                if buffer.len() > 60 << 10 {
                    sent += buffer.len();
                    buffer.clear();
                }
            }
            sent
        });
    });
    group.throughput(Throughput::Elements(1));
    for (name, labels, fields) in [
        ("label that nothing has", "app=none", ""),
        ("label that nothing lacks", "app!=web", ""),
        ("field that nothing has", "", "status.phase=Failed"),
        ("node that nothing is on", "", "spec.nodeName=n1"),
    ] {
        group.bench_function(format!("list 10,000 pods by a {name}"), |bencher| {
            bencher.iter(|| assert!(list(labels, fields).entries.is_empty()));
        });
    }
    let one = Target { name: Some("web-00007".to_owned()), ..server.pods.clone() };
    group.bench_function("get a pod", |bencher| {
        bencher.iter(|| {
            runtime
                .block_on(server.pipeline.get(&server.context, &one, &GetOptions::default()))
                .expect("a pod")
        });
    });
    group.finish();
}

fn watches(criterion: &mut Criterion, runtime: &Runtime) {
    const WATCHERS: usize = 100;
    let server = runtime.block_on(Server::start());
    let mut watches: Vec<_> = {
        let _guard = runtime.enter();
        (0..WATCHERS)
            .map(|_| {
                let options = WatchOptions { resource_version: "0".to_owned(), ..WatchOptions::default() };
                server.pipeline.watch(&server.context, &server.pods, &options).expect("a watch")
            })
            .collect()
    };
    let mut group = criterion.benchmark_group("watch");
    group.throughput(Throughput::Elements(WATCHERS as u64)).sample_size(20);
    group.bench_function("an event to 100 watchers", |bencher| {
        bencher.iter_batched(
            || runtime.block_on(server.create(pod(None))),
            |()| {
                for watch in &mut watches {
                    while let Some(item) = watch.try_next() {
                        item.expect("it goes on").expect("no error");
                    }
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// What a create is made of.
fn stages(criterion: &mut Criterion, runtime: &Runtime) {
    let server = runtime.block_on(Server::start());
    let def = &server.pods.def;
    let body = pod(Some(0));
    let decode = || codec::decode(def, MediaType::Json, &body, FieldValidation::Warn).expect("a pod").object;
    let stored = || {
        let mut object = decode();
        codec::to_storage(def, &mut object);
        object
    };
    let object = stored();
    let bytes = encode::template(&object).at(7);
    let mut group = criterion.benchmark_group("stage");
    group.sample_size(20);
    group.bench_function("decode", |bencher| bencher.iter(decode));
    group.bench_function("convert and default", |bencher| {
        bencher.iter_batched(decode, |mut object| codec::to_storage(def, &mut object), BatchSize::SmallInput);
    });
    group.bench_function("prepare", |bencher| {
        let prepare = |mut object| kinds::prepare_for_create(def, &mut object);
        bencher.iter_batched(stored, prepare, BatchSize::SmallInput);
    });
    group.bench_function("validate", |bencher| bencher.iter(|| kinds::validate(def, &object)));
    group.bench_function("validate an update", |bencher| {
        bencher.iter(|| kinds::validate_update(def, &object, &object))
    });
    group.bench_function("encode", |bencher| bencher.iter(|| encode::template(&object)));
    group.bench_function("scan the header", |bencher| bencher.iter(|| api::object::scan(def, &bytes)));
    group.bench_function("read what is stored", |bencher| {
        bencher.iter(|| serde_json::from_slice::<serde_json::Value>(&bytes));
    });
    group.finish();
}

fn all(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    writes(criterion, &runtime);
    policies(criterion, &runtime);
    reads(criterion, &runtime);
    watches(criterion, &runtime);
    stages(criterion, &runtime);
}

criterion_group!(benches, all);
criterion_main!(benches);
