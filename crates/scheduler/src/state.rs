//! The scheduler without its surroundings: events in, decisions out. No client, no clock.
//!
//! One task owns the [`State`], so nothing in it is locked, and a decision is never made on half a change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::time::Instant;

use api::gvk::NamespacedName;
use client::ClientError;

use crate::objects::{Node, Pod};
use crate::plugins::Reason;
use crate::queue::{Change, Queue, Queued, WaitsFor};
use crate::schedule::preemption::{Preemption, preempt};
use crate::schedule::{FitError, schedule, volumes_on};
use crate::snapshot::{PodInfo, Snapshot};
use crate::storage::{Claim, SELECTED_NODE, Storage, StorageClass, Volume, Wanted};

/// How long the volumes of a pod may take before its node is given up.
const VOLUMES_TAKE: Duration = Duration::from_secs(600);
/// The annotation of nodes that have room for volumes.
const NODE_LOCAL: &str = "coxswain.io/node-local-volumes";

/// What happens to the scheduler.
#[derive(Debug)]
pub enum Event {
    /// A pod has changed: from, to.
    Pod(Option<Arc<Pod>>, Option<Arc<Pod>>),
    /// A node has changed: from, to.
    Node(Option<Arc<Node>>, Option<Arc<Node>>),
    /// A claim has changed: its name, and what it is now.
    Claim(NamespacedName, Option<Arc<Claim>>),
    /// A volume has changed: its name, and what it is now.
    Volume(String, Option<Arc<Volume>>),
    /// A class has changed: its name, and what it is now.
    Class(String, Option<Arc<StorageClass>>),
    /// What was decided for the claims of a pod is written, or not.
    Prepared {
        /// The uid of the pod.
        uid: String,
        /// Whether it is written.
        result: Result<(), ClientError>,
    },
    /// The apiserver has answered to a binding.
    Answered {
        /// The uid of the pod.
        uid: String,
        /// Whether the pod is bound.
        result: Result<(), ClientError>,
    },
}

/// What the scheduler has decided.
#[derive(Debug)]
pub enum Decision {
    /// Bind a pod.
    Bind {
        /// The pod.
        pod: Arc<Pod>,
        /// The name of the node.
        node: String,
    },
    /// Write what the claims of a pod get on its node; the pod is bound once they have it.
    Prepare {
        /// The pod.
        pod: Arc<Pod>,
        /// The name of the node.
        node: String,
        /// What they get.
        wanted: Vec<Wanted>,
    },
    /// Tell that a pod fits nowhere, and take down others for it, if any.
    Unschedulable {
        /// The pod.
        pod: Arc<Pod>,
        /// Why.
        error: FitError,
        /// Whether that is news.
        is_news: bool,
        /// The node to be cleared for it.
        preemption: Option<Preemption>,
    },
}

/// Everything the scheduler knows.
#[derive(Debug, Default)]
pub struct State {
    snapshot: Snapshot,
    queue: Queue,
    /// Pods that have been given a node and that the watch does not show there yet.
    assumed: HashMap<String, Queued, FixedState>,
    /// Pods among them whose claims do not have their volumes yet.
    waiting: HashMap<String, Waiting, FixedState>,
    /// Why a pod fitted nowhere when it was last told.
    told: HashMap<String, String, FixedState>,
    /// The pods that have been told to go for a pod.
    victims: HashMap<String, HashSet<String>, FixedState>,
    /// From which node on the next pod is tried.
    start: usize,
}

/// A pod that has a node and waits for its volumes.
#[derive(Debug)]
struct Waiting {
    node: String,
    wanted: Vec<Wanted>,
    until: Instant,
    /// Whether the watch has shown what was decided.
    seen: bool,
}

impl State {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The pods that wait.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The nodes and what is on them.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Takes in what has happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Pod(old, new) => self.pod_changed(old.as_deref(), new, now),
            Event::Node(old, new) => self.node_changed(old.as_deref(), new, now),
            Event::Claim(name, claim) => {
                self.snapshot.storage.set_claim(name, claim);
                self.storage_changed(now);
            }
            Event::Volume(name, volume) => {
                self.snapshot.storage.set_volume(name, volume);
                self.storage_changed(now);
            }
            Event::Class(name, class) => {
                self.snapshot.storage.set_class(name, class);
                self.storage_changed(now);
            }
            Event::Prepared { uid, result: Err(_) } => self.give_up(&uid, now),
            // What was written shows in the watch.
            Event::Prepared { result: Ok(()), .. } => {}
            Event::Answered { uid, result } => self.answered(&uid, result, now),
        }
    }

    fn pod_changed(&mut self, old: Option<&Pod>, new: Option<Arc<Pod>>, now: Instant) {
        let Some(pod) = new.filter(|pod| !pod.is_terminal()) else {
            if let Some(old) = old {
                self.forget(&old.metadata.uid, now);
            }
            return;
        };
        let uid = pod.metadata.uid.clone();
        if !pod.spec.node_name.is_empty() {
            let is_new = self.snapshot.place(&uid) != Some(&pod.spec.node_name);
            self.queue.remove(&uid);
            self.assumed.remove(&uid);
            self.wait_no_more(&uid);
            self.told.remove(&uid);
            self.victims.remove(&uid);
            let node = pod.spec.node_name.clone();
            self.snapshot.add_pod(Arc::new(PodInfo::new(pod)), &node);
            if is_new {
                self.queue.wake(Change::PodPlaced, now);
            }
        } else if pod.metadata.is_being_deleted() {
            self.queue.remove(&uid);
        } else if is_ours(&pod) && !self.assumed.contains_key(&uid) {
            self.queue.upsert(Arc::new(PodInfo::new(pod)), now);
        }
    }

    /// A pod is gone, or has run to its end.
    fn forget(&mut self, uid: &str, now: Instant) {
        self.queue.remove(uid);
        self.assumed.remove(uid);
        self.wait_no_more(uid);
        self.told.remove(uid);
        self.victims.remove(uid);
        if self.snapshot.remove_pod(uid) {
            self.queue.wake(Change::PodGone, now);
        }
    }

    fn node_changed(&mut self, old: Option<&Node>, new: Option<Arc<Node>>, now: Instant) {
        match new {
            None => {
                if let Some(old) = old {
                    self.snapshot.remove_node(&old.metadata.name);
                }
            }
            Some(node) => {
                // Heartbeats change nothing that matters here.
                let same = old.is_some_and(|old| {
                    old.spec == node.spec
                        && old.status == node.status
                        && old.metadata.labels == node.metadata.labels
                        && old.metadata.annotations.get(NODE_LOCAL)
                            == node.metadata.annotations.get(NODE_LOCAL)
                });
                if !same || self.snapshot.node(&node.metadata.name).is_none() {
                    self.snapshot.set_node(node);
                    self.queue.wake(Change::Node, now);
                }
            }
        }
    }

    fn answered(&mut self, uid: &str, result: Result<(), ClientError>, now: Instant) {
        let Err(error) = result else { return };
        // Where the watch has shown the pod on its node meanwhile, or its end, nothing is assumed any more.
        let Some(queued) = self.assumed.remove(uid) else { return };
        self.wait_no_more(uid);
        self.snapshot.remove_pod(uid);
        self.queue.wake(Change::PodGone, now);
        if !error.is_not_found() {
            self.queue.retry(queued, now);
        }
    }

    fn wait_no_more(&mut self, uid: &str) {
        if let Some(waiting) = self.waiting.remove(uid) {
            self.snapshot.storage.forget(&waiting.wanted);
        }
    }

    fn storage_changed(&mut self, now: Instant) {
        self.queue.wake(Change::Storage, now);
        for waiting in self.waiting.values_mut() {
            waiting.seen |= waiting.is_shown(&self.snapshot.storage) == Some(true);
        }
    }

    /// Decides on a pod that waits for its volumes: they are there, or will not come.
    fn step_waiting(&mut self, now: Instant) -> Option<Decision> {
        let storage = &self.snapshot.storage;
        let is_over = |uid: &String, waiting: &Waiting| {
            let pod = self.assumed.get(uid).map(|queued| &queued.info.pod);
            let ready = pod.is_none_or(|pod| storage.is_ready(pod));
            let refused = waiting.seen && waiting.is_shown(storage) == Some(false);
            ready || refused || waiting.until <= now
        };
        let uid = self.waiting.iter().find(|(uid, waiting)| is_over(uid, waiting))?.0.clone();
        let waiting = self.waiting.remove(&uid)?;
        self.snapshot.storage.forget(&waiting.wanted);
        let pod = Arc::clone(&self.assumed.get(&uid)?.info.pod);
        if self.snapshot.storage.is_ready(&pod) {
            return Some(Decision::Bind { pod, node: waiting.node });
        }
        // Whoever makes volumes has given the node back, or says nothing: it is tried anew.
        self.give_up(&uid, now);
        None
    }

    /// A pod that was given a node gives it back and is tried again.
    fn give_up(&mut self, uid: &str, now: Instant) {
        self.wait_no_more(uid);
        let Some(queued) = self.assumed.remove(uid) else { return };
        self.snapshot.remove_pod(uid);
        self.queue.wake(Change::PodGone, now);
        self.queue.retry(queued, now);
    }

    /// When there is something to decide though nothing has happened.
    pub fn next_at(&self) -> Option<Instant> {
        let waiting = self.waiting.values().map(|waiting| waiting.until);
        self.queue.next_at().into_iter().chain(waiting).min()
    }

    /// Decides on the pod that is next; `None` where none can be tried now.
    pub fn step(&mut self, now: Instant) -> Option<Decision> {
        if let Some(decision) = self.step_waiting(now) {
            return Some(decision);
        }
        let queued = self.queue.pop(now)?;
        let info = Arc::clone(&queued.info);
        match schedule(&self.snapshot, &info, self.start) {
            Ok(assignment) => {
                self.start = (self.start + assignment.evaluated) % self.snapshot.nodes().len().max(1);
                let wanted = volumes_on(&self.snapshot, &info.pod, &assignment.node);
                self.snapshot.add_pod(Arc::clone(&info), &assignment.node);
                self.assumed.insert(info.pod.metadata.uid.clone(), queued);
                // Those that want to be near it need not wait for the binding.
                self.queue.wake(Change::PodPlaced, now);
                let (pod, node) = (Arc::clone(&info.pod), assignment.node);
                if wanted.is_empty() {
                    return Some(Decision::Bind { pod, node });
                }
                self.snapshot.storage.assume(&wanted, &node);
                let until = now + VOLUMES_TAKE;
                let uid = pod.metadata.uid.clone();
                let waiting = Waiting { node: node.clone(), wanted: wanted.clone(), until, seen: false };
                self.waiting.insert(uid, waiting);
                Some(Decision::Prepare { pod, node, wanted })
            }
            Err(error) => Some(self.fits_nowhere(queued, error, now)),
        }
    }

    fn fits_nowhere(&mut self, queued: Queued, mut error: FitError, now: Instant) -> Decision {
        let pod = Arc::clone(&queued.info.pod);
        let uid = pod.metadata.uid.clone();
        let going = self
            .victims
            .get(&uid)
            .is_some_and(|victims| victims.iter().any(|victim| self.snapshot.place(victim).is_some()));
        let preemption = if going { None } else { preempt(&self.snapshot, &queued.info, &mut error) };
        if let Some(preemption) = &preemption {
            let victims = preemption.victims.iter().map(|victim| victim.pod.metadata.uid.clone());
            self.victims.insert(uid.clone(), victims.collect());
        }
        let waits_for = WaitsFor {
            pod_gone: error.mentions(Reason::is_resolvable),
            pod_placed: error
                .mentions(|reason| matches!(reason, Reason::PodAffinity | Reason::TopologySpread)),
            storage: !pod.spec.volumes.is_empty(),
            eager: going || preemption.is_some(),
        };
        self.queue.put_back(queued, waits_for, now);
        let message = error.to_string();
        let is_news = self.told.get(&uid) != Some(&message);
        self.told.insert(uid, message);
        Decision::Unschedulable { pod, error, is_news, preemption }
    }
}

impl Waiting {
    /// Whether every claim shows what was decided for it; `None` while one does not exist.
    fn is_shown(&self, storage: &Storage) -> Option<bool> {
        let mut all = true;
        for Wanted { claim, volume } in &self.wanted {
            let claim = storage.claim(&claim.metadata.namespaced_name())?;
            let selected = claim.metadata.annotations.get(SELECTED_NODE) == Some(&self.node);
            let named = volume.as_ref().is_some_and(|volume| {
                storage.volume(&volume.metadata.name).is_some_and(|volume| volume.is_for(claim))
            });
            all &= selected || named || !claim.spec.volume_name.is_empty();
        }
        Some(all)
    }
}

/// Whether the pod asks for this scheduler.
fn is_ours(pod: &Pod) -> bool {
    matches!(pod.spec.scheduler_name.as_str(), "" | "default-scheduler")
}

#[cfg(test)]
mod tests;
