//! Takes pods that are new on this node, or refuses them for good. The decision is in [`crate::admission`].

use std::collections::HashSet;
use std::sync::Arc;

use client::EventType;
use tracing::info;

use super::{Failure, PodState, Shared};
use crate::admission::{Admission, admit};
use crate::pod::Pod;
use crate::runtime::RuntimePod;

/// The uids of pods that this kubelet has taken since it was started.
pub(super) type Taken = HashSet<String>;

impl Shared {
    /// Decides about a pod that is new; one that has begun to live here is never refused later.
    pub(super) fn admit(&self, state: &mut PodState, pod: &Pod, runtime: &RuntimePod) {
        let uid = &pod.metadata.uid;
        // Held while deciding: two pods must not both be given what is left.
        let mut taken = self.taken.lock();
        if taken.contains(uid) {
            return;
        }
        if !runtime.is_empty() || pod.status.start_time.is_some() {
            taken.insert(uid.clone());
            return;
        }
        let is_here = |other: &Arc<Pod>| {
            let known = taken.contains(&other.metadata.uid) || other.status.start_time.is_some();
            known && other.metadata.uid != *uid && !other.is_terminal()
        };
        let others: Vec<Arc<Pod>> = self.dependencies.pods.list().into_iter().filter(is_here).collect();
        let node = self.dependencies.node.borrow().clone();
        let pressure = self.dependencies.pressure.borrow().pressure.clone();
        let input = Admission {
            pod,
            others: &others,
            node: node.as_deref(),
            allocatable: &self.config.node.allocatable,
            allowed_sysctls: &self.config.allowed_unsafe_sysctls,
            pressure: &pressure,
        };
        match admit(&input) {
            Ok(()) => {
                taken.insert(uid.clone());
            }
            Err(rejection) => {
                info!(pod = %pod.key(), reason = rejection.reason, "refused pod");
                let message = format!("Pod was rejected: {}", rejection.message);
                self.event(pod, "", EventType::Warning, &rejection.reason, rejection.message);
                state.failure = Some(Failure { message, ..Failure::rejected(rejection.reason) });
            }
        }
    }
}
