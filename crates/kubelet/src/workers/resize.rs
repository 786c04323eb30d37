//! Resources of pods that run: what is wanted may change, what a pod has changes when the node has room for it.
//!
//! What a pod was given is remembered in its status, as everything is: a kubelet that is started again goes on from
//! there. The planner sees a pod with what it was given; it compares that with what the kernel was told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{PodState, Shared};
use crate::admission::{Room, room};
use crate::pod::{Pod, PodSpec, ResourceRequirements};
use crate::status::ResizeCondition;

/// Container name to what it was given.
pub(super) type Allocated = BTreeMap<String, ResourceRequirements>;

impl Shared {
    /// The pod with what it was given instead of what is wanted, where that is something else.
    pub(super) fn allocate(&self, state: &mut PodState, pod: &Arc<Pod>) -> Arc<Pod> {
        state.resize.retain(|condition| condition.r#type != ResizeCondition::PENDING);
        let given = state.allocated.get_or_insert_with(|| reported(pod)).clone();
        if !differs(&pod.spec, &given) {
            return Arc::clone(pod);
        }
        let is_here = |other: &Arc<Pod>| {
            other.metadata.uid != pod.metadata.uid
                && !other.is_terminal()
                && other.status.start_time.is_some()
        };
        let others: Vec<Arc<Pod>> = self.dependencies.pods.list().into_iter().filter(is_here).collect();
        let (reason, message) = match room(pod, &others, &self.config.node.allocatable) {
            Room::Enough => {
                state.allocated = Some(wanted(&pod.spec));
                return Arc::clone(pod);
            }
            Room::NotNow(message) => ("Deferred", message),
            Room::Never(message) => ("Infeasible", message),
        };
        state.resize.push(ResizeCondition { r#type: ResizeCondition::PENDING, reason, message });
        let mut smaller = Pod::clone(pod);
        let spec = &mut smaller.spec;
        for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
            if let Some(resources) = given.get(&container.name) {
                container.resources = resources.clone();
            }
        }
        Arc::new(smaller)
    }
}

fn wanted(spec: &PodSpec) -> Allocated {
    let all = spec.containers.iter().chain(&spec.init_containers);
    all.map(|container| (container.name.clone(), container.resources.clone())).collect()
}

/// What the status says that was given; what is wanted where it says nothing.
fn reported(pod: &Pod) -> Allocated {
    let mut given = wanted(&pod.spec);
    let statuses = pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
    for status in statuses {
        if let (Some(resources), Some(known)) = (&status.resources, given.get_mut(&status.name)) {
            known.clone_from(resources);
        }
    }
    given
}

fn differs(spec: &PodSpec, given: &Allocated) -> bool {
    spec.containers.iter().chain(&spec.init_containers).any(|container| {
        given.get(&container.name).is_some_and(|given| {
            ["cpu", "memory"].into_iter().any(|name| {
                given.limits.get(name) != container.resources.limits.get(name)
                    || given.requests.get(name) != container.resources.requests.get(name)
            })
        })
    })
}
