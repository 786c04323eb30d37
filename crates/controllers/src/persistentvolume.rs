//! Persistent volumes: binds claims to volumes, makes volumes for claims of the class `standard`, and sees to those
//! whose claim is gone.
//!
//! Keys are claims and volumes. What to do is decided in [`plan`]. The class itself is made at the start, where it is
//! not there: the provisioner is part of this program, so that it knows best what it serves.

pub mod plan;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api::gvk::NamespacedName;
use client::{ClientError, DeleteOptions, ObjectReference, PatchType, Resource, Store, WorkQueue};
use component::{ErrorChain, spawn};
use serde_json::json;
use tracing::{info, warn};

use crate::context::Context;
use crate::objects::{IS_DEFAULT_CLASS, Node, PersistentVolume, PersistentVolumeClaim, StorageClass};
use plan::{Action, ObservedClaim, ObservedVolume, Plan, plan_claim, plan_volume, provision};

/// The class that claims get which name none.
const CLASS: &str = "standard";

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Claim(NamespacedName),
    Volume(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(name) => write!(f, "claim {name}"),
            Self::Volume(name) => write!(f, "volume {name}"),
        }
    }
}

struct Controller {
    context: Context,
    claims: Store<PersistentVolumeClaim>,
    volumes: Store<PersistentVolume>,
    classes: Store<StorageClass>,
    nodes: Store<Node>,
}

/// Starts the controller.
pub fn start(context: &Context) {
    let queue = WorkQueue::<Key>::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        claims: context.store(),
        volumes: context.store(),
        classes: context.store(),
        nodes: context.store(),
    });
    controller.wake(&queue);
    let class = context.clone();
    context.on_synced(move |shutdown| {
        let stop = shutdown.clone();
        spawn(shutdown, "default-storage-class", async move {
            tokio::select! {
                () = make_class(&class) => {}
                () = stop.triggered() => {}
            }
        });
    });
    // One worker: of two claims that want the same volume the second sees that it is taken.
    context.run("persistentvolume-binder", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move {
            match key {
                Key::Claim(name) => controller.reconcile_claim(&name).await,
                Key::Volume(name) => controller.reconcile_volume(&name).await,
            }
        }
    });
}

/// Makes the class of node-local volumes.
async fn make_class(context: &Context) {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {IS_DEFAULT_CLASS: "true"}},
        "provisioner": provision::NODE_LOCAL,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": true,
    });
    match context.api::<StorageClass>().create("", &class).await {
        Ok(_) => info!(class = CLASS, "made the default storage class"),
        Err(error) if error.is_already_exists() => {}
        Err(error) => warn!(error = %ErrorChain(&error), "cannot make the default storage class"),
    }
}

impl Controller {
    fn wake(&self, queue: &WorkQueue<Key>) {
        let woken = queue.clone();
        self.claims.subscribe(move |old, new| {
            if let Some(claim) = new {
                woken.add(Key::Claim(claim.metadata.namespaced_name()));
            }
            // A claim that is gone releases its volume; one that is bound is what its volume waits for.
            for claim in [old, new].into_iter().flatten() {
                if !claim.spec.volume_name.is_empty() {
                    woken.add(Key::Volume(claim.spec.volume_name.clone()));
                }
            }
        });
        let (woken, claims) = (queue.clone(), self.claims.clone());
        self.volumes.subscribe(move |old, new| {
            for volume in [old, new].into_iter().flatten() {
                if let Some(claim) = &volume.spec.claim_ref {
                    woken.add(Key::Claim(NamespacedName::new(&*claim.namespace, &*claim.name)));
                }
            }
            if let Some(volume) = new {
                woken.add(Key::Volume(volume.metadata.name.clone()));
            }
            if new.is_some_and(|volume| volume.spec.claim_ref.is_none()) {
                wake_waiting(&woken, &claims);
            }
        });
        let (woken, claims) = (queue.clone(), self.claims.clone());
        self.classes.subscribe(move |_, _| wake_waiting(&woken, &claims));
        let (woken, claims) = (queue.clone(), self.claims.clone());
        self.nodes.subscribe(move |old, new| {
            let folder = |node: &Arc<Node>| node.metadata.annotations.get(provision::FOLDER).cloned();
            if old.and_then(folder) != new.and_then(folder) {
                wake_waiting(&woken, &claims);
            }
        });
    }

    async fn reconcile_claim(&self, key: &NamespacedName) -> Result<Option<Duration>, ClientError> {
        let Some(claim) = self.claims.get(key) else { return Ok(None) };
        let plan = plan_claim(&ObservedClaim {
            claim: &claim,
            volumes: &self.volumes.list(),
            classes: &self.classes.list(),
            nodes: &self.nodes.list(),
        });
        self.execute(plan, &*claim, Some(&claim)).await
    }

    async fn reconcile_volume(&self, name: &str) -> Result<Option<Duration>, ClientError> {
        let Some(volume) = self.volumes.get(&NamespacedName::cluster(name)) else { return Ok(None) };
        let claim = match &volume.spec.claim_ref {
            Some(reference) => self.claim_of(&reference.namespace, &reference.name, &reference.uid).await?,
            None => None,
        };
        let now = self.context.now();
        let plan = plan_volume(&ObservedVolume { volume: &volume, claim: claim.as_deref(), now });
        self.execute(plan, &*volume, None).await
    }

    /// A claim; that it does not exist is asked of the apiserver.
    async fn claim_of(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Option<Arc<PersistentVolumeClaim>>, ClientError> {
        let cached = self.claims.get(&NamespacedName::new(namespace, name));
        if let Some(claim) = cached.filter(|claim| claim.metadata.uid == uid) {
            return Ok(Some(claim));
        }
        Ok(self.context.api::<PersistentVolumeClaim>().get_opt(namespace, name).await?.map(Arc::new))
    }

    async fn execute<K: Resource>(
        &self,
        plan: Plan,
        about: &K,
        claim: Option<&PersistentVolumeClaim>,
    ) -> Result<Option<Duration>, ClientError> {
        for action in &plan.actions {
            match self.act(action, claim).await {
                Ok(()) => {}
                // Something else was faster: the watch brings what is there now.
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(told) = plan.told {
            self.context.events.event(&ObjectReference::of(about), told.kind, told.reason, told.message);
        }
        Ok(None)
    }

    async fn act(&self, action: &Action, claim: Option<&PersistentVolumeClaim>) -> Result<(), ClientError> {
        let volumes = self.context.api::<PersistentVolume>();
        let claims = self.context.api::<PersistentVolumeClaim>();
        let own = claim.map(|claim| &claim.metadata);
        let (namespace, name) = own.map_or(("", ""), |meta| (&*meta.namespace, &*meta.name));
        let merge = PatchType::Merge;
        match action {
            Action::PatchVolume { name, patch } => volumes.patch("", name, merge, patch).await.map(drop),
            Action::PatchVolumeStatus { name, patch } => {
                volumes.patch_status("", name, merge, patch).await.map(drop)
            }
            Action::PatchClaim(patch) => claims.patch(namespace, name, merge, patch).await.map(drop),
            Action::PatchClaimStatus(patch) => {
                claims.patch_status(namespace, name, merge, patch).await.map(drop)
            }
            Action::CreateVolume(volume) => volumes.create("", &**volume).await.map(drop),
            Action::DeleteVolume { name, uid } => {
                volumes.delete("", name, &DeleteOptions::uid(&**uid)).await.map(drop)
            }
        }
    }
}

/// Claims that have no volume look for one again.
fn wake_waiting(queue: &WorkQueue<Key>, claims: &Store<PersistentVolumeClaim>) {
    for claim in claims.list() {
        if claim.status.phase != "Bound" {
            queue.add(Key::Claim(claim.metadata.namespaced_name()));
        }
    }
}
