//! What becomes of a volume.

use api::time::Time;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::provision::NODE_LOCAL;
use super::{Action, Plan, Told, for_uid, guarded};
use crate::objects::{
    BOUND_BY_CONTROLLER, PROVISIONED_BY, PersistentVolume, PersistentVolumeClaim, whole_seconds,
};

/// What is known when a volume is looked at.
pub struct Observed<'a> {
    /// The volume.
    pub volume: &'a PersistentVolume,
    /// The claim that it names, if that exists. That it does not must have been asked of the apiserver: a cache that
    /// lags would cost somebody their data.
    pub claim: Option<&'a PersistentVolumeClaim>,
    /// The time.
    pub now: Timestamp,
}

/// Decides what to do about a volume. Pure: no clock, client or randomness.
pub fn plan_volume(observed: &Observed<'_>) -> Plan {
    let volume = observed.volume;
    let Some(reference) = &volume.spec.claim_ref else {
        return phase(observed, "Available", "");
    };
    if reference.uid.is_empty() {
        // Set aside for a claim that may come.
        return phase(observed, "Available", "");
    }
    match observed.claim.filter(|claim| claim.metadata.uid == reference.uid) {
        None => released(observed),
        // The claim's own turn comes next.
        Some(claim) if claim.spec.volume_name.is_empty() => Plan::default(),
        Some(claim) if claim.spec.volume_name == volume.metadata.name => phase(observed, "Bound", ""),
        Some(_) => elsewhere(observed),
    }
}

/// Its claim is gone: the reclaim policy decides.
fn released(observed: &Observed<'_>) -> Plan {
    let volume = observed.volume;
    let maker = volume.metadata.annotations.get(PROVISIONED_BY).map(String::as_str);
    match (volume.spec.persistent_volume_reclaim_policy.as_str(), maker) {
        ("Delete", Some(NODE_LOCAL)) => {
            let mut plan = phase(observed, "Released", "");
            if !volume.metadata.is_being_deleted() {
                let (name, uid) = (volume.metadata.name.clone(), volume.metadata.uid.clone());
                plan.actions.push(Action::DeleteVolume { name, uid });
            }
            plan
        }
        ("Delete", None) => {
            let name = &volume.metadata.name;
            let why = format!(
                "error getting deleter volume plugin for volume \"{name}\": no deletable volume plugin matched"
            );
            failed(observed, "VolumeFailedDelete", &why)
        }
        ("Recycle", _) => failed(observed, "VolumeFailedRecycle", "no recyclable volume plugin matched"),
        // It stays; or whoever has made it takes it away, and says so where that fails.
        _ if volume.status.phase == "Failed" => Plan::default(),
        _ => phase(observed, "Released", ""),
    }
}

fn failed(observed: &Observed<'_>, reason: &'static str, message: &str) -> Plan {
    let plan = phase(observed, "Failed", message);
    if plan.actions.is_empty() { plan } else { plan.tell(Told::warning(reason, message)) }
}

/// Its claim has taken another volume: this one is free again, or goes.
fn elsewhere(observed: &Observed<'_>) -> Plan {
    let volume = observed.volume;
    let made_for_it = volume.metadata.annotations.contains_key(PROVISIONED_BY);
    if made_for_it && volume.spec.persistent_volume_reclaim_policy == "Delete" {
        return released(observed);
    }
    let patch = if volume.metadata.annotations.contains_key(BOUND_BY_CONTROLLER) {
        json!({"metadata": {"annotations": {BOUND_BY_CONTROLLER: null}}, "spec": {"claimRef": null}})
    } else {
        // A user has set it aside for a claim of this name; another one may come.
        json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}})
    };
    let name = volume.metadata.name.clone();
    let mut actions = vec![Action::PatchVolume { name, patch: guarded(&volume.metadata, patch) }];
    actions.extend(phase(observed, "Available", "").actions);
    Plan { actions, told: None }
}

fn phase(observed: &Observed<'_>, phase: &str, message: &str) -> Plan {
    let status = &observed.volume.status;
    if status.phase == phase && status.message == message {
        return Plan::default();
    }
    let now: Time = whole_seconds(observed.now);
    let text = if message.is_empty() { Value::Null } else { json!(message) };
    let status = json!({"phase": phase, "message": text, "lastPhaseTransitionTime": now});
    let patch = for_uid(&observed.volume.metadata, json!({"status": status}));
    let name = observed.volume.metadata.name.clone();
    Plan { actions: vec![Action::PatchVolumeStatus { name, patch }], told: None }
}
