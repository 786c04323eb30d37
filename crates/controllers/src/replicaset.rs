//! ReplicaSets and ReplicationControllers: so many pods of a template, no more and no fewer.
//!
//! One controller runs twice, once for each kind. Its keys are names of owners; it is woken by the owners and by
//! their pods. What to do is decided in [`plan`], done in [`execute`].

mod execute;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use api::meta::ObjectMeta;
use client::{ClientError, Resource as _, Store, WorkQueue};

use crate::context::{BY_OWNER, Context, ORPHANS};
use crate::expectations::Expectations;
use crate::objects::{Pod, ReplicaSet, ReplicationController};
use crate::pod_writes::PodWrites;
use plan::{Flavor, Observed};

const WORKERS: usize = 5;

/// The cache of the owners.
enum Owners {
    ReplicaSets(Store<ReplicaSet>),
    ReplicationControllers(Store<ReplicationController>),
}

impl Owners {
    fn get(&self, key: &NamespacedName) -> Option<Arc<ReplicaSet>> {
        match self {
            Self::ReplicaSets(store) => store.get(key),
            Self::ReplicationControllers(store) => {
                store.get(key).map(|owner| Arc::new(ReplicaSet::from(&*owner)))
            }
        }
    }

    /// Those that select an orphan.
    fn selecting(&self, orphan: &ObjectMeta) -> Vec<NamespacedName> {
        match self {
            Self::ReplicaSets(store) => store
                .list_namespace(&orphan.namespace)
                .into_iter()
                .filter(|set| !set.spec.selector.is_empty() && set.spec.selector.matches(&orphan.labels))
                .map(|set| set.metadata.namespaced_name())
                .collect(),
            Self::ReplicationControllers(store) => store
                .list_namespace(&orphan.namespace)
                .into_iter()
                .filter(|owner| {
                    let mut wanted = owner.spec.selector.iter();
                    !owner.spec.selector.is_empty()
                        && wanted.all(|(key, value)| orphan.labels.get(key) == Some(value))
                })
                .map(|owner| owner.metadata.namespaced_name())
                .collect(),
        }
    }
}

struct Controller {
    context: Context,
    flavor: Flavor,
    owners: Owners,
    pods: Store<Pod>,
    writes: PodWrites,
}

/// Starts the controller of ReplicaSets.
pub fn start_replica_sets(context: &Context) {
    let queue = WorkQueue::new();
    let owners = context.store::<ReplicaSet>();
    let woken = queue.clone();
    owners.subscribe(move |old, new| {
        if let Some(owner) = new.or(old) {
            woken.add(owner.metadata.namespaced_name());
        }
    });
    start(context, Flavor::ReplicaSet, Owners::ReplicaSets(owners), queue);
}

/// Starts the controller of ReplicationControllers.
pub fn start_replication_controllers(context: &Context) {
    let queue = WorkQueue::new();
    let owners = context.store::<ReplicationController>();
    let woken = queue.clone();
    owners.subscribe(move |old, new| {
        if let Some(owner) = new.or(old) {
            woken.add(owner.metadata.namespaced_name());
        }
    });
    start(context, Flavor::ReplicationController, Owners::ReplicationControllers(owners), queue);
}

fn start(context: &Context, flavor: Flavor, owners: Owners, queue: WorkQueue<NamespacedName>) {
    let controller = Arc::new(Controller {
        context: context.clone(),
        flavor,
        owners,
        pods: context.store::<Pod>(),
        writes: PodWrites { context: context.clone(), expectations: Expectations::default() },
    });
    let (woken, waker) = (queue.clone(), Arc::clone(&controller));
    controller.pods.subscribe(move |old, new| waker.pod_changed(old, new, &woken));
    let name = match flavor {
        Flavor::ReplicaSet => "replicaset",
        Flavor::ReplicationController => "replicationcontroller",
    };
    context.run(name, queue, WORKERS, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

impl Controller {
    fn kind(&self) -> &'static str {
        match self.flavor {
            Flavor::ReplicaSet => ReplicaSet::KIND,
            Flavor::ReplicationController => ReplicationController::KIND,
        }
    }

    fn pod_changed(&self, old: Option<&Arc<Pod>>, new: Option<&Arc<Pod>>, queue: &WorkQueue<NamespacedName>) {
        let owner = |pod: &Arc<Pod>| {
            let owner = pod.metadata.controller().filter(|owner| owner.kind == self.kind())?;
            Some(NamespacedName::new(&*pod.metadata.namespace, &*owner.name))
        };
        if let Some(pod) = new.or(old) {
            self.writes.expectations.observe(pod, new.is_none());
            if new.is_some() && pod.metadata.controller().is_none() {
                self.owners.selecting(&pod.metadata).into_iter().for_each(|key| queue.add(key));
            }
        }
        let (before, after) = (old.and_then(owner), new.and_then(owner));
        if before != after {
            before.into_iter().for_each(|key| queue.add(key));
        }
        after.into_iter().for_each(|key| queue.add(key));
    }

    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(set) = self.owners.get(key) else { return Ok(None) };
        let mut pods = self.pods.by_index(BY_OWNER, &set.metadata.uid);
        pods.extend(self.pods.by_index(ORPHANS, &key.namespace));
        let related = self.related(&set);
        let now = self.context.now();
        let observed = Observed {
            flavor: self.flavor,
            replica_set: &set,
            pods: &pods,
            related: &related,
            unseen: self.writes.expectations.unseen(&set.metadata.uid, now),
            now,
        };
        let plan = plan::plan(&observed, &mut Context::suffix);
        self.execute(&observed, &plan).await?;
        Ok(plan.requeue_after)
    }

    /// The pods of all ReplicaSets of the same Deployment; looked up only where there are too many pods.
    fn related(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let is_shrinking = set.replicas() < set.status.replicas;
        let (Owners::ReplicaSets(store), Some(owner), true) =
            (&self.owners, set.metadata.controller(), is_shrinking)
        else {
            return self.pods.by_index(BY_OWNER, &set.metadata.uid);
        };
        let siblings = store.list_namespace(&set.metadata.namespace).into_iter().filter(|sibling| {
            sibling.metadata.controller().is_some_and(|controller| controller.uid == owner.uid)
        });
        siblings.flat_map(|sibling| self.pods.by_index(BY_OWNER, &sibling.metadata.uid)).collect()
    }
}
