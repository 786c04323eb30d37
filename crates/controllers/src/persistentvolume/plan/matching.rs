//! Whether a volume is what a claim asks for, and which of several is best.

use std::sync::Arc;

use crate::objects::{PersistentVolume, PersistentVolumeClaim};

/// Why a volume is not what a claim asks for, in the words of Kubernetes.
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    if volume.size() < claim.size() {
        return Some("requested PV is too small");
    }
    if volume.spec.storage_class_name != claim.class() {
        return Some("storageClassName does not match");
    }
    if mode(&volume.spec.volume_mode) != mode(&claim.spec.volume_mode) {
        return Some("incompatible volumeMode");
    }
    if !has_modes(volume, claim) {
        return Some("incompatible accessMode");
    }
    None
}

/// The best volume for a claim: one that is set aside for it, else the smallest free one that is large enough.
/// `only_set_aside` where a free one is chosen by the scheduler.
pub fn best<'a>(
    volumes: &'a [Arc<PersistentVolume>],
    claim: &PersistentVolumeClaim,
    only_set_aside: bool,
) -> Option<&'a PersistentVolume> {
    let usable = |volume: &&PersistentVolume| {
        mode(&volume.spec.volume_mode) == mode(&claim.spec.volume_mode)
            && volume.size() >= claim.size()
            && !volume.metadata.is_being_deleted()
            && has_modes(volume, claim)
    };
    let volumes = || volumes.iter().map(|volume| &**volume).filter(usable);
    if let Some(set_aside) = volumes().find(|volume| volume.is_for(claim)) {
        return Some(set_aside);
    }
    if only_set_aside {
        return None;
    }
    let attributes = |name: &Option<String>| name.clone().unwrap_or_default();
    let is_free = |volume: &&PersistentVolume| {
        volume.spec.claim_ref.is_none()
            && volume.status.phase == "Available"
            && volume.spec.storage_class_name == claim.class()
            && attributes(&volume.spec.volume_attributes_class_name)
                == attributes(&claim.spec.volume_attributes_class_name)
            && claim.spec.selector.as_ref().is_none_or(|selector| selector.matches(&volume.metadata.labels))
    };
    // The name decides among equals, so that the same is chosen again.
    volumes()
        .filter(is_free)
        .min_by(|a, b| a.size().cmp(&b.size()).then_with(|| a.metadata.name.cmp(&b.metadata.name)))
}

fn has_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim.spec.access_modes.iter().all(|mode| volume.spec.access_modes.contains(mode))
}

fn mode(text: &str) -> &str {
    if text.is_empty() { "Filesystem" } else { text }
}
