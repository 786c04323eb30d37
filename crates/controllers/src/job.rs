//! Jobs: pods that run to their end, so many of them well.
//!
//! A pod of a Job carries a finalizer until its end has been counted. Counting takes two writes, so that no pod is
//! counted twice or never, whatever is killed in between: first the status names the pods that have ended, then they
//! lose the finalizer, then the names become numbers. What to do is decided in [`plan`].

mod execute;
mod indexes;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use client::{ClientError, Resource as _, Store, WorkQueue};

use crate::context::{BY_OWNER, Context, ORPHANS};
use crate::expectations::Expectations;
use crate::objects::{Job, Pod};
use crate::pod_writes::PodWrites;
use plan::Observed;

const WORKERS: usize = 5;

struct Controller {
    context: Context,
    jobs: Store<Job>,
    pods: Store<Pod>,
    writes: PodWrites,
}

/// Starts the controller. Its keys are names of Jobs.
pub fn start(context: &Context) {
    let queue = WorkQueue::<NamespacedName>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        jobs: context.store(),
        pods: context.store(),
        writes: PodWrites { context: context.clone(), expectations: Expectations::default() },
    });
    let woken = queue.clone();
    controller.jobs.subscribe(move |old, new| {
        if let Some(job) = new.or(old) {
            woken.add(job.metadata.namespaced_name());
        }
    });
    let (woken, waker) = (queue.clone(), Arc::clone(&controller));
    controller.pods.subscribe(move |old, new| {
        let owner = |pod: &Arc<Pod>| {
            let owner = pod.metadata.controller().filter(|owner| owner.kind == Job::KIND)?;
            Some(NamespacedName::new(&*pod.metadata.namespace, &*owner.name))
        };
        if let Some(pod) = new.or(old) {
            waker.writes.expectations.observe(pod, new.is_none());
        }
        let (before, after) = (old.and_then(owner), new.and_then(owner));
        before.into_iter().chain(after).for_each(|key| woken.add(key));
    });
    context.run("job", queue, WORKERS, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    });
}

impl Controller {
    async fn reconcile(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let job = self.jobs.get(key);
        self.let_go(key, job.as_ref().map(|job| job.metadata.uid.as_str())).await?;
        let Some(job) = job else { return Ok(None) };
        let mut pods = self.pods.by_index(BY_OWNER, &job.metadata.uid);
        pods.extend(self.pods.by_index(ORPHANS, &key.namespace));
        let now = self.context.now();
        let unseen = self.writes.expectations.unseen(&job.metadata.uid, now);
        let plan = plan::plan(&Observed { job: &job, pods: &pods, unseen, now }, &mut Context::suffix);
        self.execute(&job, &plan).await?;
        Ok(plan.requeue_after)
    }

    /// Pods of a Job that is gone have no one to count them: they must not be kept for it.
    async fn let_go(&self, key: &NamespacedName, uid: Option<&str>) -> Result<(), ClientError> {
        for pod in self.pods.list_namespace(&key.namespace) {
            let owner =
                pod.metadata.controller().filter(|owner| owner.kind == Job::KIND && owner.name == key.name);
            if plan::is_tracked(&pod) && owner.is_some_and(|owner| Some(owner.uid.as_str()) != uid) {
                self.untrack(&pod).await?;
            }
        }
        Ok(())
    }
}
