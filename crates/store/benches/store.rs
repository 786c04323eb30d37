//! What the store costs: durable writes by number in flight, to its log and to etcd, lists, fan-out of events, start-up.
//!
//! `cargo bench -p store --features testing`. The disk that is measured is the one of the temporary directory
//! (`TMPDIR`). Read on: `store::testing` for the helpers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use store::testing::etcd::EtcdCluster;
use store::testing::{pod, put, word_terms};
use store::{Backend, Bucket, EtcdOptions, LogOptions, Options, Revision, Scope, Store, Term, Write};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn options(dir: &std::path::Path) -> Options {
    Options::new(Backend::Log(LogOptions::new(dir)), word_terms())
}

/// A pod of about 2 KB.
fn write(number: u64) -> Write {
    let text = format!("app=a{} node=n{} {}", number % 50, number % 100, "x".repeat(2000));
    put(&pod(&format!("ns{}/pod-{number:06}", number % 20)), &text)
}

fn durable_writes(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("durable writes");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(4));
    for in_flight in [1_u64, 64, 1024] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(options(dir.path())).expect("opens");
        group.bench_function(BenchmarkId::from_parameter(in_flight), |bencher| {
            bencher.iter_custom(|count| runtime.block_on(write_many(&store, in_flight, count)));
        });
        runtime.block_on(store.close());
    }
}

/// Makes so many writes with so many in flight. Gives the time for all of them.
async fn write_many(store: &Store, in_flight: u64, count: u64) -> Duration {
    let share = count.div_ceil(in_flight);
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..in_flight {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..share {
                store.write(write(number % 10 * in_flight + writer)).await.expect("written");
            }
        });
    }
    tasks.join_all().await;
    start.elapsed().mul_f64(count as f64 / (share * in_flight) as f64)
}

/// The same over a real etcd of one member on the same disk, and how long a store takes to open over it.
fn etcd(criterion: &mut Criterion) {
    let runtime = runtime();
    let dir = tempfile::tempdir().expect("a directory");
    let Some(cluster) = EtcdCluster::start(dir.path(), 1, &["--quota-backend-bytes", "8000000000"]) else {
        return;
    };
    let open = || {
        let etcd = Backend::Etcd(EtcdOptions::new(cluster.endpoints()));
        Store::open(Options::new(etcd, word_terms())).expect("opens")
    };
    let store = open();
    let mut group = criterion.benchmark_group("etcd");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(4));
    for in_flight in [1_u64, 64, 1024] {
        group.bench_function(BenchmarkId::new("writes", in_flight), |bencher| {
            bencher.iter_custom(|count| runtime.block_on(write_many(&store, in_flight, count)));
        });
    }
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..64 {
            let store = store.clone();
            tasks.spawn(async move {
                for number in (writer..20_000).step_by(64) {
                    store.write(write(number)).await.expect("written");
                }
            });
        }
        tasks.join_all().await;
    });
    runtime.block_on(store.close());
    group.throughput(Throughput::Elements(20_000));
    group.bench_function("open 20000 pods", |bencher| {
        bencher.iter_custom(|rounds| {
            let timed = |_| {
                let start = Instant::now();
                let store = open();
                let taken = start.elapsed();
                assert!(store.snapshot().len(&Bucket::from("pods")) >= 20_000);
                runtime.block_on(store.close());
                taken
            };
            (0..rounds).map(timed).sum()
        });
    });
}

fn many_pods(runtime: &Runtime, options: Options, count: u64) -> Store {
    let store = Store::open(options).expect("opens");
    for start in (0..count).step_by(1000) {
        let writes = (start..start + 1000).map(write).collect();
        runtime.block_on(store.write_all(writes));
    }
    store
}

fn lists(criterion: &mut Criterion) {
    let runtime = runtime();
    let store = many_pods(&runtime, Options::new(Backend::Memory, word_terms()), 100_000);
    let pods = Bucket::from("pods");
    let snapshot = store.snapshot();
    let mut group = criterion.benchmark_group("list of 100000");
    group.bench_function("all, bytes counted", |bencher| {
        bencher.iter(|| snapshot.list(&pods, Scope::All, None).map(|entry| entry.value.len()).sum::<usize>());
    });
    group.bench_function("one namespace of 20", |bencher| {
        bencher.iter(|| snapshot.list(&pods, Scope::Namespace("ns7"), None).count());
    });
    group.bench_function("a page of 500 in the middle", |bencher| {
        let after = pod("ns3/pod-050000");
        bencher.iter(|| snapshot.list(&pods, Scope::All, Some(&after)).take(500).count());
    });
    group.bench_function("a term that 1000 have", |bencher| {
        let term = Term::new("label", "node", "n42");
        bencher.iter(|| snapshot.list(&pods, Scope::Term(term, None), None).count());
    });
    group.bench_function("a term that none has", |bencher| {
        let term = Term::new("label", "app", "none");
        bencher.iter(|| snapshot.list(&pods, Scope::Term(term, None), None).count());
    });
}

fn fan_out(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("watch");
    for (watchers, writes) in [(100_u64, 2000_u64), (1000, 200)] {
        group.throughput(Throughput::Elements(watchers * writes)).sample_size(10);
        group.bench_function(BenchmarkId::new("events to watchers", watchers), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut taken = Duration::ZERO;
                for _ in 0..rounds {
                    taken += runtime.block_on(fan_out_once(watchers, writes));
                }
                taken
            });
        });
    }
}

async fn fan_out_once(watchers: u64, writes: u64) -> Duration {
    let store = Store::open(Options::new(Backend::Memory, word_terms())).expect("opens");
    let pods = Bucket::from("pods");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..watchers {
        let mut watch = store.watch(&pods, Revision::FIRST, Scope::All).expect("watch");
        tasks.spawn(async move {
            let mut bytes = 0;
            let mut left = writes;
            while left > 0 {
                let batch = watch.next_batch(64).await.expect("events");
                left -= batch.len() as u64;
                for event in batch {
                    bytes += event.encoding(1, |event| event.entry.value.clone()).len();
                }
            }
            bytes
        });
    }
    let start = Instant::now();
    let writer = store.clone();
    tasks.spawn(async move {
        for number in 0..writes {
            writer.write(write(number % 100)).await.expect("written");
            tokio::task::yield_now().await;
        }
        0
    });
    tasks.join_all().await;
    start.elapsed()
}

fn open(criterion: &mut Criterion) {
    let runtime = runtime();
    let dir = tempfile::tempdir().expect("a directory");
    let store = many_pods(&runtime, options(dir.path()), 100_000);
    runtime.block_on(store.close());
    drop(store);
    let mut group = criterion.benchmark_group("open 100000 pods");
    group.sample_size(10);
    let reopen = || {
        let store = Arc::new(Store::open(options(dir.path())).expect("opens"));
        assert_eq!(store.snapshot().len(&Bucket::from("pods")), 100_000);
        store
    };
    let timed = |prepare: &dyn Fn()| {
        prepare();
        let start = Instant::now();
        let store = reopen();
        let taken = start.elapsed();
        runtime.block_on(store.close());
        taken
    };
    group.bench_function("by the index", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| timed(&|| ())).sum());
    });
    group.bench_function("without an index", |bencher| {
        let remove = || std::fs::remove_dir_all(dir.path().join("index")).expect("remove");
        bencher.iter_custom(|rounds| (0..rounds).map(|_| timed(&remove)).sum());
    });
}

criterion_group!(benches, durable_writes, etcd, lists, fan_out, open);
criterion_main!(benches);
