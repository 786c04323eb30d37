//! The status of a pod, sent when it differs from what was sent last.

use std::sync::Arc;

use client::EventType;
use serde_json::{Value, json};
use tracing::debug;

use super::{PodState, Shared, SyncError};
use crate::actions::Observed;
use crate::pod::{Pod, PodStatus};
use crate::runtime::RuntimePod;
use crate::status::{StatusInput, compute_status, reasons};

impl Shared {
    /// Computes the status and sends it, if it has changed. `ending`: containers are not started again.
    pub(super) async fn report(
        &self,
        state: &mut PodState,
        pod: &Arc<Pod>,
        runtime: &RuntimePod,
        ending: bool,
    ) -> Result<(), SyncError> {
        // What was sent is newer than what the informer has: times of transitions must not jump.
        let mut seen = Pod::clone(pod);
        if let Some(sent) = &state.sent {
            let others = seen
                .status
                .conditions
                .iter()
                .filter(|other| sent.conditions.iter().all(|condition| condition.r#type != other.r#type));
            let others: Vec<_> = others.cloned().collect();
            seen.status = sent.clone();
            seen.status.conditions.extend(others);
        }
        self.hear_last_words(state, pod, runtime).await;
        let probes = self.prober.states(runtime.containers.iter().map(|record| record.id.as_str()));
        let now = self.dependencies.clock.now();
        let observed = Observed { pod: &seen, runtime, probes: &probes, problems: &state.problems, now };
        let input = StatusInput {
            host_ips: &self.config.node.ips,
            ending,
            failure: state.failure.as_ref(),
            termination_messages: Some(&state.last_words),
            resize: &state.resize,
        };
        let status = as_sent(&compute_status(&observed, &input));
        let known = state.sent.as_ref().unwrap_or(&pod.status);
        // The status belongs to the kubelet: what others have made of it (a node that was away for a moment has its
        // pods marked not ready) is put right.
        if *known == status && pod.status == status {
            return Ok(());
        }
        self.tell_of_crashes(pod, known, &status);
        // Where a static pod is not shown yet, its mirror wakes it.
        let Some(uid) = self.dependencies.pods.shown_by(pod) else { return Ok(()) };
        let patch = patch(&uid, known, &status);
        let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
        match self.dependencies.control.patch_status(namespace, name, &patch).await {
            Ok(()) => {
                debug!(pod = %pod.key(), phase = ?status.phase, "reported status");
                state.sent = Some(status);
                Ok(())
            }
            // Gone, or another pod of that name: the informer will say so.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn tell_of_crashes(&self, pod: &Pod, before: &PodStatus, now: &PodStatus) {
        for status in now.init_container_statuses.iter().chain(&now.container_statuses) {
            let waits = |status: &crate::pod::ContainerStatus| {
                status.state.waiting.as_ref().is_some_and(|w| w.reason == reasons::CRASH_LOOP_BACK_OFF)
            };
            let mut all = before.init_container_statuses.iter().chain(&before.container_statuses);
            if waits(status) && !all.any(|old| old.name == status.name && waits(old)) {
                let text = format!(
                    "Back-off restarting failed container {} in pod {}_{}({})",
                    status.name, pod.metadata.name, pod.metadata.namespace, pod.metadata.uid
                );
                self.event(pod, &status.name, EventType::Warning, "BackOff", text);
            }
        }
    }
}

/// The status as it comes back: times in whole seconds.
fn as_sent(status: &PodStatus) -> PodStatus {
    let value = serde_json::to_value(status).expect("a status holds only what JSON can");
    serde_json::from_value(value).expect("what was written can be read")
}

/// A merge patch that makes the status what it is now; fields that were there before and are not now are removed.
fn patch(uid: &str, before: &PodStatus, now: &PodStatus) -> Value {
    let value = |status: &PodStatus| serde_json::to_value(status).expect("a status holds only what JSON can");
    let (before, mut now) = (value(before), value(now));
    if let (Some(before), Some(now)) = (before.as_object(), now.as_object_mut()) {
        for key in before.keys() {
            now.entry(key.clone()).or_insert(Value::Null);
        }
    }
    json!({"metadata": {"uid": uid}, "status": now})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_longer_so_is_removed() {
        let before =
            PodStatus { reason: "Evicted".into(), pod_ip: "10.244.0.2".into(), ..PodStatus::default() };
        let now = PodStatus { pod_ip: "10.244.0.3".into(), ..PodStatus::default() };
        let patch = patch("u1", &before, &now);
        assert_eq!(patch["metadata"]["uid"], "u1");
        assert_eq!(patch["status"]["reason"], Value::Null);
        assert!(patch["status"].as_object().is_some_and(|status| status.contains_key("reason")));
        assert_eq!(patch["status"]["podIP"], "10.244.0.3");
    }
}
