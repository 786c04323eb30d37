//! How long one decision takes: on 100 and on 5,000 nodes, with the snapshot kept up to date in between.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use scheduler::testing::{info, node, owned, pod_with};
use scheduler::{Snapshot, schedule};

fn cluster(nodes: usize) -> Snapshot {
    let mut snapshot = Snapshot::new();
    for i in 0..nodes {
        snapshot.set_node(node(&format!("n{i:05}"), "64", "256Gi"));
    }
    for i in 0..nodes * 5 {
        let pod = owned(pod_with(&format!("p{i}"), "100m", "64Mi"), &format!("set{}", i % 50));
        snapshot.add_pod(info(pod), &format!("n{:05}", i % nodes));
    }
    snapshot
}

fn decisions(criterion: &mut Criterion) {
    for nodes in [100, 5000] {
        let mut snapshot = cluster(nodes);
        let pod = info(owned(pod_with("new", "100m", "64Mi"), "set7"));
        let mut start = 0;
        criterion.bench_function(&format!("one pod on {nodes} nodes"), |bench| {
            bench.iter(|| {
                let assignment = schedule(&snapshot, &pod, start).expect("there is room");
                snapshot.add_pod(Arc::clone(&pod), &assignment.node);
                start += assignment.evaluated;
            });
        });
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
